"""The base to extend: a Hub id, a folder, or the small one that comes with the package.

Getting a base has two steps, so that what can be refused is refused before 3.4 GB are downloaded:
`load_config` needs config.json alone, `fetch` needs everything.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from xmod_extend.errors import HubError, ModelError, UsageError
from xmod_extend.hub.client import (
    HubRepository,
    ask_hub,
    bars_on_a_terminal,
    fetch,
    hub_error,
    is_out_of_reach,
)
from xmod_extend.hub.patience import patiently
from xmod_extend.model.config import CONFIG_NAME, check_config, read_config, read_json_object
from xmod_extend.model.tensors import DamagedFileError
from xmod_extend.model.weights import WEIGHTS_NAMES, open_weights
from xmod_extend.tokens.tokenizer import TOKENIZER_PATTERNS, fetch_tokenizer

BUNDLED = "tiny"

DOCUMENT_PATTERNS = (
    "LICENSE*",
    "NOTICE*",
    "run.json",
    "run-*.json",
    "metrics.jsonl",
    "metrics-*.jsonl",
    "report.html",
    "report-*.html",
)
"""Other files that belong to a checkpoint: its license, and what tells of added languages."""


@dataclass
class BaseReference:
    """A base that is known to be a folder, or that is assumed to be on the Hub.

    Attributes:
        base: The folder or the Hub id, as the user wrote it.
        name: A short name, for naming outputs: `xmod-base` for `facebook/xmod-base`.
        repo_id: The id of a base on the Hub, else None.
        revision: The branch, tag or commit that was asked for.
        commit: The commit that was found, once `load_config` has been called.
    """

    base: str
    name: str
    path: Path | None = None
    repo_id: str | None = None
    revision: str | None = None
    commit: str | None = None
    endpoint: str | None = field(default=None, repr=False)
    _config: dict[str, Any] | None = field(default=None, repr=False)

    def load_config(self) -> dict[str, Any]:
        """Return config.json, downloaded alone if the base is on the Hub.

        Raises:
            ModelError: It is not an X-MOD's.
            HubError: It cannot be downloaded.
        """
        if self._config is None:
            self._config = read_config(self.path) if self.path else self._download_config()
        return self._config

    def fetch(self) -> Path:
        """Return the folder with all that is needed of the base, downloaded if it is on the Hub.

        Weights are fetched in one format: safetensors, or `.bin` where there is nothing else.

        Raises:
            ModelError: The repository has no weights that PyTorch can read.
            HubError: A file cannot be downloaded.
        """
        self.load_config()
        if self.path is not None:
            return self.path
        return _fetch_snapshot(self._on_hub(self.commit))

    def fetch_tokenizer(self) -> Path:
        """Return the folder with the base's tokenizer, downloaded without the weights.

        Raises:
            HubError: It cannot be downloaded.
        """
        self.load_config()
        if self.path is not None:
            return self.path
        return fetch_tokenizer(self._on_hub(self.commit))

    def _on_hub(self, revision: str | None) -> HubRepository:
        assert self.repo_id is not None
        return HubRepository(self.repo_id, "model", revision, self.endpoint)

    def _download_config(self) -> dict[str, Any]:
        repository = self._on_hub(self.revision)
        file = fetch(repository, path=CONFIG_NAME)
        # The cache keeps a file under snapshots/COMMIT, which is known offline as well.
        self.commit = file.parent.name
        return check_config(read_json_object(file), repository.repo_id)


def resolve_base(
    base: str, *, revision: str | None = None, endpoint: str | None = None
) -> BaseReference:
    """Decide what `base` means; nothing is downloaded yet.

    `tiny` is the bundled base (a folder of that name is `./tiny`). An existing folder comes before
    a Hub id of the same name.

    Args:
        base: A Hub id, also with a revision as USER/NAME@REVISION, a folder, or `tiny`.
        revision: Branch, tag or commit on the Hub.
        endpoint: The Hub's address; by default the one that `HF_ENDPOINT` names.

    Raises:
        ModelError: It is neither, or a folder that does not exist.
        UsageError: A revision is given for a folder, or two that differ.
    """
    try:
        path = _local_path(base)
    except OSError as error:
        raise ModelError(
            f"{base} cannot be read: {error.strerror}.", hint="Check the path and its permissions."
        ) from error
    if path is not None:
        if revision is not None:
            raise UsageError(
                f"A revision ({revision}) was given, but {base} is a folder, not a Hub id.",
                hint="Leave the revision out, or give the base as USER/NAME.",
            )
        name = BUNDLED if base == BUNDLED else path.resolve().name or "base"
        return BaseReference(base, name, path=path)
    repo_id, revision = _split_revision(base, revision)
    _check_repo_id(repo_id, base)
    return BaseReference(
        repo_id, repo_id.rsplit("/", 1)[-1], repo_id=repo_id, revision=revision, endpoint=endpoint
    )


def _split_revision(base: str, given: str | None) -> tuple[str, str | None]:
    """Return the Hub id and the revision of USER/NAME@REVISION, or of an id and a given one."""
    repo_id, at, revision = base.partition("@")
    if not at or "/" not in repo_id:
        return base, given
    if not revision:
        raise UsageError(
            f"{base} ends with @, and names no revision.",
            hint="Write USER/NAME@REVISION, or leave the @ out for the main branch.",
        )
    if given not in (None, revision):
        raise UsageError(
            f"Two revisions were given: {revision} in {base}, and {given}.",
            hint="Give one of the two.",
        )
    return repo_id, revision


def _local_path(base: str) -> Path | None:
    if base == BUNDLED:
        bundled = Path(str(files("xmod_extend"))) / "bases" / BUNDLED
        if not bundled.is_dir():
            raise ModelError(
                "The bundled base `tiny` is missing from this installation.",
                hint="Install xmod-extend again, or give another base.",
            )
        return bundled
    if not base.strip():
        raise ModelError("The base is empty.", hint="Give a Hub id such as facebook/xmod-base.")
    path = Path(base).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(
            f"{base} is a file, not a folder.", hint="Give the folder that holds config.json."
        )
    # A revision may have slashes, such as refs/pr/1.
    repo_id = base.partition("@")[0]
    if base.startswith((".", "/", "~")) or repo_id.count("/") > 1 or base.endswith("/"):
        near = _nearest_sibling(path)
        raise ModelError(
            f"The folder {base} does not exist.",
            hint=f"Did you mean {near}?" if near else "Check the path.",
        )
    return None


def _nearest_sibling(path: Path) -> Path | None:
    if not path.parent.is_dir():
        return None
    folders = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    near = difflib.get_close_matches(path.name, folders, n=1)
    return path.parent / near[0] if near else None


def _check_repo_id(repo_id: str, base: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ModelError(
            f"{base} is neither a folder nor a name that the Hub allows.",
            hint="Give a folder, or a Hub id such as facebook/xmod-base.",
        ) from error


def choose_files(names: Iterable[str]) -> list[str]:
    """Return the files of a repository that a base needs, with one format of weights.

    The list is empty if there are no weights that PyTorch can read.
    """
    top_level = [name for name in names if "/" not in name]
    weights = next((name for name in WEIGHTS_NAMES if name in top_level), None)
    if weights is None:
        return []
    chosen = {CONFIG_NAME, weights}
    if weights.endswith(".index.json"):
        is_safetensors = "safetensors" in weights
        shards = "model-*.safetensors" if is_safetensors else "pytorch_model-*.bin"
        chosen.update(fnmatch.filter(top_level, shards))
    for pattern in (*TOKENIZER_PATTERNS, *DOCUMENT_PATTERNS):
        chosen.update(fnmatch.filter(top_level, pattern))
    return [name for name in top_level if name in chosen]


def _fetch_snapshot(repository: HubRepository) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    repo_id, commit, endpoint = repository.repo_id, repository.revision, repository.endpoint
    try:
        problem = ask_hub(repository)
        if problem is not None:
            return _cached_snapshot(repository, problem)
        names = HfApi(endpoint=endpoint).list_repo_files(repo_id, revision=commit)
        chosen = choose_files(names)
        if chosen:
            # `[` is the only character in a file name that has a meaning in a pattern.
            patterns = [name.replace("[", "[[]") for name in chosen]
            with bars_on_a_terminal():
                download = partial(
                    snapshot_download,
                    repo_id,
                    revision=commit,
                    allow_patterns=patterns,
                    endpoint=endpoint,
                )
                return Path(patiently(download))
    except HubError:
        raise
    except Exception as error:  # the Hub's client raises the errors of many libraries
        if is_out_of_reach(error):
            return _cached_snapshot(repository, error)
        raise hub_error(error, repository) from error
    raise ModelError(
        f"{repo_id} has no weights that PyTorch can read; it holds {', '.join(names[:6])}.",
        hint="Expected model.safetensors or pytorch_model.bin.",
    )


def _cached_snapshot(repository: HubRepository, cause: Exception) -> Path:
    """Return the folder of a base that was downloaded before, when the Hub cannot be reached."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository.repo_id, CONFIG_NAME, revision=repository.revision)
    assert isinstance(config, str), "load_config found it"
    folder = Path(config).parent
    try:
        open_weights(folder)
    except DamagedFileError:
        # A network would not help: the Hub's client takes the damaged file for whole.
        raise
    except ModelError:
        raise HubError(
            f"The Hub cannot be reached, and {repository} is not completely in the cache.",
            hint="Run once with a network connection and without HF_HUB_OFFLINE.",
        ) from cause
    return folder
