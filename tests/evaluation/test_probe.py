"""Successive halving: the right winner, at the price of a few full evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import make_checkpoint
from transformers import XmodForMaskedLM

from xmod_extend.evaluation import probe as probe_module
from xmod_extend.evaluation import race
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import Block, MaskedText, masked_losses
from xmod_extend.evaluation.probe import (
    Candidate,
    ProbeResult,
    Ranking,
    coverage_warnings,
    probe_adapters,
    rank_adapters,
    read_ranking,
    score_finalists,
)
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
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


def scored_in_full(model: XmodForMaskedLM, checkpoint: Checkpoint, text: MaskedText) -> list[str]:
    """The languages, the best one first."""
    means = {}
    for language in checkpoint.languages:
        load_adapter(model, checkpoint, language)
        means[language] = masked_losses(model, text).mean_nats
    return sorted(means, key=lambda language: means[language])


def test_finds_the_best_of_many_with_little_work(
    tmp_path: Path, text: MaskedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "ROUND_TOKENS", 20 * 96)
    folder = make_checkpoint(tmp_path / "base", languages=LANGUAGES, initializer_range=0.3)
    checkpoint = open_checkpoint(folder)
    model = load_slice(checkpoint, "quz_PE")
    seen: list[tuple[Candidate, int]] = []
    read: list[tuple[int, int]] = []
    result = probe_adapters(
        model,
        checkpoint,
        text,
        on_score=lambda *heard: seen.append(heard),
        on_read=lambda *heard: read.append(heard),
    )
    ranked = scored_in_full(model, checkpoint, text)
    assert {c.language for c in result.candidates} == set(LANGUAGES)
    assert len(result.candidates) == len(LANGUAGES)
    # The noise of a small sample may drop a near-tie, but never hand out a poor adapter.
    assert result.best.language in ranked[:3]
    load_adapter(model, checkpoint, result.best.language)
    assert np.array_equal(result.best_losses.nats, masked_losses(model, text).nats)
    assert result.best.num_scored_tokens == text.num_scored_tokens
    assert result.best.perplexity == pytest.approx(np.exp(result.best_losses.mean_nats))
    assert len(seen) > len(LANGUAGES)
    assert seen[-1][0].language == result.best.language
    # A bar that counts them moves as time does, and reaches its end with the whole text.
    done, totals = zip(*read, strict=True)
    assert list(done) == sorted(done) and done[-1] == totals[-1]
    assert list(totals) == sorted(totals, reverse=True)
    assert done[-1] < 0.5 * len(LANGUAGES) * text.num_tokens


def test_a_ranking_alone_does_not_read_the_whole_text(
    tmp_path: Path, text: MaskedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "ROUND_TOKENS", 20 * 96)
    folder = make_checkpoint(tmp_path / "base", languages=LANGUAGES, initializer_range=0.3)
    checkpoint = open_checkpoint(folder)
    model = load_slice(checkpoint, "quz_PE")
    ranking = rank_adapters(model, checkpoint, text)
    assert ranking.best.num_scored_tokens < text.num_scored_tokens
    assert ranking.best.perplexity == ranking.best.scored_perplexity
    again = read_ranking(ranking.to_bytes())
    assert type(again) is Ranking and again == ranking
    result = score_finalists(model, checkpoint, text, ranking)
    ranked = scored_in_full(model, checkpoint, text)
    assert 1 < len(ranking.finalists) <= race.NUM_FINALISTS
    assert result.best.language == min(ranking.finalists, key=ranked.index)
    before = {candidate.language: candidate for candidate in ranking.candidates}
    ratio = result.best.perplexity / before[result.best.language].perplexity
    for after in result.candidates:
        if after.language in ranking.finalists:
            assert after.num_scored_tokens == text.num_scored_tokens
            assert after.perplexity == after.scored_perplexity
        else:
            # The distances to the best one stay as they are when it is scored on more.
            assert after.perplexity == pytest.approx(ratio * before[after.language].perplexity)
    saved = read_ranking(result.to_bytes())
    assert isinstance(saved, ProbeResult) and saved.candidates == result.candidates
    assert np.array_equal(saved.best_losses.nats, result.best_losses.nats)
    with pytest.raises(ValueError, match="not a saved probe"):
        read_ranking(b"something else entirely")


def test_adapters_that_are_far_behind_fall_in_the_first_round(
    tmp_path: Path, text: MaskedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*given: object, **options: object) -> np.ndarray:
        languages, part = given[2:4]
        noise = np.random.default_rng(part.num_tokens).normal(size=part.num_scored_tokens)  # type: ignore[attr-defined]
        behind = [LANGUAGES.index(language) > 0 for language in languages]  # type: ignore[attr-defined]
        return 5.0 + noise + 2.0 * np.array(behind, dtype=float)[:, None]

    monkeypatch.setattr(probe_module, "measure_each", measure)
    monkeypatch.setattr(race, "ROUND_TOKENS", 20 * 96)
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", languages=LANGUAGES))
    ranking = rank_adapters(load_slice(checkpoint, "quz_PE"), checkpoint, text)
    assert ranking.best.language == LANGUAGES[0]
    assert len({candidate.num_scored_tokens for candidate in ranking.candidates}) == 1
    others = [candidate.perplexity for candidate in ranking.candidates[1:]]
    assert others == pytest.approx([np.exp(2.0) * ranking.best.perplexity] * len(others))


def test_few_languages_are_all_scored_in_full(tmp_path: Path, text: MaskedText) -> None:
    checkpoint = open_checkpoint(make_checkpoint(tmp_path / "base", initializer_range=0.3))
    model = load_slice(checkpoint, "quz_PE")
    result = probe_adapters(model, checkpoint, text)
    assert [c.language for c in result.candidates] == scored_in_full(model, checkpoint, text)
    assert {c.num_scored_tokens for c in result.candidates} == {text.num_scored_tokens}


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
    warnings = coverage_warnings(ProbeResult(candidates, (), nothing))
    assert bool(warnings) == warned
    assert all("l0_XX" in warning for warning in warnings)


def test_a_list_of_all_rounds_is_on_one_scale_and_signed(
    tmp_path: Path, text: MaskedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "ROUND_TOKENS", 20 * 96)
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
