"""The options of `add`: one list for the command line, the YAML file and `add_language()`.

Each field's metadata holds the help text that all three show.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from xmod_extend.arguments import (
    as_bool,
    as_float,
    as_int,
    as_path,
    as_place,
    as_places,
    as_text,
    shown,
)
from xmod_extend.errors import UsageError
from xmod_extend.training.configuration import MAX_STEPS

Precision = Literal["auto", "fp32", "bf16", "fp16"]
EncodingErrors = Literal["strict", "replace"]
Tracker = Literal["tensorboard", "trackio", "wandb"]
INITS = ("random", "nearest", "mean")
MAX_BATCH_SIZE = 65_536
MAX_EPOCHS = 1e6
MAX_LR = 1e30
"""What is above these is a slip of the hand; it would end in a full memory or an overflow."""


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """What to add to which base, and how; wrong types and values raise `UsageError`.

    None stands for the default, as an empty value does in a YAML file. numpy's numbers and paths of
    any kind become plain ones.
    """

    lang: str = field(metadata=_help("Code of the new language in X-MOD's form, such as quz_PE."))
    corpus: tuple[str, ...] = field(
        metadata=_help(
            "Text of the language: .txt, .jsonl, .csv, .tsv, .parquet, a folder or glob of these, "
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
        default="text",
        metadata=_help("Field or column with the text; of .csv and .tsv also its number."),
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
        for item in dataclasses.fields(self):
            value = plain_option(item.name, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        if self.max_steps is not None and self.epochs is not None:
            raise UsageError(
                "--max-steps and --epochs are both given.", hint="Give one of the two."
            )
        if self.streaming and self.max_steps is None:
            raise UsageError(
                "--streaming is given without --max-steps: how long a stream is, is not known.",
                hint="Give the number of optimiser steps with --max-steps.",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the options as a record keeps them."""
        values = dataclasses.asdict(self)
        values["corpus"] = list(self.corpus)
        values["output"] = None if self.output is None else str(self.output)
        return values


def merge_options(config_file: Path | None, given: Mapping[str, Any]) -> AddOptions:
    """Combine the defaults, a YAML file and what was given directly; the later wins.

    Args:
        config_file: YAML mapping with the names of `AddOptions`' fields (`-` counts as `_`).
        given: Values that were given on the command line or in the call.

    Raises:
        UsageError: An unknown name, a wrong type or value, or a required one missing.
    """
    values = {} if config_file is None else typed_options(read_yaml(config_file), config_file)
    values |= check_names(given)
    for required in ("lang", "corpus"):
        if values.get(required) is None:
            raise UsageError(
                f"--{required} is missing.",
                hint="For example: xmod-extend add --lang quz_PE --corpus data/quechua.txt",
            )
    return AddOptions(**values)


def check_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were given in a call, under the names that the fields have.

    Raises:
        UsageError: A name is unknown.
    """
    return {_known(name, "option"): value for name, value in given.items()}


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

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
    """Return a mapping of options as a file has it, with known names and checked types.

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
        (known := _known(str(name), f"option in {where}")): (
            None if value is None else _plain(known, value, f"{known} in {where}")
        )
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


def plain_option(name: str, value: object) -> Any:
    """Return a value of one option in its field's own type; None becomes the default.

    Raises:
        UsageError: Its type or value is wrong.
    """
    default = _field(name).default
    if value is None and default is not dataclasses.MISSING:
        return default
    plain = _plain(name, value, _flag(name))
    _check_value(name, plain)
    return plain


def plain_options(**given: object) -> dict[str, Any]:
    """Return several options by name, each as `plain_option` makes it."""
    return {name: plain_option(name, value) for name, value in given.items()}


_PLAIN: dict[str, Callable[[str, object], object]] = {
    "bool": as_bool,
    "int": as_int,
    "float": as_float,
    "Path": as_path,
    "tuple[str, ...]": as_places,
}
"""What makes a value plain, by the field's type; whatever else there is, is text."""
_CHOICES = {
    "precision": get_args(Precision),
    "encoding_errors": get_args(EncodingErrors),
    "report_to": get_args(Tracker),
}


def _plain(name: str, value: object, spelled: str) -> Any:
    """Return a value of the option `name`, which a message calls `spelled`, in the field's own
    type."""
    if name in ("base", "held_out"):
        return as_place(spelled, value)
    kind = str(_field(name).type).removesuffix(" | None")
    return _PLAIN.get(kind, as_text)(spelled, value)


def _check_value(name: str, value: Any) -> None:
    """Refuse a value of the right type that makes no sense, whatever the other options are."""
    if name == "corpus" and not value:
        raise UsageError("--corpus is missing.", hint="Name at least one text file.")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise _bad(name, value, "one of " + ", ".join(_CHOICES[name]))
    if name == "init" and value not in INITS and not re.fullmatch(r"from:\S+", value):
        raise _bad(name, value, "random, nearest, mean or from:CODE")
    if name in ("max_steps", "batch_size", "accumulation"):
        most = MAX_STEPS if name == "max_steps" else MAX_BATCH_SIZE
        if not 1 <= value <= most:
            raise _bad(name, value, "at least 1" if value < 1 else f"at most {most:,}")
    if name == "max_length" and value < 8:
        raise _bad(name, value, "at least 8 tokens")
    if name in ("epochs", "lr"):
        highest = MAX_EPOCHS if name == "epochs" else MAX_LR
        if not 0 < value <= highest:
            raise _bad(name, value, f"above 0 and at most {highest:g}")
    if name == "save_minutes" and not 0 <= value < float("inf"):
        raise _bad(name, value, "0 or more")
    if name == "mlm_probability" and not 0 < value < 1:
        raise _bad(name, value, "between 0 and 1")
    if name == "seed" and not 0 <= value < 2**32:
        raise _bad(name, value, "from 0 to 4294967295")


def _field(name: str) -> dataclasses.Field[Any]:
    (found,) = (item for item in dataclasses.fields(AddOptions) if item.name == name)
    return found


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _bad(name: str, value: object, needed: str) -> UsageError:
    return UsageError(f"{_flag(name)} is {shown(value)}; it must be {needed}.")


def option_help(name: str) -> str:
    """Return the help text of one option, with its default."""
    return str(_field(name).metadata["help"])
