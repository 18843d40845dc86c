"""What the Hub's client raises, in this package's own words."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterator

from xmod_extend.errors import HubError, ModelError, XmodExtendError

ONLINE_HINT = "Check the connection, or use a folder that is on this machine as the base."


def hub_error(
    error: Exception, repo_id: str, *, revision: str | None = None, endpoint: str | None = None
) -> XmodExtendError:
    """The error to raise for one of huggingface_hub's, or of the libraries below it."""
    from huggingface_hub import errors

    chain = list(_causes(error))

    def has(*classes: type[BaseException]) -> bool:
        return any(isinstance(cause, classes) for cause in chain)

    if has(errors.GatedRepoError):
        return HubError(
            f"{repo_id} is gated, and this account has not been given access.",
            hint=f"Ask for access on the page of {repo_id}, then log in with `hf auth login`.",
        )
    if has(errors.RevisionNotFoundError):
        return HubError(
            f"{repo_id} has no revision {revision}.",
            hint=_near_revisions(repo_id, revision or "main", endpoint),
        )
    if has(errors.RepositoryNotFoundError):
        return _not_found(repo_id)
    if has(errors.HFValidationError):
        return ModelError(
            f"{repo_id} is no name that the Hub allows.",
            hint="Give a folder, or a Hub id such as facebook/xmod-base.",
        )
    if has(errors.OfflineModeIsEnabled) or _is_offline():
        return HubError(
            f"{repo_id} is not in the cache, and offline mode forbids to download it.",
            hint="Unset HF_HUB_OFFLINE, or give a folder that is on this machine.",
        )
    if is_unreachable(error):
        return HubError(
            f"The Hub cannot be reached, and {repo_id} is not in the cache.", hint=ONLINE_HINT
        )
    if has(errors.RemoteEntryNotFoundError):
        return ModelError(
            f"{repo_id} has no config.json on the Hub, so it is no model for transformers.",
            hint="Give an X-MOD, such as facebook/xmod-base.",
        )
    return _local_or_other(error, chain, repo_id)


def _not_found(repo_id: str) -> HubError:
    hint = "Check its spelling; if it is private, log in with `hf auth login`."
    if "/" not in repo_id:
        known = {
            "xmod-base": "facebook/xmod-base",
            "xmod-large-prenorm": "facebook/xmod-large-prenorm",
        }
        near = difflib.get_close_matches(repo_id, known, n=1)
        example = known[near[0]] if near else "facebook/xmod-base"
        hint = f"A Hub id has the form USER/NAME, such as {example}."
    return HubError(f"{repo_id} is neither a folder here nor a model on the Hub.", hint=hint)


def _local_or_other(error: Exception, chain: list[BaseException], repo_id: str) -> XmodExtendError:
    from huggingface_hub import errors

    for cause in chain:
        if isinstance(cause, errors.HfHubHTTPError):
            status = cause.response.status_code
            if status in (401, 403):
                return HubError(
                    f"The Hub refused the credentials for {repo_id} ({status}).",
                    hint="Log in with `hf auth login`, or unset a token that has expired.",
                )
            return HubError(
                f"The Hub answered with status {status} when asked for {repo_id}.",
                hint="Try again later.",
            )
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return HubError(
                f"There is no space left on the disk to download {repo_id} to.",
                hint="Free some space, or set HF_HOME to a folder on a larger disk.",
            )
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return HubError(
                f"The Hub's cache cannot be written ({cause.strerror}), so {repo_id} "
                "cannot be downloaded.",
                hint="Set HF_HOME to a folder that can be written.",
            )
    return HubError(
        f"The download of {repo_id} failed ({type(error).__name__}).",
        hint="Run the command again; what was downloaded completely is kept.",
    )


def is_unreachable(error: BaseException) -> bool:
    """Whether no answer came from the Hub: no network, a timeout, a broken connection, offline."""
    from huggingface_hub import errors

    return any(
        isinstance(cause, (errors.OfflineModeIsEnabled, ConnectionError, TimeoutError))
        # The client's HTTP library is its own choice: httpx, and a successor of another name.
        or (type(cause).__module__.startswith("httpx") and _is_transport_error(type(cause)))
        for cause in _causes(error)
    )


def _is_transport_error(error_class: type[BaseException]) -> bool:
    return any(base.__name__ == "TransportError" for base in error_class.__mro__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from or while handling."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_offline() -> bool:
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def _near_revisions(repo_id: str, revision: str, endpoint: str | None) -> str:
    from huggingface_hub import HfApi

    try:
        refs = HfApi(endpoint=endpoint).list_repo_refs(repo_id)
    except Exception:  # a hint must not fail
        return "Check its spelling on the repository's page."
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    near = difflib.get_close_matches(revision, names, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"It has {', '.join(names[:6])}." if names else "Leave the revision out."
