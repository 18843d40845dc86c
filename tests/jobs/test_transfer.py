"""Transfer of a task: what is scored is what plain transformers and peft compute."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import extend
from labelled_text import labelled_sentences, write_columns, write_spans, write_table
from peft import PeftModel
from transformers import (
    AutoTokenizer,
    XmodConfig,
    XmodForSequenceClassification,
    XmodForTokenClassification,
)

import xmod_extend
from xmod_extend.errors import CorpusError, LanguageError, UsageError
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.report.transfer import TransferGain, advise

pytestmark = pytest.mark.filterwarnings(
    # peft asks transformers for an attribute under its old name.
    "ignore:.is_gradient_checkpointing:FutureWarning"
)
TEST = labelled_sentences(40, seed=2)
FAST: dict[str, Any] = {"max_steps": 12, "batch_size": 16, "lr": 0.01, "progress": False}


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with a random adapter of quz_PE."""
    files = [base / "tokenizer.json", base / "tokenizer_config.json"]
    target = tmp_path_factory.mktemp("extended") / "out"
    return extend(open_checkpoint(base), target, tokenizer_files=files)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("labelled")
    train = write_columns(folder / "train.tsv", labelled_sentences(150, seed=1))
    return {"train": train, "test": write_columns(folder / "test.tsv", TEST)}


@pytest.fixture(scope="module")
def result(extended: Path, files: dict[str, Any]) -> Any:
    """A transfer with one seed, whose adapter's text had ten test sentences."""
    corpus = files["test"].with_name("corpus.txt")
    leaked = [" ".join(words).upper() for words, _ in TEST[:10]]
    corpus.write_text("\n".join([*leaked, "nothing of it"]), encoding="utf-8")
    return run(extended, **files, corpus=corpus)


def run(extended: Path, **options: Any) -> Any:
    return xmod_extend.transfer(
        extended, **({"source": "en_XX", "target": "quz_PE", "seeds": 1} | FAST | options)
    )


def plain_accuracy(model: Any, extended: Path, language: str) -> float:
    """Share of the test's words that plain transformers get right, a sentence at a time."""
    tokenizer = AutoTokenizer.from_pretrained(extended)
    number = model.config.languages.index(language)
    right = count = 0
    for words, labels in TEST:
        pieces = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
        ids = [0, *[each for piece in pieces for each in piece], 2]
        assert len(ids) <= 32
        with torch.no_grad():
            logits = model(torch.tensor([ids]), lang_ids=torch.tensor([number])).logits[0]
        place = 1
        for piece, label in zip(pieces, labels, strict=True):
            right += model.config.id2label[int(logits[place].argmax())] == label
            place += len(piece)
            count += 1
    return right / count


