"""Mutations of files for the readers' tests, of bytes and of JSON values.

`FUZZ_CASES` in the environment says how many cases each test tries; there are few by default.
"""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from xmod_extend.errors import XmodExtendError

NUM_CASES = int(os.environ.get("FUZZ_CASES", "0"))

MOST_SECONDS = 20.0
MOST_KILOBYTES = 1_000_000
"""What one case may take. Machines are busy: the time is that of the processor."""

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, 1e308, -0.0),
    *("", "en_XX", "F32", "BF16", "../x", "/etc/passwd", "a\0b", "\x1b[2J", "\u202e", "\ud800"),
    *("user/name", "gelu", "inf", "1e400", [], {}, [[]], [0], [-1], {"": None}, {"a": {"b": []}}),
    "x" * 10_000,
    list(range(1000)),
]
_JSON_BYTES = b'{}[]",:0123456789-.eE\\u\x00\xff\xfe\n x'


def cases(default: int) -> Callable[[Any], Any]:
    """The settings of a test that tries `default` cases, or as many as `FUZZ_CASES` says."""
    return settings(max_examples=NUM_CASES or default)


seeds = st.integers(0, 2**32)


def mutate_bytes(content: bytes, seed: int, *, alphabet: bytes = _JSON_BYTES) -> bytes:
    """Changes, removes, inserts and repeats bytes in a few places, or cuts the end off."""
    changed, chance = bytearray(content), random.Random(seed)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[place : place + 1] = bytes([chance.choice(alphabet)])
            case 2:
                del changed[place : place + chance.randrange(1, 9)]
            case 3:
                changed[place:place] = bytes(chance.choices(alphabet, k=chance.randrange(1, 9)))
            case 4:
                piece = changed[place : place + chance.randrange(1, 99)]
                changed[place:place] = piece * chance.randrange(1, 50)
            case _:
                if chance.random() < 0.2:
                    del changed[place:]
    return bytes(changed)


def mutate_json(value: Any, seed: int) -> Any:
    """Puts odd values, or others of the same document, in a few places of a JSON value."""
    changed, chance = json.loads(json.dumps(value)), random.Random(seed)
    for _ in range(chance.randrange(1, 4)):
        places = list(_places(changed))
        if not places:
            return chance.choice(ODD_VALUES)
        holder, key = chance.choice(places)
        match chance.randrange(4):
            case 0:
                del holder[key]
            case 1:
                other, other_key = chance.choice(places)
                holder[key] = json.loads(
                    json.dumps(
                        other.get(other_key) if isinstance(other, dict) else other[other_key]
                    )
                )
            case 2 if isinstance(holder, dict):
                holder[str(chance.choice(ODD_VALUES))] = holder.pop(key)
            case _:
                holder[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All places of a JSON value, those of deep ones as often as others."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def dump(value: Any) -> bytes:
    """JSON as a stranger may write it: with numbers that JSON lacks, and halves of letters."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


@contextmanager
def bounded() -> Iterator[None]:
    """One case: an error is a sentence with advice, and little time and memory was taken."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    try:
        yield
    except XmodExtendError as error:
        assert error.message and "\n" not in error.message and len(error.message) < 1000
        assert error.hint
    assert time.process_time() - started < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES
