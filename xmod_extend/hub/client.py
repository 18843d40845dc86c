"""The Hub's client: whether the Hub answers, and what the client raises in this package's words."""

from __future__ import annotations

import contextlib
import difflib
import errno
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from xmod_extend.errors import HubError, ModelError, XmodExtendError
from xmod_extend.hub.failures import causes, is_connection_error, status_of
from xmod_extend.hub.patience import patiently

ANSWER_SECONDS = 10.0
"""How long the Hub may take to say whether it has something."""


@dataclass(frozen=True)
class HubRepository:
    """A model or a data set on the Hub; as a string, what sentences call it."""

    repo_id: str
    repo_type: Literal["model", "dataset"] = "model"
    revision: str | None = None
    endpoint: str | None = None
    """The Hub's address; by default the one that `HF_ENDPOINT` names."""

    def __str__(self) -> str:
        if self.repo_type == "model":
            return self.repo_id
        return f"the data set {self.repo_id}" + (f"@{self.revision}" if self.revision else "")


def ask_hub(repository: HubRepository) -> Exception | None:
    """Ask the Hub for a repository, once and with a timeout.

    The Hub's client repeats a download that meets no server for half a minute, and says so on
    stderr. Asking first, which it does not repeat, lets a machine without a network know at once.

    Returns:
        Why only what is on this machine can be had, as the client's error: there is no network, the
        Hub does not answer in time or is down, or offline mode forbids to ask it. None if it
        answered.

    Raises:
        Exception: The client's error where the Hub answers that it has no such repository or
            revision, or does not show it.
    """
    from huggingface_hub import HfApi

    try:
        HfApi(endpoint=repository.endpoint).repo_info(
            repository.repo_id,
            repo_type=repository.repo_type,
            revision=repository.revision,
            timeout=ANSWER_SECONDS,
        )
    except Exception as error:  # the client raises the errors of the HTTP library below it
        if is_out_of_reach(error):
            return error
        raise
    return None


def fetch(
    repository: HubRepository, *, path: str | None = None, patterns: Sequence[str] = ()
) -> Path:
    """Bring a file of a repository, or those that match patterns, into the Hub's cache.

    Where the Hub gives no answer, it is what was downloaded before.

    Returns:
        The file, or the folder of the files.

    Raises:
        HubError: It cannot be had.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    problem: Exception | None = None
    try:
        with quiet("huggingface_hub"), bars_on_a_terminal():
            problem = ask_hub(repository)
            options: dict[str, Any] = {
                "repo_type": repository.repo_type,
                "revision": repository.revision,
                "endpoint": repository.endpoint,
                "local_files_only": problem is not None,
            }
            if path is not None:
                download = partial(hf_hub_download, repository.repo_id, path, **options)
            else:
                wanted = list(patterns)
                download = partial(
                    snapshot_download, repository.repo_id, allow_patterns=wanted, **options
                )
            return Path(patiently(download))
    except Exception as error:  # the client raises the errors of many libraries
        of_data_set = path if repository.repo_type == "dataset" else None
        raise hub_error(problem or error, repository, path=of_data_set) from error


def is_out_of_reach(error: BaseException) -> bool:
    """Return whether the Hub gave no answer: no network, a timeout, offline mode, or it is down."""
    return any(
        is_connection_error(cause) or (status_of(cause) or 0) >= 500 for cause in causes(error)
    )


@contextlib.contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Show no log lines of the libraries inside the block: a failure becomes one error."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in libraries}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextlib.contextmanager
def bars_on_a_terminal() -> Iterator[None]:
    """Show the client's bars on a terminal or in a notebook, and elsewhere if the user says so."""
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    is_seen = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
    is_decided = constants.HF_HUB_DISABLE_PROGRESS_BARS is not None
    if is_seen or is_decided or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def hub_error(
    error: Exception, repository: HubRepository, *, path: str | None = None
) -> XmodExtendError:
    """Return the error to raise for one of the Hub's client, of `datasets`, or of what lies below
    them.

    Args:
        error: What was raised.
        repository: What was asked for.
        path: The file of a data set that was asked for.
    """
    from huggingface_hub import errors

    what = f"{path} of {repository}" if path else str(repository)
    chain = causes(error)
    status = next((code for code in map(status_of, chain) if code is not None), None)
    if _is(chain, errors.GatedRepoError) or "gated dataset" in str(error):  # datasets' own words
        return HubError(
            f"{_start(what)} is gated, and this account has not been given access.",
            hint="Ask for access on its page, then log in with `hf auth login` or set HF_TOKEN.",
        )
    if _is(chain, errors.RevisionNotFoundError):
        name = _start(str(replace(repository, revision=None)))
        return HubError(
            f"{name} has no revision {repository.revision or 'main'}.",
            hint=_near_revisions(repository),
        )
    # To those who may not see it, a private repository is answered as an unknown one.
    if status in (401, 403) and not _is(chain, errors.RepositoryNotFoundError):
        return HubError(
            f"The Hub refused {what} (HTTP {status}).",
            hint="Log in with `hf auth login`, or set HF_TOKEN to a valid token that may read it.",
        )
    if (status or 0) < 500 and (
        _is(chain, errors.LocalEntryNotFoundError) or any(map(is_connection_error, chain))
    ):
        return _not_cached(what)
    if _is(chain, errors.RepositoryNotFoundError):
        return _unknown(what, repository)
    if _is(chain, errors.RemoteEntryNotFoundError) and repository.repo_type == "model":
        return ModelError(
            f"{repository} has no config.json on the Hub, so it is not a model for transformers.",
            hint="Give an X-MOD, such as facebook/xmod-base. If it is a language pack, install it "
            "into its base with `xmod-extend install`.",
        )
    # What `datasets` raises is known by its name: importing it takes a second.
    names = {type(cause).__name__ for cause in chain}
    if _is(chain, errors.RemoteEntryNotFoundError) or "DatasetNotFoundError" in names:
        return _unknown(what, repository)
    if status is not None:
        return HubError(
            f"The Hub answered with status {status} when asked for {what}.",
            hint="Try again later.",
        )
    return _local_or_other(error, chain, what)