def test_what_is_saved_loads_with_plain_peft_and_scores_the_same(
    extended: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "task"
    result = run(extended, **files, output=output)
    config = XmodConfig.from_pretrained(output)
    model = XmodForTokenClassification.from_pretrained(extended, config=config)
    model = PeftModel.from_pretrained(model, output).eval()
    for state, language in (("target", "quz_PE"), ("source", "en_XX")):
        assert result.score(state).language == language
        expected = plain_accuracy(model, extended, language)
        assert result.score(state).value == pytest.approx(expected, abs=1e-9)
    # The adapters read the text differently, and LoRA was learnt.
    assert result.score("target").value != result.score("source").value
    with model.disable_adapter():
        assert plain_accuracy(model, extended, "en_XX") < result.score("source").value
    saved = json.loads((output / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == str(extended)
    assert json.loads((output / "transfer.json").read_text())["target"] == "quz_PE"


@pytest.mark.slow
def test_all_shared_weights_can_be_trained_and_the_whole_model_loads(
    extended: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "task"
    result = run(extended, **files, output=output, full=True, lr=0.003)
    model = XmodForTokenClassification.from_pretrained(output).eval()
    for state, language in (("target", "quz_PE"), ("source", "en_XX")):
        expected = plain_accuracy(model, output, language)
        assert result.score(state).value == pytest.approx(expected, abs=1e-9)
    before = XmodForTokenClassification.from_pretrained(extended, num_labels=3).state_dict()
    changed = {name for name, values in model.state_dict().items()
               if not torch.equal(values, before[name])}  # fmt: skip
    assert any("attention" in name for name in changed)
    assert not any("adapter_modules" in name or "embeddings" in name for name in changed)


@pytest.mark.slow
def test_a_seed_gives_the_same_scores_and_leaves_the_callers_random_state(
    extended: Path, files: dict[str, Any]
) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = run(extended, **files, seeds=2, dev=files["test"])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    second = run(extended, **files, seeds=2, dev=files["test"])
    assert first.scores == second.scores and first.gains == second.gains
    target = first.score("target")
    assert len(set(target.by_seed)) == 2 and len(target.by_seed) == 2
    assert target.low <= target.value <= target.high
    assert target.value == pytest.approx(sum(target.by_seed) / 2)
    # The development text is the test text here, read with the source's adapter.
    assert first.dev.by_seed == first.score("source").by_seed
    assert {score.state for score in first.scores} == {
        "target", "best_existing", "untrained", "source",
    }  # fmt: skip
    gain = next(each for each in first.gains if each.over == "source")
    assert gain.difference == pytest.approx(target.value - first.score("source").value)


@pytest.mark.slow
def test_merged_labels_count_as_one_and_may_be_missing_in_the_training_text(
    extended: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    sentences = [(words, ["ADJ" if tag == "NOUN" else tag for tag in tags])
                 for words, tags in TEST]  # fmt: skip
    test = write_columns(tmp_path / "test.tsv", [(["x"], ["NOUN"]), *sentences])
    train = [(w, t) for w, t in labelled_sentences(150, seed=1)]
    train = [(w, ["NOUN" if tag == "ADJ" else tag for tag in t]) for w, t in train]
    options = {"train": write_columns(tmp_path / "train.tsv", train), "test": test}
    with pytest.raises(CorpusError, match=r"labels that .*does not have: ADJ \(\d+ times\)"):
        run(extended, **options)
    result = run(extended, **options, merge="NOUN,ADJ")
    assert result.labels == ("NOUN+ADJ", "VERB")
    kinds = {each.label: each.num_true for each in result.score("target").classes}
    assert kinds["NOUN+ADJ"] == 1 + sum(tag != "VERB" for _, tags in TEST for tag in tags)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["span", "sentence", "pair"],
)
def test_other_tasks_are_found_by_the_form_of_the_file(
    extended: Path, tmp_path: Path, kind: str
) -> None:
    paths = {}
    for name, count, seed in (("train", 60, 1), ("test", 20, 2)):
        path = tmp_path / f"{name}.tsv"
        if kind == "span":
            paths[name] = write_spans(path, count, seed=seed)
        else:
            paths[name] = write_table(path, count, seed=seed, is_pair=kind == "pair")
    output = tmp_path / "task"
    result = run(extended, **paths, output=output)
    assert result.task == kind
    target = result.score("target")
    assert target.metric == ("span_f1" if kind == "span" else "accuracy")
    if kind == "span":
        assert result.labels == ("LOC", "PER") and target.value == target.micro_f1.value
    else:
        config = XmodConfig.from_pretrained(output)
        model = XmodForSequenceClassification.from_pretrained(extended, config=config)
        assert PeftModel.from_pretrained(model, output).config.num_labels == len(result.labels)


def test_a_leaked_corpus_is_caught_and_the_score_without_it_is_told(result: Any) -> None:
    assert result.leaks.num_exact >= 10
    assert result.leaks.value_without is not None and result.leaks.examples
    assert any("lines of the corpus" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"target": "xx_XX"}, LanguageError, "no language xx_XX"),
        ({"source": "quz_PA"}, LanguageError, "no language quz_PA"),
        ({"source": "quz_PE"}, UsageError, "no transfer"),
        ({"merge": "NOUN"}, UsageError, "two at least"),
        ({"merge": ["NOUN,VERB", "VERB,ADJ"]}, UsageError, "VERB twice"),
        ({"merge": "NOUN,NUN"}, UsageError, "NUN, which is no label"),
        ({"merge": "NOUN,VERB,ADJ"}, CorpusError, "one label only"),
        ({"seeds": 0}, UsageError, "--seeds is 0"),
        ({"max_length": 1000}, UsageError, "reads at most 32 tokens"),
        ({"corpus": "no.txt"}, CorpusError, "does not exist"),
        ({"task": "pair"}, CorpusError, "the task is pair"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(
    extended: Path,
    files: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[Exception],
    expected: str,
) -> None:
    monkeypatch.setattr("xmod_extend.jobs.transfer.prepare_task", None)
    output = tmp_path / "task"
    with pytest.raises(error, match=expected):
        run(extended, **files, **{"output": output} | changes)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_users_is_not_replaced_and_an_own_one_only_with_force(
    extended: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "task"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(UsageError):
            run(extended, **files, output=output, force=force)
    assert (output / "notes.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="only read"):
        run(extended, **files, output=extended / "task")


def test_there_is_advice_where_the_adapter_is_not_clearly_better_than_none() -> None:
    def gain(over: str, low: float) -> TransferGain:
        return TransferGain(over=over, language=None, difference=0.1, low=low, high=0.2)

    assert "--init nearest" in advise([gain("untrained", -0.01), gain("source", 0.1)])
    assert advise([gain("untrained", 0.01), gain("source", -0.1)]) == ""


def test_the_result_shows_itself(result: Any) -> None:
    assert json.dumps(result.to_dict())
    assert result.plot()._repr_png_()
    assert "quz_PE" in result._repr_html_() and "accuracy" in str(result)
    frame = result.to_pandas()
    assert list(frame["state"]) == [score.state for score in result.scores]
    axes = result.plot().axes[0]
    assert len(axes.get_yticklabels()) == len(result.scores)


def test_a_missing_package_is_named_with_the_way_to_install_it(
    result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pandas", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    for show in (result.to_pandas, result.plot):
        with pytest.raises(UsageError, match="is not installed") as caught:
            show()
        assert "xmod-extend[notebook]" in (caught.value.hint or "")
