"""docs/files.md names what a run leaves: all of it, and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from labelled_text import labelled_sentences, write_conllu

import xmod_extend
from xmod_extend.errors import LanguagesFailedError

DOCS = Path(__file__).parent.parent.parent / "docs/files.md"
CODE = r"[a-z]{2,3}_[A-Z]{2}"


def documented() -> dict[str, re.Pattern[str]]:
    """Each name in the tables of the checkpoint and the run, and what it stands for."""
    text = DOCS.read_text(encoding="utf-8").split("## For a moment")[0]
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    names = re.findall(r"`([^`]+)`", " ".join(cells))
    return {
        name: re.compile(re.escape(name).replace("CODE", CODE).replace("STEP", r"\d{8}"))
        for name in names
    }


def files(folder: Path) -> set[str]:
    found = (str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return {name.replace("out", "OUTPUT", 1) for name in found}


@pytest.mark.slow
def test_a_run_leaves_what_is_documented(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"corpus": str(corpus), "max_steps": 2, "batch_size": 2}
    own = tmp_path / "own"
    shutil.copytree(base, own)
    (own / "LICENSE").write_text("terms")
    seen: set[str] = set()

    def look(name: str) -> None:
        seen.update(files(tmp_path / name))

    def look_and_interrupt(*_: object, **__: object) -> None:
        look("one")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xmod_extend.jobs.add.write_extended", look_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            xmod_extend.add_language(
                lang="quz_PE",
                base=str(own),
                output=tmp_path / "one/out",
                save_minutes=0.0,
                **options,
            )
    look("one")
    xmod_extend.add_language(
        lang="quz_PE", base=str(own), output=tmp_path / "one/out", resume=True, **options
    )
    look("one")
    assert [entry.name for entry in (tmp_path / "one").iterdir()] == ["out"]
    (tmp_path / "short.txt").write_text("too short\n")
    entries = [{"lang": "ay_BO"}, {"lang": "fo_FO", "corpus": str(tmp_path / "short.txt")}]
    with pytest.raises(LanguagesFailedError):
        xmod_extend.add_languages(
            languages=[{**options, **each} for each in entries],
            base=str(tmp_path / "one/out"),
            output=tmp_path / "two/out",
        )
    look("two")
    labelled = tmp_path / "labelled.conllu"
    write_conllu(labelled, labelled_sentences(30, seed=1))
    xmod_extend.transfer(
        tmp_path / "one/out",
        source="en_XX",
        target="quz_PE",
        train=labelled,
        test=labelled,
        max_steps=2,
        seeds=1,
        output=tmp_path / "three/out",
    )
    look("three")
    xmod_extend.pack_language(tmp_path / "one/out", "quz_PE", tmp_path / "four/out")
    look("four")
    patterns = documented()
    undocumented = [
        name for name in seen if not any(each.fullmatch(name) for each in patterns.values())
    ]
    assert undocumented == []
    # The states of one of several languages are those of a run of one.
    rare = {"OUTPUT.run/CODE/state-STEP.safetensors"}
    missing = [
        name
        for name, pattern in patterns.items()
        if name not in rare and not any(pattern.fullmatch(each) for each in seen)
    ]
    assert missing == []
