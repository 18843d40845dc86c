"""Every error that a user can meet, each with the exit code the command line ends with.

    XmodExtendError           1   unexpected
    ├── UsageError            2   an option or a target folder that cannot be used
    ├── CorpusError           3   the text
    ├── ModelError            4   the base or a checkpoint
    ├── LanguageError         4   a language code
    ├── HubError              5   the Hub, credentials, no network
    ├── CheckFailedError      6   a check that was asked for did not hold
    └── TrainingError         1   training could not give a usable adapter
        └── LanguagesFailedError  1   some of several languages could not be added

A message is one sentence that says what failed and what was found; `hint` is what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class XmodExtendError(Exception):
    """Base of all errors of this package.

    Args:
        message: What failed and what was found, in one sentence.
        hint: What the reader can do about it, in one sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(XmodExtendError):
    """An option is wrong, or the output folder cannot be written."""

    exit_code = 2


class CorpusError(XmodExtendError):
    """The text is missing, unreadable, malformed or too little."""

    exit_code = 3


class ModelError(XmodExtendError):
    """The base or checkpoint is not an X-MOD, is damaged, or lacks a part that is needed."""

    exit_code = 4


class LanguageError(XmodExtendError):
    """The language code is malformed, unknown, already present, or missing."""

    exit_code = 4


class HubError(XmodExtendError):
    """The Hub cannot be reached, does not know the repository, or refuses the credentials."""

    exit_code = 5


class CheckFailedError(XmodExtendError):
    """A check ran to its end and found a difference."""

    exit_code = 6


class TrainingError(XmodExtendError):
    """Training ended without an adapter worth keeping."""


class LanguagesFailedError(TrainingError):
    """Some of several languages could not be added; the others were.

    Args:
        failures: Code of each language that failed to a sentence that says why.
        records: The run records of the others, which are in the checkpoint that was written.
    """

    def __init__(
        self, message: str, *, failures: Mapping[str, str], records: Sequence[Any], hint: str
    ) -> None:
        super().__init__(message, hint=hint)
        self.failures = dict(failures)
        self.records = tuple(records)
