"""config.json edited as text: what does not change keeps its bytes, its order and its spelling.

Reading a config and writing it anew would spell 1e-05 as 0.00001 or sort the fields, and whoever
compares two checkpoints would have to find out whether that means anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class _Span:
    """A part of a text: a field with its name, an element of a list, or a value."""

    start: int
    end: int
    value_start: int
    space: str
    """White space before it."""


def edit_config(text: str, changes: Mapping[str, Any]) -> str:
    """Return config.json with some fields changed, and every other byte as it was.

    A field that is not there yet comes to the end. A list of texts that begins with what it held
    before is added to in its own layout.

    Args:
        text: A JSON object with at least one field.
        changes: Field -> its new value.
    """
    for field, value in changes.items():
        config = json.loads(text)
        if field in config and config[field] == value:
            continue
        text = _set_field(text, field, value)
        assert json.loads(text)[field] == value
    return text


def _set_field(text: str, field: str, value: Any) -> str:
    fields = _fields(text)
    if field not in fields:
        last = list(fields.values())[-1]
        space = last.space or " "
        added = f",{space}{json.dumps(field)}: {json.dumps(value)}"
        return text[: last.end] + added + text[last.end :]
    span = fields[field]
    old = text[span.value_start : span.end]
    new = json.dumps(value)
    if isinstance(value, list) and value and old.startswith("["):
        new = _set_list(old, value)
    return text[: span.value_start] + new + text[span.end :]


def _set_list(text: str, values: Sequence[str]) -> str:
    """Return the text of a list with other elements, each on the line that its place has."""
    elements = _elements(text)
    if not elements:
        return json.dumps(values)
    old = [json.loads(text[span.start : span.end]) for span in elements]
    further = elements[-1].space or " "
    if values[: len(old)] == old:
        end = elements[-1].end
        added = "".join(f",{further}{json.dumps(value)}" for value in values[len(old) :])
        return text[:end] + added + text[end:]
    spaces = [span.space for span in elements] + [further] * len(values)
    listed = ",".join(
        space + json.dumps(value) for space, value in zip(spaces, values, strict=False)
    )
    return f"[{listed}{text[elements[-1].end :]}"


def _fields(text: str) -> dict[str, _Span]:
    """Return where each field of a JSON object stands; of one that is given twice, the last."""
    fields: dict[str, _Span] = {}
    position = text.index("{") + 1
    while True:
        start = _skip(text, position)
        name, after = _DECODER.raw_decode(text, start)
        value_start = _skip(text, text.index(":", after) + 1)
        _, end = _DECODER.raw_decode(text, value_start)
        fields.pop(name, None)
        fields[name] = _Span(start, end, value_start, text[position:start])
        position = _skip(text, end)
        if text[position] == "}":
            return fields
        position += 1


def _elements(text: str) -> list[_Span]:
    """Return where each element of a JSON list stands."""
    elements: list[_Span] = []
    position = 1
    while text[_skip(text, position)] != "]":
        start = _skip(text, position)
        _, end = _DECODER.raw_decode(text, start)
        elements.append(_Span(start, end, start, text[position:start]))
        position = _skip(text, end)
        if text[position] == ",":
            position += 1
    return elements


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()
