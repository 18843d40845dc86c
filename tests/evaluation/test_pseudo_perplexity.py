"""Pseudo-perplexities are those of a plain loop over upstream's whole model, one copy at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from transformers import XmodForMaskedLM

from xmod_extend.evaluation.pseudo_perplexity import (
    Hidden,
    PseudoText,
    SpecialIds,
    num_copies,
    pseudo_losses,
)
from xmod_extend.evaluation.words import WordFinder
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice
from xmod_extend.tokens.tokenised import Tokens

IDS = SpecialIds(bos=0, sep=2, mask=119, unk=3, special=(0, 1, 2, 3, 119))
VOCABULARY = {("▁" if index % 3 == 0 else "") + f"p{index}": index for index in range(120)}
WORDS = WordFinder(VOCABULARY)


def make_tokens(*documents: list[int]) -> Tokens:
    ids = np.array([token for document in documents for token in (*document, 2)], dtype=np.int32)
    sizes = np.array([len(document) + 1 for document in documents])
    return Tokens(ids, sizes, int((ids == 3).sum()))


def random_documents(*sizes: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(4, 119, size).tolist() for size in sizes]


def naive_nats(model: XmodForMaskedLM, document: list[int], hidden: Hidden) -> list[float]:
    """Hide one token after the other in the whole document, and ask upstream's model."""
    found = []
    begins = [index == 0 or token % 3 == 0 for index, token in enumerate(document)]
    for position, token in enumerate(document):
        if token in IDS.special:
            continue
        end = position + 1
        while hidden == "rest_of_word" and end < len(document) and not begins[end]:
            end += 1
        inputs = [0, *document, 2]
        inputs[position + 1 : end + 1] = [119] * (end - position)
        ids = torch.tensor([inputs])
        with torch.no_grad():
            logits = model(
                ids, lang_ids=torch.tensor([1]), attention_mask=torch.ones_like(ids)
            ).logits
        found.append(-float(logits[0, position + 1].log_softmax(-1)[token]))
    return found


@pytest.mark.parametrize("pre_norm", [False, True])
def test_scores_are_those_of_a_plain_loop_over_the_whole_model(
    tmp_path: Path, pre_norm: bool
) -> None:
    folder = make_checkpoint(tmp_path / "base", pre_norm=pre_norm)
    whole = XmodForMaskedLM.from_pretrained(folder).eval()
    documents = [*random_documents(5, 9, 1, 5, 30), [7, 3, 9, 3, 3, 6], [3, 3]]
    text = PseudoText.from_tokens(make_tokens(*documents), WORDS, IDS, max_length=32)
    model = load_slice(open_checkpoint(folder), LANGUAGES[1])
    found = pseudo_losses(model, text)
    for hidden in ("token", "rest_of_word"):
        expected = [naive_nats(whole, document, hidden) for document in documents]
        np.testing.assert_allclose(found[hidden].nats, np.concatenate(expected), rtol=1e-5)
        sizes = [len(nats) for nats in expected]
        assert found[hidden].documents.tolist() == np.repeat(np.arange(7), sizes).tolist()
    scored = [token for document in documents for token in document if token != 3]
    assert found["token"].targets.tolist() == scored
    assert not np.allclose(found["token"].nats, found["rest_of_word"].nats)


def test_one_metric_alone_gets_the_same_scores(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "base")
    text = PseudoText.from_tokens(make_tokens(*random_documents(8, 6)), WORDS, IDS, max_length=32)
    model = load_slice(open_checkpoint(folder), LANGUAGES[0])
    both = pseudo_losses(model, text)
    for hidden in ("token", "rest_of_word"):
        (alone,) = pseudo_losses(model, text, [hidden]).values()
        np.testing.assert_allclose(alone.nats, both[hidden].nats, rtol=1e-5)
    assert num_copies(text, ["token"]) == 14 < num_copies(text) < 28


@given(st.integers(1, 120), st.integers(6, 20))
def test_windows_score_each_token_once_and_far_from_an_edge(size: int, max_length: int) -> None:
    document = random_documents(size)[0]
    text = PseudoText.from_tokens(make_tokens(document), WORDS, IDS, max_length=max_length)
    scored = [window.input_ids[i] for window in text.windows for i in window.scored]
    assert scored == document
    room = max_length - 2
    for window in text.windows:
        assert window.input_ids.size == min(size, room) + 2
        assert (window.input_ids[0], window.input_ids[-1]) == (0, 2)
        if size > room:
            # A token near an edge of its window stands at an edge of the document.
            inside = window.scored - 1
            first, last = window is text.windows[0], window is text.windows[-1]
            assert first or inside.min() >= room // 4
            assert last or inside.max() < room - room // 4
        assert (window.word_ends[window.scored] > window.scored).all()
        assert (window.word_ends <= window.input_ids.size - 1).all()


def test_unknown_tokens_are_counted_and_not_scored() -> None:
    text = PseudoText.from_tokens(make_tokens([7, 3, 9, 3], [3, 3]), WORDS, IDS, max_length=32)
    assert (text.num_scored_tokens, text.unk_rate) == (2, 0.5)


def test_a_long_text_is_sampled_by_whole_documents() -> None:
    tokens = make_tokens(*random_documents(*[9] * 50))
    text = PseudoText.from_tokens(tokens, WORDS, IDS, max_length=32, max_tokens=100)
    assert [window.document for window in text.windows] == list(range(0, 50, 5))


def test_the_signature_changes_with_all_that_the_score_depends_on() -> None:
    fields = {"text_sha256": "a" * 64, "tokenizer_sha256": "b" * 64, "precision": "fp32"}
    document = random_documents(40)[0]

    def sign(hidden: Hidden = "token", ids: list[int] = document, length: int = 32) -> str:
        text = PseudoText.from_tokens(make_tokens(ids), WORDS, IDS, max_length=length)
        return text.signature(hidden, **fields)

    assert sign().startswith("pll:v1|hidden:token|unk:0.0000,excluded|window:32,half|")
    others = {sign("rest_of_word"), sign(ids=[*document[:-1], 5]), sign(length=30)}
    changed = PseudoText.from_tokens(make_tokens(document), WORDS, IDS, max_length=32)
    others |= {changed.signature("token", **fields | {name: "c"}) for name in fields}
    assert len(others | {sign()}) == 7
