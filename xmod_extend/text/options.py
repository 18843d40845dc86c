"""The options that say which text is read, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xmod_extend.arguments import as_path_or_name
from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, option

EncodingErrors = Literal["strict", "replace"]


@dataclass(frozen=True, kw_only=True)
class TextOptions(OptionGroup):
    """The text to read."""

    PANEL = "Text"

    corpus: tuple[str, ...] = option(
        "Text of the language: .txt, .jsonl, .csv, .tsv, .parquet, a folder or glob of these, or "
        "hf://datasets/USER/NAME. May be given several times.",
        metavar="PATH",
        alias="train_file",
    )
    held_out: str | None = option(
        "Text to measure on.",
        default=None,
        default_text="a part of the corpus, set aside",
        metavar="PATH",
        alias="validation_file",
        read=as_path_or_name,
    )
    text_field: str = option(
        "Field or column with the text; of .csv and .tsv also its number.",
        default="text",
        metavar="NAME",
    )
    encoding_errors: EncodingErrors = option(
        "What to do with invalid UTF-8: refuse it, or replace it by U+FFFD.", default="strict"
    )
    streaming: bool = option(
        "Read the text anew in each epoch and keep nothing of it on the disk; needs a "
        "number of steps.",
        default=False,
    )

    drop_near_duplicates: bool = option(
        "Leave out training lines that nearly repeat a held-out line; the held-out text stays as "
        "it is.",
        default=False,
    )

    lid_model: Path | None = option(
        "fastText model (.bin, .ftz), such as GlotLID's, that tells which lines are of another "
        "language; they are reported. Needs the extra `lid`.",
        default=None,
        default_text="none",
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corpus:
            raise UsageError("--corpus is missing.", hint="Name at least one text file.")
