"""Pseudo-perplexity: how well each token of a text is guessed when it is hidden.

`exp` of the mean negative pseudo-log-likelihood: every token is hidden once, in a copy of its
document of its own, and scored there. Two things can be hidden:

    token         the token alone. Of a word that is cut into many pieces, each is then guessed
                  from the others: rare words come out likely.
    rest_of_word  the token and the rest of its word behind it. This is the one to lead with.

`words.py` says what a word is. Documents do not see each other, each stands between `<s>` and
`</s>`. One that is longer than the model can read is cut into windows that overlap by half, and a
token is scored in the window where it stands furthest from an edge. `<unk>` and other special
tokens are seen and never scored.

    T  tokens of a window with its `<s>` and `</s>`
    N  scored tokens

Source: Salazar et al. 2020 (arXiv 1910.14659), section 2, for the token alone; Kauf and Ivanova
2023 (arXiv 2305.10588), section 3, for the rest of the word (`PLL-word-l2r`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xmod_extend.evaluation.losses import TokenLosses, batch_tokens, measure_nats
from xmod_extend.evaluation.masked_perplexity import evenly_spaced
from xmod_extend.evaluation.score import format_signature, share_unknown
from xmod_extend.evaluation.words import WordFinder, word_ends
from xmod_extend.objectives.prediction import IGNORED, Prediction
from xmod_extend.tokens.blocks import Ids

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.tokens.tokenised import TokenisedText
    from xmod_extend.training.processes import Processes

Hidden = Literal["token", "rest_of_word"]

METRICS: Mapping[Hidden, str] = {"rest_of_word": "within_word_l2r", "token": "pll"}
"""The names of the scores, the one to lead with first."""
METRIC_VERSION = 1
MAX_TOKENS = 32_768
"""A longer text is sampled by whole documents at even distances. Each token costs one copy or two
of its document, and more are scored than of a masked text four times as long."""


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """What a window is made with."""

    bos: int
    sep: int
    mask: int
    unk: int | None
    special: tuple[int, ...]
    """Ids that are never scored."""


@dataclass(frozen=True)
class Window:
    """A document, or a part of a long one, as the model reads it when nothing is hidden."""

    input_ids: Ids
    """(T,), with `<s>` and `</s>`."""
    scored: Ids
    """(n,): positions that are scored here."""
    word_ends: Ids
    """(T,): position behind the word that each position is in, in this window."""
    document: int


class PseudoText:
    """A text whose tokens are hidden one at a time: what every adapter is scored on."""

    def __init__(self, windows: Sequence[Window], ids: SpecialIds, *, max_length: int) -> None:
        self.windows = list(windows)
        self.ids = ids
        self.max_length = max_length

    @classmethod
    def from_tokens(
        cls,
        tokens: TokenisedText,
        words: WordFinder,
        ids: SpecialIds,
        *,
        max_length: int,
        max_tokens: int = MAX_TOKENS,
    ) -> PseudoText:
        """Cut each document, or those of a sample of the text, into windows.

        Args:
            max_length: T at the most.
            max_tokens: Tokens of the text to take, about.
        """
        sizes = np.asarray(tokens.document_sizes(), dtype=np.int64)
        ends = np.cumsum(sizes)
        whole = max(1, int(sizes.size * max_tokens / max(1, sizes.sum())))
        windows: list[Window] = []
        for document in evenly_spaced(sizes.size, whole):
            # What ends a document is put around each window.
            size = int(sizes[document]) - 1
            read = tokens.read(int(ends[document]) - size - 1, size)[:size]
            document_ids = np.asarray(read, dtype=np.int64)
            windows += _windows(document, document_ids, words, ids, max_length)
        return cls(windows, ids, max_length=max_length)

    @property
    def num_scored_tokens(self) -> int:
        return sum(window.scored.size for window in self.windows)

    @property
    def unk_rate(self) -> float:
        """Share of unknown tokens, of which none is scored."""
        texts, ids = [window.input_ids for window in self.windows], self.ids
        return share_unknown(texts, ids.special, unk_id=ids.unk, mask_id=ids.mask)

    @property
    def scored_sha256(self) -> str:
        """Hash of the ids that the model reads, of what is scored and of where words end."""
        sha256 = hashlib.sha256()
        for window in self.windows:
            for array in (window.input_ids, window.scored, window.word_ends):
                sha256.update(array.astype("<i4").tobytes())
        return sha256.hexdigest()

    def scored_targets(self) -> tuple[Ids, Ids]:
        """Return the document and the id of each scored token, (N,) both."""
        nothing = [np.zeros(0, np.int64)]
        documents = [np.full(window.scored.size, window.document) for window in self.windows]
        targets = [window.input_ids[window.scored] for window in self.windows]
        return np.concatenate(documents or nothing), np.concatenate(targets or nothing)

    def signature(
        self, hidden: Hidden, *, text_sha256: str, tokenizer_sha256: str, precision: str
    ) -> str:
        """Return all that a pseudo-perplexity depends on, in one line."""
        words = {} if hidden == "token" else {"words": "spaces+uax29"}
        return format_signature(
            {
                METRICS[hidden]: f"v{METRIC_VERSION}",
                "hidden": hidden,
                **words,
                "unk": f"{self.unk_rate:.4f},excluded",
                "window": f"{self.max_length},half",
                "scored_tokens": self.num_scored_tokens,
                "precision": precision,
                "text": text_sha256[:12],
                "tokenizer": tokenizer_sha256[:12],
                "scored": self.scored_sha256[:12],
            }
        )


def pseudo_losses(
    model: XmodForMaskedLM,
    text: PseudoText,
    hidden: Sequence[Hidden] = tuple(METRICS),
    *,
    processes: Processes | None = None,
    on_scored: Callable[[int], None] = lambda num_tokens: None,
) -> dict[Hidden, TokenLosses]:
    """Score the adapter in the slice's slot on every token of `text`, in the text's order.

    A token that ends its word is hidden alone either way, and so in one copy for both.

    Args:
        hidden: What is hidden; the result has each of them.
        processes: See `measure_nats`.
        on_scored: See `measure_nats`; `num_copies` is what it counts up to.
    """
    rows = _Rows(text, hidden)
    nats = np.empty(rows.num_copies)
    order = rows.by_length()
    nats[order] = measure_nats(
        model,
        rows.predictions(order, batch_tokens(model)),
        processes=processes,
        on_scored=on_scored,
    )
    documents, targets = text.scored_targets()
    return {one: TokenLosses(nats[rows.copy_of[one]], documents, targets) for one in hidden}


def num_copies(text: PseudoText, hidden: Sequence[Hidden] = tuple(METRICS)) -> int:
    """Return how many copies of windows `pseudo_losses` scores a token of."""
    return _Rows(text, hidden).num_copies


class _Rows:
    """The copies of windows that are needed: each hides positions up to an end, and scores one."""

    def __init__(self, text: PseudoText, hidden: Sequence[Hidden]) -> None:
        self._text = text
        windows = text.windows
        scored_per_window = np.array([w.scored.size for w in windows], dtype=np.int64)
        window = np.repeat(np.arange(len(windows)), scored_per_window)
        nothing = [np.zeros(0, np.int64)]
        position = np.concatenate([w.scored for w in windows] or nothing)
        alone = position + 1
        ends = {
            "token": alone,
            "rest_of_word": np.concatenate([w.word_ends[w.scored] for w in windows] or nothing),
        }
        # A copy is known by its token and by how far it hides.
        keys = {one: np.stack([np.arange(alone.size), ends[one]], axis=1) for one in hidden}
        needed, found = np.unique(np.concatenate(list(keys.values())), axis=0, return_inverse=True)
        parts = np.split(found.reshape(-1), len(hidden))
        self.copy_of: dict[Hidden, Ids] = dict(zip(hidden, parts, strict=True))
        token, self._end = needed[:, 0], needed[:, 1]
        self._window, self._position = window[token], position[token]

    @property
    def num_copies(self) -> int:
        return self._end.size

    def by_length(self) -> Ids:
        """Return the copies in an order in which those of one length stand together."""
        lengths = np.array([window.input_ids.size for window in self._text.windows], np.int64)
        order: Ids = np.argsort(lengths[self._window], kind="stable")
        return order

    def predictions(self, order: Ids, num_tokens: int) -> Iterator[Prediction]:
        """Yield the copies in batches of one length and at most so many tokens, or one copy."""
        windows = self._text.windows
        start = 0
        while start < order.size:
            length = windows[self._window[order[start]]].input_ids.size
            stop = min(order.size, start + max(1, num_tokens // length))
            batch = order[start:stop].tolist()
            same = [windows[self._window[i]].input_ids.size == length for i in batch]
            batch = batch[: same.index(False)] if False in same else batch
            yield self._prediction(batch)
            start += len(batch)

    def _prediction(self, batch: Sequence[int]) -> Prediction:
        rows = [self._text.windows[self._window[i]].input_ids for i in batch]
        inputs = np.stack(rows)
        labels = np.full_like(inputs, IGNORED)
        for row, i in enumerate(batch):
            position, end = self._position[i], self._end[i]
            labels[row, position] = inputs[row, position]
            inputs[row, position:end] = self._text.ids.mask
        return Prediction(inputs, labels)


def _windows(
    document: int, document_ids: Ids, words: WordFinder, ids: SpecialIds, max_length: int
) -> Iterator[Window]:
    """Yield the windows of a document's tokens."""
    ends = word_ends(words.begins(document_ids))
    ordinary = ~np.isin(document_ids, ids.special)
    size = document_ids.size
    room = max_length - 2
    starts = [0] if size <= room else [*range(0, size - room, room // 2), size - room]
    # A token is scored where it stands furthest from the edges: overlaps are cut in the middle.
    cuts = [0, *((a + b + room) // 2 for a, b in zip(starts[1:], starts[:-1], strict=True)), size]
    for start, first, last in zip(starts, cuts[:-1], cuts[1:], strict=True):
        inside = document_ids[start : start + room]
        scored = np.flatnonzero(ordinary[first:last]) + first - start
        if scored.size:
            yield Window(
                np.concatenate([[ids.bos], inside, [ids.sep]]),
                scored + 1,
                np.minimum(
                    np.concatenate([[1], ends[start : start + room] - start + 1, [0]]),
                    inside.size + 1,
                ),
                document,
            )
