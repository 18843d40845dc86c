"""Lines of a corpus that are identified as another language, by a fastText model of the user's.

The language of the text is taken to be the label that most of its lines get: of many languages no
model has the code that X-MOD uses, and close relatives are told apart badly. So the labels are
reported as they are, with examples, and nothing is left out.

The model runs in a process of its own: a damaged file can end that process and nothing else, and
its memory (GlotLID takes 1.6 GB) is given back.

Source: Joulin et al. 2017 (fastText); Kargaran et al. 2023 (GlotLID).
"""

from __future__ import annotations

import importlib.util
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import regex

from xmod_extend.errors import UsageError, XmodExtendError
from xmod_extend.text.lines import Lines
from xmod_extend.text.near_duplicates import shorten
from xmod_extend.text.workers import map_in_order

MOST_BYTES = 2 << 20
"""Bytes of a side of a corpus that are looked at, at even distances."""
LEAST_LETTERS = 20
"""Letters of a line from which on it is looked at: a shorter one is guessed."""
SURE = 0.8
"""Confidence from which on a label counts."""
WARNED_SHARE = 0.02
"""Share of the lines from which on foreign ones are warned about."""
NUM_LABELS = 8
"""Labels that are reported, the most frequent ones."""
NUM_EXAMPLES = 5
INSTALL_HINT = "Install it with: pip install 'xmod-extend[lid]'"

_MAGIC = 793_712_314
_VERSIONS = (11, 12)
_SUPERVISED = 3
_HEADER = struct.Struct("<2i12id3i2q")
_LETTER = regex.compile(r"\p{L}")
_LINES_AT_A_TIME = 500


@dataclass(frozen=True, kw_only=True)
class ForeignExample:
    """A line that is identified as another language; a long one is cut."""

    line: str
    label: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class ForeignLines:
    """What a language identification says of a corpus."""

    model: str
    """Name of the model's file."""
    lines: int
    """Lines that were looked at: those of 20 letters and more, or a sample of them."""
    is_sample: bool
    label: str
    """The label that most lines get, taken for the language of the text."""
    share: float
    """Share of the lines that get another label with a confidence of 0.8 and more."""
    unsure: float
    """Share of the lines for which no label has that confidence."""
    labels: dict[str, float] = field(default_factory=dict)
    """Each other label's share of the lines, the most frequent first; at most 8."""
    examples: tuple[ForeignExample, ...] = ()
    """The surest line of each of the most frequent labels."""

    def describe(self) -> str | None:
        """Return a warning, or None where hardly a line is foreign."""
        if self.share < WARNED_SHARE:
            return None
        sample = " of a sample" if self.is_sample else ""
        shares = ", ".join(f"{label} {share:.1%}" for label, share in list(self.labels.items())[:4])
        example = self.examples[0]
        return (
            f"{self.share:.1%} of {self.lines:,} lines{sample} are identified as another language "
            f"than {self.label}, the most frequent one: {shares}; such as "
            f"{shorten(example.line)!r} ({example.label}). Relatives of a language are easily "
            "mistaken for it; take out what is no text of the language."
        )


def check_lid_model(path: Path | None) -> None:
    """Refuse a file that is no fastText model for labels, or a missing package.

    Raises:
        UsageError: The sentence says which.
    """
    if path is None:
        return
    if importlib.util.find_spec("fasttext") is None:
        raise UsageError("--lid-model needs the package fasttext-community.", hint=INSTALL_HINT)
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(
            f"--lid-model is {path}, which cannot be read: {error.strerror}."
        ) from error
    problem = _find_problem(head, size)
    if problem:
        raise UsageError(
            f"{path} is no fastText model for language identification: {problem}.",
            hint="Give a .bin or .ftz file such as GlotLID's model.bin or fastText's lid.176.bin.",
        )


