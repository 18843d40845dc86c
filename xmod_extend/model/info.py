"""The figures of a checkpoint, from its config, the headers of its weights and its records.

No weight is read and torch is not imported, except to open PyTorch's own `.bin` format.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.arguments import PathOrName, as_path_or_name, shown
from xmod_extend.errors import ModelError
from xmod_extend.model.base import BUNDLED, BaseReference, resolve_base
from xmod_extend.model.config import (
    config_languages,
    listed,
    longest_input,
    read_config,
    read_json_object,
)
from xmod_extend.model.extension import RECORD_NAME
from xmod_extend.model.names import ADAPTER_NAME, OLD_BUFFERS, TIED_NAMES
from xmod_extend.model.tensors import TORCH_NAMES, TensorInfo
from xmod_extend.model.weights import open_weights


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    name: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """An X-MOD's figures, all of them from what the files hold.

    Attributes:
        languages: Codes, where a code's position is its id.
        num_parameters: Shared weights and all languages, tied weights once.
        num_parameters_per_language: Parameters of one language adapter.
        dtypes: The weights' dtypes, the most common first, as config.json spells them.
        max_length: Tokens that the model can read at a time.
        has_lm_head: Whether it can be extended; an encoder alone cannot.
        records: The run records that lie beside the weights, by file name.
        notes: Sentences about contradictions in it.
    """

    path: str
    languages: tuple[str, ...]
    default_language: str | None
    num_parameters: int
    num_shared_parameters: int
    num_parameters_per_language: int
    num_bytes: int
    dtypes: tuple[str, ...]
    num_layers: int
    hidden_size: int
    vocab_size: int
    max_length: int
    pre_norm: bool
    has_lm_head: bool
    files: tuple[WeightsFile, ...]
    records: dict[str, dict[str, Any]]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as values that JSON can hold."""
        return dataclasses.asdict(self)


def describe(checkpoint: PathOrName) -> CheckpointInfo:
    """Describe any X-MOD, also one that cannot be extended: a folder, a Hub id or `tiny`.

    Raises:
        ModelError: It is not an X-MOD, or a file of it is missing or damaged.
    """
    path = resolve_base(as_path_or_name("checkpoint", checkpoint)).fetch()
    config = read_config(path)
    languages = config_languages(config)
    weights = open_weights(path)
    infos = {
        name: file.info(name)
        for name, file in weights.by_name.items()
        if name not in TIED_NAMES and not name.endswith(OLD_BUFFERS)
    }
    shared, by_language = _count_parameters(infos)
    dtypes: Counter[str] = Counter()
    for info in infos.values():
        dtypes[TORCH_NAMES[info.dtype]] += info.num_elements
    records, notes = _read_records(path)
    files = tuple(
        WeightsFile(name=file.path.name, num_bytes=file.path.stat().st_size)
        for file in weights.files
    )
    return CheckpointInfo(
        path=str(path),
        languages=tuple(languages),
        default_language=config.get("default_language"),
        num_parameters=shared + sum(by_language.values()),
        num_shared_parameters=shared,
        num_parameters_per_language=max(by_language.values(), default=0),
        num_bytes=sum(file.num_bytes for file in files),
        dtypes=tuple(dtype for dtype, _ in dtypes.most_common()),
        num_layers=_number(config, "num_hidden_layers", 12),
        hidden_size=_number(config, "hidden_size", 768),
        vocab_size=_number(config, "vocab_size", 30522),
        max_length=longest_input(
            config | {"max_position_embeddings": _number(config, "max_position_embeddings", 512)}
        )
        or 0,
        pre_norm=bool(config.get("pre_norm", False)),
        has_lm_head="lm_head.dense.weight" in infos,
        files=files,
        records=records,
        notes=(*_language_notes(languages, list(by_language)), *notes),
    )


def _count_parameters(infos: Mapping[str, TensorInfo]) -> tuple[int, Counter[str]]:
    """Return the number of shared parameters, and those of the languages by their codes."""
    shared = 0
    by_language: Counter[str] = Counter()
    for name, info in infos.items():
        match = ADAPTER_NAME.fullmatch(name)
        if match:
            by_language[match["language"]] += info.num_elements
        else:
            shared += info.num_elements
    return shared, by_language


def recorded_base(path: Path, *, revision: str | None = None) -> BaseReference:
    """Return the base of the language that was added last, as the checkpoint's run.json names it.

    Args:
        revision: The commit to use instead of the recorded one.

    Raises:
        ModelError: There is no such record, or the folder that it names is not here.
    """
    hint = "Name the base with --base."
    file = path / RECORD_NAME
    if not file.is_file():
        raise ModelError(f"{path} has no {RECORD_NAME} that names its base.", hint=hint)
    named = read_json_object(file).get("base")
    named = named if isinstance(named, dict) else {}
    source, commit = named.get("source"), named.get("commit")
    if not isinstance(source, str) or not isinstance(commit, str | None):
        raise ModelError(f"{RECORD_NAME} of {path} does not name a base.", hint=hint)
    # A base from the Hub has a commit; another one is a folder, or comes with this package.
    if commit is None and source != BUNDLED and not Path(source).expanduser().is_dir():
        raise ModelError(
            f"The base of {path} was the folder {source}, which does not exist here.", hint=hint
        )
    return resolve_base(source, revision=revision or commit)


def _number(config: dict[str, Any], field: str, upstream_default: int) -> int:
    value = config.get(field, upstream_default)
    if not isinstance(value, int):
        raise ModelError(
            f"config.json's {field} is {shown(value)}, which is not a number.",
            hint="Compare it with the config.json of facebook/xmod-base.",
        )
    return value


def _language_notes(expected: list[str], stored: list[str]) -> list[str]:
    notes = []
    if unlisted := sorted(set(stored) - set(expected)):
        notes.append(f"Adapters that config.json does not list: {listed(unlisted)}.")
    if absent := sorted(set(expected) - set(stored)):
        notes.append(f"Listed languages that have no adapter: {listed(absent)}.")
    return notes


def _read_records(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the run records, earlier ones first, and a note for each that cannot be read."""
    records: dict[str, dict[str, Any]] = {}
    notes = []
    for file in [*sorted(path.glob("run-*.json")), path / "run.json"]:
        if not file.is_file():
            continue
        try:
            records[file.name] = read_json_object(file)
        except ModelError as error:
            notes.append(error.message)
    return records, notes
