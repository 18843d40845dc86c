"""The commands of the README and docs/ do what is said, in their order; training is cut short."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from document_output import assert_printed
from documents import DOCUMENTS, NOT_RUN, ROOT, Block, read_blocks
from hub_server import TOKEN, Account, Hub
from labelled_text import labelled_sentences, write_conllu
from published import hub_for_publishing

import xmod_extend
from xmod_extend.cli.app import run as run_app
from xmod_extend.cli.output import Display

LAUNCHERS = {
    "torchrun": "torch.distributed.run",
    "accelerate": "accelerate.commands.accelerate_cli",
}
FEW_STEPS = 2
Invoke = Callable[[list[str]], str]


@pytest.fixture
def work(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents speak of; the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lines = (ROOT / "corpora" / "quz_PE.txt").read_text(encoding="utf-8").splitlines(True)
    # The README shows what comes of the whole corpus; elsewhere it only takes longer.
    kept = len(lines) if request.node.callspec.params["name"] == "README.md" else 800
    texts = {"corpora/quz_PE.txt": lines[:kept], "data/aymara.txt": lines[-800:]}
    texts |= {"quechua.txt": lines[:800], "TRAINING": lines[100:800], "HELD_OUT": lines[:100]}
    texts |= {"data/held_out.txt": lines[-60:], "other.txt": lines[-60:]}
    for name in ("es_XX.txt", "pairs/quz_PE.tsv"):
        whole = (ROOT / "corpora" / name).read_text(encoding="utf-8")
        texts[f"corpora/{name}"] = whole.splitlines(True)[:100]
    for name, own in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("".join(own), encoding="utf-8")
    for name in ("spanish", "quechua"):
        write_conllu(tmp_path / "data" / f"{name}.conllu", labelled_sentences(40, seed=len(name)))
    (tmp_path / "BASE").symlink_to(ROOT / "xmod_extend" / "bases" / "tiny")
    return tmp_path


@pytest.fixture
def hub(work: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine, where `maria` has an account and has published what is pulled."""
    server = Hub(accounts={TOKEN: Account("maria")})
    with hub_for_publishing(server, monkeypatch, work / "cache"):
        yield server


def publish_what_is_pulled(invoke: Invoke) -> None:
    corpus = ["--corpus", "quechua.txt", "--max-steps", str(FEW_STEPS)]
    invoke(["add", "--lang", "quz_PE", "--base", "tiny", "--output", "published", *corpus])
    invoke(["push", "published", "--repo", "maria/xmod-quechua"])
    invoke(["push", "published", "--what", "pack", "--repo", "maria/quechua-pack"])


@pytest.fixture
def invoke(capfd: pytest.CaptureFixture[str]) -> Invoke:
    """Runs a command in this process, and returns what it told and printed."""

    def call(words: list[str]) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            run_app(words)
        out, err = capfd.readouterr()
        assert not caught.value.code, err
        return err + out

    return call


def with_tiny(words: list[str]) -> list[str]:
    """Has `tiny` stand in for facebook/xmod-base, and its output for that base's."""
    words = ["tiny" if word == "facebook/xmod-base" else word for word in words]
    if {"--base", "--model-name-or-path", "--config", "--plan-file"} & set(words) or words[
        0
    ] not in ("add", "check"):
        return words
    words = [*words, "--base", "tiny"]
    if words[0] == "add" and "--output" not in words:
        words += ["--output", f"xmod-base-{words[words.index('--lang') + 1]}"]
    return words


def cut_short(words: list[str]) -> list[str]:
    """Trains for few steps, and in one process, however many are asked for."""
    if words[0] not in ("add", "transfer") or "--plan" in words:
        return words
    for option in ("--max-steps", "--jobs"):
        if option in words:
            place = words.index(option)
            words = words[:place] + words[place + 2 :]
    return [*words, "--max-steps", str(FEW_STEPS)]


def run_command(command: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    if command in NOT_RUN:
        return
    program, *words = shlex.split(command)
    if program in LAUNCHERS:
        words = try_launcher(program, words)
    words = cut_short(with_tiny(words))
    if "--resume" in words:
        interrupt(words, invoke, monkeypatch)
    invoke(words)


def try_launcher(program: str, words: list[str]) -> list[str]:
    """Starts processes as the command would, and returns what these would do.

    tests/training trains in them, which takes long.
    """
    place = words.index("xmod_extend") + 1
    launched = [sys.executable, "-m", LAUNCHERS[program], *words[:place], "--version"]
    done = subprocess.run(launched, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and xmod_extend.__version__ in done.stdout, done.stderr
    return words[place:]


def interrupt(words: list[str], invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves a saved state behind for a command that goes on from one."""

    def stop(_: Display, name: str) -> None:
        if name.startswith("Scoring"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Display, "on_stage", stop)
        with pytest.raises(AssertionError, match="Interrupted"):
            invoke([*(word for word in words if word != "--resume"), "--save-minutes", "0"])
    output = words[words.index("--output") + 1]
    assert list(Path(f"{output}.run").glob("state-*.safetensors"))


def run_block(
    block: Block, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, names: dict[str, object]
) -> None:
    if block.language == "yaml":
        name = block.text.split("\n", 1)[0].removeprefix("# ")
        Path(name).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        # What has an output trains.
        few = rf'base="tiny", max_steps={FEW_STEPS},\1output='
        exec(re.sub(r'base="tiny",(\s+)output=', few, block.text), names)
    elif block.language == "console":
        (command,) = block.commands
        assert_printed(block.output, invoke(shlex.split(command)[1:]))
    else:
        for command in block.commands:
            run_command(command, invoke, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if "troubleshooting" not in name])
def test_what_a_document_shows_can_be_done(
    name: str, work: Path, invoke: Invoke, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "docs/using.md":
        publish_what_is_pulled(invoke)
    names: dict[str, object] = {}
    for block in read_blocks(DOCUMENTS[name]):
        run_block(block, invoke, monkeypatch, names)
