"""Text from the Hub: addresses, what is fetched, and what each failure is called. No network."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import errors
from sample_text import sentences

from xmod_extend.errors import CorpusError, HubError
from xmod_extend.hub import client as client_module
from xmod_extend.hub.client import HubRepository, hub_error
from xmod_extend.text import hub as hub_module
from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.hub import HubAddress
from xmod_extend.text.sources import find_sources


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://datasets/me/quz", ("me/quz", None, None)),
        ("hf://datasets/me/quz/", ("me/quz", None, None)),
        ("hf://datasets/me/quz@v1", ("me/quz", "v1", None)),
        ("hf://datasets/me/quz/a/b.txt", ("me/quz", None, "a/b.txt")),
        ("hf://datasets/me/quz@v1/a@2.txt", ("me/quz", "v1", "a@2.txt")),
    ],
)
def test_addresses(address: str, parts: tuple[str | None, ...]) -> None:
    parsed = HubAddress.parse(address)
    assert (parsed.repository, parsed.revision, parsed.path) == parts


@pytest.mark.parametrize("address", ["hf://datasets/quz", "hf://datasets/", "hf://datasets/a@b/c"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(CorpusError, match="not the address of a data set"):
        find_sources([address])


def test_a_file_of_a_data_set_is_read_as_a_local_one(
    write_lines: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(["runa"])
    asked: dict[str, Any] = {}

    def download(repository: str, name: str, **options: Any) -> str:
        asked.update(repository=repository, name=name, **options)
        return str(path)

    monkeypatch.setattr(client_module, "ask_hub", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    address = "hf://datasets/me/quz@v1/a/corpus.txt"
    (source,) = find_sources([address])
    assert (source.path, source.name, source.format) == (path, address, "text")
    assert asked == {
        "repository": "me/quz",
        "name": "a/corpus.txt",
        "repo_type": "dataset",
        "revision": "v1",
        "endpoint": None,
        "local_files_only": False,
    }


def test_a_file_of_another_kind_is_not_even_fetched() -> None:
    with pytest.raises(CorpusError, match="Unsupported file type"):
        find_sources(["hf://datasets/me/quz/weights.zip"])


def test_a_whole_data_set_is_read_from_its_training_split(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = sentences(400)
    made = datasets.Dataset.from_dict({"id": list(range(400)), "text": lines})
    made.save_to_disk(tmp_path / "set")
    asked: dict[str, Any] = {}

    def load(repository: str, **options: Any) -> datasets.Dataset:
        asked.update(repository=repository, **options)
        return datasets.load_from_disk(tmp_path / "set")

    monkeypatch.setattr(hub_module, "ask_hub", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = read_corpus(["hf://datasets/me/quz@v1"], cache_dir=cache_dir)
    assert asked == {"repository": "me/quz", "split": "train", "revision": "v1"}
    assert corpus.report.kept_lines == 400
    assert corpus.report.files == ("hf://datasets/me/quz@v1",)
    with pytest.raises(CorpusError, match=r"no field 'body' \(found 'id', 'text'\)"):
        read_corpus(["hf://datasets/me/quz"], text_field="body", cache_dir=cache_dir)


def test_a_data_set_without_a_training_split_is_a_matter_of_the_corpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ValueError("Unknown split \"train\". Should be one of ['test'].")

    monkeypatch.setattr(hub_module, "ask_hub", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(CorpusError, match="Unknown split"):
        find_sources(["hf://datasets/me/quz"])


@pytest.mark.parametrize("address", ["hf://datasets/me/quz", "hf://datasets/me/quz/a.txt"])
def test_without_a_network_the_error_says_so(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="me/quz is not in the cache, and offline mode") as caught:
        find_sources([address])
    assert caught.value.exit_code == 5
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"The Hub cannot be reached, and .* me/quz is") as caught:
        find_sources([address])
    assert caught.value.exit_code == 5


def response(status: int) -> Any:
    return SimpleNamespace(status_code=status, headers={}, request=None)


class ConnectError(Exception):
    """What HTTP libraries call a connection that was not made."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


DOWN = errors.HfHubHTTPError("503", response=response(503))
UNKNOWN = errors.RepositoryNotFoundError("401", response=response(401))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UNKNOWN, "does not know"),
        (caused(DatasetNotFoundError("'me/aggregated' doesn't exist"), UNKNOWN), "does not know"),
        (errors.RemoteEntryNotFoundError("404", response=response(404)), "does not know"),
        (
            errors.RevisionNotFoundError("404", response=response(404)),
            "The data set me/quz has no revision v1.",
        ),
        (errors.GatedRepoError("403", response=response(403)), "is gated"),
        (DatasetNotFoundError("'me/quz' is a gated dataset on the Hub."), "is gated"),
        (
            errors.HfHubHTTPError("403", response=response(403)),
            "refused a.txt of the data set me/quz@v1 (HTTP 403)",
        ),
        (errors.HfHubHTTPError("500 oh\nno", response=response(500)), "status 500"),
        (errors.LocalEntryNotFoundError("offline"), "cannot be reached"),
        (ConnectError("refused"), "cannot be reached"),
        (ConnectionError("Couldn't reach it"), "cannot be reached"),
        (RuntimeError("oh\nno"), "a.txt of the data set me/quz@v1 failed: oh."),
        (errors.HFValidationError("Repo id must not"), "Repo id must not"),
        (caused(errors.LocalEntryNotFoundError(""), DOWN), "status 503"),
        (OSError(errno.ENOSPC, "full"), "no space left"),
        (RuntimeError("Dataset scripts are no longer supported"), "scripts are no longer"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_each_failure_has_a_name(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_refs", None)
    explained = hub_error(error, HubRepository("me/quz", "dataset", "v1"), path="a.txt")
    assert isinstance(explained, HubError)
    assert message in explained.message
    assert "\n" not in explained.message
