"""Letters that a vocabulary lacks: found, counted, named, and refused where they are most."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from sentences import make_sentences

from xmod_extend.text.arrow import ArrowFile
from xmod_extend.text.cache import Entry
from xmod_extend.text.checked_files import write_sums
from xmod_extend.text.lines import LinesInMemory, StoredLines
from xmod_extend.text.report import MANY_WORDS_HIT, Coverage
from xmod_extend.tokens import vocabulary
from xmod_extend.tokens.encoding import Encoder
from xmod_extend.tokens.tokenizer import load_tokenizer
from xmod_extend.tokens.vocabulary import Tally, find_unknown

SENTENCES = make_sentences(200, seed=8)


@pytest.fixture(scope="module")
def encode(base: Path) -> Encoder:
    return load_tokenizer(base, vocab_size=120).encoder()


def cover(text: str, encode: Encoder) -> Coverage:
    return find_unknown(Tally.of(LinesInMemory(tuple(text.split("\n")), "")), encode)


def test_a_text_of_known_letters_lacks_nothing(encode: Encoder) -> None:
    found = cover("\n".join(SENTENCES), encode)
    assert (found.unknown_characters, found.words_hit, found.num_missing) == (0, 0, 0)
    assert found.describe_missing() is None
    assert "all of the characters" in found.describe_fit()


def test_missing_letters_are_named_the_most_frequent_first(encode: Encoder) -> None:
    found = cover("ta ťa ťa ďa ťaťa ta\nťa ta ťaťa ta", encode)
    assert list(found.missing) == ["ť", "ď"] and found.num_missing == 2
    assert found.unknown_characters == pytest.approx(8 / 24)
    assert found.words_hit == pytest.approx(6 / 10)
    assert found.examples == ("ťa", "ťaťa")
    assert found.unknown_scripts == ()
    sentence = found.describe_missing()
    assert sentence is not None
    for part in ("60%", "33.3%", "ť ď", "ťa and ťaťa", "spelling"):
        assert part in sentence
    assert "script" not in sentence


def test_only_a_script_without_any_letter_is_called_unknown(encode: Encoder) -> None:
    found = cover("ta ta татар теле татарча ta.", encode)
    assert found.unknown_scripts == ("Cyrillic",)
    assert found.is_unreadable
    sentence = found.describe_unreadable()
    assert "does not know the Cyrillic script" in sentence and "а т е" in sentence


def test_a_letter_that_normalisation_makes_known_is_not_missing(encode: Encoder) -> None:
    assert cover("ta\u2003ta\tta", encode).num_missing == 0


def test_rare_missing_letters_are_not_warned_about(encode: Encoder) -> None:
    found = cover("\n".join(SENTENCES) + "\nťa", encode)
    assert 0 < found.words_hit < MANY_WORDS_HIT
    assert found.describe_missing() is None
    assert found.describe_fit().startswith("The base can read this text: 0.0")


def test_signs_alone_are_named_where_no_letter_is_missing(encode: Encoder) -> None:
    found = cover("ta ta … ta", encode)
    assert list(found.missing) == ["…"] and found.words_hit == 0


def test_a_long_side_is_sampled_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encode: Encoder
) -> None:
    lines = ["ta ta"] * 9_000 + ["ťa ťa"] * 9_000
    path = tmp_path / "lines.arrow"
    with ArrowFile(path, pa.field("text", pa.string())) as file:
        file.write(pa.array(lines))
    write_sums(path)
    size = sum(len(line.encode()) for line in lines)
    side = StoredLines(
        Entry(tmp_path, {}), path.name, fingerprint="", num_lines=len(lines), num_bytes=size
    )
    monkeypatch.setattr(vocabulary, "SAMPLE_BYTES", size // 9)
    tally = Tally.of(side)
    assert tally.is_sample and tally.words.total() < 5_000
    assert find_unknown(tally, encode).words_hit == pytest.approx(0.5, abs=0.03)
    both = tally + Tally()
    assert both.is_sample and both.words == tally.words
