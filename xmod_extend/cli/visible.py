"""Texts of strangers on a terminal: what would steer it is shown as what it is.

A language's name, a tensor's or a line of text may hold an escape sequence, which clears the screen
or writes to the clipboard, or a character that turns the rest of the line around.
"""

from __future__ import annotations

import json
import re

_STEERING = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f"  # controls but for the tabulator and the end of a line
    "\u2028-\u202e\u2066-\u2069]"  # directions, and ends of lines and paragraphs
)


def visible(text: str) -> str:
    """Return a text in which each character that would steer a terminal is spelled out."""
    return _STEERING.sub(_spell, text)


def visible_json(text: str) -> str:
    """Return JSON in which each such character is escaped, so that it stands for the same value."""
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _spell(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
