"""The base's tokenizer, and text turned into its tokens.

X-MOD was pretrained with XLM-R's tokenizer, and some of its checkpoints come without any tokenizer
file; then XLM-R's own is taken from the Hub, which is said aloud.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xmod_extend.errors import HubError, ModelError, XmodExtendError
from xmod_extend.hub import HubRepository, ask_hub, first_line, hub_error, quiet_hub
from xmod_extend.text.arrow import StoredLines, encode_lines, read_arrow
from xmod_extend.text.cache import find_or_make_entry
from xmod_extend.text.encoding import Encoder
from xmod_extend.text.fingerprinting import combine
from xmod_extend.text.tokens import StoredTokens, Tokens, write_tokens
from xmod_extend.text.workers import choose_num_workers, map_in_order

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

_TOKENISING_VERSION = 3
ENCODING_COSTS = 4
"""Times as much as what else is done to a text: a smaller one is worth more processes."""


@dataclass(frozen=True, kw_only=True)
class TokenizerRecord:
    """Which tokenizer a text was read with. XLM-R's itself takes 0.4 GB, and is not kept."""

    source: str
    """The folder or the Hub repository it comes from."""

    sha256: str
    """Of its serialisation, which decides every token; perplexities compare only if it is equal."""

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
        """Of `<s>`, which opens every block."""
        return cast(int, self.tokenizer.cls_token_id)

    @property
    def sep_id(self) -> int:
        """Of `</s>`, which ends every document."""
        return cast(int, self.tokenizer.sep_token_id)

    @property
    def pad_id(self) -> int:
        return cast(int, self.tokenizer.pad_token_id)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Of the tokens that are never masked."""
        return tuple(sorted(set(self.tokenizer.all_special_ids)))

    @property
    def record(self) -> TokenizerRecord:
        """All but the tokenizer itself."""
        return TokenizerRecord(source=self.source, sha256=self.sha256, files=self.files)

    def encoder(self) -> Encoder:
        """What finds the tokens of lines."""
        return Encoder(
            self.tokenizer.backend_tokenizer,
            special_tokens=self.tokenizer.all_special_tokens,
            sep_id=self.sep_id,
            unk_id=cast("int | None", self.tokenizer.unk_token_id),
        )


def load_tokenizer(path: Path, *, vocab_size: int) -> LoadedTokenizer:
    """Load the tokenizer in a base's folder, or XLM-R's if the folder has none.

    Code that a repository may carry is never run.

    Args:
        path: The base's folder.
        vocab_size: The rows of the base's embeddings. XLM-R's tokenizer is only taken if they are
            as many as XLM-R has.

    Raises:
        ModelError: The folder has no tokenizer and the base is not XLM-R's size, or its tokenizer
            is damaged, lacks a special token, or has more tokens than the base.
        HubError: XLM-R's tokenizer is needed and cannot be had.
    """
    folder = find_tokenizer(path, vocab_size=vocab_size)
    note, source = None, str(path)
    if folder != path:
        source = XLMR_REPOSITORY
        note = f"The base has no tokenizer files, so XLM-R's are used ({XLMR_REPOSITORY})."
    tokenizer = _open(folder, source)
    _refuse_misfit(tokenizer, source, vocab_size)
    return LoadedTokenizer(
        tokenizer=tokenizer,
        source=source,
        sha256=_hash(tokenizer.backend_tokenizer),
        files=tuple(find_tokenizer_files(folder)),
        note=note,
    )


def find_tokenizer(path: Path, *, vocab_size: int) -> Path:
    """The folder of a base's tokenizer, which is not loaded: its own, or XLM-R's.

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
    """The files of the tokenizer in a folder, sorted by name."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and any(fnmatch.fnmatch(file.name, each) for each in TOKENIZER_PATTERNS)
    ]


def fetch_tokenizer(repository: HubRepository) -> Path:
    """The folder with the tokenizer of a model on the Hub, downloaded without the weights.

    Without a network it is the folder of what was downloaded before.

    Raises:
        HubError: It cannot be had.
    """
    from huggingface_hub import snapshot_download

    problem: Exception | None = None
    try:
        with quiet_hub():
            problem = ask_hub(repository)
            return Path(
                snapshot_download(
                    repository.repo_id,
                    revision=repository.revision,
                    # transformers chooses a tokenizer's class by config.json.
                    allow_patterns=["config.json", *TOKENIZER_PATTERNS],
                    endpoint=repository.endpoint,
                    local_files_only=problem is not None,
                )
            )
    except Exception as error:  # the Hub's client raises the errors of many libraries
        raise hub_error(problem or error, repository) from error


def tokenize(
    lines: StoredLines, loaded: LoadedTokenizer, *, num_workers: int | None = None
) -> StoredTokens:
    """Each document's tokens without special ones, and `</s>` behind them, cached on disk.

    Args:
        lines: `Corpus.train`, `Corpus.held_out` or `Text.lines`.
        loaded: The tokenizer. A special token's name in the text (`<mask>`) is ordinary text.
        num_workers: Processes to use; by the size of the text if None. The result is the same.

    Returns:
        Tokens of as many documents as there are lines; they lie beside the lines' own file and are
        found there again.

    Raises:
        CorpusError: The disk is full, or the lines are not what was written.
    """
    if num_workers is None:
        # XLM-R's 250,002 pieces take 280 MB in each process.
        worker_mb = 130 + len(loaded.tokenizer) // 1_000
        num_bytes = ENCODING_COSTS * lines.path.stat().st_size
        num_workers = choose_num_workers(num_bytes, worker_mb=worker_mb)
    encode = loaded.encoder()
    # The same tokenizer.json may be used with other special tokens.
    key = combine(_TOKENISING_VERSION, lines.fingerprint, loaded.sha256, encode.settings)

    def make(folder: Path) -> dict[str, int]:
        pieces = (piece for column in read_arrow(lines.path) for piece in encode_lines(column))
        return write_tokens(folder, map_in_order(encode, pieces, num_workers=num_workers))

    cache_dir = lines.path.parent.parent
    return StoredTokens(find_or_make_entry(cache_dir / f"tokens-{key}", make))


def tokenize_lines(lines: Sequence[bytes], loaded: LoadedTokenizer) -> Tokens:
    """The same of a few lines of UTF-8 in memory."""
    return loaded.encoder()(b"".join(line + b"\n" for line in lines))


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


def _open(folder: Path, source: str) -> PreTrainedTokenizerFast:
    """The tokenizer exactly as tokenizer.json has it, else built from the SentencePiece model.

    transformers' own class for XLM-R puts its idea of normalisation and pre-tokenisation in the
    place of what tokenizer.json says.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    loader: Any = PreTrainedTokenizerFast
    hint = "Download the base's tokenizer files again."
    if not (folder / "tokenizer.json").is_file():
        loader = AutoTokenizer
        hint = (
            "Put the base's tokenizer.json there, or install protobuf, without which "
            "sentencepiece.bpe.model cannot be read."
        )
    try:
        with _quiet_transformers():
            tokenizer = loader.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
            vocabulary = tokenizer.get_vocab()
            for role, token in _SPECIAL_TOKENS.items():
                if getattr(tokenizer, role) is None and token in vocabulary:
                    setattr(tokenizer, role, token)
    except Exception as error:
        raise ModelError(
            f"The tokenizer in {source} cannot be loaded: {first_line(error)}.",
            hint=hint,
        ) from error
    return cast("PreTrainedTokenizerFast", tokenizer)


def _refuse_misfit(tokenizer: PreTrainedTokenizerFast, source: str, vocab_size: int) -> None:
    roles = ("mask_token", "cls_token", "sep_token", "pad_token")
    missing = [role for role in roles if getattr(tokenizer, role) is None]
    if missing:
        names = ", ".join(f"{role} ({_SPECIAL_TOKENS[role]})" for role in missing)
        raise ModelError(
            f"The tokenizer in {source} has no {names}.",
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
def _quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
