"""What can be refused before anything heavy is imported, read or downloaded.

A wrong path or code is known in a second, where loading torch alone takes several. Nothing here
imports it, and of a base on the Hub only config.json is fetched.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.errors import LanguageError, UsageError
from xmod_extend.languages import Language, parse_language
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.graft import check_output
from xmod_extend.options import AddOptions
from xmod_extend.progress import Observer
from xmod_extend.text.sources import check_paths
from xmod_extend.training.state import run_folder, saved_states, step_of

DEFAULT_MAX_LENGTH = 128


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `add` was asked for, with nothing known to be wrong with it."""

    options: AddOptions
    base: BaseReference
    language: Language
    output: Path


def check_request(options: AddOptions, observer: Observer) -> Request:
    """Checks the base's config, the language, the output and the paths of the text.

    Raises:
        LanguageError: The code is malformed, unknown or taken, or the donor is not in the base.
        ModelError: The base is no X-MOD.
        HubError: The base's config.json cannot be had from the Hub.
        UsageError: The output cannot be written, or `max_length` is more than the base can read.
        CorpusError: A file of text is missing, unreadable or of an unsupported kind.
    """
    base = check_places(
        options.corpus, options.held_out, base=options.base, revision=options.revision
    )
    observer.on_stage(f"Looking at {base.base}")
    config = base.load_config()
    languages = config.get("languages", ())
    language = parse_language(options.lang, existing=languages)
    observer.on_note(f"new language: {language.code}, {language.name}")
    _check_donor(options.init, languages)
    choose_max_length(config, options.max_length, name=base.name)
    output = options.output or Path(f"{base.name}-{language.code}")
    check_output(output, force=options.force, base=base.path)
    _check_saved_state(output, options)
    return Request(options=options, base=base, language=language, output=output)


def _check_saved_state(output: Path, options: AddOptions) -> None:
    """Refuses to begin anew where hours of an interrupted run may lie."""
    states = saved_states(run_folder(output))
    if states and not (options.resume or options.force or options.plan):
        raise UsageError(
            f"{run_folder(output)} has the state of an interrupted run, saved after step "
            f"{step_of(states[-1]):,}.",
            hint="Use --resume to go on from there, or --force to start anew.",
        )


def check_places(
    corpus: Sequence[str], held_out: str | None, *, base: str, revision: str | None
) -> BaseReference:
    """Checks that the base may exist, and the texts do, without asking the network.

    Raises:
        ModelError: The base is neither a folder nor a name that the Hub allows.
        UsageError: A revision is given for a folder.
        CorpusError: A file of text is missing, unreadable or of an unsupported kind.
    """
    reference = resolve_base(base, revision=revision)
    check_paths(corpus)
    if held_out is not None:
        check_paths([held_out])
    return reference


def choose_max_length(config: Mapping[str, Any], wanted: int | None, *, name: str) -> int:
    """Tokens per sequence, `<s>` included.

    Args:
        config: The base's, as config.json has it.
        wanted: From the options; the default, or what the base can read, if None.
        name: The base's, for the message.

    Raises:
        UsageError: More than the base has positions for.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        # Opening the checkpoint refuses such a config.
        return wanted or DEFAULT_MAX_LENGTH
    # Positions are counted from `pad_token_id + 1` on, so two of the table's rows are never used.
    limit = positions - 2
    if wanted is None:
        return min(DEFAULT_MAX_LENGTH, limit)
    if wanted > limit:
        raise UsageError(
            f"--max-length is {wanted:,}, but {name} reads at most {limit:,} tokens.",
            hint=f"Use --max-length {limit} or less.",
        )
    return wanted


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
