"""Successive halving: the right winner, at the price of a few full evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint

from xmod_extend.evaluation import probe as probe_module
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import Block, MaskedText, masked_losses
from xmod_extend.evaluation.probe import (
    Candidate,
    ProbeResult,
    coverage_warnings,
    planned_tokens,
    probe_adapters,
)
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_adapter, load_slice
from xmod_extend.objectives.masked import MaskingScheme

LANGUAGES = tuple(f"{a}{b}_XX" for a in "abcde" for b in "abcd")


@pytest.fixture
def text() -> MaskedText:
    scheme = MaskingScheme(
        mask_id=119, special_ids=(0, 119), vocabulary_size=120, mlm_probability=0.3, seed=1
    )
    blocks = []
    for index, ids in enumerate(np.random.default_rng(3).integers(4, 119, (60, 32))):
        prediction = scheme.corrupt(ids[None], index)
        inputs, labels = prediction.input_ids, prediction.labels
        blocks.append(Block(inputs[0], labels[0], np.full(32, index)))
    return MaskedText(blocks)


def test_finds_the_best_of_many_with_little_work(
    tmp_path: Path, text: MaskedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "ROUND_TOKENS", 20 * 192)
    folder = make_checkpoint(tmp_path / "base", languages=LANGUAGES, initializer_range=0.3)
    checkpoint = open_checkpoint(folder)
    model = load_slice(checkpoint, "quz_PE")
    seen: list[Candidate] = []
    tokens = 0

    def counting(slice_model: torch.nn.Module, sample: MaskedText, **options: object) -> object:
        nonlocal tokens
        tokens += sample.num_tokens
        return masked_losses(slice_model, sample)  # type: ignore[arg-type]

    monkeypatch.setattr(probe_module, "masked_losses", counting)
    result = probe_adapters(model, checkpoint, text, on_score=seen.append)

    everything = {}
    for language in LANGUAGES:
        load_adapter(model, checkpoint, language)
        everything[language] = float(np.exp(masked_losses(model, text).mean_nats))
    ranked = sorted(everything, key=lambda language: everything[language])
    assert {c.language for c in result.candidates} == set(LANGUAGES)
    assert len(result.candidates) == len(LANGUAGES)
    # The noise of a small sample may drop a near-tie, but never hand out a poor adapter.
    assert result.best.language in ranked[:3]
    assert result.best.perplexity == pytest.approx(everything[result.best.language])
    assert result.best.num_scored_tokens == text.num_scored_tokens
    assert result.best_losses.mean_nats == pytest.approx(np.log(result.best.perplexity))
    assert tokens < 0.5 * len(LANGUAGES) * text.num_tokens
    assert len(seen) > len(LANGUAGES)
    # A bar that counts them is at its end when the probe is.
    scored = sum(candidate.num_scored_tokens for candidate in seen)
    assert scored == planned_tokens(text, len(LANGUAGES))


def test_few_languages_are_all_scored_in_full(tmp_path: Path, text: MaskedText) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base"))
    model = load_slice(checkpoint, "quz_PE")
    result = probe_adapters(model, checkpoint, text)
    assert {c.num_scored_tokens for c in result.candidates} == {text.num_scored_tokens}
    perplexities = [c.perplexity for c in result.candidates]
    assert perplexities == sorted(perplexities)


@pytest.mark.parametrize(
    ("perplexities", "warned"),
    [
        ((52.2, 626.0, 636.5, 942.3, 2388.2), True),
        ((306.0, 309.8, 330.0, 419.0, 761.0), False),
        ((20.0, 60.0, 500.0, 600.0), True),
        ((20.0,), False),
    ],
)
def test_a_language_that_the_base_knows_is_warned_about(
    perplexities: tuple[float, ...], warned: bool
) -> None:
    candidates = tuple(
        Candidate(language=f"l{i}_XX", perplexity=perplexity, num_scored_tokens=100)
        for i, perplexity in enumerate(perplexities)
    )
    nothing = TokenLosses(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    warnings = coverage_warnings(ProbeResult(candidates, nothing))
    assert bool(warnings) == warned
    assert all("l0_XX" in warning for warning in warnings)


def test_a_list_of_all_rounds_is_on_one_scale_and_signed(
    tmp_path: Path, text: MaskedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "ROUND_TOKENS", 20 * 192)
    folder = make_checkpoint(tmp_path / "base", languages=LANGUAGES, initializer_range=0.3)
    checkpoint = open_checkpoint(folder)
    result = probe_adapters(
        load_slice(checkpoint, "quz_PE"),
        checkpoint,
        text,
        sign=lambda sample: f"{sample.num_scored_tokens}|{sample.scored_sha256[:12]}",
    )
    perplexities = [candidate.perplexity for candidate in result.candidates]
    assert perplexities == sorted(perplexities)
    whole = text.num_scored_tokens
    assert {each.num_scored_tokens < whole for each in result.candidates} == {True, False}
    for each in result.candidates:
        assert each.signature.startswith(f"{each.num_scored_tokens}|")
        assert (each.perplexity == each.scored_perplexity) or each.num_scored_tokens < whole
    assert result.best.perplexity == pytest.approx(np.exp(result.best_losses.mean_nats))
