"""The proof that an extended checkpoint is its base with more languages, and nothing else.

Three comparisons, each of which finds what the others cannot:

    tensors   every tensor of the base is in the checkpoint, byte for byte
    config    every field means the same, and `languages` begins with the base's, in its order
    logits    each of the base's languages gives the same logits, bit for bit, on a fixed probe
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xmod_extend.arguments import MOST_SHOWN, PathOrName, as_names, as_path_or_name
from xmod_extend.errors import LanguageError, ModelError
from xmod_extend.evaluation.logits import logits_digests
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.config import config_languages, longest_input, read_config
from xmod_extend.model.extension import describe_default
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.info import recorded_base
from xmod_extend.model.names import ADAPTER_NAME, TIED_NAMES
from xmod_extend.model.sliced import read_slice_note
from xmod_extend.model.tensors import TensorFile
from xmod_extend.model.upstream import make_xmod_config
from xmod_extend.model.weights import Weights, open_weights
from xmod_extend.tokens.tokenizer import find_tokenizer_files

if TYPE_CHECKING:
    import numpy.typing as npt

MEANINGLESS_FIELDS = (
    "transformers_version",
    "_name_or_path",
    "_commit_hash",
    "architectures",
    "use_cache",
)
"""Fields of config.json that change nothing of what a masked language model computes."""

PROBE_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of comparing a checkpoint with its base.

    Attributes:
        tensors_compared: The base's tensors that were looked for in the checkpoint.
        tensors_identical: Those of them that are there with the same bytes.
        added_languages: Codes that the base does not have, in order.
        languages_compared: The base's languages whose logits were compared.
        languages_identical: Those of them whose logits are the same, bit for bit.
        differences: One sentence each; empty if nothing but the added languages differs.
        ignored: What differs in the files and changes nothing that the model computes.
        probe_sha256: Hash of the token ids that the logits were computed on.
    """

    checkpoint: str
    base: str
    tensors_compared: int
    tensors_identical: int
    added_languages: tuple[str, ...]
    languages_compared: tuple[str, ...]
    languages_identical: tuple[str, ...]
    differences: tuple[str, ...]
    ignored: tuple[str, ...]
    probe_sha256: str | None
    seconds: float

    @property
    def identical(self) -> bool:
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold, the verdict first."""
        return {"identical": self.identical, **dataclasses.asdict(self)}


class Findings:
    """Sentences of the comparisons about what differs."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.ignored: list[str] = []


@dataclass(frozen=True, kw_only=True)
class LogitsResult:
    """Languages by the comparison of their logits, and the hash of the probe."""

    compared: tuple[str, ...]
    identical: tuple[str, ...]
    probe_sha256: str


@own_global_state()
def verify_checkpoint(
    checkpoint: PathOrName,
    base: PathOrName | None = None,
    *,
    languages: str | Sequence[str] | None = None,
) -> Verification:
    """Compare a checkpoint with the base it was made from; differences are found, not raised.

    Holds one tensor of each side at a time, and then one slice.

    Args:
        checkpoint: A folder, or a Hub id.
        base: A folder, a Hub id or `tiny`, as for `add_language`; by default the one that the
            checkpoint's run.json names.
        languages: Languages of the base whose logits are compared; all by default.

    Raises:
        ModelError: The base is not an X-MOD, or the checkpoint's config or weights cannot be read.
        LanguageError: One of `languages` is not the base's.
        HubError: One of the two cannot be had from the Hub.
    """
    started = time.perf_counter()
    extended = resolve_base(as_path_or_name("checkpoint", checkpoint))
    named = None if base is None else resolve_base(as_path_or_name("base", base))
    checkpoint = extended.fetch()
    before = _open_base(named, checkpoint)
    chosen = _choose_languages(before, languages)
    config, weights = read_config(checkpoint), open_weights(checkpoint)
    findings = Findings()
    added = _compare_config(before, checkpoint, config, findings)
    num_compared, num_identical = _compare_tensors(
        before, weights, config_languages(config), findings
    )
    compare_tokenizers(before.path, checkpoint, findings)
    logits = None
    after = _open_to_compare(checkpoint, findings)
    if after is not None:
        check_finite(after, added, findings)
        logits = compare_logits(before, after, chosen, findings)
    return Verification(
        checkpoint=str(checkpoint),
        base=str(before.path),
        tensors_compared=num_compared,
        tensors_identical=num_identical,
        added_languages=tuple(added),
        languages_compared=logits.compared if logits else (),
        languages_identical=logits.identical if logits else (),
        differences=tuple(findings.differences),
        ignored=tuple(findings.ignored),
        probe_sha256=logits.probe_sha256 if logits else None,
        seconds=time.perf_counter() - started,
    )


