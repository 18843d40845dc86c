"""Labelled text as rows of tokens, with the places where a label is predicted.

    B  rows in a batch
    T  tokens in the longest row of a batch

A word's label is predicted at its first piece; a sentence's at `<s>`. A sentence whose words do not
fit into one row goes on in the next, so that every word is scored. Other tasks read as much of a
text as fits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xmod_extend.text.labelled import WORD_TASKS, Example, LabelledText
from xmod_extend.tokens.blocks import Ids

if TYPE_CHECKING:
    from xmod_extend.tokens.tokenizer import LoadedTokenizer

NO_LABEL = -100
"""Stands where no label is predicted: PyTorch's cross-entropy leaves it out."""


class Row(NamedTuple):
    """One sequence that the model reads."""

    input_ids: list[int]
    places: list[int]
    """The tokens at which a label is predicted."""
    labels: list[int]
    """The id of the right label at each of them."""
    example: int
    """The example's number in its file."""


class RowBatch(NamedTuple):
    """Rows of about one length; behind a row's end stands padding."""

    input_ids: Ids
    """(B, T)"""
    attention_mask: Ids
    """(B, T)"""
    labels: Ids
    """The right label: of words (B, T), `NO_LABEL` where none is predicted; of sentences (B,)."""
    rows: tuple[int, ...]
    """Their numbers."""


@dataclass(frozen=True)
class LabelledRows:
    """All rows of a text."""

    rows: tuple[Row, ...]
    are_of_words: bool
    pad_id: int
    num_cut: int
    """Examples that were too long to be read whole."""

    @property
    def num_tokens(self) -> int:
        return sum(len(row.input_ids) for row in self.rows)

    def batch(self, numbers: Sequence[int]) -> RowBatch:
        """Return the rows of these numbers as a batch."""
        chosen = [self.rows[number] for number in numbers]
        shape = len(chosen), max(len(row.input_ids) for row in chosen)
        input_ids = np.full(shape, self.pad_id, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        labels = np.full(shape, NO_LABEL, dtype=np.int64)
        for place, row in enumerate(chosen):
            input_ids[place, : len(row.input_ids)] = row.input_ids
            attention_mask[place, : len(row.input_ids)] = 1
            labels[place, row.places] = row.labels
        if not self.are_of_words:
            labels = labels[:, 0]
        return RowBatch(input_ids, attention_mask, labels, tuple(numbers))

    def training_batches(self, batch_size: int, seed: int) -> Iterator[RowBatch]:
        """Yield batches without end, the order of each epoch by the seed.

        Within fifty batches rows of one length go together: little of a batch is padding.
        """
        for epoch in itertools.count():
            random = np.random.default_rng([seed, epoch])
            order = random.permutation(len(self.rows))
            batches = []
            for start in range(0, len(order), 50 * batch_size):
                near = sorted(order[start : start + 50 * batch_size].tolist(), key=self._length)
                batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
            for index in random.permutation(len(batches)):
                yield self.batch(batches[index])

    def scoring_batches(self, num_tokens: int) -> Iterator[RowBatch]:
        """Yield every row once, the longest first, at most `num_tokens` with padding at a time."""
        order = sorted(range(len(self.rows)), key=self._length, reverse=True)
        while order:
            size = max(1, num_tokens // self._length(order[0]))
            yield self.batch(order[:size])
            order = order[size:]

    def _length(self, number: int) -> int:
        return len(self.rows[number].input_ids)


def encode_labelled(
    text: LabelledText,
    tokenizer: LoadedTokenizer,
    label_ids: Mapping[str, int],
    *,
    max_length: int,
) -> LabelledRows:
    """Return the rows of a text.

    Args:
        label_ids: The id of each label. A word without a label, or with one that is not among
            them, is read and not predicted.
        max_length: Tokens in a row at most.
    """
    rows: list[Row] = []
    num_cut = 0
    for number, example in enumerate(text.examples):
        if text.task in WORD_TASKS:
            rows += _word_rows(example, number, tokenizer, label_ids, max_length)
        else:
            row, is_cut = _sentence_row(example, number, tokenizer, label_ids, max_length)
            rows.append(row)
            num_cut += is_cut
    return LabelledRows(tuple(rows), text.task in WORD_TASKS, tokenizer.pad_id, num_cut)


def _word_rows(
    example: Example,
    number: int,
    tokenizer: LoadedTokenizer,
    label_ids: Mapping[str, int],
    max_length: int,
) -> Iterator[Row]:
    row = Row([tokenizer.bos_id], [], [], number)
    pieces_of_words = _pieces_of_words(example.texts, tokenizer)
    for pieces, label in zip(pieces_of_words, example.labels, strict=True):
        kept = pieces[: max_length - 2]
        if len(row.input_ids) + len(kept) + 1 > max_length:
            row.input_ids.append(tokenizer.sep_id)
            yield row
            row = Row([tokenizer.bos_id], [], [], number)
        if label is not None and label in label_ids:
            row.places.append(len(row.input_ids))
            row.labels.append(label_ids[label])
        row.input_ids.extend(kept)
    row.input_ids.append(tokenizer.sep_id)
    yield row


def _pieces_of_words(words: Sequence[str], tokenizer: LoadedTokenizer) -> list[list[int]]:
    """Return the tokens of each word; one that has none, such as a lone accent, is unknown."""
    found = tokenizer.tokenizer.backend_tokenizer.encode(
        list(words), is_pretokenized=True, add_special_tokens=False
    )
    pieces: list[list[int]] = [[] for _ in words]
    for token_id, word in zip(found.ids, found.word_ids, strict=True):
        if word is not None:
            pieces[word].append(token_id)
    unknown = tokenizer.unk_id if tokenizer.unk_id is not None else tokenizer.mask_id
    return [ids or [unknown] for ids in pieces]


def _sentence_row(
    example: Example,
    number: int,
    tokenizer: LoadedTokenizer,
    label_ids: Mapping[str, int],
    max_length: int,
) -> tuple[Row, bool]:
    """Return `<s> A </s>` or `<s> A </s></s> B </s>`, and whether something was left out."""
    backend = tokenizer.tokenizer.backend_tokenizer
    parts = [backend.encode(text, add_special_tokens=False).ids for text in example.texts]
    room = max_length - 2 * len(parts)
    is_cut = sum(map(len, parts)) > room
    while sum(map(len, parts)) > room:
        # The longer one gives, as transformers' `longest_first` does it.
        max(reversed(parts), key=len).pop()
    ids = [tokenizer.bos_id]
    for place, part in enumerate(parts):
        ids += [*([tokenizer.sep_id] if place else []), *part, tokenizer.sep_id]
    (label,) = example.labels
    return Row(ids, [0], [label_ids.get(label or "", NO_LABEL)], number), is_cut
