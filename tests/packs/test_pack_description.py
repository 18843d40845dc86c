"""adapter_config.json of a stranger: what is not right is refused by name, and quickly."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmod_extend.errors import ModelError
from xmod_extend.packs.description import (
    DESCRIPTION_NAME,
    PackDescription,
    read_description,
)
from xmod_extend.packs.fingerprint import Fingerprint
from xmod_extend.packs.shape import AdapterShape

SHAPE = AdapterShape(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    adapter_reduction_factor=2,
    hidden_act="gelu",
    pre_norm=False,
    adapter_layer_norm=False,
    adapter_reuse_layer_norm=True,
    ln_before_adapter=True,
    layer_norm_eps=1e-5,
)
WHOLE = PackDescription(
    language="quz_PE",
    shape=SHAPE,
    dtype="float32",
    shared=Fingerprint(sha256="0" * 64, parts={"layer.0": "1" * 16, "lm_head": "2" * 16}),
    base_model="someone/xmod-base",
    base_revision="c" * 40,
    tokenizer_sha256="d" * 64,
    license="cc-by-4.0",
    created_by="xmod-extend 0.3.0",
)
VALUES: dict[str, Any] = json.loads(WHOLE.to_json())


def read(tmp_path: Path, text: str) -> PackDescription:
    file = tmp_path / DESCRIPTION_NAME
    file.write_text(text, encoding="utf-8")
    return read_description(file)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE.to_json()) == WHOLE
    assert read(tmp_path, json.dumps(VALUES | {"of a later version": [1]})) == WHOLE


WRONG: list[tuple[str, Any]] = [
    ("language", None),
    ("language", ["quz_PE"]),
    ("language", "../../etc/passwd"),
    ("language", "quz_PE\n"),
    ("language", "quz.PE"),
    ("language", ""),
    ("language", "a" * 65),
    ("language", "\x1b[31mquz"),
    ("hidden_size", 0),
    ("hidden_size", -32),
    ("hidden_size", True),
    ("hidden_size", 32.0),
    ("hidden_size", "32"),
    ("hidden_size", 10**30),
    ("num_hidden_layers", 1_001),
    ("adapter_reduction_factor", 0),
    ("adapter_reduction_factor", 64),
    ("hidden_act", "__import__('os')"),
    ("hidden_act", {"a": 1}),
    ("pre_norm", 1),
    ("pre_norm", "false"),
    ("ln_before_adapter", None),
    ("layer_norm_eps", -1),
    ("layer_norm_eps", 1e9),
    ("layer_norm_eps", True),
    ("dtype", "int8"),
    ("dtype", "F32"),
    ("dtype", ["float32"]),
    ("base_model", "/home/someone/xmod"),
    ("base_model", "a/b/c"),
    ("base_model", "https://example.org/x"),
    ("base_model", 3),
    ("base_revision", "main"),
    ("shared_sha256", "0" * 63),
    ("shared_sha256", "G" * 64),
    ("shared_parts", None),
    ("shared_parts", {"layer.0": 1}),
    ("shared_parts", {"layer.0\x1b": "1" * 16}),
    ("shared_parts", {"layer.0": "1" * 17}),
    ("shared_parts", {f"layer.{i}": "1" * 16 for i in range(2000)}),
    ("tokenizer_sha256", "d"),
    ("license", "cc by"),
    ("license", "x" * 200),
    ("license", "mit\n---"),
    ("created_by", "a\x1b[2J"),
    ("created_by", None),
]


@pytest.mark.parametrize(
    ("name", "value"), WRONG, ids=[f"{n}-{i}" for i, (n, _) in enumerate(WRONG)]
)
def test_a_wrong_value_is_refused_by_its_name(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"as its {name}, which is something else") as caught:
        read(tmp_path, json.dumps(VALUES | {name: value}))
    assert caught.value.hint
    # What a stranger wrote there is not repeated on a terminal.
    assert "\x1b" not in caught.value.message and "/" not in caught.value.message


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in VALUES
        if name
        not in (
            "format_version",
            "model_type",
            "base_model",
            "base_revision",
            "tokenizer_sha256",
            "license",
        )
    ],
)
def test_a_missing_value_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"as its {name}, which is missing"):
        read(tmp_path, json.dumps({key: value for key, value in VALUES.items() if key != name}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ("[]", "does not hold a JSON object"),
        ("{}", "not of a language pack"),
        ('{"peft_type": "LORA"}', "not of a language pack"),
        (json.dumps(VALUES | {"model_type": "bert"}), "not of a language pack"),
        (json.dumps(VALUES | {"format_version": 2}), "another `format_version`"),
        (json.dumps(VALUES | {"format_version": True}), "another `format_version`"),
        (json.dumps(VALUES | {"format_version": [1]}), "another `format_version`"),
        (json.dumps(VALUES).replace("1e-05", "NaN"), "NaN"),
        (json.dumps(VALUES).replace("1e-05", "Infinity"), "Infinity"),
        ('{"a":' * 100_000, "nested deeper"),
        ('{"n": ' + "9" * 5_000 + "}", "digits"),
        ('{"a": "' + "x" * 20_000_000 + '"}', "more than"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_description_is_refused_in_bounded_time(
    tmp_path: Path, text: str, expected: str
) -> None:
    started = time.process_time()
    with pytest.raises(ModelError, match=expected) as caught:
        read(tmp_path, text)
    assert time.process_time() - started < 5
    assert len(caught.value.message) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(name=st.sampled_from(sorted(VALUES)), value=JSON)
def test_any_value_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("description")
    try:
        found = read(folder, json.dumps(VALUES | {name: value}))
    except ModelError as error:
        assert error.hint and error.message
    else:
        assert json.loads(found.to_json()) == VALUES | {name: value}
