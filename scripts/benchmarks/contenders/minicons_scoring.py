"""Scores sentences with minicons, which finds the language in the checkpoint's `default_language`.

Its masked scorer gives transformers' model no `lang_ids`. A batch is all hidden copies of its
sentences at once, padded to the longest, with logits of every position.

Source: Misra 2022 (arXiv 2203.13112), minicons/scorer.py, `MaskedLMScorer.token_score`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import transformers
from minicons.scorer import MaskedLMScorer
from scoring_harness import parse_arguments, report

METRICS = {"pll": "original", "within_word_l2r": "within_word_l2r"}


def main() -> None:
    given, sentences = parse_arguments()
    transformers.logging.set_verbosity_error()
    scorer = MaskedLMScorer(str(given.base), given.device)

    def prepare(some: Sequence[str]) -> Callable[[], tuple[list[list[float]], int]]:
        def score() -> tuple[list[list[float]], int]:
            scores: list[list[float]] = []
            for start in range(0, len(some), given.batch):
                batch = list(some[start : start + given.batch])
                found = scorer.token_score(batch, PLL_metric=METRICS[given.metric])
                scores += [[value for _, value in sentence] for sentence in found]
            return scores, sum(map(len, scores))

        return score

    names = ("transformers", "minicons")
    report(given, sentences, prepare, {name: version(name) for name in names})


if __name__ == "__main__":
    main()
