"""The main job on a small random base: what users rely on after `add`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from run_records import make_subject
from transformers import AutoModelForMaskedLM, AutoTokenizer, XmodForMaskedLM

import xmod_extend
from xmod_extend.errors import (
    CorpusError,
    LanguageError,
    TrainingError,
    UsageError,
    XmodExtendError,
)
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.report.card import model_card
from xmod_extend.report.record import RunRecord
from xmod_extend.training.configuration import TrainingConfig
from xmod_extend.training.history import StepReport

X_MOD_CLASSES = (
    "XmodModel",
    "XmodForMaskedLM",
    "XmodForCausalLM",
    "XmodForSequenceClassification",
    "XmodForMultipleChoice",
    "XmodForTokenClassification",
    "XmodForQuestionAnswering",
)


def add(base: Path, corpus: Path, output: Path, **options: Any) -> RunRecord:
    defaults = {"lang": "quz_PE", "max_steps": 30, "batch_size": 8, "lr": 0.02}
    return xmod_extend.add_language(
        base=str(base), corpus=str(corpus), output=output, **(defaults | options)
    )


@pytest.fixture(scope="module")
def added(
    base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunRecord]:
    output = tmp_path_factory.mktemp("added") / "out"
    return output, add(base, corpus, output)


def test_the_language_improved_and_the_record_says_by_how_much(
    added: tuple[Path, RunRecord],
) -> None:
    output, record = added
    assert record.evaluation is not None and record.training is not None
    before, after = record.evaluation.before, record.evaluation.after
    assert after.perplexity < before.perplexity
    gain = record.evaluation.improvement
    assert gain.ratio == pytest.approx(before.perplexity / after.perplexity)
    assert 1 < gain.low < gain.ratio < gain.high
    unigram = record.evaluation.unigram
    over_unigram = record.evaluation.improvement_over_unigram
    assert unigram is not None and over_unigram is not None
    assert over_unigram.ratio == pytest.approx(unigram.perplexity / after.perplexity)
    assert before.signature == after.signature == unigram.signature
    assert "than by token frequencies" in record.evaluation.verdict
    assert record.training.steps_done == 30
    assert json.loads((output / "run.json").read_text()) == record.to_dict()
    assert record.to_dict()["schema_version"] == 1


def test_the_bases_file_is_the_same_byte_for_byte(
    base: Path, added: tuple[Path, RunRecord]
) -> None:
    output, record = added
    digests = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (base / "model.safetensors", output / "model-base.safetensors")
    }
    assert digests == {record.base.files["model.safetensors"]}
    assert not (output / "model.safetensors").exists()
    config, base_config = (
        json.loads((folder / "config.json").read_text()) for folder in (output, base)
    )
    assert config == base_config | {"languages": [*base_config["languages"], "quz_PE"]}
    assert record.verification is not None and record.verification.identical
    assert record.verification.languages_compared == 3


def test_the_card_has_the_hubs_metadata_and_no_path_of_this_machine(
    base: Path, added: tuple[Path, RunRecord]
) -> None:
    output, record = added
    card = (output / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["language"] == ["quz"] and metadata["pipeline_tag"] == "fill-mask"
    assert "base_model" not in metadata, "a folder is no model on the Hub"
    assert str(base) not in card
    assert record.evaluation is not None
    for figure in (record.evaluation.before.perplexity, record.evaluation.after.perplexity):
        assert f"{figure:.2f}" in text
    assert record.evaluation.after.signature in text
    assert record.evaluation.unigram is not None
    assert f"{record.evaluation.unigram.perplexity:.2f}" in text
    assert " ".join(record.evaluation.verdict.split()) in " ".join(text.split())


@pytest.mark.parametrize("name", X_MOD_CLASSES)
def test_loads_in_every_class_with_no_key_missing_but_a_task_heads(
    added: tuple[Path, RunRecord], name: str
) -> None:
    _, info = getattr(transformers, name).from_pretrained(added[0], output_loading_info=True)
    assert not info["unexpected_keys"] or name not in ("XmodForMaskedLM", "XmodForCausalLM")
    assert all(key.startswith("lm_head.") for key in info["unexpected_keys"])
    heads = ("classifier.", "qa_outputs.", "pooler.", "roberta.pooler.")
    assert all(key.startswith(heads) for key in info["missing_keys"])
    assert not info["mismatched_keys"]


def test_plain_transformers_loads_it_and_old_logits_are_bit_equal(
    base: Path, added: tuple[Path, RunRecord]
) -> None:
    model = AutoModelForMaskedLM.from_pretrained(added[0]).eval()
    old = XmodForMaskedLM.from_pretrained(base).eval()
    tokenizer = AutoTokenizer.from_pretrained(added[0])
    encoded = tokenizer("Kamiru tanisa wari.", return_tensors="pt")
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        for index in range(3):
            lang_ids = torch.tensor([index])
            new, before = (m(**inputs, lang_ids=lang_ids).logits for m in (model, old))
            assert torch.equal(new, before)
        model.set_default_language("quz_PE")
        assert torch.equal(
            model(**inputs).logits, model(**inputs, lang_ids=torch.tensor([3])).logits
        )
    fill = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer)
    assert len(fill("Kamiru <mask> wari.", top_k=3)) == 3


def test_the_recorded_perplexity_is_that_of_plain_transformers(
    added: tuple[Path, RunRecord], corpus: Path
) -> None:
    """Scored again from the files alone, through upstream's own forward and loss."""
    from xmod_extend.jobs.callbacks import Callback
    from xmod_extend.jobs.prepared_text import prepare_text
    from xmod_extend.model.checkpoint import open_checkpoint
    from xmod_extend.text.corpus import read_corpus

    output, record = added
    model = XmodForMaskedLM.from_pretrained(output).eval()
    text = prepare_text(
        read_corpus([corpus]), open_checkpoint(output), max_length=None, callback=Callback()
    )
    total, count = 0.0, 0
    for inputs, labels, _ in text.held_out.batches(1024):
        scored = int((labels != -100).sum())
        with torch.no_grad():
            loss = model(
                torch.from_numpy(inputs),
                lang_ids=torch.full((len(inputs),), 3),
                labels=torch.from_numpy(labels),
            ).loss
        total, count = total + loss.double().item() * scored, count + scored
    assert record.evaluation is not None and record.training is not None
    assert record.evaluation.after.num_scored_tokens == count
    # Where the hardware has bf16 it was measured in it, and upstream's forward is in fp32 here.
    assert record.evaluation.after.perplexity == pytest.approx(
        float(torch.tensor(total / count, dtype=torch.float64).exp()),
        rel=1e-4 if record.training.precision == "fp32" else 2e-3,
    )


