"""Sample text that comes with the package, for notebooks and first tries.

It is made by a grammar, so a score on it says that the program works, and nothing about a language.
"""

from __future__ import annotations

from pathlib import Path

from xmod_extend.errors import UsageError

_FOLDER = Path(__file__).parents[1] / "samples"


def sample_text(language: str) -> Path:
    """Return the path of a sample text, one sentence a line.

    Args:
        language: `quz_PE` or `en_XX`.

    Raises:
        UsageError: There is none in that language.
    """
    known = sorted(path.name.partition(".")[0] for path in _FOLDER.glob("*.txt.gz"))
    if language not in known:
        raise UsageError(
            f"There is no sample text in {language}.", hint=f"There is {' and '.join(known)}."
        )
    return _FOLDER / f"{language}.txt.gz"
