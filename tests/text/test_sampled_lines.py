"""The sample text in the package is that of corpora/, and can be read as any text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import xmod_extend
from xmod_extend.errors import UsageError
from xmod_extend.text.corpus import read_corpus

CORPORA = Path(__file__).parents[2] / "corpora"


@pytest.mark.parametrize("language", ["en_XX", "quz_PE"])
def test_it_is_the_sample_corpus(language: str) -> None:
    path = xmod_extend.sample_text(language)
    assert gzip.decompress(path.read_bytes()) == (CORPORA / f"{language}.txt").read_bytes()


def test_it_can_be_read(tmp_path: Path) -> None:
    corpus = read_corpus([xmod_extend.sample_text("quz_PE")], cache_dir=tmp_path)
    assert corpus.report.lines == 8000


def test_another_language_is_refused() -> None:
    with pytest.raises(UsageError, match="no sample text in fo_FO") as caught:
        xmod_extend.sample_text("fo_FO")
    assert caught.value.hint == "There is en_XX and quz_PE."
