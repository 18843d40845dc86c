"""Results as scoring makes them, of made-up losses and texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xmod_extend.evaluation.bootstrap import compare
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.minimal_pairs import compare_pairs, pair_margins, score_pairs
from xmod_extend.evaluation.score import ScoredText, score
from xmod_extend.report.evaluation import Comparison, Evaluation, Sentences
from xmod_extend.report.guesses import FilledMask, GapGuesses, NamedGuess
from xmod_extend.text.lines import LinesInMemory

TEXTS = (
    "a sentence of letters",
    '<script>alert("x")</script> & <img src=x onerror=y>',
    "كتاب على الطاولة",
    "पुस्तक मेज़ पर है",
    "costs $5 and $x^$",
    "one more " * 100,
    "the last words",
    "nothing else",
)
TOKENS_EACH = 6


def losses(level: float, *, seed: int, num_texts: int = len(TEXTS)) -> TokenLosses:
    count = TOKENS_EACH * num_texts
    random = np.random.default_rng(seed)
    return TokenLosses(
        nats=random.gamma(4, level / 4, size=count),
        documents=np.repeat(np.arange(num_texts), TOKENS_EACH),
        targets=np.arange(count) % 7,
    )


def scored_text(metric: str) -> ScoredText:
    return ScoredText(
        metric=metric, signature=f"{metric}:v1|text:<b>", unk_rate=0.0, token_bytes=np.full(7, 3)
    )


def make_evaluation(
    state: str, level: float, *, metrics: Sequence[str] = ("masked_perplexity",), seed: int = 1
) -> Evaluation:
    found = {name: losses(level, seed=seed + number) for number, name in enumerate(metrics)}
    return Evaluation(
        state=state,
        checkpoint="out/x",
        language="quz_PE",
        text=("text.txt",),
        scores=tuple(score(one, scored_text(name)) for name, one in found.items()),
        warnings=("Mind <this>.",),
        sentences=Sentences(lines=LinesInMemory(TEXTS, "f"), losses=found),
    )


def make_comparison(metrics: Sequence[str] = ("masked_perplexity",)) -> Comparison:
    before = make_evaluation("en_XX of <i>tiny</i>", 4.5, metrics=metrics, seed=1)
    after = make_evaluation("quz_PE of $out$", 2.5, metrics=metrics, seed=5)
    assert before.sentences is not None and after.sentences is not None
    pairs = zip(before.sentences.losses.values(), after.sentences.losses.values(), strict=True)
    return Comparison(
        before=before,
        after=after,
        improvements=tuple(compare(*pair) for pair in pairs),
        verdict="<b>Better</b>.",
    )


def make_pair_comparison() -> Comparison:
    sides = []
    for state, level, seed in (("before", 4.0, 3), ("after", 3.0, 4)):
        found = losses(level, seed=seed)
        sides.append(
            Evaluation(
                state=state,
                checkpoint="out/x",
                language="quz_PE",
                text=("pairs.tsv",),
                scores=(score_pairs(found, len(TEXTS) // 2, scored_text("within_word_l2r")),),
                sentences=Sentences(
                    lines=LinesInMemory(TEXTS, "f"), losses={"within_word_l2r": found}
                ),
            )
        )
    first, second = (
        pair_margins(side.sentences.losses["within_word_l2r"], len(TEXTS) // 2)
        for side in sides
        if side.sentences is not None
    )
    return Comparison(before=sides[0], after=sides[1], improvements=(compare_pairs(first, second),))


def make_guesses(*pieces: str) -> FilledMask:
    named = tuple(NamedGuess(piece, 0.5 / (rank + 1)) for rank, piece in enumerate(pieces))
    gap = GapGuesses(before=named, after=named[::-1])
    return FilledMask(text="<b>x</b> <mask>.", before="<u>before</u>", after="after", gaps=(gap,))