def _open_base(named: BaseReference | None, checkpoint: Path) -> Checkpoint:
    """Open a base, or the one that the checkpoint's run.json names."""
    return open_checkpoint((named or recorded_base(checkpoint)).fetch())


def _choose_languages(base: Checkpoint, languages: str | Sequence[str] | None) -> Sequence[str]:
    """Return the languages whose logits are compared, after checking that the base has them."""
    if languages is None:
        return base.languages
    chosen = as_names("languages", languages)
    unknown = [code for code in chosen if code not in base.languages]
    if unknown:
        raise LanguageError(
            f"{base.path} has no language {unknown[0]}.", hint="See its languages with `info`."
        )
    return chosen


def _open_to_compare(checkpoint: Path, findings: Findings) -> Checkpoint | None:
    """Open the checkpoint, or note as a difference that it cannot compute logits."""
    try:
        return open_checkpoint(checkpoint)
    except ModelError as error:
        findings.differences.append(error.message)
        return None


def _compare_config(
    base: Checkpoint, checkpoint: Path, config: dict[str, Any], findings: Findings
) -> list[str]:
    """Compare every field, and return the languages that were added."""
    languages = config_languages(config)
    lost = [code for code in base.languages if code not in languages]
    source = read_slice_note(checkpoint)
    if lost and source is not None:
        findings.differences.append(
            f"This is a slice of {source}, without {len(lost)} of the base's "
            f"{len(base.languages)} languages, so it cannot equal the base; it was compared with "
            f"{source} when it was made. Left out: {', '.join(lost)}."
        )
    elif lost:
        findings.differences.append(f"config.json: languages were lost: {', '.join(lost)}.")
    elif languages[: len(base.languages)] != base.languages:
        findings.differences.append(
            "config.json: `languages` does not begin with the base's in their order, "
            "which changes what their ids mean."
        )
    # Upstream's reading of a field counts: a default that is spelled out changes nothing.
    meant_before = base.xmod_config(languages=["one"]).to_dict()
    meant_after = make_xmod_config(config, languages=["one"]).to_dict()
    for field in sorted((base.config.keys() | config.keys()) - {"languages"}):
        old, new = base.config.get(field), config.get(field)
        if old == new:
            continue
        change = f"config.json: {field} was {_json(old)} and is {_json(new)}."
        if field == "default_language":
            change = f"config.json: {describe_default(old, new)}"
        meant = "dtype" if field == "torch_dtype" else field
        same_meaning = field != "default_language" and meant_before.get(meant) == meant_after.get(
            meant
        )
        ignore = field in MEANINGLESS_FIELDS or same_meaning
        (findings.ignored if ignore else findings.differences).append(change)
    return [code for code in languages if code not in base.languages]


