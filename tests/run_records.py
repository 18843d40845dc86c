"""Run records for the report's tests, with text in several scripts, written for this project."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from xmod_extend.evaluation.bootstrap import Improvement
from xmod_extend.evaluation.probe import Candidate
from xmod_extend.evaluation.score import Score
from xmod_extend.report.card import CardSubject
from xmod_extend.report.record import (
    BaseRecord,
    EvaluationRecord,
    RunRecord,
    TrainingRecord,
    VerificationRecord,
)
from xmod_extend.report.samples import (
    CutWord,
    GuessSample,
    PieceGuess,
    Samples,
    SampleSentence,
)
from xmod_extend.text.report import CorpusReport, Coverage
from xmod_extend.training.history import CurvePoint

SENTENCES = {
    "quz_PE": (
        "Cusco Quechua (Peru)",
        "quz-PE",
        ["Wasi|yki|qa hatun |suma|q| kan|mi.", "Para|mu|sqan|rayku mana| llo|qsi|rqani|chu."],
    ),
    "tt_RU": (
        "Tatar (Russia)",
        "tt-RU",
        ["Бала|лар| бак|чада| уй|ныйлар.", "Мин| бүген| әби|емә| хат| яз|дым."],
    ),
    "ar_AR": (
        "Arabic (Argentina)",
        "ar-AR",
        ["ذه|ب الو|لد| إلى ا|لمدر|سة في| الصبا|ح.", "قر|أت ا|لبنت| كتا|بًا ج|ميلًا| عن ال|بحر."],
    ),
    "hi_IN": (
        "Hindi (India)",
        "hi-IN",
        ["ल|ड़क|ा| बा|ग़| मे|ं ख|ेल र|हा ह|ै।", "क्ष|त्|रिय ने| वि|द्या|र्थ|ी को| पु|स्|तक द|ी।"],
    ),
    "th_TH": (
        "Thai (Thailand)",
        "th-TH",
        ["เด็|กเล่|นอยู่|ในสว|น", "แม่ซื้|อน้|ำผลไม|้ที่ตล|าด"],
    ),
}
"""Code -> name, tag, and lines with a | where a tokenizer might cut them, in bad places too."""

HOSTILE = "</style></title>\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;{{ 7*7 }}"


def make_score(perplexity: float, **changes: Any) -> Score:
    """A score with an interval of a tenth on both sides."""
    fields = {
        "perplexity": perplexity,
        "bits_per_byte": 2.5,
        "num_scored_tokens": 2468,
        "num_documents": 397,
        "signature": "masked_perplexity:v2|seed:1",
        "low": perplexity * 0.9,
        "high": perplexity * 1.1,
    }
    return Score(**fields | changes)


def make_samples(lines: Sequence[str], seed: int = 0) -> Samples:
    """Samples of lines that have a | between tokens."""
    chance = random.Random(seed)
    sentences = []
    for line in lines:
        pieces = tuple(line.split("|"))
        before = tuple(chance.uniform(0.5, 9) for _ in pieces)
        after = tuple(loss * chance.uniform(0.02, 0.7) for loss in before)
        sentences.append(SampleSentence(pieces=pieces, before=before, after=after))
    guesses = []
    for line in lines:
        pieces = line.split("|")
        middle = len(pieces) // 2
        wrong = [PieceGuess(piece=piece, probability=0.02, is_right=False) for piece in pieces[:4]]
        right = PieceGuess(piece=pieces[middle], probability=0.41, is_right=True)
        guesses.append(
            GuessSample(
                left="".join(pieces[:middle]),
                answer=pieces[middle],
                right="".join(pieces[middle + 1 :]),
                before=tuple(wrong),
                after=(right, *(guess for guess in wrong if guess.piece != right.piece)),
                before_probability=0.0004,
                after_probability=0.41,
            )
        )
    return Samples(
        hardest=tuple(sentences),
        most_improved=tuple(reversed(sentences)),
        typical=tuple(sentences[:1]),
        guesses=tuple(guesses),
        cut_words=tuple(CutWord(pieces=tuple(line.split("|")[:3]), count=7) for line in lines),
        signature="within_word:v1",
    )


def make_corpus_report(**changes: Any) -> CorpusReport:
    """A report of a text of 8,000 lines."""
    coverage = Coverage(
        unknown_characters=0.002,
        words_hit=0.01,
        missing={"ñ": 0.001, "́": 0.001},
        num_missing=2,
        examples=("ñawi",),
    )
    fields: dict[str, Any] = {
        "files": ("data/text.txt",),
        "lines": 8100,
        "kept_lines": 8000,
        "empty_lines": 40,
        "duplicate_lines": 60,
        "contaminated_lines": 0,
        "cut_lines": 0,
        "replaced_characters": 0,
        "words": 44911,
        "characters": 404142,
        "bytes": 405910,
        "train_lines": 7600,
        "train_bytes": 385557,
        "held_out_lines": 400,
        "held_out_bytes": 20353,
        "scripts": {"Latin": 0.99, "Greek": 0.01},
        "train_sha256": "6955598f" * 8,
        "held_out_sha256": "8d7aa6ec" * 8,
        "tokens": 138154,
        "fertility": 3.08,
        "unk_rate": 0.0018,
        "coverage": coverage,
        "held_out_coverage": coverage,
        "verdict": "The base can read this text.",
    }
    return CorpusReport(**fields | changes)


def make_evaluation(
    before: float = 457.0, unigram: float = 131.0, after: float = 16.0, **changes: Any
) -> EvaluationRecord:
    """An evaluation by its three perplexities."""

    def improvement(over: float) -> Improvement:
        ratio = over / after
        return Improvement(ratio=ratio, low=ratio * 0.97, high=ratio * 1.03, p_value=0.002)

    fields = {
        "best_existing": "en_XX",
        "before": make_score(before),
        "after": make_score(after),
        "improvement": improvement(before),
        "unigram": make_score(unigram),
        "improvement_over_unigram": improvement(unigram),
        "verdict": "Better than the best existing adapter and than token frequencies.",
    }
    return EvaluationRecord(**fields | changes)


def make_training(**changes: Any) -> TrainingRecord:
    """A training of 300 steps."""
    fields: dict[str, Any] = {
        "init": "random",
        "num_parameters": 49728,
        "num_steps": 300,
        "steps_done": 300,
        "best_step": 270,
        "batch_size": 16,
        "max_length": 64,
        "lr": 0.012,
        "warmup_fraction": 0.1,
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "clip_norm": 1.0,
        "mlm_probability": 0.3,
        "dropout": False,
        "precision": "fp32",
        "device": "cpu",
        "num_tokens": 307200,
        "num_epochs": 2.2,
        "seconds": 35.9,
        "curve": tuple(
            CurvePoint(step=step, train_loss=6 / step**0.2, held_out_loss=6.2 / step**0.19, lr=0.01)
            for step in range(30, 301, 30)
        ),
        "stopped": None,
    }
    return TrainingRecord(**fields | changes)


def make_record(language: str = "quz_PE", **changes: Any) -> RunRecord:
    """The record of a run that went well, with samples in the language's script."""
    name, bcp47, lines = SENTENCES[language]
    fields: dict[str, Any] = {
        "language": language,
        "language_name": name,
        "bcp47": bcp47,
        "base": BaseRecord(
            name="tiny",
            source="tiny",
            commit=None,
            languages=("en_XX", "es_XX", "de_DE"),
            num_parameters=898600,
            files={"model.safetensors": "8ff72130" * 8},
        ),
        "options": {"lang": language, "corpus": ["data/text.txt"], "seed": 0, "lr": None},
        "corpus": make_corpus_report(),
        "tokenizer": "tiny",
        "tokenizer_sha256": "9dd5c4bc" * 8,
        "probe": tuple(
            Candidate(language=code, perplexity=457.0 + 40 * i, num_scored_tokens=2468 // (i + 1))
            for i, code in enumerate(["en_XX", "es_XX", "de_DE"])
        ),
        "warnings": (),
        "versions": {"python": "3.11.7", "xmod-extend": "0.3.0", "torch": "2.13.0"},
        "created": "2026-11-27T12:00:00+00:00",
        "seconds": 149.2,
        "training": make_training(),
        "evaluation": make_evaluation(samples=make_samples(lines)),
        "verification": VerificationRecord(
            identical=True, tensors_compared=94, languages_compared=3, differences=()
        ),
        "output": "out/tiny",
    }
    return RunRecord(**fields | changes)


def make_subject(*records: RunRecord, **changes: Any) -> CardSubject:
    """The checkpoint of some records, of a base that they name."""
    base = records[0].base
    codes = tuple(record.language for record in records)
    fields: dict[str, Any] = {
        "what": "checkpoint",
        "name": "extended",
        "languages": (*base.languages, *codes),
        "described": codes,
        "records": {record.language: record for record in records},
        "base_name": base.name,
        "base_id": None if base.commit is None else base.source,
        "base_revision": base.commit,
        "license": None,
    }
    return CardSubject(**fields | changes)
