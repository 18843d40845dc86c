"""Word by word and all at once: the same tokens, whatever the text."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from sample_text import SPECIAL, build_tokenizer, sentences
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from xmod_extend.text.cleaning import clean_line
from xmod_extend.tokens import encoding
from xmod_extend.tokens.encoding import Encoder, goes_by_word


def precompiled() -> normalizers.Normalizer:
    """XLM-R's normalisation, as SentencePiece writes it into a model."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(300)),
        model_writer=written,
        vocab_size=60,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    return normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)


def xlmr_like(normalizer: normalizers.Normalizer | None) -> Tokenizer:
    tokenizer = build_tokenizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def metaspace_alone() -> Tokenizer:
    tokenizer = build_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


KINDS = {
    "metaspace": metaspace_alone(),
    "plain": xlmr_like(None),
    "nfkc": xlmr_like(normalizers.NFKC()),
    "precompiled": xlmr_like(precompiled()),
}


def make(tokenizer: Tokenizer) -> Encoder:
    return Encoder(tokenizer, special_tokens=[*SPECIAL, "<mask>"], sep_id=2, unk_id=3)


def whole(tokenizer: Tokenizer, line: str) -> list[int]:
    for name in [*SPECIAL, "<mask>"]:
        line = line.replace(name, f"{name[0]} {name[1:]}")
    return [*tokenizer.encode(line, add_special_tokens=False).ids, 2]


# Spaces beside marks, signs that normalisation makes spaces of, joiners, and the space's own sign.
tricky = st.sampled_from([*"ab ñ▁´¨½ﷺ\u0301\u200d\u200c\u0600👍🏽、。ー", "runa", "<mask>", "</s>"])
line_texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.lists(tricky, max_size=30).map("".join),
    st.lists(st.sampled_from(sentences(5)[0].split()), max_size=9).map(" ".join),
)


@pytest.mark.parametrize("kind", KINDS)
@given(lines=st.lists(line_texts.map(clean_line), min_size=1, max_size=8))
def test_a_line_has_the_tokens_that_the_tokenizer_gives_it(kind: str, lines: list[str]) -> None:
    tokenizer = KINDS[kind]
    assert goes_by_word(tokenizer)
    encode = make(tokenizer)
    expected = [whole(tokenizer, line) for line in lines]
    for _ in range(2):  # the second time, every word is known
        found = encode("".join(f"{line}\n" for line in lines).encode())
        assert [part.tolist() for part in np.split(found.ids, np.cumsum(found.sizes)[:-1])] == (
            expected
        )
        assert found.unk == sum(line.count(3) for line in expected)


def test_a_tokenizer_of_another_kind_is_given_whole_lines() -> None:
    for change in (
        {"normalizer": normalizers.Lowercase()},
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first")},
        {"pre_tokenizer": pre_tokenizers.Metaspace(split=False)},
        {"pre_tokenizer": pre_tokenizers.ByteLevel()},
    ):
        tokenizer = build_tokenizer()
        for name, value in change.items():
            setattr(tokenizer, name, value)
        assert not goes_by_word(tokenizer), change
        line = sentences(1)[0]
        assert make(tokenizer)(f"{line}\n".encode()).ids.tolist() == whole(tokenizer, line)


def test_few_words_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MOST_WORDS", 3)
    tokenizer = KINDS["plain"]
    encode = make(tokenizer)
    for line in sentences(30):
        assert encode(f"{line}\n".encode()).ids.tolist() == whole(tokenizer, line)
        assert len(encode._words) <= 3 + len(line.split())


def test_a_copy_is_light_and_gives_the_same() -> None:
    encode = make(KINDS["plain"])
    text = "\n".join(sentences(50)).encode()
    expected = encode(text).ids
    copy = pickle.loads(pickle.dumps(encode))
    assert len(copy._words) < len(encode._words)
    assert np.array_equal(copy(text).ids, expected)
