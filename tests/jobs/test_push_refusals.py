"""Every way in which the Hub refuses what is published: one sentence, what to do, and no secret."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, Account, Fault, Hub
from published import BASE_ID, files_of, hub_for_publishing, published_files, write_extended

import xmod_extend
from xmod_extend.errors import HubError

REPO = "someone/xmod-quz"


@pytest.fixture
def hub(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(files={BASE_ID: files_of(base)})
    with hub_for_publishing(server, monkeypatch, tmp_path / "cache"):
        yield server


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extended(base, tmp_path_factory.mktemp("published") / "extended")


def refusal(folder: Path, repo: str = REPO, **options: object) -> HubError:
    with pytest.raises(HubError) as caught:
        xmod_extend.push_to_hub(folder, repo, progress=False, **options)  # type: ignore[arg-type]
    error = caught.value
    assert error.exit_code == 5
    assert "\n" not in error.message and error.message.endswith(".")
    assert error.hint and error.hint.endswith((".", "?"))
    shown = f"{error.message} {error.hint}"
    assert TOKEN not in shown and "Signature" not in shown
    assert "not a valid" not in shown
    return error


def read_only(hub: Hub) -> None:
    hub.accounts[TOKEN] = Account("someone", role="read")


def without_right(hub: Hub) -> None:
    hub.accounts[TOKEN] = Account("visitor")


def fine_grained(hub: Hub) -> None:
    hub.accounts[TOKEN] = Account("someone", role="fineGrained")


def fault(where: str, status: int | None, **details: object) -> Callable[[Hub], None]:
    def add(hub: Hub) -> None:
        hub.faults.append(Fault(where, status, **details))  # type: ignore[arg-type]

    return add


REFUSALS = {
    "read-only token": (read_only, "may only read", "settings/tokens"),
    "nobody's namespace": (without_right, "no such user or organisation", "your role"),
    "fine-grained token and no repository": (fine_grained, "cannot be created", "fine-grained"),
    "whoami is limited": (fault("whoami", 429), "no more requests", "later"),
    "invalid token": (lambda hub: hub.accounts.clear(), "does not accept the token", "HF_TOKEN"),
    "gated": (fault(f"/api/models/{REPO}", 403, code="GatedRepo"), "is gated", "Ask for access"),
    "create is forbidden": (fault("/repos/create", 403, message="No"), "HTTP 403.*No", "role"),
    "no organisation": (fault("/repos/create", 404), "no such user or organisation", "spelling"),
    "write is forbidden": (fault("/preupload/", 403), "may not write to", "--create-pr"),
    "commit is forbidden": (fault("/commit/", 403), "may not write to", "write access"),
    "conflict": (fault("/commit/", 409), "changed by somebody else", "again"),
    "too large": (fault("/commit/", 413), "HTTP 413", "--what pack"),
    "quota": (
        fault("/objects/batch", 403, message="Storage limit reached for someone"),
        "no room.*Storage limit reached",
        "--what pack",
    ),
    "limited": (
        fault("/commit/", 429, headers={"Retry-After": "30"}),
        "HTTP 429",
        "in 30 seconds",
    ),
    "down": (fault("/preupload/", 503), "HTTP 503", "not sent a second time"),
    "rejected commit": (fault("/commit/", 400, message="Bad name"), "HTTP 400.*Bad name", "says"),
    "cut off": (fault("/lfs/", None), "connection to the Hub broke off", "not sent a second"),
    "metadata": (
        lambda hub: hub.faults.append(Fault("validate-yaml", 400, message="wrong field")),
        "would reject the metadata.*wrong field",
        "Correct them",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_explained(hub: Hub, extended: Path, name: str) -> None:
    prepare, expected, advice = REFUSALS[name]
    prepare(hub)
    error = refusal(extended)
    assert re.search(expected, error.message), error.message
    assert advice in str(error.hint)
    assert hub.commits == 0


def test_nobody_is_logged_in(hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    error = refusal(extended)
    assert "not logged in" in error.message and "hf auth login" in str(error.hint)


def test_offline_mode(hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refusal(extended)
    assert "Offline mode" in error.message and "HF_HUB_OFFLINE" in str(error.hint)
    assert hub.requests == []


def test_no_network(hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
    assert "connection to the Hub failed" in refusal(extended).message


def test_a_hub_without_xet_is_named(
    hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    error = refusal(extended)
    assert "Xet" in error.message and "HF_HUB_DISABLE_XET=1" in str(error.hint)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    assert xmod_extend.push_to_hub(extended, REPO, progress=False).commit


def test_a_fine_grained_token_writes_to_its_repository(hub: Hub, extended: Path) -> None:
    hub.add(REPO, {})
    hub.accounts[TOKEN] = Account("someone", role="fineGrained", repositories=(REPO,))
    assert xmod_extend.push_to_hub(extended, REPO, progress=False).commit
    assert "POST /api/repos/create" not in hub.requests


ENDPOINTS = ["whoami", f"/models/{REPO}", "/repos/create", "validate-yaml", "/preupload/"]
ENDPOINTS += ["/objects/batch", "/lfs/", "/commit/", "/tree/"]


@pytest.mark.parametrize("where", ENDPOINTS)
@pytest.mark.parametrize("status", [503, 429])
def test_a_hub_that_is_busy_for_a_while_is_waited_for(
    hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch, where: str, status: int
) -> None:
    notes: list[str] = []
    waits: list[float] = []

    class Notes(xmod_extend.Callback):
        def on_note(self, text: str) -> None:
            notes.append(text)

    monkeypatch.setattr("time.sleep", waits.append)
    hub.faults.append(Fault(where, status, headers={"Retry-After": "7"}, times=2))
    assert xmod_extend.push_to_hub(extended, REPO, callback=Notes()).commit
    assert len([wait for wait in waits if wait in (7, 8)]) == 2
    assert hub.commits == 1
    assert not any("http" in note for note in notes)
    if where in ("/preupload/", "/objects/batch", "/lfs/"):
        assert any("Waiting 8.0s" in note for note in notes)


def test_a_wait_that_is_too_long_is_said(hub: Hub, extended: Path) -> None:
    hub.faults.append(Fault("/commit/", 429, headers={"Retry-After": "3000"}))
    assert "in 3,000 seconds" in str(refusal(extended).hint)
    hub.faults[0].headers = {"RateLimit": '"api";r=0;t=4000'}
    assert "in 4,000 seconds" in str(refusal(extended).hint)


@pytest.mark.parametrize("status", [None, 503])
def test_a_commit_whose_answer_is_lost_is_made_once(
    hub: Hub, extended: Path, status: int | None
) -> None:
    hub.faults.append(Fault("/commit/", status, loses_answer=True, times=1))
    published = xmod_extend.push_to_hub(extended, REPO, progress=False)
    assert hub.commits == 1
    assert published.commit == hub.repositories[REPO].head


def test_an_upload_that_broke_off_is_repeated_and_later_goes_on(hub: Hub, extended: Path) -> None:
    hub.faults.append(Fault("/lfs/", None, times=1))
    assert xmod_extend.push_to_hub(extended, REPO, progress=False).commit

    hub.faults.append(Fault("/lfs/someone/second", None, skips=1))
    refusal(extended, "someone/second")
    received = hub.uploaded_bytes
    hub.faults.clear()
    assert xmod_extend.push_to_hub(extended, "someone/second", progress=False).commit
    sizes = sorted(file.stat().st_size for file in extended.glob("*.safetensors"))
    assert hub.uploaded_bytes - received in sizes, "only one of the two was left to send"
    files = hub.repositories["someone/second"].files
    assert published_files(extended).items() <= files.items()


def test_what_the_hub_has_then_is_compared(
    hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = hub.storage.__class__.__setitem__

    class Forgetful(dict[str, bytes]):
        def __setitem__(self, key: str, raw: bytes) -> None:
            kept(self, key, raw[:-1] + b"!")

    hub.storage = Forgetful()
    error = refusal(extended)
    assert "not what was sent" in error.message


def test_the_token_is_written_nowhere(hub: Hub, extended: Path, tmp_path: Path) -> None:
    hub.faults.append(Fault("/commit/", 400, message=f"{TOKEN} is a bad token"))
    assert "hf_..." in refusal(extended).message
    held = [path for path in tmp_path.rglob("*") if path.is_file()]
    held += [path for path in extended.rglob("*") if path.is_file()]
    assert held and not any(TOKEN.encode() in path.read_bytes() for path in held)
    assert os.environ["HF_TOKEN"] == TOKEN
