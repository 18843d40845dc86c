"""Hashes of stretches of text, of a megabyte at a time: what two texts share is found by them.

    C  code points of a text
    N  n-grams of a text, or words

A character is a random number, and a stretch of characters a polynomial of them modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import regex

Codes = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.intp]

_NUM_CODES = 0x110000
_BASE = 0x9E3779B97F4A7C15 | 1
_LINE_END = ord("\n")
_DIGIT = ord("0")
_KEPT = regex.compile(r"[\p{L}\p{M}\p{N}]")
_UNKNOWN = np.uint32(0xFFFFFFFF)

# By code point; filled as characters turn up. 0 is for what is left out.
_PLAIN = np.full(_NUM_CODES, _UNKNOWN, dtype=np.uint32)
_LOWER = np.full(_NUM_CODES, _UNKNOWN, dtype=np.uint32)


def code_points(text: str) -> Codes:
    """Return the code points of a text, `(C,)`."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def plain_codes(codes: Codes) -> tuple[Codes, Positions]:
    """Return what is left of a text without case, spaces, signs and the values of numbers.

    Letters are in lower case, a number of any length is one `0`, and line ends stay.

    Args:
        codes: `(C,)`.

    Returns:
        The code points that are left, and where each of them stands in the text.
    """
    plain = _look_up(codes, _PLAIN, _plain)
    kept = plain != 0
    is_digit = plain == _DIGIT
    kept[1:] &= ~(is_digit[1:] & is_digit[:-1])
    positions = np.flatnonzero(kept)
    return plain[positions], positions


def lower_codes(codes: Codes) -> Codes:
    """Return a text without its case, `(C,)`."""
    return _look_up(codes, _LOWER, _lower)


def _look_up(codes: Codes, table: Codes, find: Callable[[str], int]) -> Codes:
    """Return what a table has for each code point; what it lacks is found first."""
    present = np.flatnonzero(np.bincount(codes)) if len(codes) else codes
    for code in present[table[present] == _UNKNOWN].tolist():
        table[code] = find(chr(code))
    return table[codes]


def _lower(character: str) -> int:
    folded = character.casefold()
    # A letter that becomes several stays as it is.
    return ord(folded if len(folded) == 1 else character)


def _plain(character: str) -> int:
    if character == "\n":
        return _LINE_END
    if character.isdigit():
        return _DIGIT
    return _lower(character) if _KEPT.match(character) else 0


def hash_ngrams(codes: Codes, size: int) -> tuple[Hashes, Positions]:
    """Return the hash of each n-gram that does not reach over a line's end, and where it begins.

    Args:
        codes: `(C,)`, each line with a \\n.
        size: Characters of an n-gram.
    """
    count = len(codes) - size + 1
    if count <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.intp)
    values = _values()[codes]
    hashes = values[:count].copy()
    for shift in range(1, size):
        hashes *= np.uint64(_BASE)
        hashes += values[shift : shift + count]
    ends = np.cumsum(codes == _LINE_END)
    # The last character of an n-gram is no line end and on the first one's line.
    starts = np.flatnonzero((ends[:count] == ends[size - 1 :]) & (codes[:count] != _LINE_END))
    return _mix(hashes[starts]), starts


def hash_stretches(codes: Codes, starts: Positions, ends: Positions) -> Hashes:
    """Return the hash of each stretch of a text from its start up to its end, `(N,)`."""
    powers = _powers(len(codes))
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(_values()[codes] * powers, out=sums[1:])
    # The base is odd, and so has an inverse: a stretch is the same wherever it stands.
    inverse = _powers(len(codes) + 1, inverse=True)
    return _mix((sums[ends] - sums[starts]) * inverse[starts])


def _mix(hashes: Hashes) -> Hashes:
    """Make every bit depend on all: a polynomial's low bits depend on low bits alone."""
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(0xD6E8FEB86659FD93)
    hashes ^= hashes >> np.uint64(32)
    return hashes


@cache
def _values() -> Hashes:
    """Return the random number of each code point; always the same."""
    return np.random.default_rng(20_221_207).integers(
        1 << 64, size=_NUM_CODES, dtype=np.uint64, endpoint=False
    )


_known_powers: dict[bool, Hashes] = {}


def _powers(count: int, *, inverse: bool = False) -> Hashes:
    """Return the powers of the base, or of its inverse, from 0 on."""
    known = _known_powers.get(inverse)
    if known is None or len(known) < count:
        base = pow(_BASE, -1, 1 << 64) if inverse else _BASE
        factors = np.full(max(count, 1 << 16), base, dtype=np.uint64)
        factors[0] = 1
        known = _known_powers[inverse] = np.multiply.accumulate(factors)
    return known[:count]
