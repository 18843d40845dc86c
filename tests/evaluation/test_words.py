"""A word is what stands between spaces, and what UAX 29 says where a script has none."""

from __future__ import annotations

import numpy as np
import pytest

from xmod_extend.evaluation.words import WordFinder, word_ends


@pytest.mark.parametrize(
    "words",
    [
        [["▁Wasi", "kuna", "."], ["▁ha", "tun"]],
        [["▁", "Qusqu"], ["▁3", ",5"]],
        [["▁Лат", "ин"], ["▁مرح", "با"], ["▁नम", "स्ते"]],
        [["▁한국", "어", "는"], ["▁언어"]],
        [["▁你"], ["好"], ["世"], ["。"], ["▁A", "BC"], ["中"]],
        [["▁สวั"], ["ส"], ["ดี"], ["▁ผม"], ["A", "b"]],
        [["▁"], ["カタ", "カナ"], ["世"]],
        [["▁བོད"], ["་"], ["སྐད"]],
        [["▁မြ"], ["န်"], ["မာ"]],
    ],
)
def test_words_begin_where_a_reader_sees_them(words: list[list[str]]) -> None:
    pieces = [piece for word in words for piece in word]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    begins = WordFinder(vocabulary).begins(np.array([vocabulary[piece] for piece in pieces]))
    expected = [index == 0 for word in words for index in range(len(word))]
    assert begins.tolist() == expected
    ends = np.cumsum([len(word) for word in words])
    assert word_ends(begins).tolist() == np.repeat(ends, [len(word) for word in words]).tolist()


def test_a_mark_is_never_torn_from_its_letter() -> None:
    vocabulary = {"▁ก": 0, "ำ": 1, "ั": 2, "ข": 3}
    assert WordFinder(vocabulary).begins(np.array([0, 2, 3])).tolist() == [True, False, True]


def test_the_first_token_begins_a_word_whatever_it_is() -> None:
    finder = WordFinder({"a": 0, "▁b": 1, "<unk>": 2}, [2])
    assert finder.begins(np.array([0, 2, 1, 2])).tolist() == [True, False, True, False]
    assert finder.begins(np.array([], dtype=np.int64)).tolist() == []
