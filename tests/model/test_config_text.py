"""config.json edited as text: only what is to change does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import LANGUAGES, make_checkpoint
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.errors import LanguageError
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.config_text import edit_config
from xmod_extend.model.extension import extended_config


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(make_checkpoint(tmp_path / "base"))


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        (
            '{\n  "eps": 1E-5,\n  "default_language": null,\n  "n": 1\n}\n',
            {"default_language": "b_B"},
            '{\n  "eps": 1E-5,\n  "default_language": "b_B",\n  "n": 1\n}\n',
        ),
        (
            '{"default_language" : "a_A", "eps": 1e-05}',
            {"default_language": "b_B"},
            '{"default_language" : "b_B", "eps": 1e-05}',
        ),
        (
            '{\n  "inner": {"default_language": "a_A"},\n  "eps": 1e-05\n}\n',
            {"default_language": "b_B"},
            '{\n  "inner": {"default_language": "a_A"},\n  "eps": 1e-05,\n'
            '  "default_language": "b_B"\n}\n',
        ),
        ('{"eps":1e-05}', {"default_language": None}, '{"eps":1e-05, "default_language": null}'),
        ('{"n": 1, "n": 2}', {"n": 3}, '{"n": 1, "n": 3}'),
        (
            '{"languages": [\n "a_A",\n "b\\u005fB",\n "c_C"\n], "eps": 1.0}',
            {"languages": ["a_A", "c_C"]},
            '{"languages": [\n "a_A",\n "c_C"\n], "eps": 1.0}',
        ),
        (
            '{"languages": [\n "a_A",\n "b\\u005fB"\n], "eps": 1.0}',
            {"languages": ["a_A", "b_B", "c_C"]},
            '{"languages": [\n "a_A",\n "b\\u005fB",\n "c_C"\n], "eps": 1.0}',
        ),
        ('{"languages":[]}', {"languages": ["a_A"]}, '{"languages":["a_A"]}'),
        ('{"eps": 1E5, "n": 1}', {"n": 1}, '{"eps": 1E5, "n": 1}'),
    ],
)
def test_every_other_byte_stays(text: str, changes: dict[str, Any], expected: str) -> None:
    assert edit_config(text, changes) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
CODES = st.lists(st.sampled_from(["a_A", "b_B", "c_C", 'd"]_}'])).map(
    lambda codes: list(dict.fromkeys(codes))
)


@given(
    config=st.dictionaries(st.text(max_size=5), VALUES, min_size=1),
    before=CODES,
    after=CODES,
    default=st.none() | st.text(max_size=5),
    indent=st.none() | st.integers(0, 3),
)
def test_the_text_always_means_what_was_asked_for(
    config: dict[str, Any], before: list[str], after: list[str], default: str, indent: int | None
) -> None:
    text = json.dumps(config | {"languages": before}, indent=indent)
    edited = edit_config(text, {"languages": after, "default_language": default})
    assert json.loads(edited) == config | {"languages": after, "default_language": default}


@pytest.mark.parametrize("code", ["quz_PE", "de_DE"])
def test_a_default_is_set_only_when_asked_for(base: Checkpoint, code: str) -> None:
    before = json.loads((base.path / "config.json").read_text())
    plain, chosen = (
        json.loads(extended_config(base, ["quz_PE"], default)) for default in (None, code)
    )
    assert plain.get("default_language") == before.get("default_language")
    assert chosen == plain | {"default_language": code}


def test_a_default_that_is_no_language_is_refused(base: Checkpoint) -> None:
    with pytest.raises(LanguageError, match="--default-language is de_AT") as caught:
        extended_config(base, ["quz_PE"], "de_AT")
    assert "de_DE" in str(caught.value.hint)
    assert "de_AT" not in LANGUAGES
