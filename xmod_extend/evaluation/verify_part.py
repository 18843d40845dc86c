"""The proof that a checkpoint is another one with fewer languages, and nothing else.

config    every field but `languages` and `default_language` is the same, and the order as well
tensors   every tensor is there with the same bytes, but those of the languages that were left out
logits    each language gives the same logits, bit for bit, on a fixed probe
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import CheckFailedError, ModelError
from xmod_extend.evaluation.verify import (
    Findings,
    compare_logits,
    compare_tokenizers,
    same_tensor,
)
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.names import ADAPTER_NAME, TIED_NAMES
from xmod_extend.model.upstream import loading_faults


@dataclass(frozen=True, kw_only=True)
class PartVerification:
    """The result of comparing a part of a checkpoint with the whole.

    Attributes:
        tensors_compared: The part's tensors, each of which was looked for in the whole.
        languages_compared: The part's languages, whose logits were compared.
        differences: One sentence each; empty if nothing but languages were left out.
    """

    tensors_compared: int
    languages_compared: tuple[str, ...]
    differences: tuple[str, ...]


@own_global_state()
def verify_part(part: Path, whole: Checkpoint, languages: Sequence[str]) -> PartVerification:
    """Compare a checkpoint with the one that it was made from by leaving out languages.

    Args:
        part: The folder of the checkpoint with fewer languages.
        whole: The one that it was made from.
        languages: The languages that the part must have, in their order.

    Raises:
        ModelError: The part cannot be opened.
    """
    less = open_checkpoint(part)
    findings = Findings()
    if less.languages != list(languages):
        findings.differences.append(f"Its languages are {', '.join(less.languages)}.")
    changeable = {"languages", "default_language", "architectures"}
    for field in sorted((less.config.keys() | whole.config.keys()) - changeable):
        if less.config.get(field) != whole.config.get(field):
            findings.differences.append(f"config.json: {field} differs.")
    num_compared = _compare_tensors(less, whole, findings)
    compare_tokenizers(whole.path, part, findings)
    # The tokenizer was just found to be the whole's.
    findings.differences += loading_faults(part, with_tokenizer=False)
    logits = compare_logits(whole, less, less.languages, findings)
    return PartVerification(
        tensors_compared=num_compared,
        languages_compared=logits.compared,
        differences=tuple(findings.differences),
    )


def require_part(part: Path, whole: Checkpoint, languages: Sequence[str]) -> PartVerification:
    """Compare a checkpoint that was just written with the one that it was made from.

    Raises:
        CheckFailedError: It differs in more than the languages that were left out.
    """
    try:
        proof = verify_part(part, whole, languages)
        differences = proof.differences
    except ModelError as error:
        differences = (error.message,)
    if differences:
        raise CheckFailedError(
            f"The checkpoint that was written differs in more than the languages that were left "
            f"out: {'; '.join(differences[:3])}; it was removed.",
            hint="The disk may be damaged; please report it if it happens again.",
        )
    return proof


def _compare_tensors(less: Checkpoint, whole: Checkpoint, findings: Findings) -> int:
    stored = whole.weights.by_name
    for name in stored:
        match = ADAPTER_NAME.fullmatch(name)
        is_left_out = match is not None and match["language"] not in less.languages
        if name not in less.weights.by_name and name not in TIED_NAMES and not is_left_out:
            findings.differences.append(f"{name} is missing.")
    names = [name for name in less.names() if name in stored]
    findings.differences += [f"{name} is new." for name in less.names() if name not in stored]
    with ThreadPoolExecutor(2) as pool:
        are_same = pool.map(lambda name: same_tensor(name, less, stored[name]), names)
    findings.differences.extend(
        f"{name} has other values, or another type or shape."
        for name, is_same in zip(names, are_same, strict=True)
        if not is_same
    )
    return len(names)
