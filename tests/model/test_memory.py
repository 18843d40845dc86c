"""What a part of the job freed is the system's again before the next part begins."""

from __future__ import annotations

import platform
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.prepared_text import prepare_text
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.memory import give_back_memory
from xmod_extend.text.corpus import read_corpus
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer

CODE = """
from resource import getpagesize
from pathlib import Path
from xmod_extend.model.memory import give_back_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / 1e6

pieces = [bytearray(50_000) for _ in range(4_000)]
kept = pieces[::100]  # a few pieces that hold up the whole heap
full = resident_mb()
del pieces
holes = resident_mb()
give_back_memory()
print(full - holes, holes - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's heap that has holes")
def test_freed_memory_is_given_back_from_between_what_is_still_used() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    by_itself, given_back = map(float, run.stdout.split())
    assert by_itself < 50, "the heap has no holes, so nothing is seen here"
    assert given_back > 150


def test_the_tokenizer_is_let_go_of_when_the_text_is_read(
    base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[object]] = []

    def load(path: Path, *, vocab_size: int) -> LoadedTokenizer:
        loaded = load_tokenizer(path, vocab_size=vocab_size)
        seen.append(weakref.ref(loaded.tokenizer))
        return loaded

    monkeypatch.setattr("xmod_extend.jobs.prepared_text.load_tokenizer", load)
    text = prepare_text(
        read_corpus([corpus]), open_checkpoint(base), max_length=None, callback=Callback()
    )
    give_back_memory()
    assert len(text.tokenizer.sha256) == 64
    assert [reference() for reference in seen] == [None]
