"""Every error in docs/troubleshooting.md is made, and the program says what stands there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from document_output import assert_printed
from documents import DOCUMENTS, ROOT, Block, read_blocks

import xmod_extend
from xmod_extend.cli.app import run as run_app

PAGE = DOCUMENTS["docs/troubleshooting.md"]
ERRORS = [block for block in read_blocks(PAGE) if block.language == "console"]
NUM_ERRORS = 10


class Interrupted(xmod_extend.Callback):
    """Presses Ctrl-C when training is over and a state is saved."""

    def on_stage(self, name: str) -> None:
        if name.startswith("Scoring"):
            raise KeyboardInterrupt


def write_wrong_files(folder: Path) -> None:
    lines = (ROOT / "corpora" / "quz_PE.txt").read_text(encoding="utf-8").splitlines()
    (folder / "corpora").mkdir()
    (folder / "corpora" / "quz_PE.txt").write_text("\n".join(lines[:800]), encoding="utf-8")
    (folder / "stories.docx").write_bytes(b"PK\x03\x04")
    (folder / "latin1.txt").write_bytes("Allinllachu, wayqi?\nñuqa hamuni.\n".encode("latin-1"))
    record = json.dumps({"sentence": lines[0]})
    (folder / "sentences.jsonl").write_text(f"{record}\n" * 9, encoding="utf-8")
    (folder / "short.txt").write_text("\n".join(lines[:20]), encoding="utf-8")
    cherokee = str.maketrans("abcdefghijklmnopqrstuvwxyzñ", "".join(map(chr, range(5024, 5051))))
    foreign = "\n".join(lines[:800]).lower().translate(cherokee)
    (folder / "cherokee.txt").write_text(re.sub("[!-~¡¿]", "", foreign), encoding="utf-8")
    (folder / "results").mkdir()
    (folder / "results" / "notes.txt").write_text("mine", encoding="utf-8")


def leave_a_state(output: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        xmod_extend.add_language(
            lang="quz_PE",
            corpus="corpora/quz_PE.txt",
            base="tiny",
            output=output,
            max_steps=4,
            save_minutes=0,
            callback=Interrupted(),
        )


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_wrong_files(tmp_path)
    return tmp_path


def test_there_are_ten_and_each_has_a_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(ERRORS) == NUM_ERRORS
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings == re.findall(r"^- \[(.+)\]", text, flags=re.MULTILINE)


@pytest.mark.parametrize("block", ERRORS, ids=lambda block: block.commands[0])
def test_an_error_is_as_it_is_shown(
    block: Block, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = shlex.split(block.commands[0])[1:]
    if "begun" in command:
        leave_a_state("begun")
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        run_app(command)
    out, err = capfd.readouterr()
    assert caught.value.code and not out
    assert_printed(block.output, err)


@pytest.mark.parametrize(
    "message",
    [
        "The Hub cannot be reached, and {} is not in the cache.",
        "There is not enough memory.",
        "Worse than token frequencies",
        "only a little better",
        "Unexpected",
    ],
)
def test_a_message_in_a_sentence_is_in_the_program(message: str) -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f'"{message.format("facebook/xmod-base")}' in text
    source = " ".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "xmod_extend").rglob("*.py")
    )
    for part in message.split("{}"):
        assert part.casefold() in source.casefold(), part