def _not_cached(what: str) -> HubError:
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        return HubError(
            f"{_start(what)} is not in the cache, and offline mode forbids to download it.",
            hint="Unset HF_HUB_OFFLINE, or give a path on this machine.",
        )
    return HubError(
        f"The Hub cannot be reached, and {what} is not in the cache.",
        hint="Check the connection, or give a path on this machine; with HF_HUB_OFFLINE=1 what was "
        "read before is found again.",
    )


def _unknown(what: str, repository: HubRepository) -> HubError:
    hint = "Check the spelling; if it is private, log in with `hf auth login`."
    if repository.repo_type == "dataset":
        return HubError(f"The Hub does not know {what}.", hint=hint)
    if "/" not in repository.repo_id:
        known = {
            "xmod-base": "facebook/xmod-base",
            "xmod-large-prenorm": "facebook/xmod-large-prenorm",
        }
        near = difflib.get_close_matches(repository.repo_id, known, n=1)
        example = known[near[0]] if near else "facebook/xmod-base"
        hint = f"A Hub id has the form USER/NAME, such as {example}."
    return HubError(f"{what} is neither a folder here nor a model on the Hub.", hint=hint)


def _near_revisions(repository: HubRepository) -> str:
    from huggingface_hub import HfApi

    try:
        refs = HfApi(endpoint=repository.endpoint).list_repo_refs(
            repository.repo_id, repo_type=repository.repo_type
        )
    except Exception:  # a hint must not fail
        return "Check its spelling on the repository's page."
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    near = difflib.get_close_matches(repository.revision or "main", names, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"It has {', '.join(names[:6])}." if names else "Leave the revision out."


def _local_or_other(error: Exception, chain: list[BaseException], what: str) -> HubError:
    for cause in chain:
        if not isinstance(cause, OSError):
            continue
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return HubError(
                f"There is no space left on the disk to download {what} to.",
                hint="Free some space, or set HF_HOME to a folder on a larger disk.",
            )
        if cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return HubError(
                f"The Hub's cache cannot be written ({cause.strerror}), so {what} "
                "cannot be downloaded.",
                hint="Set HF_HOME to a folder that can be written.",
            )
    return HubError(
        f"The download of {what} failed: {first_line(error)}.",
        hint="If the connection broke off, run the command again; what was downloaded completely "
        "is kept.",
    )


def _is(chain: list[BaseException], *classes: type[BaseException]) -> bool:
    return any(isinstance(cause, classes) for cause in chain)


def _start(what: str) -> str:
    """Return the start of a sentence; names keep their spelling."""
    return "The" + what[3:] if what.startswith("the ") else what


def first_line(error: BaseException) -> str:
    """Return what an error says, for the end of a sentence, and not all of a long line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
