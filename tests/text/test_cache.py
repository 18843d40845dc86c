"""The cache is never believed: damage of every kind ends in the right result or in a refusal."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from sample_text import documents, sentences

from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.text.cache import (
    Entry,
    find_entry,
    find_or_make_entry,
    forget_refused_text,
    make_room,
)
from xmod_extend.text.cache_folder import DEFAULT_LIMIT_BYTES, LIMIT_VARIABLE, limit_bytes
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer

Write = Callable[..., Path]
Change = Callable[[bytes, random.Random], bytes]


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    size = min(rng.randint(1, 5_000), len(content) - start)
    other = bytes(byte ^ 0x55 for byte in content[start : start + size])
    return content[:start] + other + content[start + size :]


def swap(content: bytes, rng: random.Random) -> bytes:
    middle = rng.randrange(1, len(content))
    swapped = content[middle:] + content[:middle]
    return swapped if swapped != content else flip(content, rng)


DAMAGE: dict[str, Change] = {
    "flip": flip,
    "overwrite": overwrite,
    "swap": swap,
    "header": lambda content, rng: bytes(byte ^ 0xFF for byte in content[:32]) + content[32:],
    "zeros": lambda content, rng: bytes(len(content)),
    "truncate": lambda content, rng: content[: rng.randrange(len(content))],
    "empty": lambda content, rng: b"",
    "append": lambda content, rng: content + bytes(rng.randint(1, 100)),
    "garbage": lambda content, rng: rng.randbytes(len(content) + rng.randint(0, 9)),
}


@pytest.fixture
def loaded(tokenizer_dir: Path) -> LoadedTokenizer:
    return load_tokenizer(tokenizer_dir, vocab_size=10_000)


@pytest.fixture
def text(write_lines: Write) -> Path:
    return write_lines([*sentences(300), "", *sentences(30, seed=1)])


def result(corpus: Corpus, loaded: LoadedTokenizer) -> Any:
    tokens = tokenize(corpus.train, loaded)
    held_out = tokenize(corpus.held_out, loaded)
    blocks = PackedBlocks(tokens, max_length=16, bos_id=0)
    batches = [batch.tolist() for batch in islice(blocks.batches(8, seed=0), 3)]
    return (
        corpus.report,
        list(corpus.train),
        list(corpus.held_out),
        documents(tokens),
        documents(held_out),
        tokens.counts,
        batches,
    )


@pytest.mark.parametrize("cases", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_damage_at_a_random_place_changes_no_result(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer, cases: int
) -> None:
    expected = result(read_corpus([text], cache_dir=cache_dir), loaded)
    pristine = {file: file.read_bytes() for file in cache_dir.glob("*/*")}
    assert len(pristine) == 22
    rng = random.Random(cases)
    for _ in range(cases):
        file, content = rng.choice(list(pristine.items()))
        name, change = rng.choice(list(DAMAGE.items()))
        file.write_bytes(change(content, rng))
        assert find_entry(file.parent) is None, (file, name)
        assert result(read_corpus([text], cache_dir=cache_dir), loaded) == expected, (file, name)
        # The cleaned lines alone are not needed while what was made from them is whole.
        if not file.parent.name.startswith("lines-"):
            assert file.read_bytes() == content
        file.write_bytes(content)


def make_entry(cache: Path, name: str, used: int, size: int = 10_000) -> Entry:
    """An entry that was last used at a time."""

    def make(folder: Path) -> dict[str, Any]:
        (folder / "a.bin").write_bytes(bytes(size))
        return {}

    entry = find_or_make_entry(cache / name, make, num_bytes=size)
    os.utime(entry.folder / "entry.json", (used, used))
    return entry


def entries(cache: Path) -> list[str]:
    return sorted(folder.name for folder in cache.iterdir() if folder.is_dir())


def test_what_was_used_longest_ago_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, used in (("lines-1", 3), ("lines-2", 1), ("lines-3", 2)):
        make_entry(tmp_path, name, used)
    monkeypatch.setenv(LIMIT_VARIABLE, "36000")
    make_entry(tmp_path, "lines-4", 4)
    assert entries(tmp_path) == ["lines-1", "lines-3", "lines-4"]
    # It was found, and so is the one that was used last.
    assert find_entry(tmp_path / "lines-3") is not None
    make_entry(tmp_path, "lines-5", 5, size=20_000)
    assert entries(tmp_path) == ["lines-3", "lines-5"]


def test_room_is_made_before_an_entry_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entry(tmp_path, "lines-1", 1)
    monkeypatch.setenv(LIMIT_VARIABLE, "15000")

    def make(folder: Path) -> dict[str, Any]:
        assert entries(tmp_path) == [folder.name]
        return {}

    find_or_make_entry(tmp_path / "lines-2", make, num_bytes=10_000)


def test_an_entry_in_use_stays_whatever_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    held = make_entry(tmp_path, "lines-1", 1)
    make_entry(tmp_path, "lines-2", 2)
    assert entries(tmp_path) == ["lines-1", "lines-2"]
    (tmp_path / "thesis-1").mkdir()
    (tmp_path / "thesis-1" / "entry.json").write_text("{}")
    (tmp_path / "thesis-1" / "notes.txt").write_text("mine")
    make_entry(tmp_path, "lines-3", 3)
    assert entries(tmp_path) == ["lines-1", "lines-3", "thesis-1"]
    del held
    make_room(tmp_path)
    assert entries(tmp_path) == ["thesis-1"]


HOLDER = """
import sys
from pathlib import Path
from xmod_extend.text.cache import find_entry

