"""Some of a checkpoint's languages, in an order of the user's."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from xmod_extend.errors import LanguageError

_MOST_NAMED = 8


def select_languages(asked: Sequence[str], existing: Sequence[str], name: str) -> list[str]:
    """Return the codes that were asked for, after checking that each is there and named once.

    Args:
        name: The checkpoint, as a message calls it.

    Raises:
        LanguageError: A code is not among the existing ones, or twice, or there is none.
    """
    if not asked:
        raise LanguageError("No language is named.", hint=f"{name} has {_some_of(existing)}.")
    for number, code in enumerate(asked):
        if code not in existing:
            raise unknown_language(code, existing, name)
        if code in asked[:number]:
            raise LanguageError(f"{code} is named twice.", hint="Name each language once.")
    return list(asked)


def unknown_language(code: str, existing: Sequence[str], name: str) -> LanguageError:
    """Return the error for a code that a checkpoint lacks, with those that may be meant."""
    folded = {known.casefold(): known for known in existing}
    language = code.replace("-", "_").casefold()
    near = difflib.get_close_matches(language, folded, n=3, cutoff=0.7)
    prefix = language.split("_")[0] + "_"
    near += [known for known in folded if known.startswith(prefix) and known not in near]
    hint = f"It has {_some_of(existing)}."
    if near:
        hint = f"Did you mean {' or '.join(folded[known] for known in near[:3])}?"
    return LanguageError(f"{name} has no language {code!r}.", hint=hint)


def _some_of(existing: Sequence[str]) -> str:
    more = len(existing) - _MOST_NAMED
    named = ", ".join(existing[:_MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named
