"""`add --push-to-hub`: checked before training, published after it, nothing lost by a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import TOKEN, Account, Fault, Hub
from published import BASE_ID, files_of, hub_for_publishing, published_files

import xmod_extend
from xmod_extend.cli.app import run as run_app
from xmod_extend.errors import HubError, UsageError
from xmod_extend.jobs.options import merge_options

REPO = "someone/xmod-quz"


@pytest.fixture
def hub(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(files={BASE_ID: files_of(base)})
    with hub_for_publishing(server, monkeypatch, tmp_path / "cache"):
        yield server


class Warnings(xmod_extend.Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_warning(self, text: str) -> None:
        self.texts.append(text)


def options(base: str | Path, corpus: Path, output: Path, **changes: Any) -> dict[str, Any]:
    fields = {"lang": "quz_PE", "corpus": corpus, "base": base, "output": output}
    return fields | {"max_steps": 1, "batch_size": 4, "push_to_hub": REPO} | changes


def test_what_was_added_is_published(hub: Hub, base: Path, corpus: Path, tmp_path: Path) -> None:
    hub.copies = True
    output = tmp_path / "out"
    chosen = options(BASE_ID, corpus, output, private=True)
    xmod_extend.add_language(**chosen, callback=Warnings())
    repository = hub.repositories[REPO]
    assert repository.private and hub.commits == 1
    assert published_files(output).items() <= repository.files.items()
    assert hub.uploaded_bytes == (output / "model-quz_PE.safetensors").stat().st_size
    assert xmod_extend.describe(REPO).languages[-1] == "quz_PE"
    card = repository.files["README.md"].decode()
    assert f'from_pretrained("{REPO}"' in card and str(tmp_path) not in card


@pytest.mark.slow
def test_several_languages_are_published_together(
    hub: Hub, base: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["add", "--base", base, "--output", tmp_path / "out", "--push-to-hub", REPO]
    for code in ("quz_PE", "ay_BO"):
        command += ["--lang", code, "--corpus", corpus]
    with pytest.raises(SystemExit) as caught:
        run_app([*map(str, command), "--max-steps", "1", "--batch-size", "4", "-q"])
    printed = capsys.readouterr()
    assert caught.value.code == 0, printed.err
    assert printed.out.splitlines() == [str(tmp_path / "out"), f"{hub.endpoint}/{REPO}"]
    assert json.loads(hub.repositories[REPO].files["config.json"])["languages"][-1] == "ay_BO"


@pytest.mark.parametrize(
    ("account", "token", "expected"),
    [
        (Account("someone", role="read"), TOKEN, "may only read"),
        (Account("visitor"), TOKEN, "is not a member of someone"),
        (Account("someone"), "", "not logged in"),
        (Account("someone"), "hf_unknown", "does not accept the token"),
    ],
)
def test_who_may_not_publish_hears_of_it_before_training(
    hub: Hub,
    base: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    account: Account,
    token: str,
    expected: str,
) -> None:
    hub.accounts[TOKEN] = account
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=expected):
        xmod_extend.add_language(**options(base, corpus, tmp_path / "out"), callback=Warnings())
    assert not (tmp_path / "out.run").exists()


def test_a_token_without_the_right_for_a_repository_is_refused_before_training(
    hub: Hub, base: Path, corpus: Path, tmp_path: Path
) -> None:
    hub.add(REPO, {})
    hub.accounts[TOKEN] = Account("someone", role="fineGrained")
    with pytest.raises(HubError, match="may not write to"):
        xmod_extend.add_language(**options(base, corpus, tmp_path / "out"), callback=Warnings())
    hub.accounts[TOKEN] = Account("someone")
    with pytest.raises(HubError, match="exists and is public"):
        chosen = options(base, corpus, tmp_path / "out", private=True)
        xmod_extend.add_language(**chosen, callback=Warnings())


@pytest.mark.slow
def test_a_failure_leaves_the_checkpoint_and_says_how_to_go_on(
    hub: Hub, base: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults.append(Fault("/commit/", 503))
    output = tmp_path / "out"
    command = ["add", "--lang", "quz_PE", "--corpus", corpus, "--base", base, "--output", output]
    command += ["--max-steps", "1", "--batch-size", "4", "--push-to-hub", REPO, "--private"]
    with pytest.raises(SystemExit) as caught:
        run_app(list(map(str, command)))
    printed = capsys.readouterr()
    assert caught.value.code == 5
    assert f"is in {output}" in printed.out
    assert f"`xmod-extend push {output} --repo {REPO} --private`" in printed.err
    assert "was not published" in printed.err and TOKEN not in printed.err + printed.out
    assert xmod_extend.verify_checkpoint(output, base).identical
    hub.faults.clear()
    assert xmod_extend.push_to_hub(output, REPO, private=True, progress=False).commit


def test_offline_it_is_said_before_training(
    hub: Hub, base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    warnings = Warnings()
    chosen = options(base, corpus, tmp_path / "out", plan=True)
    xmod_extend.add_language(**chosen, callback=warnings)
    assert any("Offline mode is on" in text for text in warnings.texts)
    assert hub.requests == []


def test_a_plan_publishes_nothing(hub: Hub, base: Path, corpus: Path, tmp_path: Path) -> None:
    chosen = options(base, corpus, tmp_path / "out", plan=True)
    xmod_extend.add_language(**chosen, callback=Warnings())
    assert hub.commits == 0 and REPO not in hub.repositories


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"push_to_hub": "quz"}, r"it must be USER/NAME"),
        ({"push_to_hub": None, "private": True}, "--private is about the repository"),
    ],
)
def test_a_wrong_repository_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        merge_options(None, options("tiny", Path("a.txt"), Path("out"), **changes))
