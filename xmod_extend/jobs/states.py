"""A state: one checkpoint with one adapter, or without any, as something that can be scored.

    State("out/x", "quz_PE")                 a language of a checkpoint
    State.best_existing("facebook/xmod-base") whichever of its adapters reads the text best
    State.untrained("out/x")                 a slot with the random values that training starts from
    State.no_adapter("out/x")                the shared weights alone

On the command line: `out/x:quz_PE`, `out/x:best`, `out/x:untrained`, `out/x:none`, or `out/x` for
the language that `--lang` names.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xmod_extend.arguments import PathOrName, as_path_or_name, as_text
from xmod_extend.errors import LanguageError, UsageError
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.config import check_extendable
from xmod_extend.text.sources import check_paths

Kind = Literal["language", "best", "untrained", "none"]

UNTRAINED_SEED = 0
"""Seed of an untrained slot: the one that `add` has by default."""


@dataclass(frozen=True)
class State:
    """One checkpoint with one adapter in its slot, or with none.

    Args:
        checkpoint: Folder or Hub id of an X-MOD, or `tiny`.
        language: Code of one of its languages; what the scoring call names if None.
        kind: What is in the slot.
        revision: Branch, tag or commit of a checkpoint on the Hub.
        text: File by which the best adapter is chosen; the text that is scored if None.
    """

    checkpoint: PathOrName
    language: str | None = None
    kind: Kind = "language"
    revision: str | None = None
    text: PathOrName | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoint", as_path_or_name("checkpoint", self.checkpoint))
        if self.language is not None:
            object.__setattr__(self, "language", as_text("language", self.language))
        if self.text is not None:
            object.__setattr__(self, "text", as_path_or_name("text", self.text))

    @classmethod
    def best_existing(
        cls,
        checkpoint: PathOrName,
        text: PathOrName | None = None,
        *,
        revision: str | None = None,
    ) -> State:
        """Return the state of whichever adapter reads a text best: the scored one if none is named.

        `fill_mask` scores no text, and takes the checkpoint's first language then.
        """
        return cls(checkpoint, kind="best", revision=revision, text=text)

    @classmethod
    def untrained(cls, checkpoint: PathOrName, *, revision: str | None = None) -> State:
        """Return the state that training starts from: random values."""
        return cls(checkpoint, kind="untrained", revision=revision)

    @classmethod
    def no_adapter(cls, checkpoint: PathOrName, *, revision: str | None = None) -> State:
        """Return the state of the shared weights alone."""
        return cls(checkpoint, kind="none", revision=revision)

    @classmethod
    def parse(cls, spelled: str, *, revision: str | None = None) -> State:
        """Return the state that the command line spells as CHECKPOINT or CHECKPOINT:STATE."""
        checkpoint, colon, ending = spelled.rpartition(":")
        if not colon or not checkpoint or "/" in ending or "\\" in ending or Path(spelled).exists():
            return cls(spelled, revision=revision)
        if ending == "best":
            return cls.best_existing(checkpoint, revision=revision)
        if ending == "untrained":
            return cls.untrained(checkpoint, revision=revision)
        if ending == "none":
            return cls.no_adapter(checkpoint, revision=revision)
        return cls(checkpoint, ending, revision=revision)

    def with_language(self, language: str) -> State:
        """Return the state with a language, where it needs one and names none."""
        if self.kind == "language" and self.language is None:
            return dataclasses.replace(self, language=language)
        return self

    @property
    def label(self) -> str:
        """The state in a few words."""
        # Of USER/NAME@REVISION, the revision may have slashes.
        named = str(self.checkpoint)
        is_folder = Path(named).is_dir() or "/" not in named.partition("@")[0]
        name = Path(named if is_folder else named.partition("@")[0]).name or named
        return {
            "language": f"{self.language} of {name}",
            "best": f"the best existing adapter of {name}",
            "untrained": f"an untrained slot of {name}",
            "none": f"{name} without an adapter",
        }[self.kind]


def as_state(value: State | PathOrName, name: str) -> State:
    """Return what a caller gave as a state."""
    if isinstance(value, State):
        return value
    return State(as_path_or_name(name, value))


def require_language(language: str | None, languages: list[str], checkpoint: str) -> str:
    """Return the language of a state that must be one of the checkpoint's.

    Raises:
        UsageError: None was named.
        LanguageError: The checkpoint has no such language.
    """
    if language is None:
        raise UsageError("No language is named.", hint="Name one with --lang.")
    if language not in languages:
        near = difflib.get_close_matches(language, languages, n=1, cutoff=0.5)
        added = ", ".join(languages[-3:])
        raise LanguageError(
            f"{checkpoint} has no language {language}.",
            hint=f"Did you mean {near[0]}?" if near else f"Its last ones are {added}.",
        )
    return language


def check_state(state: State, *, lacks_language: bool = False) -> BaseReference:
    """Return where a state's checkpoint is, after looking at its config alone.

    Args:
        lacks_language: Whether the checkpoint may lack the state's language.

    Raises:
        ModelError: It is no X-MOD.
        LanguageError: It has no such language.
        HubError: Its config.json cannot be downloaded.
    """
    reference = resolve_base(str(state.checkpoint), revision=state.revision)
    config = reference.load_config()
    check_extendable(config, reference.name)
    if state.kind == "language" and not lacks_language:
        require_language(state.language, list(config.get("languages", [])), reference.base)
    return reference


def name_language(state: State, lang: str | None) -> State:
    """Return the state with the language of a call, where it needs one and names none."""
    return state if lang is None else state.with_language(as_text("lang", lang))


def before_and_after(before: State, after: State, lang: str | None) -> tuple[State, State]:
    """Return both states with their languages: a checkpoint without it offers its best adapter.

    Raises:
        XmodExtendError: As in `check_state`.
    """
    after = name_language(after, lang)
    language = lang if lang is not None else after.language
    if before.kind == "language" and before.language is None and language is not None:
        reference = check_state(before, lacks_language=True)
        if language not in reference.load_config().get("languages", []):
            return State.best_existing(before.checkpoint, revision=before.revision), after
        before = before.with_language(language)
    return before, after


def check_states(states: Sequence[State], paths: Sequence[str], *, lang: str | None) -> None:
    """Refuse what can be known to be wrong without the network, in a second.

    Args:
        states: One, or those before and after.
        paths: Texts.
        lang: Code of the language, where a state names none.

    Raises:
        XmodExtendError: As in `evaluate` and `compare`.
    """
    check_paths(paths)
    bases = [resolve_base(str(state.checkpoint), revision=state.revision) for state in states]
    if any(base.path is None for base in bases):
        return
    named = [name_language(state, lang) for state in states]
    if len(named) > 1:
        named = [*before_and_after(states[0], states[1], lang)]
    for state in named:
        check_state(state)
