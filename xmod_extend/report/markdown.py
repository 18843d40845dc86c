"""Text of strangers in Markdown: names, lines of a corpus and warnings stay plain text.

A card is shown under its publisher's name, and its code is pasted by its readers. A name must not
become a link, a table cell no row, and a string in the code no statement.
"""

from __future__ import annotations

import re
import shlex
from typing import Any
from urllib.parse import quote

MOST_CHARACTERS = 2000
"""The length at which a text is cut."""

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control characters, and those that turn the direction of the text around them or hide in it. The
joiners U+200C and U+200D are letters' own."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPECIAL = re.compile(
    r"[\\`*\[\]<>&|~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=www)\.", re.IGNORECASE
)
"""An underscore between letters, as in a code, is one."""
# Before the Markdown is read, the Hub looks for formulas, between $$ or behind two backslashes.
_ENTITIES = {"\\": "&#92;", "$": "&#36;", "<": "&lt;", ">": "&gt;", "&": "&amp;"}
_OPENING = re.compile(r"[-+](?=\s|$)|--|[=#:]|\d+(?=[.)](\s|$))")
_PLAIN_CODE = re.compile(r"[\w.:/+@,=#-]{1,200}", re.ASCII)
_ADDRESS = re.compile(r"https?://[\w.:/+@,=#?&;%~-]{1,200}", re.ASCII)
_FOLDERS = re.compile(r"(?<![\w/\\.:])(?:~|[A-Za-z]:)?[/\\]+(?:[^\s/\\'\"]+[/\\]+)+")


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def plain_text(text: str) -> str:
    """Return a text in one line without control characters."""
    line = _UNSEEN.sub("", " ".join(text.split()))
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", line).strip()


def without_folders(text: str) -> str:
    """Return a text where only the names are left of absolute paths, which tell of a machine."""
    return _FOLDERS.sub("", text)


def escape(value: Any) -> Markdown:
    """Return a value as Markdown that shows it as it is, within a line or a cell of a table."""
    if isinstance(value, Markdown):
        return value
    text = plain_text(str(value))
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]} …"
    opening = _OPENING.match(text)
    escaped = _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), text)
    if opening is not None:
        # What would begin a heading, a list or a line; all of it is ASCII that was not escaped.
        end = opening.end() if opening[0].isdigit() else 0
        escaped = f"{escaped[:end]}\\{escaped[end:]}"
    return Markdown(escaped)


def code(value: Any) -> Markdown:
    """Return a name as code, if nothing in it could end the code."""
    text = str(value)
    return Markdown(f"`{text}`") if _PLAIN_CODE.fullmatch(text) else escape(text)


def link(value: Any) -> Markdown:
    """Return a text, as a link where it is the address of a page and nothing else."""
    text = str(value)
    return Markdown(f"<{text}>") if _ADDRESS.fullmatch(text) else escape(text)


def verbatim(value: Any) -> Markdown:
    """Return a text for a line of a fenced block that no text can end."""
    return Markdown(plain_text(str(value))[:MOST_CHARACTERS].replace("`", "'"))


def python_string(value: Any) -> Markdown:
    """Return a text as a literal of Python, with all that cannot be seen spelt out."""
    text = str(value)
    spelled = (
        f"\\{c}" if c in '"\\' else c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text
    )
    return Markdown(f'"{"".join(spelled)}"')


def shell_word(value: Any) -> Markdown:
    """Return a text as one word of a command."""
    return Markdown(shlex.quote(plain_text(str(value))))


def address_part(value: Any) -> Markdown:
    """Return a name as a part of an address."""
    return Markdown(quote(plain_text(str(value))))
