"""Reading run records that anyone may have written: a record or a sentence, and no time lost."""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st
from run_records import make_record, make_subject

from xmod_extend.errors import ModelError
from xmod_extend.report.card import model_card
from xmod_extend.report.card_metadata import check_metadata
from xmod_extend.report.record import RunRecord, read_record

VALUES = make_record(warnings=("x",)).to_dict()
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**301)
    | st.floats(allow_nan=False)
    | st.sampled_from([0, -1, 0.0, 1e308, -1e308, 5e-324, 2**63, "", "quz_PE", "../x"])
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value, from the outside to the inside."""
    inner = (
        values.items()
        if isinstance(values, dict)
        else enumerate(values)
        if isinstance(values, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


PLACES = [place for place in places(VALUES) if place]


def changed(place: tuple[Any, ...], value: Any, *, drop: bool = False) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    holder = values
    for key in place[:-1]:
        holder = holder[key]
    if drop:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return values


def write(folder: Path, values: Any) -> Path:
    file = folder / "run.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    record = make_record(warnings=("a", "b"))
    (tmp_path / "run.json").write_text(record.to_json(), encoding="utf-8")
    assert read_record(tmp_path / "run.json") == record


@pytest.mark.slow
@cases(300)
@given(place=st.sampled_from(PLACES), value=json_values, drop=st.booleans())
def test_any_change_gives_a_record_or_a_sentence(
    folder: Path, place: tuple[Any, ...], value: Any, drop: bool
) -> None:
    try:
        record = read_record(write(folder, changed(place, value, drop=drop)))
    except ModelError as error:
        assert "run.json" in error.message and len(error.message) < 600
        assert error.message.isprintable()
        return
    assert RunRecord.from_dict(record.to_dict()) == record
    # What can be read makes a card that the Hub takes.
    for what in ("checkpoint", "pack"):
        card = model_card(make_subject(record, what=what, base_id=record.base.source))
        assert check_metadata(card) == []


@cases(300)
@given(json_values)
def test_any_json_is_no_record(folder: Path, value: Any) -> None:
    with pytest.raises(ModelError):
        read_record(write(folder, value))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("training", "lr"), "fast", "training.lr is 'fast', not a number"),
        (("training", "lr"), True, "training.lr is True, not a number"),
        (("training", "best_step"), 2.5, "training.best_step is 2.5, not a whole number"),
        (("training", "dropout"), 0, "training.dropout is 0"),
        (("evaluation", "after", "signature"), None, "evaluation.after.signature is None"),
        (("evaluation", "samples", "guesses", 0, "before", 1, "piece"), 3, "before[1].piece is 3"),
        (("probe", 1, "perplexity"), "much", "probe[1].perplexity is 'much'"),
        (("probe",), {}, "probe is {}, not a list"),
        (("base", "files"), ["x"], "base.files is ['x'], not a mapping"),
        (("base", "files", "x"), 3, "base.files.x is 3, not text"),
        (("corpus", "scripts", "Latin"), "all", "corpus.scripts.Latin is 'all', not a number"),
        (("versions",), {"a": {}}, "versions.a is {}, not text"),
        (("warnings", 0), ["x"], "warnings[0] is ['x'], not text"),
        (("options", "corpus"), [[[[[[1]]]]]], "not nested less deeply"),
        (("evaluation", "sentences"), {}, "evaluation.sentences.texts is missing"),
        (("language",), "__import__('os')", "which is no code"),
        (("language",), "quz-PE", "which is no code"),
        (("seconds",), 10**400, "seconds is"),
        (("training", "surprise\n"), 1, "unknown"),
    ],
)
def test_the_sentence_names_the_place(
    tmp_path: Path, place: tuple[Any, ...], value: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=r"run\.json") as caught:
        read_record(write(tmp_path, changed(place, value)))
    assert said in caught.value.message and caught.value.hint
    assert caught.value.exit_code == 4 and caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["language", "base", "corpus", "versions", "options"])
def test_what_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} is missing"):
        read_record(write(tmp_path, changed((name,), None, drop=True)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '"x"',
        "{" * 100_000,
        "[" * 5_000_000,
        '{"a":' * 50_000,
        '{"schema_version": 1e999}',
        '{"schema_version": NaN}',
        '{"schema_version": ' + "9" * 100_000 + "}",
        '{"schema_version": 1, "seconds": Infinity}',
        "\x00" * 1000,
        '{"schema_version": 2}',
        '{"schema_version": true}',
        '{"schema_version": "1"}',
        '{"schema_version": 1, "language": "\ud83d"}',
    ],
    ids=lambda text: ascii(text)[:12],
)
def test_what_is_no_record_is_refused_soon(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    started = time.perf_counter()
    with pytest.raises(ModelError):
        read_record(tmp_path / "run.json")
    assert time.perf_counter() - started < 10


def test_what_is_too_large_or_no_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "run.json").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ModelError, match="bytes, more than any run record"):
        read_record(tmp_path / "run.json")
    with pytest.raises(ModelError):
        read_record(tmp_path / "nowhere.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match="not a file"):
        read_record(tmp_path / "folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(ModelError, match="not a file"):
        read_record(tmp_path / "run.json")
