"""Masked language modelling: tokens are hidden from the model, and it predicts them.

    B  sequences in a batch
    T  tokens in a sequence

Masking is a pure function of (seed, counter): the counter is the optimiser step in training and the
block's index in evaluation. Nothing depends on what was drawn before, so a resumed run and an
uninterrupted one, or an evaluation with another batch size, see the same masks.

Training shows the model some of its targets, by `corrupt`; measuring shows it none, by `hide`.

Source: Devlin et al. 2019, section 3.1 (80/10/10); Liu et al. 2019, section 4.1 (dynamic masking).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.tokens.blocks import Ids


@dataclass(frozen=True, kw_only=True)
class MaskingScheme:
    """How tokens are chosen and corrupted.

    Args:
        mask_id: Id of the `<mask>` token.
        special_ids: Ids that are never chosen and never used as a replacement, `<unk>` among them:
            to guess it is no knowledge of the language.
        vocabulary_size: Random replacements are drawn from `range(vocabulary_size)`.
        mlm_probability: Chance of each ordinary token to be chosen, in (0, 1).
        seed: All masks of one seed are the same in every process and on every machine.
    """

    mask_id: int
    special_ids: tuple[int, ...]
    vocabulary_size: int
    mlm_probability: float
    seed: int

    MASKED = 0.8
    """Share of the chosen tokens that become `<mask>`."""
    RANDOM = 0.1
    """Share that becomes a random token; the rest stays as it is."""

    def corrupt(self, input_ids: Ids, counter: int) -> Prediction:
        """Return what training predicts of `input_ids`, (B, T): an objective.

        A label is the original id where a token was chosen. At least one token is chosen wherever
        there is an ordinary one, so that no batch has an undefined loss.
        """
        chosen, random = self._choose(input_ids, counter)
        labels = np.where(chosen, input_ids, IGNORED)
        fate = random.random(input_ids.shape)
        corrupted = np.where(chosen & (fate < self.MASKED), self.mask_id, input_ids)
        replaced = chosen & (fate >= self.MASKED) & (fate < self.MASKED + self.RANDOM)
        corrupted[replaced] = random.choice(self._replacements, size=int(replaced.sum()))
        return Prediction(corrupted, labels)

    def hide(self, input_ids: Ids, counter: int) -> Prediction:
        """Return the same as `corrupt`, with every chosen token hidden behind `<mask>`.

        This is for measuring: a target that the model is shown tells nothing of what it knows.
        """
        chosen, _ = self._choose(input_ids, counter)
        hidden = np.where(chosen, self.mask_id, input_ids)
        return Prediction(hidden, np.where(chosen, input_ids, IGNORED))

    def _choose(
        self, input_ids: Ids, counter: int
    ) -> tuple[npt.NDArray[np.bool_], np.random.Generator]:
        """Return which tokens are predicted, and the generator for what else is drawn."""
        random = np.random.Generator(np.random.PCG64([self.seed, counter]))
        ordinary = ~np.isin(input_ids, self.special_ids)
        draw = random.random(input_ids.shape)
        chosen = ordinary & (draw < self.mlm_probability)
        if not chosen.any() and ordinary.any():
            chosen.flat[np.flatnonzero(ordinary)[np.argmin(draw[ordinary])]] = True
        return chosen, random

    @cached_property
    def _replacements(self) -> Ids:
        return np.setdiff1d(np.arange(self.vocabulary_size), np.asarray(self.special_ids))
