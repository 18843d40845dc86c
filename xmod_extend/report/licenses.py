"""Licences as the Hub names them, and the fields of a card that say which one holds.

Source: the Hub's documentation, `repositories-licenses`, as of August 2026.
"""

from __future__ import annotations

import difflib
import re

from xmod_extend.arguments import as_text, shown
from xmod_extend.errors import UsageError

OTHER = "other"
LICENSES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0
    cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
    eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
    intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
    openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
    deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2
    llama3.3 llama4 grok2-community gemma unknown other
    """.split()
)
"""Identifiers that a card's `license` may have."""

LICENSE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,95}")
"""The form of `license_name`, which goes with `license: other`."""


def as_license(label: str, value: object) -> str:
    """Return a licence as the Hub names it, or `other:NAME` for one that it has no name for.

    Raises:
        UsageError: It is neither; the hint names the nearest that there are.
    """
    text = as_text(label, value).strip()
    name = "-".join(text.lower().split())
    if name in LICENSES - {OTHER}:
        return name
    kind, _, own = text.partition(":")
    if kind.strip().lower() == OTHER and LICENSE_NAME.fullmatch(own.strip()):
        return f"{OTHER}:{own.strip()}"
    near = difflib.get_close_matches(name, LICENSES - {OTHER}, n=3, cutoff=0.5)
    known = f"Did you mean {' or '.join(near)}? " if near else "Such as cc-by-4.0 or mit. "
    raise UsageError(
        f"{label} is {shown(text)}; it must be a licence that the Hub knows.",
        hint=f"{known}Another one is written other:NAME, in lower case: other:my-terms-1.0.",
    )


def license_fields(text: str | None) -> dict[str, str]:
    """Return the fields of a card's metadata for a licence, whoever named it.

    Nothing is made up: a name that the Hub does not know stands beside `other`, and one that cannot
    be written there is left out.
    """
    if text is None:
        return {}
    name = "-".join(text.lower().split())
    if name in LICENSES - {OTHER}:
        return {"license": name}
    own = re.sub(r"[^a-z0-9.]+", "-", name.removeprefix(f"{OTHER}:")).strip("-.")[:96]
    return {"license": OTHER, "license_name": own} if LICENSE_NAME.fullmatch(own) else {}
