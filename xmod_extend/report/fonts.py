"""Fonts in which a plot can write a language's letters. It needs matplotlib, as plots do."""

from __future__ import annotations

import functools

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

DEFAULT = "DejaVu Sans"
"""The font that comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and some others."""


def families_for(text: str) -> list[str]:
    """Return the families that together have all letters of a text; none if some are in no font.

    Fonts of the system are looked at only where matplotlib's own one does not do.
    """
    families = [DEFAULT]
    missing = {ord(letter) for letter in text if letter.isprintable()} - _letters(_default_path())
    if not missing:
        return families
    for family, path in _installed():
        found = missing & _letters(path)
        if found:
            families.append(family)
            missing -= found
            if not missing:
                return families
    return []


@functools.cache
def _default_path() -> str:
    return font_manager.findfont(DEFAULT)


@functools.cache
def _installed() -> list[tuple[str, str]]:
    """Return the upright fonts of the system by family, those of normal weight first."""
    fonts = [
        font
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and "Last Resort" not in font.name
    ]
    fonts.sort(key=lambda font: (font.weight != 400, "Sans" not in font.name, font.name))
    return list({font.name: font.fname for font in reversed(fonts)}.items())[::-1]


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """Return the code points that a font has; none of one that cannot be read."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
