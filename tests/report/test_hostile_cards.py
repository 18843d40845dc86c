"""Records of strangers in a card: all of it stays text, and no path of a machine is told."""

from __future__ import annotations

import ast
import dataclasses
import unicodedata
from typing import Any

import pytest
from card_parts import code_blocks, links, render, shape
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from run_records import (
    HOSTILE,
    make_corpus_report,
    make_evaluation,
    make_record,
    make_samples,
    make_subject,
)

from xmod_extend.report.card import model_card
from xmod_extend.report.card_metadata import check_metadata
from xmod_extend.report.record import RunRecord

TRICKS = (
    HOSTILE,
    "[free](javascript:alert(1))",
    "](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "x\n---\nlanguage: xx\n---\n# owned",
    "a | b |\n| --- | --- |\n| c",
    "```\nimport os\n```\n\n    code",
    "`x` ``y`` ```z",
    '")\nimport os; os.system("x")\n#',
    "{{ 7*7 }} {% raw %} {# x #}",
    "$$x$$ \\\\(x\\\\) &lt;b&gt; <!-- x",
    "\x1b[31mred\x1b[0m\x00\x07\r\u2028\u2029\x85",
    "\u202egnp.exe\u2066\u200b\ufeff\U000e0041",
    "# heading",
    "- item\n1. item\n> quote\n=== \n***",
    "https://evil.example www.evil.example me@evil.example",
    "\ud800 \udfff",
    "$(touch x); `touch y` 'z' && w",
    "",
    "   ",
)
PLACES = ("/home/someone/text", "/tmp/run-7", "C:\\Users\\someone\\data", "~/secret")


def with_texts(value: Any, text: str) -> Any:
    """The same value with every text in it replaced, but for the codes that are checked before."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {f"{text}{i}": with_texts(v, text) for i, v in enumerate(value.values())}
    if isinstance(value, tuple | list):
        return type(value)(with_texts(item, text) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: with_texts(getattr(value, field.name), text)
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changed)
    return value


def make_hostile(text: str) -> RunRecord:
    record = make_record(warnings=("x", "y"))
    options = {"corpus": [text], "corpus_license": text, "corpus_source": text, "seed": 0}
    return dataclasses.replace(with_texts(record, text), language="quz_PE", options=options)


@pytest.mark.parametrize("trick", TRICKS, ids=range(len(TRICKS)))
@pytest.mark.parametrize("what", ["checkpoint", "pack"])
def test_nothing_of_a_record_becomes_more_than_text(what: str, trick: str) -> None:
    def make(text: str) -> str:
        record = make_hostile(text)
        return model_card(
            make_subject(
                record, what=what, name=text or "x", base_name=text, license=text, base_id=text
            )
        )

    card, harmless = make(trick), make("word")
    assert check_metadata(card) == []
    assert shape(card) == shape(harmless) or not trick.strip()
    assert not {token.type for token in render(card)} & {"html_block", "html_inline", "image"}
    assert all(link.startswith("https://arxiv.org/") for link in links(card))
    assert set(ModelCard(card).data.to_dict()) <= {
        *ModelCard(harmless).data.to_dict(),
        "license",
        "license_name",
    }
    card.encode("utf-8")
    for character in set(card) - {"\n"}:
        assert unicodedata.category(character) not in ("Cc", "Zl", "Zp"), repr(character)
        assert character not in "\u202e\u2066\u200b\ufeff", repr(character)
    for block in code_blocks(card, "python"):
        called = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.Call)
        }
        assert called <= {
            "AutoModelForMaskedLM.from_pretrained",
            "AutoTokenizer.from_pretrained",
            "model.set_default_language",
            "pipeline",
            "fill",
            "print",
        }


@settings(max_examples=60)
@given(st.text(max_size=40), st.lists(st.text(max_size=8), min_size=1, max_size=5))
@example("a`b", ["`", "|", "<mask>"])
@example("\\", ["\\", "\\(", "$$"])
def test_any_text_leaves_the_card_as_it_is(text: str, pieces: list[str]) -> None:
    def make(text: str, pieces: list[str]) -> str:
        record = make_record(
            language_name=text,
            warnings=(f"x{text}",),
            evaluation=make_evaluation(
                samples=make_samples(["|".join(pieces)]), verdict=f"x{text}"
            ),
        )
        return model_card(make_subject(record))

    card = make(text, pieces)
    assert shape(card) == shape(make("word", ["word"]))
    assert check_metadata(card) == []


def test_no_path_of_a_machine_stands_in_it() -> None:
    options = dict.fromkeys(("lid_model", "output", "corpus_source"), PLACES[0] + "/x.txt")
    options["corpus"] = [f"{place}/x.txt" for place in PLACES]
    record = make_record(
        options=options,
        corpus=make_corpus_report(files=tuple(PLACES), notes=(f"{PLACES[1]}/cache is full.",)),
        warnings=tuple(f"Some of {place}/x.txt was cut." for place in PLACES),
        output=PLACES[1],
        tokenizer=PLACES[2],
    )
    base = dataclasses.replace(record.base, source=PLACES[0], name=f"{PLACES[0]}/own-base")
    card = model_card(make_subject(dataclasses.replace(record, base=base)))
    assert "Some of x.txt was cut." in card and "`own-base`" in card
    for part in ("/home", "/tmp", "Users", "secret", "someone"):
        assert part not in card, part
