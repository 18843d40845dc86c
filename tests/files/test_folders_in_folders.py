"""An output folder may hold folders, and only what the program wrote is replaced or removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmod_extend.errors import UsageError
from xmod_extend.files.output_folder import new_folder
from xmod_extend.files.ownership import (
    CHECKPOINT,
    checkpoint_files,
    find_foreign,
    remove_files,
    write_mark,
)

NAMES = ("config.json", "de_DE/weights", "en_XX/weights")


def write(output: Path, text: str, *, force: bool = False, fails: bool = False) -> None:
    with new_folder(output, names=NAMES, force=force) as folder:
        for name in NAMES:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        if fails:
            raise ValueError


def test_a_folder_with_folders_is_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out"
    write(output, "one")
    assert set(checkpoint_files(output) or {}) == set(NAMES)
    write(output, "two", force=True)
    assert {name: (output / name).read_text() for name in NAMES} == dict.fromkeys(NAMES, "two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write(tmp_path / "out", "one", fails=True)
    assert not list(tmp_path.iterdir())


def file(output: Path) -> str:
    (output / "de_DE" / "notes.txt").write_text("years of work")
    return "holds de_DE/notes.txt, which xmod-extend did not write"


def changed(output: Path) -> str:
    (output / "de_DE" / "weights").write_text("years of work")
    return "holds de_DE/weights, which was changed since xmod-extend wrote it"


def folder(output: Path) -> str:
    (output / "sw_KE").mkdir()
    return "holds sw_KE, which xmod-extend did not write"


def link(output: Path) -> str:
    (output / "en_XX").rename(output.parent / "elsewhere")
    (output / "en_XX").symlink_to(output.parent / "elsewhere")
    return "holds en_XX, which xmod-extend did not write"


@pytest.mark.parametrize("change", [file, changed, folder, link])
def test_what_was_added_within_is_not_replaced(change: object, tmp_path: Path) -> None:
    output = tmp_path / "out"
    write(output, "one")
    assert callable(change)
    foreign = change(output)
    with pytest.raises(UsageError) as refused:
        write(output, "two", force=True)
    assert foreign in refused.value.message
    assert (output / "config.json").read_text() == "one"
    assert find_foreign(output, checkpoint_files(output) or {}) == foreign


def test_a_mark_that_names_files_elsewhere_removes_none_of_them(tmp_path: Path) -> None:
    kept = tmp_path / "years-of-work"
    kept.write_text("kept")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "work").write_text("kept")
    output = tmp_path / "from-a-stranger"
    output.mkdir()
    (output / "link").symlink_to(tmp_path / "others")
    names = ["../years-of-work", str(kept), "link/work", "a/../../years-of-work", "", "."]
    write_mark(output, CHECKPOINT, files={name: {} for name in names})
    remove_files(output, names)
    assert kept.read_text() == (tmp_path / "others" / "work").read_text() == "kept"
