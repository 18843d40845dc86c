"""Lines of the held-out text for the report: which ones are shown, and how each token is scored.

D  documents (lines) with a scored token
N  tokens of a line
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.pseudo_perplexity import PseudoText, SpecialIds, pseudo_losses
from xmod_extend.evaluation.words import WordFinder
from xmod_extend.jobs.job import Job
from xmod_extend.text.lines import LinesInMemory, StoredLines
from xmod_extend.tokens.blocks import Ids
from xmod_extend.tokens.encoding import Encoder
from xmod_extend.tokens.pieces import cut_line
from xmod_extend.tokens.tokenizer import LoadedTokenizer

NUM_HARDEST = 10
NUM_IMPROVED = 10
NUM_TYPICAL = 4
MIN_SCORED_TOKENS = 5
"""Lines with fewer hidden tokens are only chosen where too few have more: their mean is chance."""
MOST_TOKENS = 48
"""A longer line is shown by its beginning."""
MOST_CHARACTERS = 600
"""The same; letters that are unknown side by side are one token, however many they are."""
ALIKE = 0.6
"""Lines that share so many of their different tokens are of one template, and shown once."""
NUM_LOOKED_AT = 8
"""Times as many lines are looked at as are chosen."""


@dataclass(frozen=True)
class SampleLine:
    """A line, or the beginning of a long one, in tokens."""

    text: str
    ids: Ids
    """(N,), without special tokens."""
    pieces: tuple[str, ...]
    """(N,): the text of each token."""
    is_cut: bool


class LineReader:
    """Reads lines of a text and finds their tokens.

    Args:
        lines: All lines of the text.
    """

    def __init__(self, lines: StoredLines | LinesInMemory, tokenizer: LoadedTokenizer) -> None:
        self._lines, self._tokenizer = lines, tokenizer
        self._encode = tokenizer.encoder()

    def read(self, numbers: Sequence[int]) -> list[SampleLine]:
        """Return the lines of these numbers, in their order, without those that have no token."""
        wanted = set(numbers)
        texts = {number: line for number, line in enumerate(self._lines) if number in wanted}
        found = (self._cut(texts[number]) for number in numbers)
        return [line for line in found if line.ids.size]

    def _cut(self, line: str) -> SampleLine:
        text = line
        if len(line) > MOST_CHARACTERS:
            text = line[:MOST_CHARACTERS].rpartition(" ")[0] or line[:MOST_CHARACTERS]
        ids = encode_line(text, self._encode)
        pieces = cut_line(text, ids, self._tokenizer)
        if ids.size <= MOST_TOKENS:
            return SampleLine(text, ids, pieces, text != line)
        # The last word that begins in time begins what is left out.
        end = next((i for i in range(MOST_TOKENS, 1, -1) if pieces[i][:1] == " "), MOST_TOKENS)
        beginning = "".join(pieces[:end])
        ids = encode_line(beginning, self._encode)
        return SampleLine(beginning, ids, cut_line(beginning, ids, self._tokenizer), True)


def encode_line(text: str, encode: Encoder) -> Ids:
    """Return the tokens of a line without special ones, (N,)."""
    return encode(f"{text}\n".encode()).ids[:-1].astype(np.int64)


def choose_lines(
    reader: LineReader, before: TokenLosses, after: TokenLosses
) -> list[list[SampleLine]]:
    """Return the hardest lines, the most improved ones and typical ones; no line is in two of them.

    Args:
        before: Losses of the best existing adapter on the text.
        after: Losses of the new one on the same tokens.
    """
    documents = likely_documents(after)
    old, new = before.by_document(), after.by_document()
    known = np.isin(new.documents, documents)
    old_mean, new_mean = (each.nats[known] / each.num_tokens[known] for each in (old, new))
    orders = [
        (NUM_HARDEST, np.argsort(-new_mean, kind="stable")),
        (NUM_IMPROVED, np.argsort(new_mean - old_mean, kind="stable")),
        (NUM_TYPICAL, np.argsort(np.abs(new_mean - np.median(new_mean)), kind="stable")),
    ]
    chosen: list[list[SampleLine]] = []
    for count, order in orders:
        numbers = documents[order[: count * NUM_LOOKED_AT]].tolist()
        taken = [line for lines in chosen for line in lines]
        chosen.append(_choose_different(reader.read(numbers), count, taken))
    return chosen


def likely_documents(losses: TokenLosses) -> Ids:
    """Return the documents with enough scored tokens for their mean to say something, (D,)."""
    summed = losses.by_document()
    enough = summed.num_tokens >= MIN_SCORED_TOKENS
    if enough.sum() < NUM_HARDEST + NUM_IMPROVED + NUM_TYPICAL:
        return summed.documents
    return summed.documents[enough]


def _choose_different(
    lines: Sequence[SampleLine], count: int, taken: Sequence[SampleLine]
) -> list[SampleLine]:
    """Return the first `count` lines that are not like another one."""
    chosen: list[SampleLine] = []
    for line in lines:
        if not any(_are_alike(line, other) for other in (*taken, *chosen)):
            chosen.append(line)
        if len(chosen) == count:
            break
    return chosen


def _are_alike(first: SampleLine, second: SampleLine) -> bool:
    a, b = set(first.ids.tolist()), set(second.ids.tolist())
    return len(a & b) >= ALIKE * len(a | b)


class ScoredLines:
    """Lines that are scored token by token, the rest of each token's word hidden too.

    Args:
        lines: At least one, each with a token.
    """

    def __init__(self, job: Job, tokenizer: LoadedTokenizer, lines: Sequence[SampleLine]) -> None:
        self.lines = list(lines)
        self._job = job
        ids = SpecialIds(
            bos=tokenizer.bos_id,
            sep=tokenizer.sep_id,
            mask=tokenizer.mask_id,
            unk=tokenizer.unk_id,
            special=tokenizer.special_ids,
        )
        unknown = [] if tokenizer.unk_id is None else [tokenizer.unk_id]
        words = WordFinder(tokenizer.tokenizer.get_vocab(), unknown)
        encoded = "".join(f"{line.text}\n" for line in lines).encode()
        tokens = tokenizer.encoder()(encoded)
        self._text = PseudoText.from_tokens(
            tokens, words, ids, max_length=job.text.max_length, max_tokens=tokens.num_tokens
        )
        self._special_ids = list(tokenizer.special_ids)

    @property
    def signature(self) -> str:
        """Return what the losses depend on."""
        return self._text.signature(
            "rest_of_word",
            text_sha256=self._job.text.report.held_out_sha256,
            tokenizer_sha256=self._job.text.tokenizer.sha256,
            precision=self._job.precision,
        )

    def score(self) -> list[tuple[float | None, ...]]:
        """Return the losses in nats of each line's tokens, None of special ones."""
        found = pseudo_losses(
            self._job.model, self._text, ["rest_of_word"], processes=self._job.processes
        )
        nats = iter(found["rest_of_word"].nats.tolist())
        return [tuple(self._line_nats(line, nats)) for line in self.lines]

    def _line_nats(self, line: SampleLine, nats: Iterator[float]) -> Iterator[float | None]:
        for is_special in np.isin(line.ids, self._special_ids).tolist():
            yield None if is_special else round(next(nats), 3)
