"""Text from data sets on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from xmod_extend.errors import CorpusError, HubError

HUB_PREFIX = "hf://datasets/"

_ADDRESS = re.compile(
    re.escape(HUB_PREFIX)
    + r"(?P<repository>[^/@\s]+/[^/@\s]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<path>.+))?"
)


def fetch_from_hub(address: str) -> tuple[list[Path], bool]:
    """Bring text from the Hub into the Hub's own cache on this machine.

    Args:
        address: `hf://datasets/USER/NAME[@REVISION][/path/in/repository]`.

    Returns:
        The local files, and whether they are the Arrow files of a whole data set (its training
        split) rather than the one file that was asked for.

    Raises:
        CorpusError: The address is malformed, or the data set has no training split.
        HubError: The Hub cannot be reached, does not know it, or refuses it.
    """
    match = _ADDRESS.fullmatch(address.rstrip("/"))
    if match is None:
        raise CorpusError(
            f"{address} is no address of a data set",
            hint=f"write {HUB_PREFIX}USER/NAME[@REVISION][/path/in/repository]",
        )
    if match["path"] is None:
        return _fetch_split(match["repository"], match["revision"]), True
    return [_fetch_file(match["repository"], match["revision"], match["path"])], False


def _fetch_file(repository: str, revision: str | None, path: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, path, repo_type="dataset", revision=revision))
    except Exception as error:
        raise explain_hub_error(error, f"{path} of the data set {repository}") from error


def _fetch_split(repository: str, revision: str | None) -> list[Path]:
    import datasets

    from xmod_extend.text.cache import quiet_datasets

    try:
        with quiet_datasets():
            split = datasets.load_dataset(repository, split="train", revision=revision)
    except ValueError as error:
        # An unknown split, or several configurations without a default.
        raise CorpusError(
            f"the data set {repository} has no single training split: {_first_line(error)}",
            hint=f"name one of its files: {HUB_PREFIX}{repository}/path/in/repository",
        ) from error
    except Exception as error:
        raise explain_hub_error(error, f"the data set {repository}") from error
    return [Path(entry["filename"]) for entry in split.cache_files]


def explain_hub_error(error: Exception, wanted: str) -> HubError:
    """Say in one sentence why something could not be had from the Hub.

    Args:
        error: What huggingface_hub, datasets or the network raised.
        wanted: What was asked for, such as `the data set USER/NAME`.
    """
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    chain = _causes(error)
    if any(isinstance(cause, errors.GatedRepoError) for cause in chain) or "gated" in str(error):
        return HubError(
            f"{wanted} is gated: the Hub wants its terms accepted first",
            hint="accept them on its page, then log in with `hf auth login` or set HF_TOKEN",
        )
    status = next((code for code in map(_status, chain) if code is not None), None)
    if status in (401, 403) and not isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"the Hub refused {wanted} (HTTP {status})",
            hint="log in with `hf auth login` or set HF_TOKEN to a token that may read it",
        )
    if any(isinstance(cause, errors.RevisionNotFoundError) for cause in chain):
        return HubError(f"{wanted} does not have this revision", hint="check what follows the @")
    if any(
        isinstance(cause, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError))
        or _is_connection_error(cause)
        for cause in chain
    ):
        return HubError(
            f"{wanted} is not on this machine, and the Hub cannot be reached",
            hint="connect to the network (and unset HF_HUB_OFFLINE), or download it elsewhere "
            "and give a local path",
        )
    missing = (errors.RepositoryNotFoundError, errors.EntryNotFoundError, DatasetNotFoundError)
    if any(isinstance(cause, missing) for cause in chain):
        return HubError(
            f"the Hub does not know {wanted}",
            hint="check the spelling; if it is private, log in with `hf auth login`",
        )
    return HubError(f"{wanted} could not be had from the Hub: {_first_line(error)}")


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


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
