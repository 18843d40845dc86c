"""Several languages to add to one base, from a YAML file or from pairs of options.

    base: tiny
    output: out/extended
    languages:
      - {lang: quz_PE, corpus: quz.txt}
      - {lang: ay_BO, corpus: ay.txt, max_steps: 500}

What stands at the top holds for all; what was typed or passed in a call comes before both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmod_extend.errors import UsageError
from xmod_extend.jobs.checks import naming_entry
from xmod_extend.jobs.options import (
    AddOptions,
    BaseOptions,
    DefaultLanguageOptions,
    OutputOptions,
    RunningOptions,
    merge_options,
    overlay,
    read_options,
    read_yaml,
)
from xmod_extend.jobs.push_options import PublishOptions
from xmod_extend.options import options_of

RUN_OPTIONS = (
    *options_of(BaseOptions),
    *options_of(OutputOptions),
    *options_of(PublishOptions),
    *options_of(DefaultLanguageOptions),
    *options_of(RunningOptions),
    "precision",
    "license",
)
"""Options that cannot differ between the languages of one run."""
LANGUAGE_OPTIONS = ("lang", "corpus", "held_out")
"""Options that make no sense for several languages at once."""


def read_plan_file(path: Path, typed: Mapping[str, Any]) -> list[AddOptions]:
    """Return the options of each language in a YAML file.

    Args:
        path: The file.
        typed: Options for all of them that were typed or passed in a call.

    Raises:
        UsageError: The file cannot be read, or an option in it is unknown, wrong or misplaced.
    """
    loaded = read_yaml(path)
    if not isinstance(loaded, dict) or "languages" not in loaded:
        raise UsageError(
            f"{path} has no list of languages.",
            hint="Write `languages:` and below it one `- {lang: CODE, corpus: PATH}` a line.",
        )
    entries = loaded.pop("languages")
    common = read_options(loaded, path)
    return combine_options(entries, common, typed, where=path)


def combine_options(
    entries: Any, common: Mapping[str, Any], typed: Mapping[str, Any], *, where: str | Path
) -> list[AddOptions]:
    """Return the options of each language: those for all, and its own.

    Args:
        entries: One mapping of options a language.
        common: Options for all of them.
        typed: Options for all of them that come before an entry's own.
        where: What the entries are called in a message.

    Raises:
        UsageError: An option is unknown, wrong or misplaced; the message names the entry.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise UsageError(
            f"The languages in {where} are not a list with at least one entry.",
            hint="Write one `- {lang: CODE, corpus: PATH}` a line.",
        )
    for name in LANGUAGE_OPTIONS:
        if name in common or name in typed:
            raise UsageError(
                f"--{name.replace('_', '-')} is given for all languages of {where}.",
                hint="Give it in the entry of the language that it is for.",
            )
    merged = []
    for number, entry in enumerate(entries, start=1):
        lang = entry.get("lang") if isinstance(entry, Mapping) else None
        with naming_entry(number, lang):
            if not isinstance(entry, Mapping):
                raise UsageError(f"{entry!r} is not a mapping of options to values.")
            own = read_options(entry, where)
            for name in RUN_OPTIONS:
                if name in own:
                    raise UsageError(
                        f"{name} cannot differ between the languages of one run.",
                        hint=f"Give {name} once, for all of them.",
                    )
            merged.append(merge_options(None, overlay(common, own, typed)))
    return merged


def pair_up(
    languages: Sequence[str],
    corpora: Sequence[str],
    config_file: Path | None,
    typed: Mapping[str, Any],
) -> list[AddOptions]:
    """Return the options of several --lang, each paired with its --corpus by position.

    Raises:
        UsageError: There are more of the one than of the other, or an option is wrong.
    """
    if len(languages) != len(corpora):
        raise UsageError(
            f"There are {len(languages)} --lang and {len(corpora)} --corpus, which must be pairs.",
            hint="Give one --corpus for each --lang, or use --plan-file.",
        )
    common = {} if config_file is None else read_options(read_yaml(config_file), config_file)
    entries = [
        {"lang": lang, "corpus": corpus} for lang, corpus in zip(languages, corpora, strict=True)
    ]
    return combine_options(entries, common, typed, where="the command")
