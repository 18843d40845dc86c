"""What the Hub's client raises while something is published, in this package's words.

The client's own messages hold addresses with signatures, and a server may repeat a token: nothing
of them is shown before `said` has cleaned it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from xmod_extend.errors import HubError, XmodExtendError
from xmod_extend.hub.client import first_line
from xmod_extend.hub.failures import causes, is_connection_error, status_of
from xmod_extend.hub.patience import retry_after

Action = Literal["log in", "look", "create", "upload", "commit", "check"]
"""What was being done: the same answer means another thing at another time."""

NEW_TOKEN = "https://huggingface.co/settings/tokens"
AGAIN = "Run the command again: what was uploaded completely is not sent a second time."
_QUOTA = re.compile(
    r"quota|storage (limit|space|usage)|out of storage|exceed(ed|s)? .*storage", re.I
)
_MOST_SHOWN = 300


@contextmanager
def explained(repo_id: str, action: Action) -> Iterator[None]:
    """Raise what the client raises inside the block in this package's words.

    Raises:
        HubError: The Hub refuses it or cannot be reached.
    """
    try:
        yield
    except XmodExtendError:
        raise
    except Exception as error:  # the client raises the errors of many libraries
        if _is_about_local_file(error):
            raise
        raise publish_error(error, repo_id, action) from error


def publish_error(error: Exception, repo_id: str, action: Action) -> HubError:
    """Return the error to raise for one of the client's."""
    from huggingface_hub import errors

    chain = causes(error)
    if any(isinstance(cause, errors.LocalTokenNotFoundError) for cause in chain):
        return HubError(
            f"You are not logged in to the Hub, so {repo_id} cannot be published.",
            hint="Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
        )
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in chain):
        return HubError(
            f"Offline mode forbids to publish {repo_id}.",
            hint="Unset HF_HUB_OFFLINE, and run the command again.",
        )
    if any("xet" in str(cause).lower() for cause in chain):
        return HubError(
            f"This Hub does not take files through Xet ({_reason(chain)}).",
            hint="Set HF_HUB_DISABLE_XET=1, and run the command again.",
        )
    status = next((code for code in map(status_of, chain) if code is not None), None)
    if any(isinstance(cause, errors.GatedRepoError) for cause in chain):
        return HubError(
            f"{repo_id} is gated, and this account has not been given access.",
            hint="Ask for access on its page.",
        )
    if status is not None:
        return _refused(chain, repo_id, action, status)
    return _without_answer(chain, repo_id, action)


def said(error: BaseException) -> str:
    """Return what the server said of an error on one line, without secrets; empty if nothing."""
    return clean(str(getattr(error, "server_message", None) or ""))


def clean(text: str) -> str:
    """Return a text on one line, without tokens, signatures and control characters."""
    from huggingface_hub import get_token

    token = get_token()
    text = text.replace(token, "hf_...") if token else text
    text = re.sub(r"hf_\w{8,}", "hf_...", text)
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text[:_MOST_SHOWN].rstrip(".")


def _refused(chain: list[BaseException], repo_id: str, action: Action, status: int) -> HubError:
    """Return the error for an answer of the server that is none of the special ones."""
    words = next(filter(None, map(said, chain)), "")
    quoted = f": {words}" if words else ""
    namespace = repo_id.split("/")[0]
    if status == 507 or (400 <= status < 500 and _QUOTA.search(words)):
        return HubError(
            f"There is no room for this on the Hub{quoted}.",
            hint=f"Free some of {namespace}'s storage in its settings on the Hub, or publish a "
            "language alone with --what pack.",
        )
    if status == 429:
        return HubError(
            f"The Hub takes no more requests for now (HTTP 429){quoted}.",
            hint=f"Run the command again {_later(chain)}: what was uploaded completely is not sent "
            "a second time.",
        )
    if status >= 500 or status == 408:
        return HubError(f"The Hub has trouble of its own (HTTP {status}){quoted}.", hint=AGAIN)
    if status in (409, 412) and action == "commit":
        return HubError(
            f"{repo_id} was changed by somebody else in the meantime, so nothing was committed.",
            hint=AGAIN,
        )
    if status == 413:
        return HubError(
            f"The Hub refuses so much at a time (HTTP 413){quoted}.",
            hint="Publish a language alone, which is small, with --what pack.",
        )
    if action == "log in" or status == 401:
        return HubError(
            f"The Hub does not accept the token {_where_from()}.",
            hint="Log in again with `hf auth login`, or set HF_TOKEN to a valid token.",
        )
    if action == "create":
        return HubError(
            f"{repo_id} cannot be created: this account or its token may not create repositories "
            f"under {namespace}, or there is no such user or organisation (HTTP {status}){quoted}.",
            hint="Check the spelling and your role there; a fine-grained token needs a repository "
            f"that exists, or the right to create some ({NEW_TOKEN}).",
        )
    if status in (403, 404):
        return HubError(
            f"The token in use may not write to {repo_id} (HTTP {status}){quoted}.",
            hint=f"Make one with write access to it on {NEW_TOKEN}, or offer the change with "
            "--create-pr.",
        )
    return HubError(
        f"The Hub refuses to publish {repo_id} (HTTP {status}){quoted}.",
        hint="Do what it says, or try again later.",
    )


def _without_answer(chain: list[BaseException], repo_id: str, action: Action) -> HubError:
    if any(is_broken_connection(cause) for cause in chain):
        what = "broke off" if action in ("upload", "commit") else "failed"
        return HubError(
            f"The connection to the Hub {what} ({_reason(chain)}).",
            hint=f"Check the network. {AGAIN}" if action == "upload" else "Check the network.",
        )
    text = clean(" ".join(str(cause) for cause in chain))
    if _QUOTA.search(text):
        return HubError(
            f"There is no room for this on the Hub: {text}.",
            hint="Free some storage in the settings there, or publish a language alone with "
            "--what pack.",
        )
    return HubError(f"Publishing {repo_id} failed: {_reason(chain)}.", hint=AGAIN)


def _reason(chain: list[BaseException]) -> str:
    """Return what the innermost error says, for a sentence."""
    return clean(first_line(chain[-1])) or type(chain[-1]).__name__


def is_broken_connection(error: BaseException) -> bool:
    """Return whether there was no connection, or it was lost."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return is_connection_error(error) or bool(
        names & {"NetworkError", "RemoteProtocolError", "TimeoutException"}
    )


def _is_about_local_file(error: Exception) -> bool:
    """Return whether it is about a file on this machine, which has a name; answers have none."""
    return isinstance(error, OSError) and error.filename is not None


def _later(chain: list[BaseException]) -> str:
    seconds = retry_after(chain[0])
    return "later" if seconds is None else f"in {seconds:,} seconds"


def _where_from() -> str:
    if os.environ.get("HF_TOKEN"):
        return "in HF_TOKEN"
    return "that `hf auth login` stored"
