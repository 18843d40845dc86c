"""The fingerprint of the shared weights, which an adapter was trained against.

An adapter means something only between the layers that it was trained with. One hash says whether
these are the same, and a short one for each part says which are not:

    embeddings   layer.0 ... layer.N   encoder (its last layer norm, of pre-norm models)   lm_head
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.names import LAYER_PREFIX

PART = re.compile(r"embeddings|layer\.\d{1,4}|encoder|lm_head")
PART_DIGITS = 16
"""Hexadecimal digits of a part's fingerprint: it tells where to look, and proves nothing."""

_PREFIXES = (
    ("roberta.embeddings.", "embeddings"),
    ("roberta.encoder.", "encoder"),
    ("lm_head.", "lm_head"),
)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What stands for the shared weights: all of them, and each part."""

    sha256: str
    """SHA-256 over the sorted names of the tensors and their digests."""
    parts: Mapping[str, str]

    def differing_parts(self, other: Fingerprint) -> str:
        """Return the parts in which two differ, as a sentence calls them."""
        names = [name for name in self.parts if self.parts[name] != other.parts.get(name)]
        names += [name for name in other.parts if name not in self.parts]
        layers = [name for name in names if name.startswith("layer.")]
        said = [name.replace("_", " ") for name in names if name not in layers]
        if len(layers) > 3:
            said.append(f"{len(layers)} layers")
        else:
            said += [name.replace(".", " ") for name in layers]
        return ", ".join(said) or "something that it does not tell of"


def fingerprint_shared(checkpoint: Checkpoint) -> Fingerprint:
    """Return the fingerprint of a checkpoint's shared weights; reads each of them once."""
    names = sorted(checkpoint.shared_names())
    # Reading and hashing release Python's lock.
    with ThreadPoolExecutor(2) as pool:
        digests = dict(zip(names, pool.map(checkpoint.digest, names), strict=True))
    parts: dict[str, list[str]] = {}
    for name in checkpoint.shared_names():
        parts.setdefault(_part_of(name), []).append(name)
    return Fingerprint(
        sha256=_combine(digests.items()),
        parts={
            part: _combine((name, digests[name]) for name in sorted(own))[:PART_DIGITS]
            for part, own in parts.items()
        },
    )


def _combine(digests: Iterable[tuple[str, str]]) -> str:
    sha = hashlib.sha256()
    for name, digest in digests:
        sha.update(f"{name} {digest}\n".encode())
    return sha.hexdigest()


def _part_of(name: str) -> str:
    if name.startswith(LAYER_PREFIX):
        return f"layer.{name.removeprefix(LAYER_PREFIX).split('.')[0]}"
    return next(part for prefix, part in _PREFIXES if name.startswith(prefix))
