"""The base's tokenizer, and text turned into its tokens.

X-MOD was pretrained with XLM-R's tokenizer, and some of its checkpoints come without any tokenizer
file; then XLM-R's own is taken from the Hub, which is said aloud.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from xmod_extend.errors import HubError, ModelError, XmodExtendError
from xmod_extend.hub import HubRepository, ask_hub, first_line, hub_error, quiet_hub
from xmod_extend.text.cache import explain_full_disk, quiet_datasets

if TYPE_CHECKING:
    import datasets
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

_TOKENISING_VERSION = 1
_BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer that fits a model."""

    tokenizer: PreTrainedTokenizerFast
    source: str
    """The folder or the Hub repository it comes from."""

    sha256: str
    """Of its serialisation, which decides every token; perplexities compare only if it is equal."""

    files: tuple[Path, ...]
    """What to copy for the tokenizer to travel with a checkpoint."""

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


class TokenCounts(NamedTuple):
    """What a tokenised text holds, without the `</s>` after each document."""

    tokens: int
    unk: int


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
    note = None
    source, folder = str(path), path
    if not any((path / name).is_file() for name in _VOCABULARY_FILES):
        if vocab_size != XLMR_VOCAB_SIZE:
            raise ModelError(
                f"{path} has no tokenizer, and with {vocab_size:,} embeddings it does not fit "
                f"XLM-R's of {XLMR_VOCAB_SIZE:,} tokens.",
                hint=f"Put the base's tokenizer there ({' or '.join(_VOCABULARY_FILES)}).",
            )
        source, folder = XLMR_REPOSITORY, _fetch_xlmr()
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


def tokenize(dataset: datasets.Dataset, loaded: LoadedTokenizer) -> datasets.Dataset:
    """Each document's tokens without special ones, and `</s>` behind them, cached on disk.

    Args:
        dataset: One column, `text`, such as `Corpus.train`.
        loaded: The tokenizer. A special token's name in the text (`<mask>`) is ordinary text.

    Returns:
        One column, `input_ids` (list of int32), as many rows as `dataset`; it lies beside the
        dataset's own file and is found there again.
    """
    import datasets
    import pyarrow as pa

    def encode(batch: pa.Table) -> pa.Table:
        rows = [
            np.append(np.asarray(ids, dtype=np.int32), np.int32(loaded.sep_id))
            for texts in _portions(batch.column("text").to_pylist())
            for ids in _encode(loaded.tokenizer, texts)
        ]
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
        ids = pa.ListArray.from_arrays(offsets, np.concatenate(rows))
        return pa.table({"input_ids": ids})

    key = f"{dataset._fingerprint} {loaded.sha256} {_TOKENISING_VERSION}"
    run = functools.partial(
        dataset.with_format("arrow").map,
        encode,
        batched=True,
        batch_size=1_000,
        remove_columns=dataset.column_names,
        features=datasets.Features({"input_ids": datasets.List(datasets.Value("int32"))}),
        new_fingerprint=hashlib.sha256(key.encode()).hexdigest()[:32],
    )
    with quiet_datasets(), explain_full_disk():
        try:
            tokenised = run()
        except (pa.ArrowException, OSError):
            tokenised = run(load_from_cache_file=False)
        # A cached file that lost its end at the seam of two batches loads without an error.
        if len(tokenised) != len(dataset):
            tokenised = run(load_from_cache_file=False)
    return cast("datasets.Dataset", tokenised.with_format(None))


def count_tokens(tokenised: datasets.Dataset, loaded: LoadedTokenizer) -> TokenCounts:
    """The tokens of a tokenised text, and how many of them stand for unknown characters."""
    tokens = unk = 0
    for chunk in tokenised.with_format("arrow")[:].column("input_ids").chunks:
        ids = chunk.flatten().to_numpy()
        tokens += len(ids) - len(chunk)
        if loaded.tokenizer.unk_token_id is not None:
            unk += int(np.count_nonzero(ids == loaded.tokenizer.unk_token_id))
    return TokenCounts(tokens, unk)


def _portions(texts: list[str]) -> Iterator[list[str]]:
    """Portions of about a million characters: an encoding takes many times its text's memory."""
    portion: list[str] = []
    characters = 0
    for text in texts:
        portion.append(text)
        characters += len(text)
        if characters >= _BATCH_CHARACTERS:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion


def _encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Iterator[list[int]]:
    """Tokens of the texts, where `<mask>` is four or so ordinary tokens.

    XLM-R's special tokens are pieces of its Unigram model too, so that no setting of the tokenizer
    keeps them from being found in a text; a space inside does.
    """
    names = map(re.escape, sorted(set(tokenizer.all_special_tokens), key=len, reverse=True))
    special = re.compile("|".join(names))
    apart = [special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text) for text in texts]
    for encoding in tokenizer.backend_tokenizer.encode_batch_fast(apart, add_special_tokens=False):
        yield encoding.ids


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
