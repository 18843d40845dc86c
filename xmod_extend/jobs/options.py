"""The options of `add`: one list for the command line, the YAML file and `add_language()`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xmod_extend.arguments import as_path_or_name, as_text, shown
from xmod_extend.errors import UsageError
from xmod_extend.jobs.push_options import PublishOptions
from xmod_extend.options import OptionGroup, flag, option, options_of
from xmod_extend.report.licenses import as_license
from xmod_extend.report.markdown import plain_text
from xmod_extend.text.options import TextOptions
from xmod_extend.training.options import PER_PROCESS, TrainingOptions, with_global_batch

MOST_SAID = 300
"""Characters of what is told of a text."""
Tracker = Literal["tensorboard", "trackio", "wandb"]


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(OptionGroup):
    """The language to add."""

    PANEL = "What"

    lang: str = option(
        "Code of the new language in X-MOD's form, such as quz_PE. Several, each with its "
        "--corpus, are added at once.",
        metavar="CODE",
    )


@dataclass(frozen=True, kw_only=True)
class BaseOptions(OptionGroup):
    """The X-MOD to extend."""

    PANEL = "What"

    base: str = option(
        "Hub id or folder of the X-MOD to extend, or `tiny` (bundled).",
        default="facebook/xmod-base",
        metavar="BASE",
        alias="model_name_or_path",
        read=as_path_or_name,
    )
    revision: str | None = option(
        "Branch, tag or commit of a base on the Hub.",
        default=None,
        default_text="its main branch",
        metavar="NAME",
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions(OptionGroup):
    """The folder of the new checkpoint."""

    PANEL = "Output"

    output: Path | None = option(
        "Folder of the new checkpoint.",
        default=None,
        default_text="BASE-LANG",
        metavar="DIR",
        alias="output_dir",
    )
    force: bool = option(
        "Replace the output folder if it is not empty; without --resume, drop a saved state.",
        default=False,
    )


@dataclass(frozen=True, kw_only=True)
class DefaultLanguageOptions(OptionGroup):
    """The default language of the new checkpoint."""

    PANEL = "Output"

    default_language: str | None = option(
        "Language that inputs without lang_ids are read as, also by users of the old languages; it "
        "makes pipelines and the Hub's widget work as they are.",
        default=None,
        default_text="what the base has",
        metavar="CODE",
    )


@dataclass(frozen=True, kw_only=True)
class RunningOptions(OptionGroup):
    """The course of a run, which changes nothing about its result."""

    PANEL = "Running"

    plan: bool = option("Do everything short of training, and write nothing.", default=False)
    resume: bool = option(
        "Go on from the newest saved state of this run, if there is one.", default=False
    )
    save_minutes: float = option(
        "Minutes of training between two saved states, in OUTPUT.run.",
        default=10.0,
        rules=[(lambda minutes: 0 <= minutes < float("inf"), "0 or more")],
    )
    learning_curve: bool = option(
        "Train again on a quarter and on half of the text, to see whether more text would help; it "
        "takes up to two times as long again.",
        default=False,
    )
    report_to: Tracker | None = option(
        "Also show the figures of training in a tracker (tensorboard writes to OUTPUT.logs); "
        "metrics.jsonl has them in any case.",
        default=None,
        default_text="none",
    )


@dataclass(frozen=True, kw_only=True)
class CorpusOptions(TextOptions, BaseOptions):
    """The options of `check` and `probe`: a text, and the base to look at it with."""


@dataclass(frozen=True, kw_only=True)
class ReferenceOptions(OptionGroup):
    """The scale that a result is shown on."""

    PANEL = "Text"

    reference: tuple[str, ...] = option(
        "Text of a language that the base has, scored too, so that a perplexity has a scale. May "
        "be given several times.",
        default=(),
        default_text="none",
        metavar="CODE=PATH",
    )


def _as_line(label: str, value: object) -> str:
    """Return a text for the card in one line.

    Raises:
        UsageError: It is empty, too long, or has line ends or control characters.
    """
    text = as_text(label, value).strip()
    if not 0 < len(text) <= MOST_SAID or plain_text(text) != text:
        raise UsageError(
            f"{label} is {shown(text)}; it must be one line of 1 to {MOST_SAID} characters, none "
            "of which is a control character.",
            hint="It is shown in the model card as it is.",
        )
    return text


@dataclass(frozen=True, kw_only=True)
class CardOptions(OptionGroup):
    """What the model card says that nobody but the user knows."""

    PANEL = "Output"

    license: str | None = option(
        "Licence of the new checkpoint, for its card: a name that the Hub knows, such as "
        "cc-by-4.0, or other:NAME. It is yours to name: nothing is assumed.",
        default=None,
        default_text="not said",
        metavar="NAME",
        read=as_license,
    )
    corpus_license: str | None = option(
        "Licence of the text, for the card.",
        default=None,
        default_text="not said",
        metavar="TEXT",
        read=_as_line,
    )
    corpus_source: str | None = option(
        "Where the text is from, for the card: a title, an address.",
        default=None,
        default_text="not said",
        metavar="TEXT",
        read=_as_line,
    )


# A dataclass takes its fields from the last base to the first.
@dataclass(frozen=True, kw_only=True)
class AddOptions(
    ReferenceOptions,
    RunningOptions,
    PublishOptions,
    DefaultLanguageOptions,
    CardOptions,
    OutputOptions,
    TrainingOptions,
    CorpusOptions,
    LanguageOptions,
):
    """All options of `add`, flat, whichever group they are from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streaming and self.max_steps is None:
            raise UsageError(
                "--streaming needs --max-steps: the length of a stream is not known.",
                hint="Give the number of optimiser steps with --max-steps.",
            )
        if self.streaming and self.learning_curve:
            raise UsageError(
                "--learning-curve does not go with --streaming: of a stream nobody knows what half "
                "of it is.",
                hint="Leave one of the two out.",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the options as a record keeps them."""
        values = dataclasses.asdict(self)
        values["corpus"] = list(self.corpus)
        values["reference"] = list(self.reference)
        for name in ("output", "lid_model"):
            values[name] = None if values[name] is None else str(values[name])
        return values


_OPTIONS = options_of(AddOptions)
ALIASES = {option.alias: name for name, option in _OPTIONS.items() if option.alias is not None}
"""Name of an option in transformers' and AdapterHub's scripts to its name here."""
_SAME_THING = PER_PROCESS | {theirs: ours for ours, theirs in PER_PROCESS.items()}


def merge_options(config_file: Path | None, typed: Mapping[str, Any]) -> AddOptions:
    """Combine the defaults, a YAML file and what was typed or passed in a call; the later wins.

    Args:
        config_file: YAML mapping with the names of `AddOptions`' fields (`-` counts as `_`).
        typed: Options of the command line or the call.

    Raises:
        UsageError: An unknown name, a wrong type or value, or a required one missing.
    """
    from_file = {} if config_file is None else read_options(read_yaml(config_file), config_file)
    values = with_global_batch(overlay(from_file, named_options(typed)))
    for required in ("lang", "corpus"):
        if values.get(required) is None:
            raise UsageError(
                f"--{required} is missing.",
                hint="For example: xmod-extend add --lang quz_PE --corpus data/quechua.txt",
            )
    return AddOptions(**values)


def overlay(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of all layers; where two are about the same thing, the later layer's."""
    merged: dict[str, Any] = {}
    for layer in layers:
        replaced = {_SAME_THING.get(name) for name in layer}
        merged = {name: value for name, value in merged.items() if name not in replaced}
        merged |= layer
    return merged


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


def read_options(loaded: Any, where: str | Path) -> dict[str, Any]:
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
    return named_options(loaded, where)


def named_options(options: Mapping[str, Any], where: str | Path | None = None) -> dict[str, Any]:
    """Return options under the names that the fields have.

    Those of `PER_PROCESS` keep their names: `with_global_batch` knows what they come to.

    Args:
        options: By field or by alias, spelled with `_` or `-`.
        where: The file that they are from, whose types are checked here.

    Raises:
        UsageError: A name is unknown, a value wrong, or an option given under both of its names.
    """
    named: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for typed, value in options.items():
        name = _known(str(typed), where)
        field = ALIASES.get(name, name)
        label = flag(name) if where is None else f"{typed} in {where}"
        if value is not None and (where is not None or name in ALIASES):
            value = _OPTIONS[field].plain(value, label)
        if value is not None and name in ALIASES:
            _OPTIONS[field].check(value, label)
        target = name if name in PER_PROCESS.values() else field
        if named.get(target) is None:
            named[target], spelled[target] = value, label
        elif value is not None:
            raise UsageError(
                f"{spelled[target]} and {label} are both given: these are two names of one option.",
                hint="Give one of the two.",
            )
    return named


def _known(typed: str, where: str | Path | None) -> str:
    name = typed.replace("-", "_")
    if name in _OPTIONS or name in ALIASES:
        return name
    nearest = difflib.get_close_matches(name, [*_OPTIONS, *ALIASES], n=1)
    raise UsageError(
        f"{typed!r} is an unknown option{'' if where is None else f' in {where}'}.",
        hint=f"Did you mean {nearest[0]!r}?" if nearest else f"There are {', '.join(_OPTIONS)}.",
    )
