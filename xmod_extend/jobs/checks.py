"""The checks that come before anything heavy is imported, read or downloaded.

A wrong path or code is known in a second, where loading torch alone takes several. Nothing here
imports it, and of a base on the Hub only config.json is fetched.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xmod_extend.errors import LanguageError, ModelError, UsageError, XmodExtendError
from xmod_extend.files.atomic import OutputError, write_atomically
from xmod_extend.files.output_folder import recover
from xmod_extend.files.run_folder import (
    WRITTEN_NAME,
    begun_languages,
    check_not_locked,
    check_run_folder,
    run_folder,
    saved_states,
    step_of,
    what_is_saved,
)
from xmod_extend.hub.remote import check_may_publish
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.options import AddOptions, CorpusOptions
from xmod_extend.jobs.references import parse_references
from xmod_extend.jobs.states import require_language
from xmod_extend.languages import Language, parse_language
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.config import check_extendable, longest_input
from xmod_extend.model.extension import RECORD_NAME, check_default, describe_default
from xmod_extend.model.writer import check_output
from xmod_extend.report.metrics import check_tracker
from xmod_extend.text.foreign_lines import check_lid_model
from xmod_extend.text.sources import check_paths

DEFAULT_MAX_LENGTH = 128
HIGHEST_DROPOUT = 0.9
"""With more dropout a forward pass is noise."""
MOST_NAMED = 3
"""The most languages that the default name of an output spells out."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A language to add, checked as far as it can be without reading its text."""

    options: AddOptions
    base: BaseReference
    language: Language
    output: Path
    forced: bool = False
    """Whether the user said --force; `options.force` may only mean the run's own checkpoint."""


def check_request(options: AddOptions, callback: Callback) -> Request:
    """Check the base's config, the language, the output and the paths of the text.

    Raises:
        LanguageError: The code is malformed, unknown or taken, or the donor or the default language
            is none of its languages.
        ModelError: The base is not an X-MOD.
        HubError: The base's config.json cannot be downloaded, or nothing may be published where
            `push_to_hub` says.
        UsageError: The output cannot be written, `max_length` is more than the base can read, or
            a tracker is not installed.
        CorpusError: A file of text is missing, unreadable or of an unsupported kind.
    """
    check_tracker(options.report_to)
    base = check_inputs(options)
    callback.on_stage(f"Looking at {base.base}")
    language = _check_language(options, base, callback)
    _check_default(options, base, [language.code], callback)
    output = options.output or Path(f"{base.name}-{language.code}")
    check_run_folder(run_folder(output))
    _check_output(output, options, base)
    _check_saved_state(output, options)
    _check_publishing(options, callback)
    return Request(
        options=options, base=base, language=language, output=output, forced=options.force
    )


def check_requests(entries: Sequence[AddOptions], callback: Callback) -> tuple[Request, ...]:
    """Check several languages that are added to one base; an error names the entry.

    Raises:
        XmodExtendError: As in `check_request`, or a language is listed twice.
    """
    first = entries[0]
    check_tracker(first.report_to)
    base = resolve_base(first.base, revision=first.revision)
    for number, options in enumerate(entries, start=1):
        with naming_entry(number, options.lang):
            check_paths([*options.corpus, *filter(None, [options.held_out])])
            check_lid_model(options.lid_model)
    callback.on_stage(f"Looking at {base.base}")
    base.load_config()
    languages: list[Language] = []
    for number, options in enumerate(entries, start=1):
        with naming_entry(number, options.lang):
            language = _check_language(options, base, callback)
            if language.code in [other.code for other in languages]:
                raise LanguageError(
                    f"{language.code} is listed twice.", hint="Leave one of them out."
                )
            languages.append(language)
    names = [language.code for language in languages]
    _check_default(first, base, names, callback)
    ending = "-".join(names) if len(names) <= MOST_NAMED else f"{len(names)}-languages"
    output = first.output or Path(f"{base.name}-{ending}")
    run = run_folder(output)
    for folder in (run, *(run / name for name in names)):
        check_run_folder(folder)
    force = first.force or (first.resume and is_written_by(run, output))
    _check_output(output, replace(first, force=force), base)
    _check_saved_state(output, first, is_several=True)
    if first.resume:
        _check_none_is_left_out(run, names)
    _check_publishing(first, callback)
    return tuple(
        Request(
            options=replace(options, force=force),
            base=base,
            language=language,
            output=output,
            forced=first.force,
        )
        for options, language in zip(entries, languages, strict=True)
    )


def _check_publishing(options: AddOptions, callback: Callback) -> None:
    """Find out before the work whether its result may be published after it."""
    if options.push_to_hub is None:
        return
    callback.on_stage(f"Looking at {options.push_to_hub} on the Hub")
    problem = check_may_publish(options.push_to_hub, private=options.private)
    if problem is not None:
        callback.on_warning(problem)


@contextmanager
def naming_entry(number: int, lang: object) -> Iterator[None]:
    """Name in errors of the block the entry, of several languages, that they are about."""
    try:
        yield
    except XmodExtendError as error:
        name = f"entry {number} ({lang})" if lang else f"entry {number}"
        raise type(error)(f"{name}: {error.message}", hint=error.hint) from error


def _check_language(options: AddOptions, base: BaseReference, callback: Callback) -> Language:
    config = base.load_config()
    check_extendable(config, base.name)
    if options.dropout:
        _check_dropout(config)
    languages = config.get("languages", ())
    language = parse_language(options.lang, existing=languages)
    callback.on_note(f"new language: {language.code}, {language.name}")
    _check_donor(options.init, languages)
    references = parse_references(options.reference)
    for code in references:
        require_language(code, list(languages), base.name)
    check_paths([*references.values()])
    choose_max_length(config, options.max_length, name=base.name)
    batch = options.describe_batch()
    if batch is not None:
        callback.on_note(batch)
    return language


