"""The options of what measures: `eval` and `compare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, at_least, option
from xmod_extend.text.options import EncodingErrors
from xmod_extend.training.options import Precision

Metric = Literal["masked_perplexity", "pseudo_perplexity", "minimal_pairs"]


@dataclass(frozen=True, kw_only=True)
class MeasuringOptions(OptionGroup):
    """The text that is scored, and how."""

    PANEL = "Text"

    text: tuple[str, ...] = option(
        "Text that no adapter was trained on: .txt, .jsonl, .csv, .tsv, .parquet, a folder or glob "
        "of these, or hf://datasets/USER/NAME. May be given several times.",
        metavar="PATH",
    )
    text_field: str = option(
        "Field or column with the text; of .csv and .tsv also its number.",
        default="text",
        metavar="NAME",
    )
    pair_fields: str = option(
        "For minimal_pairs: the columns with the right and the wrong sentence.",
        default="sen,wrong_sen",
        metavar="RIGHT,WRONG",
    )
    encoding_errors: EncodingErrors = option(
        "What to do with invalid UTF-8: refuse it, or replace it by U+FFFD.", default="strict"
    )
    metric: Metric = option(
        "masked_perplexity hides 15 % of the tokens at once, as training does; pseudo_perplexity "
        "hides each token alone, and with the rest of its word; minimal_pairs is how often the "
        "right one of two sentences is the likelier.",
        default="masked_perplexity",
    )
    precision: Precision = option(
        "Precision of the shared weights: fp32 gives the same figures on every machine, auto the "
        "faster bf16 where the hardware computes in it.",
        default="fp32",
    )
    max_length: int | None = option(
        "Tokens that are read at a time.",
        default=None,
        default_text="128, or what the checkpoint can read if that is less",
        rules=[at_least(8, "tokens")],
    )
    max_tokens: int | None = option(
        "Tokens of the text that are taken; of a longer one, parts at even distances.",
        default=None,
        default_text="131,072, and 32,768 for pseudo_perplexity",
        rules=[at_least(100, "tokens")],
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text:
            raise UsageError("--text is missing.", hint="Name at least one text file.")
        if len(self.fields) != 2 or not all(self.fields):
            raise UsageError(
                f"--pair-fields is {self.pair_fields!r}; it must be two names with a comma.",
                hint="For example: --pair-fields sen,wrong_sen",
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns of the right and of the wrong sentence."""
        return tuple(name.strip() for name in self.pair_fields.split(","))
