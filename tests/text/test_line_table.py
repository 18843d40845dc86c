"""The cache of cleaned lines: found again, never trusted blindly, shared by processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from sample_text import sentences

from xmod_extend.errors import CorpusError
from xmod_extend.text import line_table
from xmod_extend.text.cache_folder import choose_cache_dir
from xmod_extend.text.fingerprinting import fingerprint_sources
from xmod_extend.text.hub import quiet_datasets
from xmod_extend.text.line_table import prepare_table
from xmod_extend.text.reading import read_blocks
from xmod_extend.text.sources import find_sources

Write = Callable[..., Path]


def prepare(
    path: Path, cache_dir: Path, text_field: str = "text", num_workers: int = 1
) -> tuple[list[str], Path]:
    """The lines, and the file that they are in."""
    sources = find_sources([path], text_field=text_field)
    fingerprint = fingerprint_sources(sources, cache_dir=cache_dir)
    table = prepare_table(
        sources, fingerprint=fingerprint, cache_dir=cache_dir, num_workers=num_workers
    )
    lines = [line for column in table.columns() for line in column.to_pylist()]
    assert len(lines) == table.num_lines
    return lines, table.entry.folder / "lines.arrow"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were really read."""
    names: list[str] = []

    def counted(source: Any) -> Iterator[Any]:
        names.append(source.path.name)
        return read_blocks(source)

    monkeypatch.setattr(line_table, "read_blocks", counted)
    return names


def test_a_second_start_reads_nothing(
    write_lines: Write, cache_dir: Path, reads: list[str]
) -> None:
    path = write_lines(sentences(50))
    first = prepare(path, cache_dir)
    second = prepare(path.rename(path.with_name("renamed.txt")), cache_dir)
    assert reads == ["corpus.txt"]
    assert first[0] == sentences(50)
    assert second == first


def test_other_content_or_options_are_read_anew(
    write_lines: Write, cache_dir: Path, reads: list[str]
) -> None:
    path = write_lines(sentences(50))
    prepare(path, cache_dir)
    path.write_text(path.read_text().replace("a", "e", 1))
    assert prepare(path, cache_dir)[0][0] != sentences(50)[0]
    prepare(path, cache_dir, text_field="body")
    assert len(reads) == 3


def batch_ends(path: Path) -> list[int]:
    """Where each record batch of an Arrow stream ends in its file."""
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_stream(file)
        ends = []
        for _ in reader:
            ends.append(file.tell())
    return ends


@pytest.mark.parametrize("damage", ["seam", "middle", "empty", "gone", "info"])
def test_a_damaged_entry_is_made_anew(
    write_lines: Write, cache_dir: Path, reads: list[str], damage: str
) -> None:
    expected = sentences(2_500)
    path = write_lines(expected)
    file = prepare(path, cache_dir)[1]
    content = file.read_bytes()
    if damage == "seam":
        # Without its end, the stream looks complete to Arrow.
        file.write_bytes(content[: batch_ends(file)[0]])
    elif damage == "middle":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    else:
        (file.parent / "entry.json").write_text("{")
    assert prepare(path, cache_dir)[0] == expected
    assert len(reads) == 2
    assert prepare(path, cache_dir)[0] == expected
    assert len(reads) == 2


def test_a_refused_corpus_leaves_no_entry(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("ñawi\n".encode() * 3_000 + b"\xff\n")
    for _ in range(2):
        with pytest.raises(CorpusError, match="0xff"):
            prepare(path, cache_dir)
    assert not list(cache_dir.rglob("*.arrow"))


PREPARE = """
import sys, time
from pathlib import Path
from xmod_extend.text import line_table, reading
from xmod_extend.text.reading import read_blocks
from xmod_extend.text.sources import find_sources

reading._BLOCK_BYTES = 128

def slowly(source):
    for block in read_blocks(source):
        print(block.number, flush=True)
        time.sleep(float(sys.argv[4]))
        yield block

line_table.read_blocks = slowly
found = line_table.prepare_table(
    find_sources([sys.argv[1]]), fingerprint=sys.argv[3], cache_dir=Path(sys.argv[2])
)
assert found.num_lines == 1_500, found.num_lines
"""


def start(path: Path, cache_dir: Path, seconds_a_block: float) -> subprocess.Popen[str]:
    cache_dir.mkdir(exist_ok=True)
    fingerprint = fingerprint_sources(find_sources([path]), cache_dir=cache_dir)
    arguments = [path, cache_dir, fingerprint, seconds_a_block]
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_leaves_nothing_that_counts(
    write_lines: Write, cache_dir: Path, reads: list[str]
) -> None:
    path = write_lines(sentences(1_500))
    killed = start(path, cache_dir, 0.001)
    assert killed.stdout is not None
    while int(killed.stdout.readline()) < 1_200:
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list(cache_dir.rglob("*.arrow"))
    assert prepare(path, cache_dir)[0] == sentences(1_500)
    assert len(reads) == 1


def test_two_processes_at_once_prepare_it_once(write_lines: Write, cache_dir: Path) -> None:
    path = write_lines(sentences(1_500))
    both = [start(path, cache_dir, 0.0003) for _ in range(2)]
    outputs = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    first, second = sorted(len(out.splitlines()) for out, _ in outputs)
    assert first == 0 < second


def test_a_cache_that_cannot_be_written_is_replaced_for_this_run(
    write_lines: Write, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    folder, warning = choose_cache_dir(blocked / "cache")
    assert folder.is_dir()
    assert warning is not None and "cannot be written" in warning
    assert len(prepare(write_lines(sentences(30)), folder)[0]) == 30
    assert choose_cache_dir(tmp_path / "cache") == (tmp_path / "cache", None)


def test_a_full_disk_is_an_error_about_the_disk(
    write_lines: Write, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Iterator[Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(line_table, "read_blocks", full)
    with pytest.raises(CorpusError, match="No space left") as caught:
        prepare(write_lines(sentences(30)), cache_dir)
    assert caught.value.hint is not None and "HF_DATASETS_CACHE" in caught.value.hint


def test_datasets_is_quiet_and_then_as_it_was(
    write_lines: Write, cache_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = datasets.are_progress_bars_disabled()
    with quiet_datasets():
        assert datasets.are_progress_bars_disabled()
    prepare(write_lines(sentences(30)), cache_dir)
    assert datasets.are_progress_bars_disabled() == before
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
