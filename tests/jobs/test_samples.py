"""The samples in a run's record: bounded, from the held-out text, and scored as upstream would."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, XmodForMaskedLM

import xmod_extend
from xmod_extend.evaluation.words import WordFinder, word_ends
from xmod_extend.jobs.sample_guesses import NUM_GUESSES
from xmod_extend.jobs.sample_lines import (
    MOST_CHARACTERS,
    MOST_TOKENS,
    NUM_HARDEST,
    NUM_IMPROVED,
    NUM_TYPICAL,
    LineReader,
)
from xmod_extend.jobs.samples import NUM_CUT_WORDS
from xmod_extend.report.record import RunRecord
from xmod_extend.report.samples import Samples
from xmod_extend.text.corpus import read_corpus
from xmod_extend.text.lines import LinesInMemory
from xmod_extend.tokens.tokenizer import load_tokenizer

Added = tuple[RunRecord, Samples, Path]


@pytest.fixture(scope="module")
def added(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Added:
    output = tmp_path_factory.mktemp("sampled") / "out"
    record = xmod_extend.add_language(
        lang="quz_PE",
        corpus=corpus,
        base=base,
        output=output,
        max_steps=4,
        batch_size=4,
        precision="fp32",
    )
    assert record.evaluation is not None and record.evaluation.samples is not None
    return record, record.evaluation.samples, output


@pytest.mark.slow
def test_samples_are_few_different_lines_of_the_held_out_text(added: Added, corpus: Path) -> None:
    _, samples, _ = added
    assert 0 < len(samples.hardest) <= NUM_HARDEST
    assert 0 < len(samples.most_improved) <= NUM_IMPROVED
    assert 0 < len(samples.typical) <= NUM_TYPICAL
    assert 0 < len(samples.guesses) <= NUM_GUESSES
    assert 0 < len(samples.cut_words) <= NUM_CUT_WORDS
    shown = [*samples.hardest, *samples.most_improved, *samples.typical]
    texts = ["".join(sentence.pieces) for sentence in shown]
    assert len(set(texts)) == len(texts)
    held_out = list(read_corpus([corpus]).held_out)
    for sentence, text in zip(shown, texts, strict=True):
        assert len(sentence.pieces) == len(sentence.before) == len(sentence.after) <= MOST_TOKENS
        assert any(line.startswith(text) if sentence.is_cut else line == text for line in held_out)
    for guess in samples.guesses:
        assert any(line.startswith(guess.left + guess.answer + guess.right) for line in held_out), (
            guess
        )


def test_samples_stand_in_their_order(added: Added) -> None:
    _, samples, _ = added
    hardest = [line.mean_after for line in samples.hardest]
    assert hardest == sorted(hardest, reverse=True)
    gains = [line.mean_before - line.mean_after for line in samples.most_improved]
    assert gains == sorted(gains, reverse=True)
    counts = [len(word.pieces) for word in samples.cut_words]
    assert counts == sorted(counts, reverse=True) and counts[-1] > 1


@pytest.mark.parametrize("side", ["before", "after"])
def test_surprise_and_guesses_are_upstreams(added: Added, side: str) -> None:
    """One token at a time, through the whole model of the checkpoint that was written."""
    record, samples, output = added
    assert record.evaluation is not None
    model = XmodForMaskedLM.from_pretrained(output).eval()
    tokenizer = AutoTokenizer.from_pretrained(output)
    model.set_default_language(record.evaluation.best_existing if side == "before" else "quz_PE")
    words = WordFinder(tokenizer.get_vocab(), [tokenizer.unk_token_id])

    def log_probabilities(ids: list[int], position: int, end: int) -> torch.Tensor:
        hidden = [tokenizer.mask_token_id if position <= i < end else x for i, x in enumerate(ids)]
        inputs = [tokenizer.cls_token_id, *hidden, tokenizer.sep_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([inputs])).logits
        return logits[0, position + 1].log_softmax(-1)

    for sentence in (*samples.hardest[:2], *samples.typical[:1]):
        ids = tokenizer("".join(sentence.pieces), add_special_tokens=False)["input_ids"]
        ends = word_ends(words.begins(np.array(ids)))
        for position, nats in enumerate(getattr(sentence, side)):
            if ids[position] in tokenizer.all_special_ids:
                assert nats is None
                continue
            found = log_probabilities(ids, position, int(ends[position]))[ids[position]]
            assert nats == pytest.approx(-found.item(), abs=2e-3)
    for guess in samples.guesses:
        text = guess.left + guess.answer + guess.right
        encoded = tokenizer(text, add_special_tokens=False)
        position = encoded.char_to_token(len(guess.left + guess.answer) - 1)
        found = log_probabilities(encoded["input_ids"], position, position + 1).exp()
        answer = encoded["input_ids"][position]
        assert getattr(guess, f"{side}_probability") == pytest.approx(
            found[answer].item(), abs=1e-4
        )
        listed = getattr(guess, side)
        best = found.topk(len(listed))
        assert [one.probability for one in listed] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert [one.is_right for one in listed] == (best.indices == answer).tolist()


@pytest.mark.slow
def test_long_lines_are_shown_by_their_beginning(
    base: Path, corpus: Path, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    lines = corpus.read_text(encoding="utf-8").splitlines()
    paragraphs = [" ".join(lines[i : i + 10]) for i in range(0, len(lines), 10)]
    record = xmod_extend.add_language(
        lang="quz_PE",
        corpus=write_lines(paragraphs),
        base=base,
        output=tmp_path / "out",
        max_steps=1,
        batch_size=2,
    )
    assert record.evaluation is not None and record.evaluation.samples is not None
    samples = record.evaluation.samples
    for sentence in (*samples.hardest, *samples.most_improved):
        assert sentence.is_cut and len(sentence.pieces) <= MOST_TOKENS
        assert any(line.startswith("".join(sentence.pieces)) for line in paragraphs)
        assert sentence.mean_after > 0 and math.isfinite(sentence.mean_after)


def test_letters_without_end_are_cut_too(base: Path) -> None:
    tokenizer = load_tokenizer(
        base, vocab_size=json.loads((base / "config.json").read_text())["vocab_size"]
    )
    lines = LinesInMemory(("\u0f40" * 20_000, "wasi " + "\u0f40" * 20_000, "wasi"), "")
    read = LineReader(lines, tokenizer).read([0, 1, 2])
    assert [line.is_cut for line in read] == [True, True, False]
    assert [len("".join(line.pieces)) for line in read] == [MOST_CHARACTERS, 4, 4]
    for line in read:
        assert "".join(line.pieces) == line.text and len(line.pieces) == line.ids.size
