"""Hashes that are ready when they are needed, and a thread that leaves when it is not."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from xmod_extend.errors import CorpusError
from xmod_extend.files import hashing
from xmod_extend.files.hashing import FileHashes, file_sha256
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import check_request
from xmod_extend.jobs.job import load_job
from xmod_extend.jobs.options import AddOptions


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, hashing.PIECE_BYTES, 2 * hashing.PIECE_BYTES + 7])
def test_a_hash_is_of_all_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert file_sha256(write(tmp_path / "file", content)) == sha256(content)


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write(tmp_path / name, name.encode()) for name in ("a", "b")]
    read: list[tuple[str, str]] = []

    def counting(file: Path, **options: threading.Event) -> str:
        read.append((file.name, threading.current_thread().name))
        return file_sha256(file, **options)

    monkeypatch.setattr(hashing, "file_sha256", counting)
    with FileHashes() as hashes:
        hashes.begin(lambda: files)
        hashes.begin(lambda: pytest.fail("begun before"))
        assert hashes.of(files) == [sha256(b"a"), sha256(b"b")]
    assert read == [("a", "hashing"), ("b", "hashing")]


def test_a_file_that_changed_since_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "file", b"old")
    with FileHashes() as hashes:
        hashes.begin(lambda: [file])
        assert hashes.of([file]) == [sha256(b"old")]
        write(file, b"newer")
        assert hashes.of([file]) == [sha256(b"newer")]


def test_what_cannot_be_read_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    def find() -> list[Path]:
        raise RuntimeError("a damaged folder")

    file = write(tmp_path / "file", b"here")
    with FileHashes() as hashes:
        hashes.begin(find)
        assert hashes.of([file]) == [sha256(b"here")]
        with pytest.raises(FileNotFoundError):
            hashes.of([tmp_path / "missing"])


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Makes a hash take until it is stopped; set as soon as one is begun."""
    begun = threading.Event()

    def hash_for_ever(file: Path, *, stop: threading.Event | None = None) -> str:
        begun.set()
        assert stop is not None and stop.wait(timeout=60)
        return ""

    monkeypatch.setattr(hashing, "file_sha256", hash_for_ever)
    return begun


def test_a_refusal_waits_for_no_hash(base: Path, tmp_path: Path, endless: threading.Event) -> None:
    options = AddOptions(
        lang="quz_PE",
        base=str(base),
        corpus=(str(write(tmp_path / "short.txt", b"too little\n")),),
        output=tmp_path / "out",
    )
    request = check_request(options, Callback())
    with pytest.raises(CorpusError):
        load_job(request, _AfterBegun(endless))
    assert "hashing" not in {thread.name for thread in threading.enumerate()}


class _AfterBegun(Callback):
    """Goes on with the text when hashing has begun."""

    def __init__(self, begun: threading.Event) -> None:
        self._begun = begun

    def on_stage(self, name: str) -> None:
        assert name != "Reading the corpus" or self._begun.wait(timeout=60)


def test_a_long_hash_ends_in_the_midst_of_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "file", bytes(4 * hashing.PIECE_BYTES))
    stop = threading.Event()
    stop.set()
    assert file_sha256(file, stop=stop) != file_sha256(file)
