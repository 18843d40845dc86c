"""Tokens of the held-out text that are hidden and guessed, for the report.

N  tokens of a line
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xmod_extend.evaluation.guesses import top_guesses
from xmod_extend.evaluation.losses import TokenLosses, measure_nats
from xmod_extend.jobs.job import Job
from xmod_extend.jobs.sample_lines import LineReader, SampleLine, likely_documents
from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.report.samples import GuessSample, PieceGuess
from xmod_extend.tokens.pieces import piece_text
from xmod_extend.tokens.tokenizer import LoadedTokenizer

NUM_GUESSES = 8
SEED = 20_220_512
"""The same lines are drawn in every run on one text, so that runs compare."""


@dataclass(frozen=True)
class Guessed:
    """What one adapter makes of a gap."""

    guesses: tuple[PieceGuess, ...]
    probability: float
    """How likely the right token was."""


class Gaps:
    """Tokens of different lines, drawn at random among those with a letter."""

    def __init__(
        self, job: Job, tokenizer: LoadedTokenizer, reader: LineReader, losses: TokenLosses
    ) -> None:
        self._job, self._tokenizer = job, tokenizer
        documents = likely_documents(losses).tolist()
        chance = random.Random(SEED)
        drawn = chance.sample(documents, min(len(documents), 2 * NUM_GUESSES))
        self._gaps: list[tuple[SampleLine, int]] = []
        for line in reader.read(drawn):
            positions = self._with_letters(line)
            if positions and len(self._gaps) < NUM_GUESSES:
                self._gaps.append((line, chance.choice(positions)))

    def guess(self) -> list[Guessed]:
        """Return what the adapter in the slice's slot makes of each gap."""
        return [self._guess(line, position) for line, position in self._gaps]

    def samples(
        self, before: Sequence[Guessed], after: Sequence[Guessed]
    ) -> tuple[GuessSample, ...]:
        """Return the gaps with what two adapters made of them."""
        return tuple(
            GuessSample(
                left="".join(line.pieces[:position]),
                answer=line.pieces[position],
                right="".join(line.pieces[position + 1 :]),
                before=old.guesses,
                after=new.guesses,
                before_probability=old.probability,
                after_probability=new.probability,
            )
            for (line, position), old, new in zip(self._gaps, before, after, strict=True)
        )

    def _with_letters(self, line: SampleLine) -> list[int]:
        """Return the positions of a line that can be hidden, as far as the model can read it."""
        special = set(self._tokenizer.special_ids)
        ids = line.ids[: self._job.text.max_length - 2].tolist()
        return [
            position
            for position, token_id in enumerate(ids)
            if token_id not in special and any(map(str.isalpha, line.pieces[position]))
        ]

    def _guess(self, line: SampleLine, position: int) -> Guessed:
        tokenizer, model = self._tokenizer, self._job.model
        inside = line.ids[: self._job.text.max_length - 2]
        inputs = np.concatenate([[tokenizer.bos_id], inside, [tokenizer.sep_id]])
        gap = position + 1
        answer = int(inputs[gap])
        inputs[gap] = tokenizer.mask_id
        labels = np.full_like(inputs, IGNORED)
        labels[gap] = answer
        (nats,) = measure_nats(model, [Prediction(inputs[None], labels[None])])
        (found,) = top_guesses(model, inputs, np.array([gap]))
        names = tokenizer.tokenizer.convert_ids_to_tokens([guess.token_id for guess in found])
        listed = {guess.token_id: guess.probability for guess in found}
        return Guessed(
            tuple(
                PieceGuess(
                    # A base may have more embeddings than its tokenizer has tokens.
                    piece=piece_text(name or ""),
                    probability=round(guess.probability, 6),
                    is_right=guess.token_id == answer,
                )
                for guess, name in zip(found, names, strict=True)
            ),
            round(listed.get(answer, math.exp(-float(nats))), 6),
        )