def _check_default(
    options: AddOptions, base: BaseReference, added: Sequence[str], callback: Callback
) -> None:
    """Say what a default language changes, which nothing but the option ever sets."""
    code = options.default_language
    if code is None:
        return
    config = base.load_config()
    check_default(code, [*config.get("languages", ()), *added])
    if code != config.get("default_language"):
        callback.on_note(describe_default(config.get("default_language"), code))


def _check_output(output: Path, options: AddOptions, base: BaseReference) -> None:
    """Refuse an output that cannot be written, or that another run is writing."""
    # Of processes that train together, the first one may have locked it for all of them already.
    if not options.plan and os.environ.get("RANK", "0") == "0":
        check_not_locked(output)
        recover(output)
    with keeping_what_is_saved(output):
        check_output(output, force=options.force, source=base.path)


@contextmanager
def keeping_what_is_saved(output: Path) -> Iterator[None]:
    """Give advice that keeps hours of training where an output cannot be written.

    With another output, or with --force alone, training would start at step 1.
    """
    try:
        yield
    except OutputError as error:
        saved = what_is_saved(output)
        if saved is None:
            raise
        run = run_folder(output)
        hint = (
            f"{error.remedy} and use --resume: {saved}. To write elsewhere, rename {run.name} "
            "after the new output as well."
        )
        raise OutputError(error.message, hint=hint, remedy=error.remedy) from error


def _check_none_is_left_out(run: Path, names: Sequence[str]) -> None:
    """Refuse to go on without a language that was begun: its states would be removed."""
    left_out = [code for code in begun_languages(run) if code not in names]
    if left_out:
        raise UsageError(
            f"{run} has states of {', '.join(left_out)}, which this run leaves out.",
            hint="Resume with the same languages, or choose another output folder.",
        )


def _check_saved_state(output: Path, options: AddOptions, *, is_several: bool = False) -> None:
    """Refuse to start anew over the states of an interrupted run."""
    if options.plan or (options.force and not options.resume):
        return
    run = run_folder(output)
    states, begun = saved_states(run), begun_languages(run)
    hint = "Use --resume to go on from there, or --force to start anew."
    if (states and is_several) or (begun and not is_several):
        kind = f"several languages ({', '.join(begun)})" if begun else "one language"
        raise UsageError(
            f"{run} has the states of an interrupted run of {kind}.",
            hint="Go on with that run, choose another output, or use --force to start anew.",
        )
    if states and not options.resume:
        raise UsageError(
            f"{run} has the state of an interrupted run, saved after step {step_of(states[-1]):,}.",
            hint=hint,
        )
    if begun and not options.resume:
        raise UsageError(
            f"{run} has the states of an interrupted run: {', '.join(begun)}.", hint=hint
        )


def note_written_by(run: Path, output: Path) -> None:
    """Note in a run's folder that it wrote the checkpoint in `output`, and may replace it."""
    write_atomically(run / WRITTEN_NAME, (output / RECORD_NAME).read_bytes())


def is_written_by(run: Path, output: Path) -> bool:
    """Return whether this run wrote the checkpoint in `output`, when some languages failed."""
    try:
        return (run / WRITTEN_NAME).read_bytes() == (output / RECORD_NAME).read_bytes()
    except OSError:
        return False


def check_inputs(options: CorpusOptions) -> BaseReference:
    """Check the names of the base and the paths of the text, without the network.

    Raises:
        ModelError: The base is neither a folder nor a name that the Hub allows.
        UsageError: A revision is given for a folder, or `lid_model` is no model.
        CorpusError: A file of text is missing, unreadable or of an unsupported kind.
    """
    reference = resolve_base(options.base, revision=options.revision)
    check_paths([*options.corpus, *filter(None, [options.held_out])])
    check_lid_model(options.lid_model)
    return reference


def choose_max_length(config: Mapping[str, Any], max_length: int | None, *, name: str) -> int:
    """Return the tokens per sequence, `<s>` included.

    Args:
        config: The base's config.json.
        max_length: The option; if None, the default or the most that the base can read.
        name: The base's name, for the message.

    Raises:
        UsageError: The base cannot read as many.
    """
    limit = longest_input(config)
    if limit is None:
        # Opening the checkpoint refuses such a config.
        return max_length or DEFAULT_MAX_LENGTH
    if max_length is None:
        return min(DEFAULT_MAX_LENGTH, limit)
    if max_length > limit:
        raise UsageError(
            f"--max-length is {max_length:,}, but {name} reads at most {limit:,} tokens.",
            hint=f"Use --max-length {limit} or less.",
        )
    return max_length


def _check_dropout(config: Mapping[str, Any]) -> None:
    for field in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        value = config.get(field, 0.1)
        if isinstance(value, int | float) and value > HIGHEST_DROPOUT:
            raise ModelError(
                f"config.json's {field} is {value}: with --dropout hardly anything would be "
                "left to learn from.",
                hint="Leave --dropout out.",
            )


def _check_donor(init: str, languages: Sequence[str]) -> None:
    donor = init.removeprefix("from:")
    if not init.startswith("from:") or donor in languages:
        return
    near = difflib.get_close_matches(donor, languages, n=1, cutoff=0.5)
    more = " ..." if len(languages) > 8 else ""
    raise LanguageError(
        f"--init is {init}, but the base has no {donor}.",
        hint=f"Did you mean from:{near[0]}?"
        if near
        else f"It has {', '.join(languages[:8])}{more}.",
    )
