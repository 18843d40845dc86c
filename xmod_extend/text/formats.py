"""What a file holds by its name, and what to do about one that is not read."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from xmod_extend.errors import CorpusError
from xmod_extend.text.sniffing import HEAD_BYTES, looks_like_text

Format = Literal["text", "jsonl", "csv", "tsv", "parquet", "arrow"]
Compression = Literal["gzip", "bz2", "xz", "zstd"]

FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""What a file holds, by the end of its name before the compression's."""

COMPRESSIONS: dict[str, Compression] = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zst": "zstd",
}

SUPPORTED = ".txt, .jsonl, .csv and .tsv (also .gz, .bz2, .xz or .zst) and .parquet files are read"

# As WikiExtractor's wiki_00 and `split`'s text.001: names without a suffix are text.
_NO_SUFFIX = re.compile(r"[^.]+(\.\d+)?")

_ABOUT_TEXT = re.compile(
    r"readme|licen[cs]e|copying|notice|authors|contributors|changelog|changes|makefile|dockerfile"
    r"|citation|(md5|sha\d+)(sum)?s?|checksums?",
    re.IGNORECASE,
)
"""Names without a suffix that stand beside text in a folder, and are none."""

_MODEL_SUFFIXES = frozenset(
    (".bin", ".safetensors", ".pt", ".pth", ".ckpt", ".onnx", ".model", ".h5", ".npz", ".pkl")
)
_WAYS_TO_TEXT = {
    ".conllu": "Take out its sentences with `sed -n 's/^# text = //p' FILE.conllu > FILE.txt` and "
    "give that.",
    ".json": "Write one JSON object a line to a .jsonl file.",
}
"""What to do about a file that has text, but not as text."""


def find_format(path: Path, name: str) -> Format:
    """Return what a file holds that the user named.

    Args:
        path: The file, which need not exist; without a suffix, it is looked into.
        name: What messages call it.

    Raises:
        CorpusError: It is of an unsupported type.
    """
    stem, suffix = _split_name(path)
    is_packed_table = suffix == ".parquet" and stem != path.name.lower()
    if suffix in FORMATS and not is_packed_table:
        return FORMATS[suffix]
    if path.exists():
        require_regular(path, name)
    if _NO_SUFFIX.fullmatch(stem):
        # WikiExtractor writes JSON lines too, under the same names.
        is_packed = path.suffix.lower() in COMPRESSIONS
        head = b"" if is_packed or not path.exists() else _read_head(path, name)
        return "jsonl" if head.startswith(b'{"') else "text"
    if suffix in _MODEL_SUFFIXES:
        raise CorpusError(
            f"Unsupported file type {suffix!r}: {name} is a part of a model.",
            hint="Give a file of text as the corpus; a model is given with --base.",
        )
    raise CorpusError(
        f"Unsupported file type {''.join(path.suffixes[-2:])!r}: {name}.",
        hint=_WAYS_TO_TEXT.get(suffix, f"{SUPPORTED}; rename plain text to end in .txt."),
    )


def is_text(path: Path) -> bool:
    """Return whether to read a file that was found, and not named by the user."""
    name, suffix = _split_name(path)
    if suffix == ".parquet":
        return name == path.name.lower()
    if suffix in FORMATS:
        return True
    if not _NO_SUFFIX.fullmatch(name) or _ABOUT_TEXT.fullmatch(name):
        return False
    # A name that promises nothing is held to what is in the file; packed, to what comes out of it.
    return name != path.name.lower() or looks_like_text(_read_head(path, str(path)))


def require_regular(path: Path, name: str) -> None:
    """Refuse a pipe or a device.

    Raises:
        CorpusError: It is one.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise CorpusError(
            f"{name} is a pipe or a device, not a regular file.",
            hint="Write the text to a file first: it is read more than once.",
        )


def unreadable(
    name: str, error: OSError, *, hint: str = "Check the file's permissions."
) -> CorpusError:
    """Return the error for a file or folder that the system does not let us read."""
    if isinstance(error, PermissionError):
        return CorpusError(f"{name} may not be read: permission denied.", hint=hint)
    return CorpusError(f"{name} cannot be read: {error.strerror or error}.")


def count_suffixes(files: Sequence[Path]) -> str:
    """Return how many files of which types there are, such as `3 .pdf, 1 .docx`."""
    counts = Counter("".join(path.suffixes[-2:]) or path.name for path in files)
    shown = [f"{count} {suffix}" for suffix, count in counts.most_common(4)]
    return ", ".join(shown) + (", …" if len(counts) > 4 else "")


def _split_name(path: Path) -> tuple[str, str]:
    """Return the name without its compression's suffix, and the suffix that says what it holds."""
    name = path.name.lower()
    if path.suffix.lower() in COMPRESSIONS:
        name = name.removesuffix(path.suffix.lower())
    return name, Path(name).suffix


def _read_head(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise unreadable(name, error) from error
