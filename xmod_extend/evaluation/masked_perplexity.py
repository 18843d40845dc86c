"""Masked perplexity: how well one adapter guesses the hidden tokens of a text never trained on.

`exp` of the mean cross-entropy over the masked positions, with masks that are fixed by a seed. It
is not the perplexity of a left-to-right model, nor the pseudo-perplexity that hides one token at a
time: 15 % of the tokens are hidden at once, every one of them behind `<mask>`. In training a tenth
of them is shown; measured so, perplexities come out near the 0.9th power of these. `<unk>` is never
hidden and so never scored: a text of which the tokenizer can read little gets a low perplexity for
its spaces and stops. Its share stands in the signature, with all else that a score depends on. A
score compares adapters on one text, one tokenizer and one seed; between tokenizers only
`bits_per_byte` compares, where no token is unknown.

    B  blocks in a batch
    T  tokens in a block
    N  scored (masked) positions

Source: Devlin et al. 2019, section 3.1, for the objective.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmod_extend.evaluation.losses import TokenLosses, batch_tokens, measure_nats
from xmod_extend.evaluation.score import format_signature, share_unknown
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.tokens.blocks import Ids
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.tokens.packing import PackedBlocks

MAX_TOKENS = 131_072
"""A longer held-out text is sampled at even distances: the interval at this size is about 1 %."""
METRIC = "masked_perplexity"
METRIC_VERSION = 2
"""Goes up when the same text and adapter would get another score. 2: every target is hidden."""


@dataclass(frozen=True)
class Block:
    """One block of held-out text under its fixed mask; each array is (T,)."""

    input_ids: Ids
    labels: Ids
    document_ids: Ids
    start: int = 0
    """Where its first token behind the `<s>` stands in the tokens of the text."""

    @classmethod
    def from_prediction(cls, prediction: Prediction, document_ids: Ids, start: int = 0) -> Block:
        """Return the only sequence of a prediction."""
        return cls(prediction.input_ids[0], prediction.labels[0], document_ids, start)


class MaskedText:
    """A held-out text under fixed masks: what every adapter that is compared is scored on."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = list(blocks)

    @classmethod
    def from_blocks(
        cls, blocks: PackedBlocks, scheme: MaskingScheme, *, max_tokens: int = MAX_TOKENS
    ) -> MaskedText:
        """Mask each block by its own index, so that a sample has the masks of the whole."""
        masked = []
        length = blocks.get([0]).shape[1] if len(blocks) else 0
        whole = max(1, max_tokens // max(1, length)) if len(blocks) else 0
        for index in evenly_spaced(len(blocks), whole):
            hidden = scheme.hide(blocks.get([index]), index)
            documents = blocks.document_ids([index])[0]
            masked.append(Block.from_prediction(hidden, documents, index * (length - 1)))
        tail, tail_documents = blocks.tail(), blocks.tail_document_ids()
        if tail is not None and tail_documents is not None and len(blocks) <= whole:
            hidden = scheme.hide(tail, len(blocks))
            masked.append(
                Block.from_prediction(hidden, tail_documents[0], len(blocks) * (length - 1))
            )
        return cls(masked)

    @property
    def num_tokens(self) -> int:
        """Tokens that the model reads, scored or not."""
        return sum(block.input_ids.size for block in self.blocks)

    @property
    def num_scored_tokens(self) -> int:
        return sum(int((block.labels != IGNORED).sum()) for block in self.blocks)

    @property
    def scored_places(self) -> Ids:
        """Where the scored tokens stand in the tokens of the text, `(N,)`."""
        places = [
            block.start - 1 + np.flatnonzero(block.labels != IGNORED) for block in self.blocks
        ]
        return np.concatenate(places or [np.empty(0, np.int64)])

    @property
    def scored_sha256(self) -> str:
        """Hash of the ids that the model reads and of those it must guess, block by block."""
        sha256 = hashlib.sha256()
        for block in self.blocks:
            sha256.update(block.input_ids.astype("<i4").tobytes())
            sha256.update(block.labels.astype("<i4").tobytes())
        return sha256.hexdigest()

    def sample(self, num_tokens: int) -> MaskedText:
        """Return about `num_tokens` of the text: whole blocks at even distances, as masked."""
        length = max((block.input_ids.size for block in self.blocks), default=1)
        chosen = evenly_spaced(len(self.blocks), max(1, num_tokens // length))
        return MaskedText([self.blocks[i] for i in chosen])

    def batches(self, num_tokens: int) -> Iterator[tuple[Ids, Ids, Ids]]:
        """Yield (input_ids, labels, document_ids), each (B, T), of blocks of one length."""
        start = 0
        while start < len(self.blocks):
            length = self.blocks[start].input_ids.size
            stop = start + 1
            while (
                stop < len(self.blocks)
                and self.blocks[stop].input_ids.size == length
                and (stop - start + 1) * length <= num_tokens
            ):
                stop += 1
            batch = self.blocks[start:stop]
            yield (
                np.stack([block.input_ids for block in batch]),
                np.stack([block.labels for block in batch]),
                np.stack([block.document_ids for block in batch]),
            )
            start = stop


def masked_losses(
    model: XmodForMaskedLM,
    text: MaskedText,
    *,
    processes: Processes | None = None,
    on_scored: Callable[[int], None] = lambda num_tokens: None,
) -> TokenLosses:
    """Score the adapter in the slice's slot on `text`.

    Args:
        processes: See `measure_nats`.
        on_scored: See `measure_nats`.
    """
    nats = measure_nats(
        model,
        (Prediction(inputs, labels) for inputs, labels, _ in text.batches(batch_tokens(model))),
        processes=processes,
        on_scored=on_scored,
    )
    return TokenLosses(nats, *scored_targets(text))


def scored_targets(text: MaskedText) -> tuple[Ids, Ids]:
    """Return the document and the id of each scored token, (N,) both."""
    nothing = [np.empty(0, np.int64)]
    labels = np.concatenate([block.labels for block in text.blocks] or nothing)
    documents = np.concatenate([block.document_ids for block in text.blocks] or nothing)
    return documents[labels != IGNORED], labels[labels != IGNORED]


def unk_rate(text: MaskedText, scheme: MaskingScheme, unk_id: int | None) -> float:
    """Return the share of unknown tokens, which are never scored, in the scored text."""
    texts = [block.input_ids for block in text.blocks]
    return share_unknown(texts, scheme.special_ids, unk_id=unk_id, mask_id=scheme.mask_id)


def signature(
    text: MaskedText,
    scheme: MaskingScheme,
    *,
    unk_id: int | None,
    text_sha256: str,
    tokenizer_sha256: str,
    max_length: int,
    precision: str,
) -> str:
    """Return all that a masked perplexity depends on, in one line.

    `unk` is `unk_rate`; `scored` is a
    hash of the ids themselves, hidden and shown, and so tells two scores apart where all else is
    equal: other versions of a library may cut the same text into other tokens.
    """
    fields = {
        METRIC: f"v{METRIC_VERSION}",
        "mlm_probability": f"{scheme.mlm_probability:g}",
        "mask": "all",
        "unk": f"{unk_rate(text, scheme, unk_id):.4f},excluded",
        "seed": str(scheme.seed),
        "max_length": str(max_length),
        "scored_tokens": str(text.num_scored_tokens),
        "precision": precision,
        "text": text_sha256[:12],
        "tokenizer": tokenizer_sha256[:12],
        "scored": text.scored_sha256[:12],
    }
    return format_signature(fields)


def evenly_spaced(count: int, num_chosen: int) -> list[int]:
    """Return so many of `range(count)`, at even distances."""
    if num_chosen >= count:
        return list(range(count))
    return [int(i) for i in (np.arange(num_chosen) * count) // num_chosen]
