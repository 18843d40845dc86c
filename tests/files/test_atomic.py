"""Atomic files and folders: whole or not there, and what was there before is kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xmod_extend.files.atomic import atomic_file, atomic_folder, write_atomically


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_error_leaves_the_old_file_and_says_which_it_was(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(error)) as caught, atomic_file(path) as temporary:
        temporary.write_bytes(b"ne")
        raise error
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)


def test_a_folder_appears_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "folder", []
    fsync = os.fsync

    def note(handle: int) -> None:
        flushed.append(path.exists())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_folder(path, tmp_path / ".new") as temporary:
        (temporary / "file").write_bytes(b"new")
        assert not path.exists() and not flushed
    # The file and its folder before the folder has its name; the folder with the names after it.
    assert flushed == [False, False, True]
    assert (path / "file").read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_fails_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="full"),
        atomic_folder(tmp_path / "folder", tmp_path / ".new") as temporary,
    ):
        (temporary / "inside").mkdir()
        raise OSError(errno.ENOSPC, "full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_has_the_name_is_moved_away_for_the_renaming_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    path, removed = tmp_path / "folder", []
    path.mkdir()
    (path / "file").write_bytes(b"old")

    @contextmanager
    def moved_away() -> Iterator[None]:
        path.rename(tmp_path / "old")
        try:
            if fails:
                raise OSError(errno.EIO, "no")
            yield
        except OSError:
            (tmp_path / "old").rename(path)
            raise

    made = atomic_folder(path, tmp_path / ".new", replacing=moved_away(), remove=removed.append)
    if fails:
        with pytest.raises(OSError, match="no"), made:
            assert (path / "file").exists()
        assert (path / "file").read_bytes() == b"old"
        assert removed == [tmp_path / ".new"]
        return
    with made as temporary:
        (temporary / "file").write_bytes(b"new")
        assert (path / "file").read_bytes() == b"old"
    assert (path / "file").read_bytes() == b"new"
    assert (tmp_path / "old/file").read_bytes() == b"old"
    assert removed == []