@pytest.mark.slow
def test_a_second_language_leaves_the_first_as_it_was(
    added: tuple[Path, RunRecord], corpus: Path, tmp_path: Path
) -> None:
    first = added[0]
    second = tmp_path / "second"
    record = add(first, corpus, second, lang="ay_BO", max_steps=2)
    for shard in ("model-base.safetensors", "model-quz_PE.safetensors"):
        assert (first / shard).read_bytes() == (second / shard).read_bytes()
    assert record.base.languages[-1] == "quz_PE"
    config = json.loads((second / "config.json").read_text())
    assert config["languages"][-2:] == ["quz_PE", "ay_BO"]
    assert json.loads((second / "run-quz_PE.json").read_text())["language"] == "quz_PE"
    assert xmod_extend.verify_checkpoint(second, first).identical


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(
    base: Path, corpus: Path, added: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    add(base, corpus, tmp_path / "again")
    add(base, corpus, tmp_path / "other", seed=1)
    shard = "model-quz_PE.safetensors"
    again, other = (tmp_path / name / shard for name in ("again", "other"))
    assert again.read_bytes() == (added[0] / shard).read_bytes()
    assert other.read_bytes() != again.read_bytes()


def test_pre_norm_bases_and_bf16_work(pre_norm_base: Path, corpus: Path, tmp_path: Path) -> None:
    record = add(pre_norm_base, corpus, tmp_path / "out", precision="bf16")
    assert record.evaluation is not None and record.training is not None
    assert record.training.precision == "bf16"
    assert record.evaluation.improvement.low > 1


@pytest.mark.parametrize(
    ("init", "recorded"),
    [("mean", "mean"), ("nearest", None), ("from:de_DE", "from:de_DE")],
)
def test_every_start_trains(
    base: Path, corpus: Path, tmp_path: Path, init: str, recorded: str | None
) -> None:
    record = add(base, corpus, tmp_path / "out", init=init, max_steps=3)
    assert record.training is not None and record.evaluation is not None
    assert record.training.init == (recorded or f"from:{record.evaluation.best_existing}")


def test_a_plan_writes_nothing(base: Path, corpus: Path, tmp_path: Path) -> None:
    record = add(base, corpus, tmp_path / "out", plan=True)
    assert record.plan is not None and record.training is None
    assert record.plan.num_steps == 30 and record.plan.seconds_per_step > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("save_minutes", [10.0, 0.0])
def test_a_diverging_run_without_a_good_adapter_leaves_nothing(
    base: Path, corpus: Path, tmp_path: Path, save_minutes: float
) -> None:
    with pytest.raises(TrainingError, match="loss was"):
        add(base, corpus, tmp_path / "out", lr=1e30, max_steps=50, save_minutes=save_minutes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lang": "quz-PE"}, LanguageError),
        ({"lang": "en_XX"}, LanguageError),
        ({"init": "from:fo_FO"}, LanguageError),
        ({"max_length": 33}, UsageError),
        ({"corpus": "missing.txt"}, CorpusError),
        ({"batchsize": 4}, UsageError),
        ({"epochs": 2.0}, UsageError),
        ({"lr": 0.0}, UsageError),
    ],
)
def test_bad_options_are_refused_and_leave_nothing_behind(
    base: Path, corpus: Path, tmp_path: Path, options: dict[str, Any], error: type[XmodExtendError]
) -> None:
    with pytest.raises(error):
        add(base, Path(options.pop("corpus", corpus)), tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


class Enough(Callback):
    """Stops the run at a step, or fails there."""

    def __init__(self, step: int, error: Exception | None = None) -> None:
        self.step, self.error, self.notes = step, error, [""]

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_step(self, report: StepReport) -> None:
        if report.step == self.step:
            self.request_stop()
            if self.error is not None:
                raise self.error


@pytest.mark.slow
def test_a_callback_can_end_training_and_keep_what_is_best(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    callback = Enough(9)
    record = add(base, corpus, tmp_path / "out", callback=callback)
    assert record.training is not None and not callback.stop_requested
    assert record.training.stopped == "it was asked to stop"
    # The next step finds out.
    assert record.training.steps_done == record.training.curve[-1].step == 10
    assert any("as asked" in note for note in callback.notes)
    assert xmod_extend.verify_checkpoint(tmp_path / "out", base).added_languages == ("quz_PE",)
    assert "ended early" in (tmp_path / "out" / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_callback_that_fails_costs_no_step(
    base: Path, corpus: Path, added: tuple[Path, RunRecord], tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        add(base, corpus, tmp_path / "out", callback=Enough(9, ZeroDivisionError()))
    assert "resume=True" in caught.value.__notes__[0]
    callback = Enough(0)
    add(base, corpus, tmp_path / "out", callback=callback, resume=True)
    assert any("after step 10" in note for note in callback.notes)
    shard = "model-quz_PE.safetensors"
    assert (tmp_path / "out" / shard).read_bytes() == (added[0] / shard).read_bytes()


@pytest.mark.slow
def test_output_is_not_overwritten_without_force(base: Path, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    add(base, corpus, output, max_steps=1)
    before = (output / "run.json").read_bytes()
    with pytest.raises(UsageError, match="not empty"):
        add(base, corpus, output, max_steps=1)
    assert (output / "run.json").read_bytes() == before
    add(base, corpus, output, max_steps=2, force=True)
    assert json.loads((output / "run.json").read_text())["training"]["num_steps"] == 2


@pytest.mark.slow
def test_streamed_text_trains_and_leaves_no_cache(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(cache))
    record = add(base, corpus, tmp_path / "out", streaming=True)
    assert record.evaluation is not None and record.training is not None
    assert record.training.steps_done == 30
    assert record.evaluation.improvement.low > 1
    assert record.corpus.train_lines == 0 < record.corpus.held_out_lines
    assert any("streamed" in warning for warning in record.warnings)
    assert not cache.exists()
    assert record.training.num_epochs is not None and 0.8 < record.training.num_epochs < 0.9
    add(base, corpus, tmp_path / "again", streaming=True)
    again, first = (
        (tmp_path / name / "model-quz_PE.safetensors").read_bytes() for name in ("again", "out")
    )
    assert again == first


def cyrillic(corpus: Path, target: Path) -> Path:
    """The same sentences in letters that the base's vocabulary lacks."""
    letters = {ord("a") + i: ord("а") + i for i in range(26)}
    target.write_text(corpus.read_text().lower().translate(letters))
    return target


@pytest.mark.slow
def test_a_text_that_the_base_cannot_read_is_refused_and_called_so_when_forced(
    base: Path,
    corpus: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = cyrillic(corpus, tmp_path / "text.txt")
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(cache))
    with pytest.raises(CorpusError, match="does not know the Cyrillic script") as caught:
        add(base, text, tmp_path / "out")
    assert caught.value.exit_code == 3 and "--force" in (caught.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    assert not [path for path in cache.rglob("*") if path.is_dir() and path.parent != cache]
    record = add(base, text, tmp_path / "out", force=True, max_steps=2)
    assert record.evaluation is not None
    assert record.evaluation.verdict.startswith("The score means nothing.")
    assert any("cannot read this text" in warning for warning in record.warnings)
    assert "The score means nothing." in (tmp_path / "out" / "README.md").read_text()
    assert "cannot read this text" in xmod_extend.check_corpus(text, base=str(base)).verdict


@pytest.mark.slow
def test_a_poor_adapter_is_called_poor_with_the_advice_that_fits(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    record = add(base, corpus, tmp_path / "out", lr=30.0, max_steps=2)
    evaluation = record.evaluation
    assert evaluation is not None and evaluation.improvement_over_unigram is not None
    assert evaluation.improvement_over_unigram.high < 1
    assert "but worse than token frequencies" in evaluation.verdict
    assert evaluation.advice.startswith("Lower --lr")


@pytest.mark.slow
def test_nothing_of_this_machine_is_in_a_card(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(no_folder))
    record = add(base, corpus, tmp_path / "out", max_steps=1)
    assert any(str(no_folder) in note for note in record.corpus.notes)
    card = (tmp_path / "out" / "README.md").read_text()
    for path in (tmp_path, base.parent, corpus.parent):
        assert str(path) not in card
        assert not any(str(path) in warning for warning in record.warnings)


def test_the_card_of_a_streamed_text_does_not_count_it_as_nothing(
    added: tuple[Path, RunRecord],
) -> None:
    corpus = dataclasses.replace(added[1].corpus, train_lines=0, train_bytes=0, train_sha256="")
    card = model_card(make_subject(dataclasses.replace(added[1], corpus=corpus)))
    assert "| lines | streamed |" in card and "| 0 |" not in card


def test_a_card_of_norwegian_has_its_code_as_text(added: tuple[Path, RunRecord]) -> None:
    record = dataclasses.replace(added[1], language="no_XX", bcp47="no")
    front = model_card(make_subject(record)).split("---\n")[1]
    assert yaml.safe_load(front)["language"] == ["no"]


def test_records_of_version_0_1_can_be_read(added: tuple[Path, RunRecord]) -> None:
    values = added[1].to_dict()
    newer = {
        "training": (
            "adam_beta1",
            "adam_epsilon",
            "num_adam_steps",
            "accumulation",
            "num_processes",
        ),
        "evaluation": ("unigram", "improvement_over_unigram", "verdict", "advice"),
        "corpus": ("coverage", "held_out_coverage", "verdict", "notes"),
    }
    for part, names in newer.items():
        for name in names:
            del values[part][name]
    for candidate in values["probe"]:
        del candidate["scored_perplexity"], candidate["signature"]
    old = RunRecord.from_dict(values)
    assert old.evaluation is not None and old.evaluation.unigram is None
    assert "after" in repr(old)
    assert model_card(make_subject(old))


def test_the_record_has_every_setting_of_the_optimiser(added: tuple[Path, RunRecord]) -> None:
    training = added[1].training
    assert training is not None
    config = TrainingConfig(num_steps=30, batch_size=8, lr=0.02, seed=0)
    for name in ("adam_beta1", "adam_beta2", "adam_epsilon", "num_adam_steps", "accumulation"):
        assert getattr(training, name) == getattr(config, name)
    assert training.num_processes == 1
