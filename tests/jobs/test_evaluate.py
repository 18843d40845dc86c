"""Scores of states: upstream's own figures, paired, found again, and refused where they mean
nothing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LANGUAGES, extend, make_checkpoint
from sentences import make_sentences
from transformers import AutoTokenizer, XmodForMaskedLM

import xmod_extend
from xmod_extend import State
from xmod_extend.errors import CorpusError, LanguageError, ModelError, UsageError
from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.minimal_pairs import PairImprovement, PairScore
from xmod_extend.evaluation.score import Score
from xmod_extend.jobs import scorer as scorer_module
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.tokens.tokenizer import find_tokenizer_files

SENTENCES = make_sentences(40, seed=3)


@pytest.fixture(scope="module")
def extended(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with a random quz_PE."""
    return extend(
        open_checkpoint(base),
        tmp_path_factory.mktemp("extended") / "out",
        tokenizer_files=find_tokenizer_files(base),
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"{line}\n" for line in [*SENTENCES, "", SENTENCES[0]]))
    return path


def make_like(base: Path, folder: Path, *, seed: int = 0) -> Path:
    """A checkpoint of the base's shape, with its tokenizer."""
    vocab_size = json.loads((base / "config.json").read_text())["vocab_size"]
    make_checkpoint(folder, vocab_size=vocab_size, seed=seed)
    copy_tokenizer(base, folder)
    return folder


def copy_tokenizer(source: Path, target: Path) -> None:
    for file in find_tokenizer_files(source):
        shutil.copy(file, target)


