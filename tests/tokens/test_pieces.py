"""The pieces of a line are its text, cut where its tokens are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmod_extend.tokens.pieces import cut_line, piece_text
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> LoadedTokenizer:
    tiny = Path(__file__).parents[2] / "xmod_extend" / "bases" / "tiny"
    return load_tokenizer(tiny, vocab_size=10**6)


def cut(line: str, tokenizer: LoadedTokenizer) -> tuple[str, ...]:
    ids = tokenizer.encoder()(f"{line}\n".encode()).ids[:-1].astype(np.int64)
    pieces = cut_line(line, ids, tokenizer)
    assert len(pieces) == len(ids)
    return pieces


@given(
    st.lists(st.text("abkqñ.,'ѲҚдبक्षिเด็ก", min_size=1, max_size=6), min_size=1, max_size=6).map(
        " ".join
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_are_the_line(tokenizer: LoadedTokenizer, line: str) -> None:
    pieces = cut(line, tokenizer)
    assert "".join(pieces) == line
    # A space goes with what follows it.
    assert not any(piece.strip() and piece != piece.rstrip() for piece in pieces)


def test_a_token_that_is_a_space_alone_has_it(tokenizer: LoadedTokenizer) -> None:
    # Of `tiny`, whose vocabulary has no word that begins with these letters.
    assert cut("punkutan wisq", tokenizer)[-5:] == (" ", "w", "i", "s", "q")


def test_unknown_letters_are_shown_as_they_were_written(tokenizer: LoadedTokenizer) -> None:
    assert "Ѳ" in "".join(cut("wasi Ѳ hatun", tokenizer))


def test_the_name_of_a_special_token_is_shown_in_the_vocabularys_pieces(
    tokenizer: LoadedTokenizer,
) -> None:
    pieces = cut("wasi <mask> hatun", tokenizer)
    assert "".join(pieces).split()[0] == "wasi"
    assert piece_text("▁wasi") == " wasi"
