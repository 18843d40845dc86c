"""Whether a document shows what a command prints."""

from __future__ import annotations

import re

import pytest


def assert_printed(shown: str, printed: str) -> None:
    """What a document shows is what was printed, whatever the width and after the decimal point.

    `...` stands for any text. Another processor may round otherwise: decimals may be off a little.
    """
    decimal = r"\d+\.\d+"
    pattern = ".*?".join(
        r"\s+".join(
            f"({decimal})".join(map(re.escape, re.split(decimal, word))) for word in part.split()
        )
        for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)
    )
    found = re.search(pattern, printed, flags=re.DOTALL)
    assert found, printed
    for there, here in zip(re.findall(decimal, shown), found.groups(), strict=True):
        assert float(here) == pytest.approx(float(there), rel=0.1), (there, here)