def upstream_nats(folder: Path, sentence: str, lang_id: int, *, words: bool) -> list[float]:
    """Hide one token after another, or it and the rest of its word, and ask upstream's model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = XmodForMaskedLM.from_pretrained(folder).eval()
    encoded = tokenizer(sentence, add_special_tokens=False)
    ids = [tokenizer.cls_token_id, *encoded["input_ids"], tokenizer.sep_token_id]
    word_of = [None, *encoded.word_ids(), None]
    nats = []
    for position in range(1, len(ids) - 1):
        if ids[position] == tokenizer.unk_token_id:
            continue
        inputs = list(ids)
        end = position + 1
        while words and word_of[end] is not None and word_of[end] == word_of[position]:
            end += 1
        inputs[position:end] = [tokenizer.mask_token_id] * (end - position)
        batch = torch.tensor([inputs])
        with torch.no_grad():
            logits = model(
                batch, lang_ids=torch.tensor([lang_id]), attention_mask=torch.ones_like(batch)
            ).logits
        nats.append(-float(logits[0, position].log_softmax(-1)[ids[position]]))
    return nats


def test_pseudo_perplexities_are_those_of_upstream_s_whole_model(
    extended: Path, text: Path
) -> None:
    found = xmod_extend.evaluate(
        extended, text, lang="quz_PE", metric="pseudo_perplexity", progress=False
    )
    assert [score.metric for score in found.scores] == ["within_word_l2r", "pll"]
    for score, words in zip(found.scores, (True, False), strict=True):
        assert isinstance(score, Score) and score.nats_per_token is not None
        rows = list(found.rows(score.metric))
        assert [row["text"] for row in rows] == SENTENCES
        assert [row["line"] for row in rows] == list(range(1, 41))
        for row in rows[:4]:
            expected = upstream_nats(extended, row["text"], 3, words=words)
            assert row["num_scored_tokens"] == len(expected)
            assert row["nats"] == pytest.approx(sum(expected), rel=1e-5)
        assert score.num_scored_tokens == sum(row["num_scored_tokens"] for row in rows)
        total = sum(row["nats"] for row in rows)
        assert score.nats_per_token == pytest.approx(total / score.num_scored_tokens)
        assert score.perplexity == pytest.approx(math.exp(score.nats_per_token))
        assert score.low is not None and score.high is not None
        assert score.low < score.perplexity < score.high


@pytest.mark.slow
def test_a_score_is_the_one_that_add_wrote_down(
    base: Path, corpus: Path, text: Path, tmp_path: Path
) -> None:
    record = xmod_extend.add_language(
        lang="quz_PE",
        base=base,
        corpus=corpus,
        held_out=text,
        output=tmp_path / "out",
        max_steps=3,
        precision="fp32",
        seed=20_220_512,
        progress=False,
    )
    assert record.evaluation is not None
    compared = xmod_extend.compare(base, tmp_path / "out", text, lang="quz_PE", progress=False)
    before, after = compared.before.score, compared.after.score
    assert isinstance(before, Score) and isinstance(after, Score)
    assert after == record.evaluation.after and before == record.evaluation.before
    assert compared.before.language == record.evaluation.best_existing
    assert "best existing adapter" in compared.before.state
    assert compared.improvement == record.evaluation.improvement


def test_an_old_language_has_exactly_the_same_score(base: Path, extended: Path, text: Path) -> None:
    compared = xmod_extend.compare(
        base, extended, text, lang="de_DE", reference={"sw_KE": text}, progress=False
    )
    assert compared.improvement == Improvement(ratio=1.0, low=1.0, high=1.0, p_value=1.0)
    assert "do not differ" in compared.verdict
    (reference,) = compared.references
    assert reference.language == "sw_KE" and reference.identical
    assert reference.before == reference.after
    other = xmod_extend.compare(
        State(base, "de_DE"), State(base, "sw_KE"), text, progress=False
    ).improvement
    assert isinstance(other, Improvement) and other.ratio != 1.0


def test_a_changed_old_language_is_not_identical(
    base: Path, extended: Path, text: Path, tmp_path: Path
) -> None:
    other = make_like(base, tmp_path / "other", seed=9)
    compared = xmod_extend.compare(
        State(other, "en_XX"),
        State(extended, "quz_PE"),
        text,
        reference={"de_DE": text},
        progress=False,
    )
    assert not compared.references[0].identical


@pytest.mark.slow
def test_reference_states_are_what_they_say(base: Path, text: Path, tmp_path: Path) -> None:
    scores = {
        name: xmod_extend.evaluate(state, text, progress=False)
        for name, state in {
            "none": State.no_adapter(base),
            "untrained": State.untrained(base),
            "best": State.best_existing(base),
            **{code: State(base, code) for code in LANGUAGES},
        }.items()
    }
    figures = {name: found.score.perplexity for name, found in scores.items()}
    assert figures["best"] == min(figures[code] for code in LANGUAGES)
    assert len(set(figures.values())) == len(LANGUAGES) + 2
    other = tmp_path / "other.txt"
    other.write_text("".join(f"{line}\n" for line in make_sentences(30, seed=21)))
    by_text = {
        code: xmod_extend.evaluate(State(base, code), other, progress=False).score.perplexity
        for code in LANGUAGES
    }
    chosen = xmod_extend.evaluate(State.best_existing(base, other), text, progress=False)
    assert chosen.language == min(by_text, key=lambda code: by_text[code])
    filled = xmod_extend.fill_mask(
        State.best_existing(base, other), State(base, "en_XX"), "Kama <mask>.", progress=False
    )
    assert filled.before.startswith(str(chosen.language))
    # Without an adapter upstream computes what it does with one of zeros.
    model = XmodForMaskedLM.from_pretrained(base).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adapter_modules.en_XX" in name:
                parameter.zero_()
    model.save_pretrained(tmp_path / "zeros")
    copy_tokenizer(base, tmp_path / "zeros")
    zeros = xmod_extend.evaluate(State(tmp_path / "zeros", "en_XX"), text, progress=False)
    assert zeros.score.perplexity == figures["none"]


@pytest.mark.parametrize("metric", ["masked_perplexity", "pseudo_perplexity"])
def test_scores_are_found_again_by_weights_and_ids(
    extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Any
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{line}\n" for line in make_sentences(20, seed=11)))
    state = State(extended, "quz_PE")
    first = xmod_extend.evaluate(state, text, metric=metric, progress=False)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(scorer_module, "load_slice", fail)
    copy = tmp_path / "elsewhere.txt"
    copy.write_bytes(text.read_bytes())
    again = xmod_extend.evaluate(state, copy, metric=metric, progress=False)
    assert again.scores == first.scores
    assert list(again.rows()) == list(first.rows())
    for changed in (State(extended, "de_DE"), State.untrained(extended)):
        with pytest.raises(AssertionError, match="scored again"):
            xmod_extend.evaluate(changed, text, metric=metric, progress=False)
    copy.write_text("".join(f"{line}\n" for line in SENTENCES[1:]))
    with pytest.raises(AssertionError, match="scored again"):
        xmod_extend.evaluate(state, copy, metric=metric, progress=False)


def write_pairs(path: Path, pairs: list[tuple[str, str]], names: str = "sen\twrong_sen") -> Path:
    path.write_text("\n".join([names, *("\t".join(pair) for pair in pairs)]) + "\n")
    return path


@pytest.mark.slow
def test_pairs_are_decided_by_the_likelier_sentence(extended: Path, tmp_path: Path) -> None:
    pairs = [(s, " ".join(reversed(s.split()))) for s in SENTENCES[:8]]
    pairs.append((SENTENCES[0], SENTENCES[0]))
    file = write_pairs(tmp_path / "pairs.tsv", pairs)
    found = xmod_extend.evaluate(
        extended, file, lang="quz_PE", metric="minimal_pairs", progress=False
    )
    score = found.score
    assert isinstance(score, PairScore)
    margins = [
        sum(upstream_nats(extended, wrong, 3, words=True))
        - sum(upstream_nats(extended, right, 3, words=True))
        for right, wrong in pairs
    ]
    rows = list(found.rows())
    assert [row["margin_nats"] for row in rows] == pytest.approx(margins, rel=1e-3, abs=1e-4)
    assert [row["right"] for row in rows] == [right for right, _ in pairs]
    assert score.num_pairs == 9 and score.num_undecided == 1
    assert score.accuracy == sum(margin > 1e-4 for margin in margins) / 9
    assert score.low < score.accuracy < score.high
    assert any("equally likely" in warning for warning in found.warnings)
    compared = xmod_extend.compare(
        State.untrained(extended),
        extended,
        file,
        lang="quz_PE",
        metric="minimal_pairs",
        progress=False,
    )
    difference = compared.improvement
    assert isinstance(difference, PairImprovement) and isinstance(compared.before.score, PairScore)
    assert difference.difference == pytest.approx(score.accuracy - compared.before.score.accuracy)
    renamed = write_pairs(tmp_path / "named.tsv", pairs, "good\tbad")
    again = xmod_extend.evaluate(
        extended,
        renamed,
        lang="quz_PE",
        metric="minimal_pairs",
        pair_fields="good,bad",
        progress=False,
    )
    assert again.score == score


def test_guesses_are_those_of_plain_transformers(base: Path, extended: Path) -> None:
    text = f"{SENTENCES[0].split()[0]} <mask> {SENTENCES[0].split()[1]}"
    found = xmod_extend.fill_mask(
        State(base, "de_DE"), extended, text, lang="quz_PE", count=3, progress=False
    )
    tokenizer = AutoTokenizer.from_pretrained(extended)
    model = XmodForMaskedLM.from_pretrained(extended).eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    batch = torch.tensor([[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]])
    with torch.no_grad():
        logits = model(
            batch, lang_ids=torch.tensor([3]), attention_mask=torch.ones_like(batch)
        ).logits
    (gap,) = (batch[0] == tokenizer.mask_token_id).nonzero()[0].tolist()
    expected = logits[0, gap].softmax(-1).topk(3)
    (guesses,) = found.gaps
    pieces = tokenizer.convert_ids_to_tokens(expected.indices.tolist())
    assert [guess.piece for guess in guesses.after] == pieces
    assert [guess.probability for guess in guesses.after] == pytest.approx(
        expected.values.tolist(), rel=1e-4
    )
    assert [row["rank"] for row in found.rows()] == [1, 2, 3]
    assert found.before == f"de_DE of {base.name}" and found.after == "quz_PE of out"
    with pytest.raises(UsageError, match="no <mask>"):
        xmod_extend.fill_mask(base, extended, "Wasi.", lang="quz_PE", progress=False)


def score_of(checkpoint: Path, text: Path, **options: Any) -> Any:
    return xmod_extend.evaluate(checkpoint, text, **({"lang": "en_XX"} | options), progress=False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "empty|no text"),
        ("\n\n", "no text"),
        ("Only one line of text.\n\nOnly one line of text.\n", "one line of text"),
        ("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ\nᎤᏔᎾ ᎠᏂᏴᏫ\nᎠᏂᏣᎳᎩ ᎣᎯᏍᏗ\n", "cannot read this text"),
    ],
)
@pytest.mark.parametrize("metric", ["masked_perplexity", "pseudo_perplexity"])
def test_text_that_cannot_be_scored_is_refused(
    base: Path, tmp_path: Path, content: str, expected: str, metric: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(content, encoding="utf-8")
    with pytest.raises(CorpusError, match=expected):
        score_of(base, text, metric=metric)


def test_text_that_is_mostly_unknown_is_marked(base: Path, tmp_path: Path) -> None:
    letters = str.maketrans("aiu", "ⰰⰻⱆ")
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{line.translate(letters)}\n" for line in SENTENCES))
    found = score_of(base, text)
    assert found.unreadable is not None and "cannot read" in found.unreadable
    assert any(warning.startswith("The scores mean nothing.") for warning in found.warnings)
    assert found.score.unk_rate > 0.2
    compared = xmod_extend.compare(State(base, "en_XX"), State(base, "de_DE"), text, progress=False)
    assert compared.verdict.startswith("The comparison means nothing.")


def test_what_names_no_state_is_refused(base: Path, text: Path, extended: Path) -> None:
    with pytest.raises(LanguageError, match="has no language quz_PE"):
        score_of(base, text, lang="quz_PE")
    with pytest.raises(LanguageError, match="has no language quz_PE"):
        xmod_extend.compare(extended, base, text, lang="quz_PE", progress=False)
    with pytest.raises(UsageError, match="No language is named"):
        score_of(base, text, lang=None)
    with pytest.raises(UsageError, match="unknown option"):
        score_of(base, text, metrics="pll")
    with pytest.raises(UsageError, match="--metric is 'pll'"):
        score_of(base, text, metric="pll")
    with pytest.raises(UsageError, match="at most 32 tokens"):
        score_of(base, text, max_length=64)


def test_pairs_without_columns_or_sentences_are_refused(
    base: Path, tmp_path: Path, text: Path
) -> None:
    cases = {
        "no field 'wrong_sen'": write_pairs(tmp_path / "a.tsv", [("a", "b")], "sen\tbad"),
        "no text in 'wrong_sen'": write_pairs(tmp_path / "b.tsv", [("a", "b"), ("a", "")]),
        "no pairs": write_pairs(tmp_path / "c.tsv", []),
        "no columns": text,
    }
    for expected, file in cases.items():
        with pytest.raises(CorpusError, match=expected):
            score_of(base, file, metric="minimal_pairs")
    with pytest.raises(UsageError, match="two names"):
        score_of(base, text, metric="minimal_pairs", pair_fields="sen")


def test_different_tokenizers_do_not_compare(base: Path, text: Path, tmp_path: Path) -> None:
    other = make_like(base, tmp_path / "other")
    same = xmod_extend.compare(State(base, "en_XX"), State(other, "en_XX"), text, progress=False)
    assert same.improvement == Improvement(ratio=1.0, low=1.0, high=1.0, p_value=1.0)
    settings = json.loads((other / "tokenizer.json").read_text())
    vocabulary = settings["model"]["vocab"]
    names = [piece for piece, _ in vocabulary]
    vocabulary[10][0], vocabulary[11][0] = names[11], names[10]
    (other / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="different tokenizers") as caught:
        xmod_extend.compare(State(base, "en_XX"), State(other, "en_XX"), text, progress=False)
    assert caught.value.hint is not None and "bits_per_byte" in caught.value.hint


@pytest.mark.parametrize(
    ("spelled", "state"),
    [
        ("out/x", State("out/x")),
        ("out/x:quz_PE", State("out/x", "quz_PE")),
        ("facebook/xmod-base:best", State.best_existing("facebook/xmod-base")),
        ("tiny:untrained", State.untrained("tiny")),
        ("tiny:none", State.no_adapter("tiny")),
        ("C:/models/x", State("C:/models/x")),
        (r"C:\models\x:none", State.no_adapter(r"C:\models\x")),
    ],
)
def test_states_are_spelled_with_a_colon(spelled: str, state: State) -> None:
    assert State.parse(spelled) == state


def test_a_folder_s_colon_is_a_part_of_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "run:best"
    folder.mkdir()
    assert State.parse(str(folder)) == State(folder)


@pytest.mark.slow
def test_add_scores_the_base_s_own_languages_on_request(
    base: Path, corpus: Path, text: Path, tmp_path: Path
) -> None:
    options: Any = {
        "lang": "quz_PE", "base": base, "corpus": corpus, "max_steps": 2, "progress": False,
        "precision": "fp32",
    }  # fmt: skip
    output = tmp_path / "out"
    record = xmod_extend.add_language(
        **options, output=output, reference=[f"sw_KE={text}", f"de_DE={text}"]
    )
    assert record.evaluation is not None
    references = record.evaluation.references
    assert [reference.language for reference in references] == ["sw_KE", "de_DE"]
    for reference in references:
        alone = xmod_extend.evaluate(State(base, reference.language), text, progress=False)
        assert reference.score == alone.score
    assert xmod_extend.RunRecord.from_dict(record.to_dict()).evaluation == record.evaluation
    without = xmod_extend.add_language(**options, output=tmp_path / "without")
    assert without.evaluation is not None and without.evaluation.references == ()
    name = "model-quz_PE.safetensors"
    assert (tmp_path / "without" / name).read_bytes() == (output / name).read_bytes()
    for reference, error in {
        f"fi_FI={text}": LanguageError, "sw_KE=missing.txt": CorpusError, "sw_KE": UsageError,
    }.items():  # fmt: skip
        with pytest.raises(error):
            xmod_extend.add_language(**options, output=tmp_path / "no", reference=reference)
    assert not list(tmp_path.glob("no*"))


def test_sentences_score_as_the_file_that_has_them(extended: Path, text: Path) -> None:
    given = [*SENTENCES, "", f" {SENTENCES[0]}\n"]
    state = State(extended, "quz_PE")
    from_list = xmod_extend.evaluate(state, sentences=given)
    from_file = xmod_extend.evaluate(state, text)
    assert from_list.scores == from_file.scores
    assert list(from_list.rows()) == list(from_file.rows())
    compared = xmod_extend.compare(extended, state, lang=LANGUAGES[0], sentences=SENTENCES)
    assert [row["text"] for row in compared.rows()] == [row["text"] for row in from_file.rows()]


@pytest.mark.parametrize(
    ("arguments", "error", "found"),
    [
        ({}, UsageError, "no text"),
        ({"text": "a.txt", "sentences": SENTENCES}, UsageError, "Both"),
        ({"sentences": "one sentence"}, UsageError, "a list of str"),
        ({"sentences": [1, 2]}, UsageError, "a list of str"),
        ({"sentences": []}, UsageError, "a list of str"),
        ({"sentences": ["one", " one", ""]}, CorpusError, "1 different sentences"),
        ({"sentences": SENTENCES, "metric": "minimal_pairs"}, UsageError, "two columns"),
    ],
)
def test_sentences_that_cannot_be_scored_are_refused(
    extended: Path, arguments: dict[str, Any], error: type[Exception], found: str
) -> None:
    with pytest.raises(error, match=found):
        xmod_extend.evaluate(State(extended, "quz_PE"), **arguments)
