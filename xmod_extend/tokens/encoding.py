"""Text into tokens, a word at a time where the tokenizer itself goes word by word.

XLM-R's tokenizer cuts a text at its spaces and finds the pieces of each word alone, so that a word
has the same pieces wherever it stands. Most words of a text are its few frequent ones: to look them
up is some twenty times as fast as to find their pieces again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import regex

from xmod_extend.errors import ModelError, XmodExtendError
from xmod_extend.hub.client import first_line
from xmod_extend.tokens.tokenised import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_WORDS = 200_000
"""Remembered at a time: some 40 MB."""

# What the two ways might see differently: a word whose first character joins the space before it, a
# format character, and the sign that stands for the space. A text with such a word goes whole.
_SIMPLE_WORD = regex.compile(
    r"(?![\p{M}\p{Emoji_Modifier}])[[\p{L}\p{M}\p{N}\p{P}\p{S}]--[▁]]+", regex.V1
)


class Encoder:
    """Finds the tokens of lines; a copy of it can be sent to another process.

    Args:
        backend: The tokenizer.
        special_tokens: Names such as `<mask>`; in a text they are ordinary text.
        sep_id: Of `</s>`, which ends each line.
        unk_id: Of `<unk>`, if there is one.
    """

    def __init__(
        self, backend: Tokenizer, *, special_tokens: Iterable[str], sep_id: int, unk_id: int | None
    ) -> None:
        self._backend = backend
        names = sorted(set(special_tokens), key=lambda name: (-len(name), name))
        self.settings = [names, sep_id, unk_id]
        """What decides the tokens beside the tokenizer itself."""
        self._special = re.compile("|".join(map(re.escape, names)))
        ids = [backend.token_to_id(name) for name in names]
        self._special_ids = np.array([i for i in ids if i not in (None, unk_id)], dtype=np.int32)
        self._sep = np.int32(sep_id).tobytes()
        self.unk_id = unk_id
        self._by_word = goes_by_word(backend)
        self._words: dict[str, bytes] = {"": b""}

    def __call__(self, encoded: bytes) -> Tokens:
        """Return the tokens of lines of UTF-8, each with a \n.

        Raises:
            ModelError: The tokenizer fails.
        """
        text = self._break_special(encoded.decode().removesuffix("\n"))
        with explain_failure(
            "The base's tokenizer fails on the text",
            hint="Use the tokenizer that the base was pretrained with.",
        ):
            lines = [line + self._sep for line in self._encode_lines(text.split("\n"))]
        ids = np.frombuffer(b"".join(lines), dtype=np.int32)
        sizes = np.fromiter(map(len, lines), np.int32, len(lines)) // 4
        unk = 0 if self.unk_id is None else int(np.count_nonzero(ids == self.unk_id))
        return Tokens(ids, sizes, unk)

    def _encode_lines(self, lines: list[str]) -> Iterator[bytes]:
        """Yield each line's tokens as int32."""
        if not self._by_word:
            yield from self._encode_whole(lines)
            return
        words = [line.split(" ") for line in lines]
        self._learn(set(itertools.chain.from_iterable(words)))
        for line, its_words in zip(lines, words, strict=True):
            try:
                yield b"".join(map(self._words.__getitem__, its_words))
            except KeyError:
                yield from self._encode_whole([line])

    def _encode_whole(self, lines: list[str]) -> Iterator[bytes]:
        found = self._backend.encode_batch_fast(lines, add_special_tokens=False)
        for line, encoding in zip(lines, found, strict=True):
            ids = np.asarray(encoding.ids, dtype=np.int32)
            if np.isin(ids, self._special_ids).any():
                ids = self._encode_normalised(line)
            yield ids.tobytes()

    def _encode_normalised(self, line: str) -> npt.NDArray[np.int32]:
        """Return a line's tokens where its normal form has a special token's name: ＜mask＞."""
        if self._backend.normalizer is not None:
            line = self._break_special(self._backend.normalizer.normalize_str(line))
        encoding = self._backend.encode(line, add_special_tokens=False)
        ids = np.asarray(encoding.ids, dtype=np.int32)
        special = np.isin(ids, self._special_ids)
        if self.unk_id is None:
            return ids[~special]
        return np.where(special, np.int32(self.unk_id), ids)

    def _break_special(self, text: str) -> str:
        """Put a space into the name of each special token.

        XLM-R's special tokens are pieces of its Unigram model too, so that no setting of the
        tokenizer keeps them from being found in a text.
        """
        return self._special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def _learn(self, words: set[str]) -> None:
        """Find the tokens of those words that are new and simple, all at once."""
        if len(self._words) > MOST_WORDS:
            self._words.clear()
        new = list(filter(_SIMPLE_WORD.fullmatch, words.difference(self._words)))
        if not new:
            return
        (encoding,) = self._backend.encode_batch([" ".join(new)], add_special_tokens=False)
        ids = np.asarray(encoding.ids, dtype=np.int32)
        # A token is of the word in which it begins, or before which: the space may be its sign.
        ends = np.cumsum([len(word) + 1 for word in new]) - 1
        begins = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:, 0]
        cuts = np.searchsorted(begins, ends[:-1])
        found = dict(zip(new, np.split(ids, cuts), strict=True))
        if np.isin(ids, self._special_ids).any():
            # A line with such a word goes whole.
            special = [word for word in new if np.isin(found[word], self._special_ids).any()]
            for word in special:
                del found[word]
        self._words.update((word, tokens.tobytes()) for word, tokens in found.items())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_words": {"": b""}}


def goes_by_word(backend: Tokenizer) -> bool:
    """Return whether the tokenizer is of the kind of which it is known: XLM-R's.

    Its words begin with the sign of a space, the first one of a text too; its normalisation, if it
    has one, is of single characters with their marks; and its model knows words alone.
    """
    settings = json.loads(backend.to_str())
    normalizer, pre_tokenizer = settings["normalizer"], settings["pre_tokenizer"]
    if normalizer is not None and normalizer["type"] not in ("Precompiled", "NFKC", "NFC"):
        return False
    if any(not token["special"] for token in settings["added_tokens"]):
        return False
    steps = [pre_tokenizer]
    if pre_tokenizer is not None and pre_tokenizer["type"] == "Sequence":
        steps = pre_tokenizer["pretokenizers"]
    metaspace = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "always",
        "split": True,
    }
    return (
        settings["model"]["type"] == "Unigram"
        and len(steps) > 0
        and steps[-1] == metaspace
        and all(step == {"type": "WhitespaceSplit"} for step in steps[:-1])
        # Normalisation may make spaces, of which a Metaspace alone keeps a run.
        and (normalizer is None or len(steps) > 1)
    )


@contextlib.contextmanager
def explain_failure(what: str, *, hint: str) -> Iterator[None]:
    """Turn whatever the tokenizers library raises inside the block into our own error.

    Raises:
        ModelError: In the place of it.
    """
    try:
        yield
    except XmodExtendError:
        raise
    except BaseException as error:
        # A panic of the library's is no Exception. A signal is none either, and goes on.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{what}: {first_line(error)}.", hint=hint) from error