def _json(value: object) -> str:
    """Return a field's value as config.json spells it, and not all of a long one."""
    text = json.dumps(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _compare_tensors(
    base: Checkpoint, weights: Weights, languages: Sequence[str], findings: Findings
) -> tuple[int, int]:
    """Return the number of tensors that were compared, and of those that are identical.

    Args:
        languages: The checkpoint's. Those of the base that are not among them are one difference,
            not one for each tensor.
    """
    stored, in_base = weights.by_name, set(base.names())
    added, left_out = set(languages) - set(base.languages), set(base.languages) - set(languages)
    for name in stored:
        if name not in in_base and not _is_of(name, added):
            if name in TIED_NAMES:
                # Opening the checkpoint compares it with the tensor that it is tied to.
                findings.ignored.append(f"{name} is stored, another name of a tied weight.")
            else:
                findings.differences.append(f"{name} is not in the base.")
    names = []
    for name in base.names():
        if name in stored:
            names.append(name)
        elif name in TIED_NAMES:
            findings.ignored.append(f"{name} is not stored a second time.")
        elif not _is_of(name, left_out):
            findings.differences.append(f"{name} is missing.")
    num_absent = sum(name not in stored and name not in TIED_NAMES for name in in_base)
    # Reading and comparing release Python's lock, so two threads are faster than one.
    with ThreadPoolExecutor(2) as pool:
        are_same = list(pool.map(lambda name: same_tensor(name, base, stored[name]), names))
    findings.differences.extend(
        f"{name} has other values, or another type or shape."
        for name, is_same in zip(names, are_same, strict=True)
        if not is_same
    )
    return len(names) + num_absent, sum(are_same)


def _is_of(name: str, languages: Collection[str]) -> bool:
    """Return whether a tensor belongs to one of the languages."""
    match = ADAPTER_NAME.fullmatch(name)
    return match is not None and match["language"] in languages


def same_tensor(name: str, base: Checkpoint, file: TensorFile) -> bool:
    """Return whether type, shape and every byte are the same. Hashing would be slower."""
    if base.info(name) != file.info(name):
        return False
    return all(
        np.array_equal(_as_numbers(old), _as_numbers(new))
        for old, new in zip(base.iter_bytes(name), file.iter_bytes(name), strict=True)
    )


def _as_numbers(chunk: memoryview) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Return bytes as wide integers, which compare fast, and NaNs like any other bytes."""
    return np.frombuffer(chunk, np.uint64 if len(chunk) % 8 == 0 else np.uint8)


def check_finite(checkpoint: Checkpoint, added: Sequence[str], findings: Findings) -> None:
    """Find values of the added adapters that are not finite."""
    for code in added:
        not_finite = [
            name
            for name in checkpoint.adapter_names(code)
            if not bool(checkpoint.read(name).isfinite().all())
        ]
        if not_finite:
            findings.differences.append(f"{not_finite[0]} has values that are not finite.")


def compare_tokenizers(base: Path, checkpoint: Path, findings: Findings) -> None:
    """Compare the files of two tokenizers; another spacing of JSON is no difference."""
    old, new = _tokenizer_contents(base), _tokenizer_contents(checkpoint)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            findings.differences.append(f"The tokenizer's {name} is missing.")
        elif name not in old:
            findings.ignored.append(f"The tokenizer's {name} is not in the base.")
        elif old[name] != new[name]:
            findings.differences.append(f"The tokenizer's {name} has another content.")


def _tokenizer_contents(folder: Path) -> dict[str, str]:
    """Return the name of each tokenizer file and a hash of its content, without JSON's spaces."""
    contents = {}
    for file in find_tokenizer_files(folder):
        raw = file.read_bytes()
        if file.suffix == ".json":
            with contextlib.suppress(ValueError, RecursionError):
                raw = json.dumps(json.loads(raw)).encode()
        contents[file.name] = hashlib.sha256(raw).hexdigest()
    return contents


def probe_inputs(checkpoint: Checkpoint) -> dict[str, list[list[int]]]:
    """Return two sequences of random token ids, one of them padded, as inputs of a model."""
    import torch

    config = checkpoint.xmod_config()
    length = min(PROBE_TOKENS, longest_input(config.to_dict()) or 1)
    generator = torch.Generator().manual_seed(config.vocab_size)
    ids = torch.randint(0, config.vocab_size, (2, length), generator=generator)
    pad = config.pad_token_id
    assert pad is not None, "opening the checkpoint refuses it"
    # Padding is skipped when positions are counted, so it may not stand inside a sequence.
    ids[ids == pad] = (pad + 1) % config.vocab_size
    mask = torch.ones_like(ids)
    ids[1, length // 2 :], mask[1, length // 2 :] = pad, 0
    return {"input_ids": ids.tolist(), "attention_mask": mask.tolist()}


def compare_logits(
    base: Checkpoint, checkpoint: Checkpoint, languages: Sequence[str], findings: Findings
) -> LogitsResult:
    """Compare the logits of those languages that the checkpoint has."""
    compared = tuple(code for code in languages if code in checkpoint.languages)
    probe = probe_inputs(base)
    old = logits_digests(base, compared, probe)
    new = logits_digests(checkpoint, compared, probe)
    for code in compared:
        if old[code] != new[code]:
            findings.differences.append(f"{code} gives other logits.")
    return LogitsResult(
        compared=compared,
        identical=tuple(code for code in compared if old[code] == new[code]),
        probe_sha256=hashlib.sha256(json.dumps(probe).encode()).hexdigest(),
    )
