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

Source: Devlin et al. 2019, section 3.1, for the objective; Post 2018 (sacreBLEU) for the signature.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from xmod_extend.model.batch import Batch
from xmod_extend.model.loss import token_losses
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.tokens.blocks import Ids
from xmod_extend.training.processes import Processes

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.tokens.packing import PackedBlocks

Floats = npt.NDArray[np.float64]

CPU_BATCH_TOKENS = 1024
"""Tokens in one forward pass on a processor, which more would only cost memory. It does not change
the masks."""
GPU_BATCH_TOKENS = 16_384
"""Tokens in one forward pass elsewhere."""
MAX_TOKENS = 131_072
"""A longer held-out text is sampled at even distances: the interval at this size is about 1 %."""
METRIC_VERSION = 2
"""Goes up when the same text and adapter would get another score. 2: every target is hidden."""
NUM_RESAMPLES = 1000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Block:
    """One block of held-out text under its fixed mask; each array is (T,)."""

    input_ids: Ids
    labels: Ids
    document_ids: Ids

    @classmethod
    def from_prediction(cls, prediction: Prediction, document_ids: Ids) -> Block:
        """Return the only sequence of a prediction."""
        return cls(prediction.input_ids[0], prediction.labels[0], document_ids)


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
        whole = max(1, max_tokens // max(1, blocks.get([0]).shape[1])) if len(blocks) else 0
        for index in _evenly_spaced(len(blocks), whole):
            hidden = scheme.hide(blocks.get([index]), index)
            masked.append(Block.from_prediction(hidden, blocks.document_ids([index])[0]))
        tail, documents = blocks.tail(), blocks.tail_document_ids()
        if tail is not None and documents is not None and len(blocks) <= whole:
            hidden = scheme.hide(tail, len(blocks))
            masked.append(Block.from_prediction(hidden, documents[0]))
        return cls(masked)

    @property
    def num_tokens(self) -> int:
        """Tokens that the model reads, scored or not."""
        return sum(block.input_ids.size for block in self.blocks)

    @property
    def num_scored_tokens(self) -> int:
        return sum(int((block.labels != IGNORED).sum()) for block in self.blocks)

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
        chosen = _evenly_spaced(len(self.blocks), max(1, num_tokens // length))
        return MaskedText([self.blocks[i] for i in chosen])

    def batches(self, num_tokens: int = CPU_BATCH_TOKENS) -> Iterator[tuple[Ids, Ids, Ids]]:
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


@dataclass(frozen=True)
class TokenLosses:
    """Cross-entropy in nats of each scored token, with its document and its token id; each (N,)."""

    nats: Floats
    documents: Ids
    targets: Ids

    @property
    def mean_nats(self) -> float:
        return float(self.nats.mean())


@dataclass(frozen=True, kw_only=True)
class Score:
    """A perplexity with all that is needed to know what it means."""

    perplexity: float
    bits_per_byte: float
    num_scored_tokens: int
    num_documents: int
    signature: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How many times lower the perplexity became, paired over the same masked tokens.

    `low` and `high` bound 95 % of a paired bootstrap over documents (1000 resamples).
    """

    ratio: float
    low: float
    high: float


def evaluate(
    model: XmodForMaskedLM, text: MaskedText, *, processes: Processes | None = None
) -> TokenLosses:
    """Score the adapter in the slice's slot on `text`.

    Args:
        processes: If there are several, each scores some of the batches; the result is the same,
            to the bit, in all of them and whatever their number.
    """
    device = model.lm_head.bias.device
    num_tokens = CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS
    rank, count = (processes.rank, processes.count) if processes else (0, 1)
    nats, documents, targets = [], [], []
    for number, (inputs, labels, document_ids) in enumerate(text.batches(num_tokens)):
        scored = labels != IGNORED
        if number % count == rank and scored.any():
            batch = Batch.from_prediction(Prediction(inputs, labels))
            losses = token_losses(model, batch.to(device))
        else:
            losses = torch.zeros(int(scored.sum()), device=device)
        nats.append(losses)
        documents.append(document_ids[scored])
        targets.append(labels[scored])
    summed = torch.cat(nats)
    if processes is not None:
        processes.sum(summed)
    return TokenLosses(
        summed.cpu().double().numpy(),
        np.concatenate(documents),
        np.concatenate(targets),
    )


def score(losses: TokenLosses, *, token_bytes: Ids, signature: str) -> Score:
    """Sum up token losses.

    Args:
        token_bytes: (V,): UTF-8 bytes of each token of the vocabulary.
        signature: From `signature()`, of the text that was scored.
    """
    return Score(
        perplexity=math.exp(losses.mean_nats),
        bits_per_byte=float(losses.nats.sum() / math.log(2) / token_bytes[losses.targets].sum()),
        num_scored_tokens=losses.nats.size,
        num_documents=np.unique(losses.documents).size,
        signature=signature,
    )


def compare(before: TokenLosses, after: TokenLosses, *, seed: int) -> Comparison:
    """Return the ratio of the perplexities before / after, with its interval.

    Raises:
        ValueError: If the two were not scored on the same masked tokens.

    Source: Koehn 2004, section 3, for the paired bootstrap.
    """
    if not np.array_equal(before.targets, after.targets):
        raise ValueError("a paired comparison needs the same masked tokens on both sides")
    _, document = np.unique(before.documents, return_inverse=True)
    gain = np.bincount(document, weights=before.nats - after.nats)
    count = np.bincount(document).astype(np.float64)
    random = np.random.default_rng(seed)
    ratios = np.empty(NUM_RESAMPLES)
    for i in range(NUM_RESAMPLES):
        times = np.bincount(random.integers(gain.size, size=gain.size), minlength=gain.size)
        ratios[i] = (gain @ times) / (count @ times)
    low, high = np.exp(np.percentile(ratios, INTERVAL))
    return Comparison(ratio=math.exp(gain.sum() / count.sum()), low=float(low), high=float(high))


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

    `unk` is the share of unknown tokens in the scored text, which are never scored; `scored` is a
    hash of the ids themselves, hidden and shown, and so tells two scores apart where all else is
    equal: other versions of a library may cut the same text into other tokens.
    """
    others = [i for i in scheme.special_ids if i not in (unk_id, scheme.mask_id)]
    ids = np.concatenate([block.input_ids for block in text.blocks] or [np.empty(0, np.int64)])
    ordinary = ids[~np.isin(ids, others)]
    unk_rate = np.count_nonzero(ordinary == unk_id) / max(1, ordinary.size)
    fields = {
        "masked_perplexity": f"v{METRIC_VERSION}",
        "mlm_probability": f"{scheme.mlm_probability:g}",
        "mask": "all",
        "unk": f"{unk_rate:.4f},excluded",
        "seed": str(scheme.seed),
        "max_length": str(max_length),
        "scored_tokens": str(text.num_scored_tokens),
        "precision": precision,
        "text": text_sha256[:12],
        "tokenizer": tokenizer_sha256[:12],
        "scored": text.scored_sha256[:12],
    }
    return "|".join(f"{name}:{value}" for name, value in fields.items())


def _evenly_spaced(count: int, num_chosen: int) -> list[int]:
    if num_chosen >= count:
        return list(range(count))
    return [int(i) for i in (np.arange(num_chosen) * count) // num_chosen]
