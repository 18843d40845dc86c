"""What the base's vocabulary has of a text: bytes a token, and the letters that it lacks.

The share of unknown *tokens* says little: letters that are missing side by side are one token, so
that a text of which nothing can be read has about half of its tokens unknown, the signs of the
spaces being the other half. The share of *characters* grows with what is lost.

Each different character and each different word is looked up once. Of a long text a sample is
counted, lines at even distances, so that 10 GB take as long as 4 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from xmod_extend.text.corpus import Corpus
from xmod_extend.text.lines import Lines
from xmod_extend.text.report import CorpusReport, Coverage
from xmod_extend.text.statistics import count_letters, find_words
from xmod_extend.tokens.blocks import Ids
from xmod_extend.tokens.encoding import Encoder
from xmod_extend.tokens.tokenised import TokenCounts
from xmod_extend.tokens.tokenizer import LoadedTokenizer

SAMPLE_BYTES = 4 << 20
"""Counted of a side of a corpus; a shorter one is counted whole."""
MOST_LETTERS = 20
"""Named of the missing characters, the most frequent ones."""
NUM_EXAMPLES = 2
RARE_SCRIPT = 0.02
"""A script with a smaller share of the letters is not spoken of."""
LOST_SCRIPT = 0.95
"""Share of a script's letters that are missing where the script is not known."""


class Tally:
    """How often each character and each word turned up."""

    def __init__(self) -> None:
        self.characters: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.is_sample = False

    @classmethod
    def of(cls, lines: Lines) -> Tally:
        """Count one side of a corpus, or a sample of it."""
        tally = cls()
        texts, tally.is_sample = lines.sample(SAMPLE_BYTES)
        for text in texts:
            tally.characters.update(text)
            tally.words.update(find_words(text))
        return tally

    def __add__(self, other: Tally) -> Tally:
        both = Tally()
        both.characters = self.characters + other.characters
        both.words = self.words + other.words
        both.is_sample = self.is_sample or other.is_sample
        return both


def report_tokens(
    corpus: Corpus, tokenizer: LoadedTokenizer, counts: Sequence[TokenCounts]
) -> CorpusReport:
    """Return the corpus's report with its tokens, and with what the tokenizer does not know of it.

    Args:
        counts: Of each side's tokens.
    """
    report = corpus.report.with_tokens(
        sum(count.tokens for count in counts), sum(count.unk for count in counts)
    )
    train, held_out = Tally.of(corpus.train), Tally.of(corpus.held_out)
    encode = tokenizer.encoder()
    return report.with_coverage(
        find_unknown(train + held_out, encode), find_unknown(held_out, encode)
    )


def find_unknown(tally: Tally, encode: Encoder) -> Coverage:
    """Look up what the tokenizer makes of each different character and word."""
    characters = {c: n for c, n in tally.characters.items() if not c.isspace()}
    missing = _with_unknown(list(characters), encode)
    hit = _with_unknown(list(tally.words), encode)
    num_characters, num_words = sum(characters.values()), tally.words.total()
    by_frequency = sorted(missing, key=lambda c: (-characters[c], c))
    return Coverage(
        unknown_characters=sum(characters[c] for c in missing) / max(1, num_characters),
        words_hit=sum(tally.words[word] for word in hit) / max(1, num_words),
        missing={c: characters[c] / num_characters for c in by_frequency[:MOST_LETTERS]},
        num_missing=len(missing),
        examples=tuple(sorted(hit, key=lambda word: (-tally.words[word], word))[:NUM_EXAMPLES]),
        unknown_scripts=_unknown_scripts(characters, missing),
        is_sample=tally.is_sample,
    )


def count_token_bytes(tokenizer: LoadedTokenizer) -> Ids:
    """Return the UTF-8 bytes that each token stands for, `(V,)`.

    A word's mark counts as its space, `<unk>` and other special tokens as one byte.
    """
    pieces = tokenizer.tokenizer.get_vocab()
    sizes = np.ones(max(pieces.values()) + 1, dtype=np.int64)
    for piece, index in pieces.items():
        if index not in tokenizer.special_ids:
            sizes[index] = len(piece.replace("▁", " ").encode())
    return sizes


def _unknown_scripts(characters: dict[str, int], missing: list[str]) -> tuple[str, ...]:
    letters = count_letters(characters)
    lost = count_letters({c: characters[c] for c in missing})
    total = sum(letters.values())
    return tuple(
        name
        for name, count in letters.items()
        if count >= RARE_SCRIPT * total and lost.get(name, 0) >= LOST_SCRIPT * count
    )


def _with_unknown(texts: Sequence[str], encode: Encoder) -> list[str]:
    """Return those of the texts, each a character or a word, whose tokens have an unknown one."""
    if not texts:
        return []
    tokens = encode("".join(f"{text}\n" for text in texts).encode())
    starts = np.cumsum(tokens.sizes) - tokens.sizes
    unknown = np.add.reduceat(tokens.ids == encode.unk_id, starts)
    return [text for text, count in zip(texts, unknown.tolist(), strict=True) if count]
