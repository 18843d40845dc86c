"""Whether a pack can be installed into a base, and what differs if it cannot."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from xmod_extend.errors import LanguageError, ModelError
from xmod_extend.packs.description import PackDescription
from xmod_extend.packs.fingerprint import Fingerprint
from xmod_extend.packs.shape import AdapterShape


def check_shape(
    description: PackDescription, name: str, config: Mapping[str, Any], base: str
) -> None:
    """Refuse a pack whose adapter has no place in a base, or would compute something else there.

    Raises:
        ModelError: A field of the shape differs; nothing makes such a pack fit.
    """
    difference = description.shape.difference(AdapterShape.from_config(config))
    if difference is not None:
        raise ModelError(
            f"{name} does not fit {base}: its {difference}.",
            hint=f"Install it into a base of its shape; it was trained on {description.base}.",
        )


def check_dtype(description: PackDescription, name: str, dtype: str, base: str) -> None:
    """Refuse a pack whose tensors are of another type than the base's adapters.

    Raises:
        ModelError: They are: rounding would change what was trained and measured.
    """
    if description.dtype != dtype:
        raise ModelError(
            f"{name} is in {description.dtype}, and the adapters of {base} are in {dtype}.",
            hint=f"Install it into the {description.dtype} form of the base: converted, it would "
            "no longer be what was trained and measured.",
        )


def shared_difference(description: PackDescription, shared: Fingerprint, base: str) -> str | None:
    """Return how a base's shared weights differ from those that a pack was trained against.

    Returns:
        A clause such as `it was trained against other shared weights than tiny has (...)`, or None
        if they are the same.
    """
    if description.shared.sha256 == shared.sha256:
        return None
    return (
        f"it was trained against other shared weights than {base} has: on {description.base}, "
        f"which differs in its {description.shared.differing_parts(shared)}"
    )


def name_languages(
    packs: Sequence[str], languages: Sequence[str], renamed: Sequence[str]
) -> list[str]:
    """Return the code that each pack is installed under.

    Args:
        packs: The packs as the user wrote them.
        languages: Their own codes.
        renamed: `NEW` for the only pack, or one for each pack in their order; or `WHICH=NEW`, where
            WHICH is a pack as it was written, or a code that only one of them has.

    Raises:
        LanguageError: One of them names no pack, or several.
    """
    named = list(languages)
    if renamed and not any("=" in entry for entry in renamed):
        if len(renamed) != len(packs):
            raise LanguageError(
                f"There are {len(packs)} packs and {len(renamed)} --as.",
                hint="Give --as OLD=NEW for those that get another code, or one --as for each.",
            )
        return list(renamed)
    for entry in renamed:
        which, equals, new = entry.rpartition("=")
        places = [i for i, pack in enumerate(packs) if pack == which]
        places = places or [i for i, code in enumerate(languages) if code == which]
        if not equals or len(places) != 1:
            raise LanguageError(
                f"--as {entry} names {'several packs' if len(places) > 1 else 'no pack'}.",
                hint=_hint_at_pack(which, packs, languages, is_ambiguous=len(places) > 1),
            )
        named[places[0]] = new
    return named


def _hint_at_pack(
    which: str, packs: Sequence[str], languages: Sequence[str], *, is_ambiguous: bool
) -> str:
    if is_ambiguous:
        return f"Name the pack as you wrote it: --as {packs[-1]}=CODE."
    near = difflib.get_close_matches(which, [*languages, *packs], n=1)
    return f"Did you mean --as {near[0] if near else languages[0]}=CODE?"


def check_codes(codes: Sequence[str], packs: Sequence[str], existing: Sequence[str]) -> None:
    """Refuse a code that a base has already, or that two packs have.

    A code is the name of a file too, and some file systems take no notice of case.

    Raises:
        LanguageError: There is one.
    """
    taken = {code.casefold(): "the base" for code in existing}
    for code, pack in zip(codes, packs, strict=True):
        owner = taken.get(code.casefold())
        if owner is not None:
            raise LanguageError(
                f"{pack} is {code}, which {owner} has already.",
                hint=f"Give it another code: --as {pack}=CODE.",
            )
        taken[code.casefold()] = pack
