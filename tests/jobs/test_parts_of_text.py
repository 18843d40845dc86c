"""Training on parts of the text beside all of it: the adapter stays as it is, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xmod_extend import Callback, RunRecord, add_language, add_languages
from xmod_extend.errors import TrainingError, UsageError
from xmod_extend.jobs import learning_curve
from xmod_extend.tokens.tokenised import Tokens, sample_documents, write_tokens

STEPS = 4


def add(base: Path, corpus: Path, output: Path, **options: Any) -> RunRecord:
    return add_language(
        **{
            "lang": "quz_PE",
            "corpus": corpus,
            "base": base,
            "output": output,
            "max_steps": STEPS,
            "max_length": 16,
            "batch_size": 4,
            "progress": False,
        }
        | options
    )


def adapter(output: Path) -> bytes:
    return (output / "model-quz_PE.safetensors").read_bytes()


@pytest.fixture(scope="module")
def plain(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("plain") / "out"
    record = add(base, corpus, output)
    assert record.learning_curve is None
    return adapter(output)


@pytest.mark.slow
def test_the_adapter_is_the_same_and_the_record_has_the_curve(
    base: Path, corpus: Path, tmp_path: Path, plain: bytes
) -> None:
    # Other adapters that are scored meanwhile change nothing.
    references = [f"de_DE={corpus}"]
    record = add(base, corpus, tmp_path / "out", learning_curve=True, reference=references)
    assert adapter(tmp_path / "out") == plain
    assert record.learning_curve is not None and record.evaluation is not None
    points = record.learning_curve.points
    assert [point.share for point in points] == [0.25, 0.5, 1.0]
    assert points[-1].perplexity == record.evaluation.after.perplexity
    whole = points[-1].num_tokens
    assert points[0].num_tokens == pytest.approx(0.25 * whole, rel=0.2)
    assert points[1].num_tokens == pytest.approx(0.5 * whole, rel=0.2)
    assert {point.num_steps for point in points} == {STEPS}
    gain = record.learning_curve.last_doubling
    assert gain is not None
    assert gain.ratio == pytest.approx(points[1].perplexity / points[2].perplexity)
    assert RunRecord.from_dict(record.to_dict()).learning_curve == record.learning_curve


@pytest.mark.slow
def test_the_default_number_of_epochs_is_of_each_part(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    options = {"max_steps": None, "epochs": 1.0}
    record = add(base, corpus, tmp_path / "out", learning_curve=True, **options)
    assert record.learning_curve is not None
    steps = [point.num_steps for point in record.learning_curve.points]
    assert steps[0] < steps[1] < steps[2]


class Interrupting(Callback):
    """Interrupts the run when a stage begins, once; remembers all stages."""

    def __init__(self, at: str = "") -> None:
        self.at, self.stages = at, list[str]()

    def on_stage(self, name: str) -> None:
        self.stages.append(name)
        if self.at and self.at in name:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_curve_goes_on_without_training_anything_twice(
    base: Path, corpus: Path, tmp_path: Path, plain: bytes
) -> None:
    whole = add(base, corpus, tmp_path / "whole", learning_curve=True)
    options = {"learning_curve": True, "save_minutes": 0}
    with pytest.raises(KeyboardInterrupt):
        add(base, corpus, tmp_path / "out", callback=Interrupting("half of the"), **options)
    heard = Interrupting()
    record = add(base, corpus, tmp_path / "out", callback=heard, resume=True, **options)
    assert not any("a quarter" in stage for stage in heard.stages)
    assert any("half of the" in stage for stage in heard.stages)
    assert adapter(tmp_path / "out") == plain
    assert record.learning_curve is not None and whole.learning_curve is not None
    found, expected = record.learning_curve.points, whole.learning_curve.points
    assert [p.perplexity for p in found] == [p.perplexity for p in expected]
    assert record.learning_curve.last_doubling == whole.learning_curve.last_doubling
    assert not (tmp_path / "out.run").exists()


@pytest.mark.slow
def test_what_fails_on_a_part_costs_the_curve_alone(
    base: Path, corpus: Path, tmp_path: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise TrainingError("The loss was nan.")

    monkeypatch.setattr(learning_curve, "train_adapter", fail)
    record = add(base, corpus, tmp_path / "out", learning_curve=True)
    assert adapter(tmp_path / "out") == plain
    assert record.learning_curve is not None and len(record.learning_curve.points) == 1
    assert "Too few parts" in record.learning_curve.sentence


def test_a_stream_is_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--learning-curve does not go with --streaming"):
        add(base, corpus, tmp_path / "out", learning_curve=True, streaming=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_several_languages_have_a_curve_each(base: Path, corpus: Path, tmp_path: Path) -> None:
    records = add_languages(
        languages=[{"lang": "quz_PE", "corpus": corpus}, {"lang": "ay_BO", "corpus": corpus}],
        base=base,
        output=tmp_path / "out",
        max_steps=2,
        max_length=16,
        batch_size=4,
        learning_curve=True,
        progress=False,
    )
    assert [len(r.learning_curve.points) for r in records if r.learning_curve] == [3, 3]


def test_parts_are_nested_and_the_same_in_memory_and_on_the_disk(tmp_path: Path) -> None:
    from xmod_extend.text.cache import find_or_make_entry
    from xmod_extend.tokens.tokenised import StoredTokens

    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 3_000).astype(np.int32)
    ids = rng.integers(5, 200, int(sizes.sum())).astype(np.int32)
    whole = Tokens(ids, sizes, 0)
    entry = find_or_make_entry(tmp_path / "tokens-a", lambda f: write_tokens(f, [whole]))
    parts = []
    for share in (0.25, 0.5, 1.0):
        memory, disk = (sample_documents(t, share) for t in (whole, StoredTokens(entry)))
        assert np.array_equal(memory.read(0, 10**6), disk.read(0, 10**6))
        assert np.array_equal(memory.document_sizes(), disk.document_sizes())
        ends = np.cumsum(memory.document_sizes())
        documents = np.split(memory.read(0, 10**6), ends[:-1])
        parts.append([document.tobytes() for document in documents])
        assert len(parts[-1]) == pytest.approx(share * 3_000, rel=0.1)
    assert set(parts[0]) <= set(parts[1]) <= set(parts[2]) and len(parts[2]) == 3_000
