"""The base's tokenizer: which one it is, and whether it fits.

X-MOD was pretrained with XLM-R's tokenizer, and some of its checkpoints come without any tokenizer
file; then XLM-R's own is taken from the Hub, which is said aloud.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xmod_extend.arguments import shown
from xmod_extend.errors import HubError, ModelError, XmodExtendError
from xmod_extend.hub.client import HubRepository, fetch, quiet
from xmod_extend.text.sniffing import LFS_POINTER
from xmod_extend.tokens.encoding import Encoder, explain_failure

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

XLMR_REPOSITORY = "FacebookAI/xlm-roberta-base"
XLMR_VOCAB_SIZE = 250_002

TOKENIZER_PATTERNS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "vocab.*",
)
"""The files of a tokenizer (a sentencepiece model's name ends in `.model`)."""

# Any of these is a tokenizer; the others only describe one.
_VOCABULARY_FILES = ("tokenizer.json", "sentencepiece.bpe.model")

# XLM-R's special tokens by their role. Its tokenizer_config.json leaves them to the class.
_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


@dataclass(frozen=True, kw_only=True)
class TokenizerRecord:
    """The tokenizer that a text was read with. XLM-R's itself takes 0.4 GB, and is not kept."""

    source: str
    """The folder or the Hub repository it comes from."""

    sha256: str
    """SHA-256 of its serialisation; perplexities compare only where it is the same."""

    files: tuple[Path, ...]
    """What to copy for the tokenizer to travel with a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class LoadedTokenizer(TokenizerRecord):
    """A tokenizer that fits a model."""

    tokenizer: PreTrainedTokenizerFast

    note: str | None = None
    """A sentence for the user where it is not the base's own."""

    @property
    def mask_id(self) -> int:
        return cast(int, self.tokenizer.mask_token_id)

    @property
    def bos_id(self) -> int:
        """The id of `<s>`, which opens every block."""
        return cast(int, self.tokenizer.cls_token_id)

    @property
    def sep_id(self) -> int:
        """The id of `</s>`, which ends every document."""
        return cast(int, self.tokenizer.sep_token_id)

    @property
    def pad_id(self) -> int:
        return cast(int, self.tokenizer.pad_token_id)

    @property
    def unk_id(self) -> int | None:
        """The id of `<unk>`, which stands for what the vocabulary lacks."""
        return cast("int | None", self.tokenizer.unk_token_id)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of the tokens that are never masked."""
        return tuple(sorted(set(self.tokenizer.all_special_ids)))

    @property
    def record(self) -> TokenizerRecord:
        """All but the tokenizer itself."""
        return TokenizerRecord(source=self.source, sha256=self.sha256, files=self.files)

    def find_pieces(self, ids: list[int]) -> list[str]:
        """Return the piece of text that each id stands for."""
        return cast("list[str]", self.tokenizer.convert_ids_to_tokens(ids))

    def encoder(self) -> Encoder:
        """Return what finds the tokens of lines."""
        return Encoder(
            self.tokenizer.backend_tokenizer,
            special_tokens=self.tokenizer.all_special_tokens,
            sep_id=self.sep_id,
            unk_id=self.unk_id,
        )


def load_tokenizer(path: Path, *, vocab_size: int) -> LoadedTokenizer:
    """Load the tokenizer in a base's folder, or XLM-R's if the folder has none.

    It cuts a text as plain `AutoTokenizer` will where the extended checkpoint is used. Code that a
    repository may carry is never run.

    Args:
        path: The base's folder.
        vocab_size: The rows of the base's embeddings. XLM-R's tokenizer is only taken if they are
            as many as XLM-R has.

    Raises:
        ModelError: The folder has no tokenizer and the base is not XLM-R's size, or its tokenizer
            is damaged, lacks a special token, has more tokens than the base, or is none that plain
            transformers can load.
        HubError: XLM-R's tokenizer is needed and cannot be had.
    """
    folder = find_tokenizer(path, vocab_size=vocab_size)
    note, source = None, str(path)
    if folder != path:
        source = XLMR_REPOSITORY
        note = f"The base has no tokenizer files, so XLM-R's are used ({XLMR_REPOSITORY})."
    files = find_tokenizer_files(folder)
    _refuse_pointers(files)
    tokenizer = _open_as_users_will(files, path / "config.json", source)
    if (folder / "tokenizer.json").is_file():
        as_written = _open_as_written(folder, source)
        # A class adds a special token that is missing, for which the base learnt no embedding.
        _refuse_misfit(as_written, source, vocab_size)
        if _cut_alike(as_written, tokenizer):
            tokenizer = as_written
        else:
            note = " ".join(
                [
                    *filter(None, [note]),
                    f"transformers does not read the tokenizer in {source} as its tokenizer.json "
                    f"says, but as {type(tokenizer).__name__} does. The text is cut as users of "
                    "the extended checkpoint will cut theirs.",
                ]
            )
    _refuse_misfit(tokenizer, source, vocab_size)
    return LoadedTokenizer(
        tokenizer=tokenizer,
        source=source,
        sha256=_hash(tokenizer.backend_tokenizer),
        files=tuple(files),
        note=note,
    )


def _refuse_pointers(files: Sequence[Path]) -> None:
    for file in files:
        try:
            with file.open("rb") as stream:
                is_pointer = stream.read(len(LFS_POINTER)) == LFS_POINTER
        except OSError as error:
            raise ModelError(
                f"{file.name}, of the tokenizer, cannot be read: {error.strerror}.",
                hint=f"Look at {file}.",
            ) from error
        if is_pointer:
            raise ModelError(
                f"{file.name}, of the tokenizer, is a Git LFS pointer, not the file itself.",
                hint=f"Fetch the file with `git lfs pull` in {file.parent}.",
            )


def find_tokenizer(path: Path, *, vocab_size: int) -> Path:
    """Return the folder of a base's tokenizer, which is not loaded: its own, or XLM-R's.

    Raises:
        ModelError, HubError: As `load_tokenizer`.
    """
    if any((path / name).is_file() for name in _VOCABULARY_FILES):
        return path
    if vocab_size != XLMR_VOCAB_SIZE:
        raise ModelError(
            f"{path} has no tokenizer, and with {vocab_size:,} embeddings it does not fit "
            f"XLM-R's of {XLMR_VOCAB_SIZE:,} tokens.",
            hint=f"Put the base's tokenizer there ({' or '.join(_VOCABULARY_FILES)}).",
        )
    return _fetch_xlmr()


def find_tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of the tokenizer in a folder, sorted by name."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and any(fnmatch.fnmatch(file.name, pattern) for pattern in TOKENIZER_PATTERNS)
    ]


def fetch_tokenizer(repository: HubRepository) -> Path:
    """Return the folder with the tokenizer of a model on the Hub, downloaded without the weights.

    Without a network it is the folder of what was downloaded before.

    Raises:
        HubError: It cannot be had.
    """
    # transformers chooses a tokenizer's class by config.json.
    return fetch(repository, patterns=["config.json", *TOKENIZER_PATTERNS])


def _fetch_xlmr() -> Path:
    from huggingface_hub import try_to_load_from_cache

    # It has not changed in years: what is on this machine needs no question to the Hub.
    cached = try_to_load_from_cache(XLMR_REPOSITORY, "tokenizer.json")
    if isinstance(cached, str):
        return Path(cached).parent
    try:
        folder = fetch_tokenizer(HubRepository(XLMR_REPOSITORY))
        if not (folder / "tokenizer.json").is_file():  # other files of it were there, and no Hub
            raise HubError(f"The Hub cannot be reached, and {folder} has no tokenizer.json.")
    except XmodExtendError as error:
        raise HubError(
            f"The base has no tokenizer files, and XLM-R's cannot be had: {error.message}",
            hint=f"Put the tokenizer.json of {XLMR_REPOSITORY} into the base's folder, or connect "
            "to the network once.",
        ) from error
    return folder


def _open_as_users_will(files: Sequence[Path], config: Path, source: str) -> Any:
    """Return the tokenizer that plain `AutoTokenizer` makes of the files that a checkpoint will
    have."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        for file in [*files, *([config] if config.is_file() else [])]:
            _link(file, Path(name) / file.name)
        hint = "Download the base's tokenizer files again."
        if all(file.name != "tokenizer.json" for file in files):
            hint = (
                "Put the base's tokenizer.json there, or install protobuf, without which "
                "sentencepiece.bpe.model cannot be read."
            )
        return _load(AutoTokenizer, Path(name), source, hint)


def _open_as_written(folder: Path, source: str) -> Any:
    """Return the tokenizer exactly as tokenizer.json has it.

    transformers' own class for XLM-R puts its idea of normalisation and pre-tokenisation in the
    place of what tokenizer.json says, and its scores differ in their last bit.
    """
    from transformers import PreTrainedTokenizerFast

    hint = "Download the base's tokenizer files again."
    return _load(PreTrainedTokenizerFast, folder, source, hint)


def _load(loader: Any, folder: Path, source: str, hint: str) -> Any:
    with explain_failure(f"The tokenizer in {source} cannot be loaded", hint=hint):
        with quiet("transformers"), as_utf8(folder) as path:
            tokenizer = loader.from_pretrained(
                str(path), trust_remote_code=False, local_files_only=True
            )
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ModelError(
                f"The tokenizer in {source} is a {type(tokenizer).__name__}, which is not "
                "from the tokenizers library.",
                hint="Use the tokenizer that the base was pretrained with.",
            )
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        vocabulary = tokenizer.get_vocab()
        for role, token in _SPECIAL_TOKENS.items():
            if getattr(tokenizer, role) is None and token in vocabulary:
                setattr(tokenizer, role, token)
    return tokenizer


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.resolve())
    except OSError:  # a system, or a user, without links
        target.write_bytes(source.read_bytes())


