"""The options of `add`: one list for the command line, the YAML file and `add_language()`.

Each field's metadata holds the help text that all three show.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from xmod_extend.errors import UsageError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
EncodingErrors = Literal["strict", "replace"]
Tracker = Literal["tensorboard", "trackio", "wandb"]
INITS = ("random", "nearest", "mean")
MAX_STEPS = 1_000_000_000
MAX_BATCH_SIZE = 65_536
MAX_EPOCHS = 1e6
MAX_LR = 1e30
"""What is above these is a slip of the hand; it would end in a full memory or an overflow."""


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """What to add to which base, and how; wrong values raise `UsageError`."""

    lang: str = field(metadata=_help("Code of the new language in X-MOD's form, such as quz_PE."))
    corpus: tuple[str, ...] = field(
        metadata=_help(
            "Text of the language: .txt, .txt.gz, .jsonl or .parquet, a folder or glob of these, "
            "or hf://datasets/USER/NAME. May be given several times."
        )
    )
    base: str = field(
        default="facebook/xmod-base",
        metadata=_help("Hub id or folder of the X-MOD to extend, or `tiny` (bundled)."),
    )
    revision: str | None = field(
        default=None, metadata=_help("Branch, tag or commit of a base on the Hub.")
    )
    output: Path | None = field(
        default=None, metadata=_help("Folder of the new checkpoint; default BASE-LANG.")
    )
    held_out: str | None = field(
        default=None,
        metadata=_help("Text to measure on; without it, part of the corpus is set aside."),
    )
    text_field: str = field(
        default="text", metadata=_help("Field or column with the text in .jsonl and .parquet.")
    )
    encoding_errors: EncodingErrors = field(
        default="strict",
        metadata=_help("What to do with invalid UTF-8: refuse it, or replace it by U+FFFD."),
    )
    streaming: bool = field(
        default=False,
        metadata=_help(
            "Read the text anew in each epoch and keep nothing of it on the disk; needs "
            "--max-steps."
        ),
    )
    init: str = field(
        default="random",
        metadata=_help(
            "What the new adapter starts from: random, nearest (the best existing adapter), mean "
            "(of all) or from:CODE."
        ),
    )
    max_steps: int | None = field(
        default=None,
        metadata=_help("Number of optimiser steps; default by the size of the corpus."),
    )
    epochs: float | None = field(
        default=None, metadata=_help("Passes over the corpus, instead of --max-steps.")
    )
    batch_size: int = field(default=16, metadata=_help("Packed sequences per optimiser step."))
    max_length: int | None = field(
        default=None,
        metadata=_help(
            "Tokens per sequence; default 128, or what the base can read if that is less."
        ),
    )
    lr: float | None = field(
        default=None, metadata=_help("Peak learning rate; default by the width of the base.")
    )
    mlm_probability: float = field(
        default=0.3,
        metadata=_help(
            "Share of the tokens that is masked in training; measuring always masks 0.15."
        ),
    )
    dropout: bool = field(
        default=False,
        metadata=_help(
            "Train with the base's dropout; off by default, which is faster and better."
        ),
    )
    precision: Precision = field(
        default="auto",
        metadata=_help("Of the frozen weights; auto is bf16 where the hardware computes in it."),
    )
    seed: int = field(
        default=0, metadata=_help("Decides the start values, the order, the masks and the dropout.")
    )
    accumulation: int = field(
        default=1,
        metadata=_help(
            "Parts that a batch is worked through in: less memory, the same result within rounding."
        ),
    )
    gradient_checkpointing: bool = field(
        default=False,
        metadata=_help("Compute the layers again for the backward pass: less memory, more time."),
    )
    report_to: Tracker | None = field(
        default=None,
        metadata=_help(
            "Also show the figures of training in tensorboard (logs in OUTPUT.logs), trackio or "
            "wandb; metrics.jsonl has them in any case."
        ),
    )
    save_minutes: float = field(
        default=10.0,
        metadata=_help("Minutes of training between two saved states, in OUTPUT.run."),
    )
    resume: bool = field(
        default=False,
        metadata=_help("Go on from the newest saved state of this run, if there is one."),
    )
    force: bool = field(
        default=False,
        metadata=_help(
            "Replace the output folder if it is not empty; without --resume, drop a saved state."
        ),
    )
    plan: bool = field(
        default=False, metadata=_help("Do everything short of training, and write nothing.")
    )

    def __post_init__(self) -> None:
        _require(bool(self.corpus), "--corpus is missing.", "Name at least one text file.")
        for name, choices in (
            ("precision", get_args(Precision)),
            ("encoding_errors", get_args(EncodingErrors)),
            ("report_to", (*get_args(Tracker), None)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise _bad(name, value, "one of " + ", ".join(filter(None, choices)))
        if self.init not in INITS and not re.fullmatch(r"from:\S+", self.init):
            raise _bad("init", self.init, "random, nearest, mean or from:CODE")
        if self.max_steps is not None and self.epochs is not None:
            raise UsageError(
                "--max-steps and --epochs are both given.", hint="Give one of the two."
            )
        if self.streaming and self.max_steps is None:
            raise UsageError(
                "--streaming is given without --max-steps: how long a stream is, is not known.",
                hint="Give the number of optimiser steps with --max-steps.",
            )
        if not 0 <= self.save_minutes < float("inf"):
            raise _bad("save_minutes", self.save_minutes, "0 or more")
        for name, most in (
            ("max_steps", MAX_STEPS),
            ("batch_size", MAX_BATCH_SIZE),
            ("accumulation", MAX_BATCH_SIZE),
        ):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise _bad(name, value, "at least 1" if value < 1 else f"at most {most:,}")
        if self.max_length is not None and self.max_length < 8:
            raise _bad("max_length", self.max_length, "at least 8 tokens")
        for name, highest in (("epochs", MAX_EPOCHS), ("lr", MAX_LR)):
            value = getattr(self, name)
            if value is not None and not 0 < value <= highest:
                raise _bad(name, value, f"above 0 and at most {highest:g}")
        if not 0 < self.mlm_probability < 1:
            raise _bad("mlm_probability", self.mlm_probability, "between 0 and 1")
        if not 0 <= self.seed < 2**32:
            raise _bad("seed", self.seed, "from 0 to 4294967295")

    def to_json(self) -> dict[str, Any]:
        """The options as a record keeps them."""
        values = dataclasses.asdict(self)
        values["corpus"] = list(self.corpus)
        values["output"] = None if self.output is None else str(self.output)
        return values


def merge_options(config_file: Path | None, given: Mapping[str, Any]) -> AddOptions:
    """Combines the defaults, a YAML file and what was given directly; the later wins.

    Args:
        config_file: YAML mapping with the names of `AddOptions`' fields (`-` counts as `_`).
        given: Values that were given on the command line or in the call.

    Raises:
        UsageError: An unknown name, a wrong type or value, or a required one missing.
    """
    values = {} if config_file is None else typed_options(read_yaml(config_file), config_file)
    values |= check_names(given)
    for required in ("lang", "corpus"):
        if values.get(required) in (None, ()):
            raise UsageError(
                f"--{required} is missing.",
                hint="For example: xmod-extend add --lang quz_PE --corpus data/quechua.txt",
            )
    values["corpus"] = as_paths(values["corpus"])
    if values.get("output") == "":
        raise UsageError("--output is empty.", hint="Give the name of a folder, or leave it out.")
    if "\0" in str(values.get("output")):
        raise UsageError("--output has a zero byte in it.", hint="Give the name of a folder.")
    if values.get("output") is not None:
        values["output"] = Path(values["output"])
    if values.get("held_out") is not None:
        values["held_out"] = str(values["held_out"])
    return AddOptions(**values)


def check_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were given in a call, under the names that the fields have.

    Raises:
        UsageError: A name is unknown.
    """
    return {_known(name, "option"): value for name, value in given.items()}


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        UsageError: It cannot be read, or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The file {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is not valid YAML: {reason}.") from error


def typed_options(loaded: Any, where: str | Path) -> dict[str, Any]:
    """A mapping of options as a file has it, with known names and checked types.

    Raises:
        UsageError: It is no mapping, or a name or a type in it is wrong.
    """
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping):
        raise UsageError(
            f"{where} holds a {type(loaded).__name__}, not a mapping of options to values.",
            hint="Write one option a line, such as `lang: quz_PE`.",
        )
    return {
        (known := _known(str(name), f"option in {where}")): _typed(known, value, where)
        for name, value in loaded.items()
    }