entry = find_entry(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_what_another_process_uses_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_entry(tmp_path, "lines-1", 1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lines-1")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    make_room(tmp_path)
    assert entries(tmp_path) == ["lines-1"]
    holder.kill()
    holder.communicate()
    make_room(tmp_path)
    assert entries(tmp_path) == []


def test_a_bound_that_is_no_number_is_refused(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "20 GB")
    with pytest.raises(UsageError, match="XMOD_EXTEND_CACHE_BYTES is '20 GB'"):
        read_corpus([text], cache_dir=tmp_path / "cache")
    for value, expected in (("", DEFAULT_LIMIT_BYTES), ("2e3", 2_000), ("-1", 0)):
        monkeypatch.setenv(LIMIT_VARIABLE, value)
        assert limit_bytes() == expected


def test_a_corpus_is_read_whatever_the_bound(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = result(read_corpus([text], cache_dir=cache_dir), loaded)
    shutil.rmtree(cache_dir)
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    assert result(read_corpus([text], cache_dir=cache_dir), loaded) == expected


def test_nothing_of_a_refused_text_stays(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer, write_lines: Write
) -> None:
    few = write_lines(sentences(50), "few.txt")
    for options in ({}, {"held_out": text}):
        with pytest.raises(CorpusError, match="too little text"):
            read_corpus([few], cache_dir=cache_dir, **options)
        assert entries(cache_dir) == []
    kept = read_corpus([text], cache_dir=cache_dir)
    before = entries(cache_dir)
    other = write_lines(sentences(500, seed=3), "other.txt")
    with pytest.raises(CorpusError, match="refused"), forget_refused_text():
        corpus = read_corpus([other], cache_dir=cache_dir)
        tokens = tokenize(corpus.train, loaded)
        assert len(entries(cache_dir)) == len(before) + 3
        raise CorpusError("It is refused when its tokens are known.")
    assert entries(cache_dir) == before
    assert tokens.num_tokens > 0 and len(list(kept.train)) == len(kept.train)


def test_damage_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry = find_or_make_entry(tmp_path / "corpus-1", make_small)
    assert not caplog.records
    (entry.folder / "a.bin").write_bytes(b"")
    assert find_or_make_entry(tmp_path / "corpus-1", make_small) == entry
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(entry.folder) in caplog.text and "made anew" in caplog.text


@pytest.mark.parametrize("name", ["lines.arrow", "digests.bin", "sizes.bin", "entry.json"])
def test_damaged_lines_are_made_anew_where_they_are_needed(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer, name: str
) -> None:
    expected = result(read_corpus([text], cache_dir=cache_dir), loaded)
    for folder in [*cache_dir.glob("corpus-*"), *cache_dir.glob("tokens-*")]:
        shutil.rmtree(folder, ignore_errors=True)
    (file,) = cache_dir.glob(f"lines-*/{name}")
    content = file.read_bytes()
    file.write_bytes(flip(content, random.Random(1)))
    assert result(read_corpus([text], cache_dir=cache_dir), loaded) == expected
    assert file.read_bytes() == content


def test_an_entry_of_another_name_is_not_taken(text: Path, cache_dir: Path) -> None:
    read_corpus([text], cache_dir=cache_dir)
    (entry,) = (folder for folder in cache_dir.glob("corpus-*") if folder.is_dir())
    other = cache_dir / "corpus-0"
    shutil.copytree(entry, other)
    assert find_entry(entry) is not None
    assert find_entry(other) is None


@pytest.mark.parametrize("change", ["flip", "truncate", "empty", "zeros"])
def test_what_changes_under_a_run_is_refused_when_it_is_read(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer, change: str
) -> None:
    corpus = read_corpus([text], cache_dir=cache_dir)
    tokens = tokenize(corpus.train, loaded)
    blocks = PackedBlocks(tokens, max_length=16, bos_id=0)
    blocks.get([0])
    for path, read in (
        (tokens.path, lambda: blocks.get(range(len(blocks)))),
        (tokens.path.with_name("sizes.bin"), lambda: blocks.document_ids([0])),
        (corpus.train.path, lambda: list(corpus.train)),
        (corpus.train.path.with_name("train.arrow.sums"), lambda: list(corpus.train)),
    ):
        content = path.read_bytes()
        with path.open("r+b") as file:  # the very file that is open
            file.write(DAMAGE[change](content, random.Random(2)))
            file.truncate()
        with pytest.raises(CorpusError, match="is not what was written there") as caught:
            read()
        assert caught.value.hint is not None and "made anew" in caught.value.hint
        path.write_bytes(content)


def test_a_run_keeps_an_entry_that_is_removed(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer
) -> None:
    tokens = tokenize(read_corpus([text], cache_dir=cache_dir).train, loaded)
    blocks = PackedBlocks(tokens, max_length=16, bos_id=0)
    before = blocks.get(range(len(blocks)))
    shutil.rmtree(cache_dir)
    assert np.array_equal(blocks.get(range(len(blocks))), before)
    assert blocks.document_ids([0]).shape == (1, 16)


def make_small(folder: Path) -> dict[str, Any]:
    (folder / "a.bin").write_bytes(b"12345" * 10_000)
    (folder / "b.bin").write_bytes(b"")
    return {"x": [1, 2]}


@pytest.mark.parametrize("step", [5_000, pytest.param(500, marks=pytest.mark.slow)])
def test_no_file_need_be_written_whole(
    text: Path, cache_dir: Path, loaded: LoadedTokenizer, tmp_path: Path, step: int
) -> None:
    """The system refuses to let a file grow past a limit: 4 limits, or 40."""
    resource = pytest.importorskip("resource")
    expected = result(read_corpus([text], cache_dir=tmp_path / "whole"), loaded)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused = 0
    for limit in range(0, 20_000, step):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            result(read_corpus([text], cache_dir=cache_dir), loaded)
        except CorpusError as error:
            refused += 1
            assert "cannot be written to" in error.message and str(cache_dir) in error.message
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not list(cache_dir.glob("*.unfinished"))
        assert result(read_corpus([text], cache_dir=cache_dir), loaded) == expected
        shutil.rmtree(cache_dir)
    assert refused >= 10_000 // step


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "rmdir", "unlink"])
def test_each_call_to_the_system_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Each in turn fails, with a damaged entry in the way."""
    folder = tmp_path / "corpus-1"
    real = getattr(os, call)
    failures = 0
    for which in range(20):
        whole = find_or_make_entry(folder, make_small)
        (folder / "a.bin").write_bytes(b"1")
        left = [which]

        def fail(*args: Any, left: list[int] = left, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                assert find_or_make_entry(folder, make_small) == whole
            except CorpusError as error:
                failures += 1
                assert os.strerror(number) in error.message
        assert find_or_make_entry(folder, make_small) == whole
        if left[0] >= 0:
            break
    assert left[0] >= 0 and failures > 0


KILLED = """
import logging, os, shutil, sys
from pathlib import Path
import filelock  # noqa: F401
from xmod_extend.text.cache import find_or_make_entry

logging.disable()
root = Path(sys.argv[1])
folder = root / "corpus-1"

def make(unfinished):
    (unfinished / "a.bin").write_bytes(b"12345" * 10_000)
    (unfinished / "b.bin").write_bytes(b"")
    return {"x": 1}

def die_at(event):
    left = [event]
    def hook(name, arguments):
        if name.startswith("os.") or name == "open":
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
    sys.addaudithook(hook)

for event in range(1000):
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    find_or_make_entry(folder, make)
    (folder / "a.bin").write_bytes(b"1")
    pid = os.fork()
    if pid == 0:
        die_at(event)
        find_or_make_entry(folder, make)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    entry = find_or_make_entry(folder, make)
    assert entry.facts == {"x": 1} and (folder / "a.bin").stat().st_size == 50_000
    find_or_make_entry(root / "corpus-2", make)
    names = sorted(path.name for path in root.iterdir())
    assert names == ["corpus-1", "corpus-1.lock", "corpus-2", "corpus-2.lock"], (event, names)
    if code == 0:
        break
print(event)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    """Before each call to the system while a damaged entry is replaced."""
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "cache")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 20


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "corpus-1"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for mark in (False, True):
        if mark:
            (folder / "entry.json").write_text("{}")
        with pytest.raises(CorpusError, match="holds what is not of the cache"):
            find_or_make_entry(folder, make_small)
        assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "corpus-2").write_text("a file")
    with pytest.raises(CorpusError, match="holds what is not of the cache"):
        find_or_make_entry(tmp_path / "corpus-2", make_small)
    target = tmp_path / "elsewhere"
    target.mkdir()
    (tmp_path / "corpus-3").symlink_to(target)
    with pytest.raises(CorpusError, match="holds what is not of the cache"):
        find_or_make_entry(tmp_path / "corpus-3", make_small)
    assert target.is_dir() and (tmp_path / "corpus-2").read_text() == "a file"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    def leave(name: str, *files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in files:
            (folder / file).write_text("")
        return folder

    left = [
        leave("corpus-1.0000.unfinished", "entry.json", "a.bin"),
        leave("corpus-2.0000.unfinished", "entry.json", "a.bin", "a.bin.sums"),
        leave("corpus-2.0001.unfinished"),
    ]
    kept = [
        leave("corpus-3.0000.unfinished", "entry.json", "notes.txt"),
        leave("corpus-3.0001.unfinished", "a.bin"),
        leave("thesis.unfinished", "entry.json"),
    ]
    under_way = leave("corpus-4.0000.unfinished", "entry.json", "a.bin")
    with FileLock(tmp_path / "corpus-4.lock"):
        find_or_make_entry(tmp_path / "corpus-1", make_small)
    assert not any(map(os.path.lexists, left))
    assert all(folder.is_dir() for folder in [*kept, under_way])
