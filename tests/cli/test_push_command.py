"""`push` from the command line, and what it prints for people, scripts and programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub
from published import BASE_ID, files_of, hub_for_publishing, write_extended
from refusals import Invoke, assert_explained

REPO = "someone/xmod-quz"


@pytest.fixture
def hub(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(files={BASE_ID: files_of(base)}, copies=True)
    with hub_for_publishing(server, monkeypatch, tmp_path / "cache"):
        yield server


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "extended"
    return write_extended(base, folder, base_id=BASE_ID)


def test_people_read_sizes_before_and_the_use_after(
    hub: Hub, invoke: Invoke, extended: Path
) -> None:
    code, out, err = invoke("push", extended, "--repo", REPO)
    assert code == 0, err
    lines = err.splitlines()
    assert (
        "  model-base.safetensors, 126.7 kB: copied on the server from someone/xmod-small" in lines
    )
    sizes = next(number for number, line in enumerate(lines) if line.endswith(" to upload"))
    assert lines[sizes + 1].startswith("Uploading ")
    assert out.startswith(f"Published: {hub.endpoint}/{REPO}\n")
    assert hub.repositories[REPO].head in out
    code_lines = out.split("Use it:\n")[1].splitlines()
    assert len(code_lines) == 5
    compile("\n".join(line.strip() for line in code_lines), "use", "exec")
    assert f'from_pretrained("{REPO}")' in out and '"quz_PE"' in out


def test_a_script_gets_the_address_and_a_program_one_object(
    hub: Hub, invoke: Invoke, extended: Path
) -> None:
    url = f"{hub.endpoint}/{REPO}"
    assert invoke("push", extended, "--repo", REPO, "-q") == (0, f"{url}\n", "")
    code, out, _ = invoke("push", extended, "--repo", REPO, "--json")
    value = json.loads(out)
    assert code == 0 and value["schema_version"] == 1
    assert (value["url"], value["commit"], value["uploaded"]) == (url, None, [])
    assert "has all of this already" in invoke("push", extended, "--repo", REPO)[1]


def test_a_plan_says_that_nothing_was_changed(hub: Hub, invoke: Invoke, extended: Path) -> None:
    code, out, err = invoke("push", extended, "--repo", REPO, "--plan", "--private")
    assert code == 0 and "Nothing was changed" in out
    assert "a new private repository" in err
    assert REPO not in hub.repositories


def test_a_pack_says_how_it_is_installed(hub: Hub, invoke: Invoke, extended: Path) -> None:
    command = ("push", extended, "--repo", REPO, "--what", "pack", "--license", "cc-by-4.0")
    code, out, err = invoke(*command)
    assert code == 0, err
    assert f"xmod-extend install {BASE_ID} {REPO} --output" in out
    card = hub.repositories[REPO].files["README.md"].decode()
    assert "license: cc-by-4.0" in card.replace('"', "") and REPO in card


def test_a_refusal_is_one_error(hub: Hub, invoke: Invoke, extended: Path) -> None:
    assert_explained(invoke("push", extended, "--repo", "x"), 2, "--repo is 'x'")
    assert_explained(
        invoke("push", extended, "--repo", REPO, "--license", "mine"), 2, "--license is 'mine'"
    )
    assert_explained(
        invoke("push", extended, "--repo", "nobody/x"), 5, "cannot be created.*Check the spelling"
    )
    assert_explained(invoke("push", extended, "--repo", REPO, "--create-pr"), 5, "does not exist")
    assert_explained(invoke("push", "nowhere", "--repo", REPO), 2, "nowhere does not exist")
    assert hub.commits == 0