def _known(name: str, where: str) -> str:
    spelled = name.replace("-", "_")
    names = [item.name for item in dataclasses.fields(AddOptions)]
    if spelled in names:
        return spelled
    nearest = difflib.get_close_matches(spelled, names, n=1)
    raise UsageError(
        f"{name!r} is an unknown {where}.",
        hint=f"Did you mean {nearest[0]!r}?" if nearest else f"There are {', '.join(names)}.",
    )


def _typed(name: str, value: Any, path: str | Path) -> Any:
    """Checks a YAML value against the field's type; 1 may stand for 1.0, and "1e-3" for 1e-3."""
    if value is None:
        return _default(name)
    annotation = str(
        next(item.type for item in dataclasses.fields(AddOptions) if item.name == name)
    )
    try:
        if name == "corpus":
            paths = value if isinstance(value, list | tuple) else [value]
            return tuple(str(_exactly((str, Path), path)) for path in paths)
        if annotation.startswith("bool"):
            return _exactly(bool, value)
        if annotation.startswith("int"):
            return _exactly(int, value)
        if annotation.startswith("float"):
            # YAML 1.1 reads 1e-3, without a point, as a word.
            return float(_exactly((int, float, str), value))
        return str(_exactly((str, Path), value))
    except (TypeError, ValueError):
        kind = annotation.split("|")[0].strip()
        if kind not in ("bool", "int", "float"):
            kind = "a list of str" if isinstance(value, list) and name == "corpus" else "str"
        raise UsageError(
            f"{name} in {path} is {value!r}; it must be of type {kind}.",
            hint="Put it in quotes." if kind == "str" and not isinstance(value, Iterable) else None,
        ) from None


def _exactly(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def _default(name: str) -> Any:
    default = next(item.default for item in dataclasses.fields(AddOptions) if item.name == name)
    return None if default is dataclasses.MISSING else default


def _require(holds: bool, message: str, hint: str) -> None:
    if not holds:
        raise UsageError(message, hint=hint)


def _bad(name: str, value: object, needed: str) -> UsageError:
    flag = "--" + name.replace("_", "-")
    return UsageError(f"{flag} is {value!r}; it must be {needed}.")


def as_paths(corpus: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One path or several, as the tuple that `AddOptions.corpus` holds."""
    return (str(corpus),) if isinstance(corpus, str | Path) else tuple(str(path) for path in corpus)


def option_help(name: str) -> str:
    """The help text of one option, with its default."""
    (item,) = (item for item in dataclasses.fields(AddOptions) if item.name == name)
    return str(item.metadata["help"])
