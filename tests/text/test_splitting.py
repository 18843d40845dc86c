"""Text in ranges and by several processes: the same as all at once and by one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_text import documents, sentences

from xmod_extend.errors import CorpusError
from xmod_extend.text import corpus as corpus_module
from xmod_extend.text import fingerprinting, line_table, reading, splitting
from xmod_extend.text.cache import Entry
from xmod_extend.text.checked_files import write_sums
from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.fingerprinting import fingerprint_sources
from xmod_extend.text.line_table import StoredTable
from xmod_extend.text.sources import find_sources
from xmod_extend.text.splitting import choose_held_out, find_distinct, find_shared, hold_out
from xmod_extend.tokens import tokenised
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import load_tokenizer

Write = Callable[..., Path]


def prepared(folder: Path, digests: list[int], sizes: list[int]) -> StoredTable:
    folder.mkdir(exist_ok=True)
    np.array(digests, dtype=np.int64).tofile(folder / "digests.bin")
    np.array(sizes, dtype=np.int32).tofile(folder / "sizes.bin")
    for name in ("digests.bin", "sizes.bin"):
        write_sums(folder / name)
    facts = dict.fromkeys(("empty_lines", "whole_lines", "cut_lines", "bytes"), 0)
    return StoredTable(("a.txt",), Entry(folder, facts | {"lines": len(digests)}))


digest_lists = st.lists(
    st.tuples(
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 7, 2**62])),
        st.integers(0, 300),
    ),
    min_size=1,
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(digest_lists, digest_lists, st.integers(1, 70), st.integers(1, 70))
def test_ranges_and_runs_do_not_change_what_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[tuple[int, int]],
    other: list[tuple[int, int]],
    range_lines: int,
    run_lines: int,
) -> None:
    monkeypatch.setattr(splitting, "RANGE_LINES", range_lines)
    monkeypatch.setattr(line_table, "_LINES_A_READ", run_lines)
    # As with text: the same digest has the same size.
    size_of = dict(drawn)
    rows = [(digest, size_of[digest]) for digest, _ in drawn]
    lines = prepared(tmp_path / "a", *map(list, zip(*rows, strict=True)))
    first = {digest: i for i, (digest, size) in reversed(list(enumerate(rows))) if size}
    distinct = find_distinct(lines)
    assert np.flatnonzero(distinct).tolist() == sorted(first.values())

    given_lines = prepared(tmp_path / "b", *map(list, zip(*other, strict=True)))
    theirs = {digest for digest, size in other if size}
    expected = sorted(i for digest, i in first.items() if digest in theirs)
    shared = find_shared(lines, distinct, given_lines)
    assert np.flatnonzero(shared).tolist() == expected

    if not distinct.any():
        return
    positions = np.flatnonzero(distinct)
    all_digests, all_sizes = (
        np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)
    )
    chosen = choose_held_out(all_digests[positions], all_sizes[positions])
    assert np.flatnonzero(hold_out(lines, distinct)).tolist() == positions[chosen].tolist()


def test_the_lowest_hashes_of_a_large_text_are_chosen_from_few(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(-(2**63), 2**63 - 1, 200_000)
    sizes = rng.integers(1, 2_000, 200_000)
    lines = prepared(tmp_path / "a", digests.tolist(), sizes.tolist())
    held_out = hold_out(lines, np.ones(200_000, dtype=np.bool_))
    assert np.array_equal(held_out, choose_held_out(digests, sizes))
    assert 0 < held_out.sum() < 1_000


def mixed_files(write_lines: Write, tmp_path: Path) -> list[Path]:
    """Lines of all kinds: repeated, empty, unclean, overlong, in three formats."""
    rng = random.Random(0)
    lines = sentences(3_000)
    lines += [*lines[:500], *[""] * 50, "a\u0303 \u00ad b\u200cc", "word " * 400_000, "語" * 50_000]
    rng.shuffle(lines)
    plain = write_lines(lines)
    records = tmp_path / "b.jsonl"
    records.write_text(
        "".join(f'{{"text": "{i}\\n{line}"}}\n' for i, line in enumerate(lines[:99]))
    )
    return [plain, records]


def test_processes_do_not_change_the_result(
    write_lines: Write, tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = mixed_files(write_lines, tmp_path)
    loaded = load_tokenizer(tokenizer_dir, vocab_size=10_000)
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 1 << 14)
    results = []
    for num_workers in (1, 3):
        for module in (line_table, splitting, tokenised):
            monkeypatch.setattr(module, "choose_num_workers", lambda *_, n=num_workers, **__: n)
        corpus = read_corpus(paths, cache_dir=tmp_path / f"cache{num_workers}")
        tokens = tokenize(corpus.train, loaded)
        results.append(
            (
                corpus.report,
                list(corpus.train),
                list(corpus.held_out),
                documents(tokens),
                tokens.counts,
            )
        )
    assert results[0] == results[1]
    report = results[0][0]
    assert report.duplicate_lines >= 500 and report.empty_lines == 50 and report.cut_lines == 2


def test_a_second_start_does_nothing_again(
    write_lines: Write, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(sentences(400))
    first = read_corpus([path], cache_dir=cache_dir)
    for name in ("prepare_table", "choose_sides", "write_sides"):
        monkeypatch.setattr(corpus_module, name, None)
    second = read_corpus([path], cache_dir=cache_dir)
    assert second.report == first.report
    assert list(second.train) == list(first.train)
    monkeypatch.undo()
    path.write_text(path.read_text().replace("a", "e", 1))
    assert read_corpus([path], cache_dir=cache_dir).fingerprint != first.fingerprint


def fingerprint(path: Path, cache_dir: Path) -> str:
    return fingerprint_sources(find_sources([path]), cache_dir=cache_dir)


def test_a_large_file_is_hashed_once_and_again_when_it_changed(
    write_lines: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprinting, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(fingerprinting, "_SETTLED_SECONDS", 0.05)
    hashed: list[object] = []
    file_digest = fingerprinting.hashlib.file_digest

    def counted(file: object, name: str) -> object:
        hashed.append(file)
        return file_digest(file, name)

    monkeypatch.setattr(fingerprinting.hashlib, "file_digest", counted)
    path = write_lines(sentences(400))
    time.sleep(0.2)
    first = fingerprint(path, tmp_path)
    assert fingerprint(path, tmp_path) == first
    assert len(hashed) == 1

    # As many bytes, and the date set back: only the system's own time of the change is left.
    status = path.stat()
    path.write_text(path.read_text().replace("a", "e", 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    changed = fingerprint(path, tmp_path)
    assert changed != first
    assert len(hashed) == 2

    # It was changed a moment ago, so that another change might leave the same times.
    assert fingerprint(path, tmp_path) == changed
    assert len(hashed) == 3


def test_a_damaged_memory_of_digests_is_not_trusted(
    write_lines: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprinting, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(fingerprinting, "_SETTLED_SECONDS", 0.0)
    path = write_lines(sentences(400))
    time.sleep(0.1)
    first = fingerprint(path, tmp_path)
    (memory,) = tmp_path.glob("digest-*.json")
    known = json.loads(memory.read_text())
    other = known | {"digest": known["digest"][::-1]}
    for damaged in ("{", "[" * 100_000, "[]", json.dumps(other)):
        memory.write_text(damaged)
        assert fingerprint(path, tmp_path) == first
        assert json.loads(memory.read_text()) == known


def test_a_digest_need_not_be_remembered(
    write_lines: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprinting, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(fingerprinting, "_SETTLED_SECONDS", 0.0)
    path = write_lines(sentences(400))
    time.sleep(0.1)
    expected = fingerprint(path, tmp_path)
    for memory in tmp_path.glob("digest-*"):
        memory.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert fingerprint(path, tmp_path) == expected
    assert not list(tmp_path.glob("digest-*"))


def test_a_text_that_changes_while_it_is_read_is_refused(
    write_lines: Write, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(sentences(400))
    size = path.stat().st_size
    clean_block = line_table.clean_block

    def append(block: Any) -> Any:
        if path.stat().st_size == size:
            with path.open("a") as file:
                file.write("one more\n")
        return clean_block(block)

    monkeypatch.setattr(line_table, "clean_block", append)
    with pytest.raises(CorpusError, match="changed while it was read"):
        read_corpus([path], cache_dir=cache_dir)
    assert not list(cache_dir.glob("*/*"))
    monkeypatch.undo()
    assert read_corpus([path], cache_dir=cache_dir).report.lines == 401


PREPARE = """
import resource, sys
from pathlib import Path
from xmod_extend.text.corpus import read_corpus
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import load_tokenizer

tokenizer = load_tokenizer(Path(sys.argv[2]), vocab_size=10_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = read_corpus([sys.argv[1]], cache_dir=Path(sys.argv[3]))
blocks = PackedBlocks(tokenize(corpus.train, tokenizer), max_length=128, bos_id=0)
batches = blocks.batches(32, seed=0)
for _ in range(500):
    next(batches)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(
    tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 MB of text, 2 million lines: its lines alone, or mapped files, would take more."""
    path = tmp_path / "large.txt"
    lines = sentences(20_000)
    with path.open("w") as file:
        for i in range(100):
            file.writelines(f"{i} {line} {line[:60]}\n" for line in lines)
    assert path.stat().st_size > 200e6
    ran = subprocess.run(
        [sys.executable, "-c", PREPARE, str(path), str(tokenizer_dir), str(tmp_path / "cache")],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    tokens = max(file.stat().st_size for file in (tmp_path / "cache").glob("tokens-*/*.bin"))
    assert tokens > 200e6
    # The text alone is larger than that, and so are its tokens.
    assert int(ran.stdout) < 200
