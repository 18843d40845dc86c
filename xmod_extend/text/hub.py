"""Text from data sets on the Hugging Face Hub."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import CorpusError, HubError
from xmod_extend.text.cache import quiet_datasets

HUB_PREFIX = "hf://datasets/"

ANSWER_SECONDS = 10.0
"""How long the Hub may take to say whether it has something."""

_ADDRESS = re.compile(
    re.escape(HUB_PREFIX)
    + r"(?P<repository>[^/@\s]+/[^/@\s]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<path>.+))?"
)


@dataclass(frozen=True)
class HubAddress:
    """`hf://datasets/USER/NAME[@REVISION][/path/in/repository]`, taken apart."""

    repository: str
    revision: str | None
    path: str | None

    @classmethod
    def parse(cls, address: str) -> HubAddress:
        """Take an address apart.

        Raises:
            CorpusError: It has another form.
        """
        match = _ADDRESS.fullmatch(address.rstrip("/"))
        if match is None:
            raise CorpusError(
                f"{address} is no address of a data set.",
                hint=f"Write {HUB_PREFIX}USER/NAME[@REVISION][/path/in/repository].",
            )
        return cls(**match.groupdict())

    def __str__(self) -> str:
        return f"the data set {self.repository}" + (f"@{self.revision}" if self.revision else "")


def ask_hub(
    repo_id: str, *, repo_type: str, revision: str | None = None, endpoint: str | None = None
) -> Exception | None:
    """Asks the Hub for a repository, once and with a timeout.

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
        HfApi(endpoint=endpoint).repo_info(
            repo_id, repo_type=repo_type, revision=revision, timeout=ANSWER_SECONDS
        )
    except Exception as error:  # the client raises the errors of the HTTP library below it
        if _is_out_of_reach(error):
            return error
        raise
    return None


def _is_out_of_reach(error: BaseException) -> bool:
    from huggingface_hub import errors

    return any(
        isinstance(cause, errors.OfflineModeIsEnabled)
        or _is_connection_error(cause)
        or (_status(cause) or 0) >= 500
        for cause in _causes(error)
    )


def fetch_file(address: HubAddress) -> Path:
    """Bring the file that the address names into the Hub's cache on this machine.

    Raises:
        HubError: The Hub cannot be reached, does not know it, or refuses it.
    """
    from huggingface_hub import hf_hub_download

    assert address.path is not None
    try:
        with quiet_hub():
            problem = _ask_for(address)
            return Path(
                hf_hub_download(
                    address.repository,
                    address.path,
                    repo_type="dataset",
                    revision=address.revision,
                    local_files_only=problem is not None,
                )
            )
    except Exception as error:
        raise explain_hub_error(error, f"{address.path} of {address}") from error


def fetch_training_split(address: HubAddress) -> list[Path]:
    """Bring a whole data set's training split into `datasets`' cache, as Arrow files.

    Raises:
        CorpusError: The data set has no training split, or several configurations.
        HubError: The Hub cannot be reached, does not know it, or refuses it.
    """
    import datasets
    from huggingface_hub import errors, is_offline_mode

    try:
        with quiet_hub(), quiet_datasets():
            problem = _ask_for(address)
            if problem is not None and not is_offline_mode():
                # In offline mode `datasets` finds what it has; otherwise it asks for half a minute.
                raise problem
            split = datasets.load_dataset(
                address.repository, split="train", revision=address.revision
            )
    except Exception as error:
        of_the_hub = (errors.HfHubHTTPError, errors.HFValidationError)
        if isinstance(error, ValueError) and not isinstance(error, of_the_hub):
            # An unknown split, or several configurations without a default.
            raise CorpusError(
                f"{_start(str(address))} has no training split of its own: {_first_line(error)}.",
                hint=f"Name one of its files: {HUB_PREFIX}{address.repository}/path/in/repository.",
            ) from error
        raise explain_hub_error(error, str(address)) from error
    return [Path(entry["filename"]) for entry in split.cache_files]


def _ask_for(address: HubAddress) -> Exception | None:
    return ask_hub(address.repository, repo_type="dataset", revision=address.revision)


@contextlib.contextmanager
def quiet_hub() -> Iterator[None]:
    """No log lines from the Hub's client inside the block: a failure becomes one error."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def explain_hub_error(error: Exception, wanted: str) -> HubError:
    """Say in one sentence why something could not be had from the Hub.

    Args:
        error: What huggingface_hub, datasets or the network raised.
        wanted: What was asked for, such as `the data set USER/NAME`.
    """
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    chain = _causes(error)
    if _is(chain, errors.GatedRepoError) or "gated dataset" in str(error):
        return HubError(
            f"{_start(wanted)} is gated: the Hub wants its terms accepted first.",
            hint="Accept them on its page, then log in with `hf auth login` or set HF_TOKEN.",
        )
    status = next((code for code in map(_status, chain) if code is not None), None)
    # To those who may not see it, a private repository is answered as an unknown one.
    if status in (401, 403) and not _is(chain, errors.RepositoryNotFoundError):
        return HubError(
            f"The Hub refused {wanted} (HTTP {status}).",
            hint="Log in with `hf auth login` or set HF_TOKEN to a token that may read it.",
        )
    if _is(chain, errors.RevisionNotFoundError):
        return HubError(
            f"{_start(wanted)} does not have this revision.", hint="Check what follows the @."
        )
    offline = (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)
    if _is(chain, *offline) or any(map(_is_connection_error, chain)):
        return HubError(
            f"{_start(wanted)} is not on this machine, and the Hub cannot be reached.",
            hint="Connect to the network (and unset HF_HUB_OFFLINE), or give a local path; with "
            "HF_HUB_OFFLINE=1 what was read before is found again.",
        )
    missing = (errors.RepositoryNotFoundError, errors.EntryNotFoundError, DatasetNotFoundError)
    if _is(chain, *missing):
        return HubError(
            f"The Hub does not know {wanted}.",
            hint="Check the spelling; if it is private, log in with `hf auth login`.",
        )
    return HubError(f"{_start(wanted)} could not be had from the Hub: {_first_line(error)}.")


def _is(chain: list[BaseException], *classes: type[BaseException]) -> bool:
    return any(isinstance(cause, classes) for cause in chain)


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_connection_error(error: BaseException) -> bool:
    # Which HTTP library the Hub's client uses has changed before; the names have not.
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, (ConnectionError, TimeoutError)) or bool(
        names & {"ConnectError", "TransportError", "ConnectTimeout"}
    )


def _start(wanted: str) -> str:
    """As the start of a sentence; names keep their spelling."""
    return "The" + wanted[3:] if wanted.startswith("the ") else wanted


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
