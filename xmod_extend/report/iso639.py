"""Codes of ISO 639-1, 639-2 and 639-3, which the Hub takes for a language's.

They are those of the IANA registry that `langcodes` brings along, without what that has beside them
and with what came since. `tests/report/test_card_metadata.py` says how the two lists were made.
"""

from __future__ import annotations

import functools

_NOT_THERE = frozenset(
    """
    aav ajp ajt alv aqa aql auf awd azc bh cba ccn ccs cdc cdd csu cug dek dmn egx esx euq fox
    gme gmq gmw grk hmx hok hyx iir itc jpx kdo kgm ksa lak lno mol ngf nom nte omq omv pii plf
    plj pmk poz pqe pqw prp qwe sdv sh slq smd snb sqj syd szd tbq tmk tpw trk tuw urj uun wrd
    wya xgn xnd xss zhx zkb zle zls zlw zua
    """.split()
)
"""Families of languages, which only ISO 639-5 has, and codes that were withdrawn."""

_NEWER = frozenset(
    """
    ajs bpc cls cnq cxh dsk dsz dyr dzd egm eud gov hnm ikh imt isv izm lgo lgs lqr lsc lsw luh
    lvl nww nzr oak oie phj pze pzh rib rnb rrm rsk rsn rsw sjc tok tvi ugh uly uon vjk vsn wdt
    wtb wyn xdq xhm ycr ykh ynb zcd zem zlu
    """.split()
)
"""Codes that the registry lacks, as of ISO 639-3 in 2026."""


def is_iso639(code: str) -> bool:
    """Return whether a code is a language's in ISO 639-1, 639-2 or 639-3.

    Those that are left to private use (qaa to qtz) are not.
    """
    return code in _NEWER or (code in _registered() and code not in _NOT_THERE)


@functools.cache
def _registered() -> frozenset[str]:
    """Return the languages of the registry, and the codes of three letters for those of two."""
    from langcodes.data_dicts import LANGUAGE_ALPHA3, LANGUAGE_ALPHA3_BIBLIOGRAPHIC
    from langcodes.registry_parser import parse_registry

    languages = {
        entry["Subtag"]
        for entry in parse_registry()  # type: ignore[no-untyped-call]
        if entry.get("Type") == "language" and "Deprecated" not in entry
    }
    return frozenset(
        [*languages, *LANGUAGE_ALPHA3.values(), *LANGUAGE_ALPHA3_BIBLIOGRAPHIC.values()]
    )