def _cut_alike(first: Any, second: Any) -> bool:
    """Return whether two tokenizers make the same tokens of every text, and have the same special
    ones."""
    if any(getattr(first, role) != getattr(second, role) for role in _SPECIAL_TOKENS):
        return False
    settings = [json.loads(loaded.backend_tokenizer.to_str()) for loaded in (first, second)]
    vocabularies = [setting["model"].pop("vocab", None) for setting in settings]
    deciding = ("normalizer", "pre_tokenizer", "added_tokens", "model")
    if any(settings[0][name] != settings[1][name] for name in deciding):
        return False
    if not all(isinstance(vocabulary, list) for vocabulary in vocabularies):
        return bool(vocabularies[0] == vocabularies[1])
    names, scores = ([[row[i] for row in rows] for rows in vocabularies] for i in (0, 1))
    # The same numbers in a file are read with another last bit.
    return names[0] == names[1] and np.allclose(scores[0], scores[1], rtol=1e-9, atol=0)


def _refuse_misfit(tokenizer: PreTrainedTokenizerFast, source: str, vocab_size: int) -> None:
    roles = ("mask_token", "cls_token", "sep_token", "pad_token")
    missing = [role for role in roles if getattr(tokenizer, role) is None]
    if missing:
        names = ", ".join(f"{role} ({_SPECIAL_TOKENS[role]})" for role in missing)
        raise ModelError(
            f"The tokenizer in {source} has no {names}.",
            hint="A masked language model needs the tokenizer that it was pretrained with.",
        )
    others = ("cls_token", "sep_token", "pad_token", "unk_token")
    if tokenizer.mask_token in [getattr(tokenizer, role) for role in others]:
        raise ModelError(
            f"The tokenizer in {source} has {shown(tokenizer.mask_token)} for its mask_token, "
            "which is another special token too.",
            hint="A masked language model needs the tokenizer that it was pretrained with.",
        )
    size = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)
    if size > vocab_size:
        raise ModelError(
            f"The tokenizer in {source} has {size:,} tokens, more than the base's {vocab_size:,} "
            "embeddings.",
            hint="Use the tokenizer that the base was pretrained with.",
        )


def _hash(backend: Tokenizer) -> str:
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


@contextlib.contextmanager
def as_utf8(folder: Path) -> Iterator[Path]:
    """Yield a path to the folder that is UTF-8, for which the tokenizers library takes
    all names."""
    try:
        is_utf8 = str(folder).encode() == os.fsencode(folder)
    except UnicodeEncodeError:
        is_utf8 = False
    if is_utf8:
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        link = Path(name) / "folder"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link