def _find_problem(head: bytes, size: int) -> str | None:
    if len(head) < _HEADER.size or struct.unpack_from("<i", head)[0] != _MAGIC:
        return "it does not begin as one"
    _, version, *values = _HEADER.unpack(head)
    dim, bucket, kind = values[0], values[8], values[7]
    entries, words, labels = values[13:16]
    if version not in _VERSIONS:
        return f"its version is {version}"
    if kind != _SUPERVISED or labels < 2:
        return "it was not trained to tell labels apart"
    # A compressed one (.ftz) is smaller than its vectors; both have a line for each entry.
    if not (0 < dim < 10_000 and bucket >= 0 and words >= 0 and entries == words + labels):
        return "its header makes no sense"
    return "it is cut off" if size < _HEADER.size + entries else None


class _Guess(NamedTuple):
    line: str
    label: str
    confidence: float


class _Identifier:
    """Gives the labels of lines; the model is loaded where it is first called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._model: Any = None

    def __call__(self, lines: list[str]) -> list[_Guess]:
        try:
            if self._model is None:
                import fasttext

                self._model = fasttext.load_model(str(self._path))
            labels, confidences = self._model.predict(lines)
        except (ValueError, RuntimeError, MemoryError, UnicodeError) as error:
            raise _unusable(self._path, str(error) or type(error).__name__) from None
        return [
            _Guess(line, label[0].removeprefix("__label__"), min(1.0, float(confidence[0])))
            for line, label, confidence in zip(lines, labels, confidences, strict=True)
            if len(label)
        ]


def find_foreign_lines(sides: Iterable[Lines], model: Path) -> ForeignLines | None:
    """Identify the language of lines; None where no line is long enough.

    Args:
        sides: Of the corpus. A stream is not read for it.
        model: A fastText model, as `check_lid_model` accepts it.

    Raises:
        UsageError: The model cannot be loaded.
    """
    sampled = [side.sample(MOST_BYTES) for side in sides]
    texts = chain.from_iterable(texts for texts, _ in sampled)
    lines = (line for text in texts for line in text.split("\n") if _is_long(line))
    items = iter(lambda: list(islice(lines, _LINES_AT_A_TIME)), [])
    try:
        found = map_in_order(_Identifier(model), items, num_workers=1, apart=True)
        guesses = list(chain.from_iterable(found))
    except UsageError:
        raise
    except XmodExtendError as error:
        raise _unusable(model, error.message.rstrip(".")) from error
    if not guesses:
        return None
    return _sum_up(guesses, model.name, is_sample=any(is_part for _, is_part in sampled))


def _sum_up(guesses: list[_Guess], model: str, *, is_sample: bool) -> ForeignLines:
    counts = Counter(guess.label for guess in guesses)
    own = counts.most_common(1)[0][0]
    sure = [guess for guess in guesses if guess.confidence >= SURE]
    foreign = [guess for guess in sure if guess.label != own]
    frequent = Counter(guess.label for guess in foreign).most_common(NUM_LABELS)
    return ForeignLines(
        model=model,
        lines=len(guesses),
        is_sample=is_sample,
        label=own,
        share=len(foreign) / len(guesses),
        unsure=1 - len(sure) / len(guesses),
        labels={label: count / len(guesses) for label, count in frequent},
        examples=tuple(_examples(foreign, [label for label, _ in frequent[:NUM_EXAMPLES]])),
    )


def _examples(foreign: list[_Guess], labels: list[str]) -> Iterator[ForeignExample]:
    for label in labels:
        surest = max((g for g in foreign if g.label == label), key=lambda guess: guess.confidence)
        yield ForeignExample(
            line=shorten(surest.line, 200), label=label, confidence=round(surest.confidence, 4)
        )


def _is_long(line: str) -> bool:
    return len(line) >= LEAST_LETTERS and len(_LETTER.findall(line)) >= LEAST_LETTERS


def _unusable(model: Path, reason: str) -> UsageError:
    return UsageError(
        f"{model} cannot be used as a fastText model: {reason}.",
        hint="The file may be damaged, or the memory too small for it; download it again.",
    )
