"""Writing an extended checkpoint: the base's own bytes, and one more file.

    config.json                      the base's, with the new codes at the end of `languages`
    model-base.safetensors           the base's model.safetensors, byte for byte
    model-CODE.safetensors           a new language's adapter, one such file per added language
    model.safetensors.index.json     binds them

transformers prefers a file named exactly `model.safetensors` to an index, so the output never holds
one. A base in PyTorch's own format is converted tensor by tensor.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmod_extend.errors import LanguageError, ModelError, UsageError
from xmod_extend.files.atomic import OutputError
from xmod_extend.files.folders import (
    can_clone,
    check_target,
    check_writable,
    copy_file,
    new_folder,
)
from xmod_extend.files.run_folder import METRICS_NAME
from xmod_extend.model.base import DOCUMENT_PATTERNS
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.folder import CONFIG_NAME
from xmod_extend.model.tensors import (
    ITEM_BYTES,
    TensorInfo,
    tensor_bytes,
    tensor_info,
    torch_dtype,
    write_safetensors,
)
from xmod_extend.model.torch_files import TIED_NAMES
from xmod_extend.tokens.tokenizer import TOKENIZER_PATTERNS

if TYPE_CHECKING:
    import torch

BASE_SHARD = "model-base.safetensors"
INDEX_NAME = "model.safetensors.index.json"
RECORD_NAME = "run.json"
CARD_NAME = "README.md"

SLACK_BYTES = 32 * 1024 * 1024
"""Room for the tokenizer, the record and the report."""


@dataclass(frozen=True, kw_only=True)
class OutputPlan:
    """Where the output goes and what it takes; made before training, so that nothing is in vain.

    Attributes:
        needed_bytes: Room that training and writing need at most, but for what is there already.
            Without the base where its blocks can be shared.
        free_bytes: Room that there is, on the output's disk.
        replaces: Whether a checkpoint that is there now will be replaced.
    """

    output: Path
    languages: tuple[str, ...]
    needed_bytes: int
    free_bytes: int
    replaces: bool


@dataclass(frozen=True, kw_only=True)
class StatesPlan:
    """What a run keeps on the disk besides its output.

    Attributes:
        folder: Where.
        training_bytes: While it trains, at most.
        writing_bytes: While the output is written.
    """

    folder: Path
    training_bytes: int
    writing_bytes: int


def check_output(output: Path, *, force: bool, base: Path | None = None) -> None:
    """What can be known of an output before the base is there: that it may and can be written.

    Args:
        base: The base's folder, if it is one.

    Raises:
        UsageError: It may not or cannot.
    """
    if base is not None:
        _check_apart(base, output)
    check_target(output, force=force)
    check_writable(output)


def plan_output(
    base: Checkpoint,
    output: Path,
    *,
    languages: Sequence[str],
    force: bool,
    states: StatesPlan | None = None,
) -> OutputPlan:
    """Find out before training whether the output can be written after it.

    Args:
        states: What the run keeps until then.

    Raises:
        UsageError: It cannot: the folder is taken, lies in the base, or cannot be written, or the
            disk has too little room.
        LanguageError: The base has one of the languages already.
        ModelError: The base has a file whose name an added language's would need, or one that
            cannot be read.
    """
    _check_new(base, languages)
    _check_apart(base.path, output)
    _plan_names(base, languages)
    check_target(output, force=force)
    parent = check_writable(output)
    shared = all(file.suffix == ".safetensors" for file in base.files) and all(
        can_clone(file, parent) for file in base.files
    )
    adapter_bytes = sum(base.info(name).num_bytes for name in base.adapter_names(base.languages[0]))
    written = len(languages) * adapter_bytes + SLACK_BYTES + (0 if shared else base.num_bytes)
    needed = written
    if states is not None:
        there = sum(file.stat().st_size for file in states.folder.rglob("*") if file.is_file())
        home = next(folder for folder in states.folder.parents if folder.exists())
        training, writing = states.training_bytes - there, states.writing_bytes - there
        if home.stat().st_dev == parent.stat().st_dev:
            needed = max(written + writing, training)
        else:
            _check_room(states.folder, home, max(training, 0))
    free = _check_room(output, parent, needed)
    return OutputPlan(
        output=output,
        languages=tuple(languages),
        needed_bytes=needed,
        free_bytes=free,
        replaces=output.expanduser().exists(),
    )


def write_extended(
    base: Checkpoint,
    output: Path,
    *,
    adapters: Mapping[str, Mapping[str, torch.Tensor]],
    documents: Mapping[str, str] | Callable[[Path], Mapping[str, str]],
    tokenizer_files: Sequence[Path] = (),
    force: bool = False,
) -> list[Path]:
    """Write the base with more languages; nothing is seen at `output` until all is written.

    Args:
        adapters: Each new language's tensors under their names in a checkpoint, as
            `base.adapter_names(language)` lists them. They are stored in the base's dtype; the
            languages get their ids in this order.
        documents: File name -> text of what is written beside the weights (run.json, README.md); or
            a function that returns it, called with the finished folder before it gets its name, so
            that what it checks and refuses never appears at `output`.
        tokenizer_files: The tokenizer to store. By default the base's own files.
        force: Replace a checkpoint that is there.

    Returns:
        The files of the output.

    Raises:
        ModelError: An adapter is not one for this base, or has values that are no numbers.
        UsageError: The output cannot be written; what was there before is left as it was.
    """
    _check_new(base, list(adapters))
    _check_apart(base.path, output)
    names = _plan_names(base, list(adapters), tokenizer_files)
    if not callable(documents):
        names |= set(documents)
    stored = {code: _stored_adapter(base, code, adapter) for code, adapter in adapters.items()}
    with new_folder(output, names=names, force=force) as folder:
        weight_map = _write_base_shards(base, folder)
        for code, tensors in stored.items():
            weight_map |= _write_adapter_shard(folder, code, tensors)
        added = {name: tensor for tensors in stored.values() for name, tensor in tensors.items()}
        _write_index(base, folder, weight_map, added)
        _write_text(folder / CONFIG_NAME, extended_config(base, list(adapters)))
        _copy_companions(base, folder, tokenizer_files)
        texts = documents(folder) if callable(documents) else documents
        for name, text in texts.items():
            _write_text(folder / name, text)
    return sorted(output.iterdir())


def document_names(languages: Sequence[str]) -> list[str]:
    """Return the files that tell of added languages: a card, and of each a record and its
    figures."""
    earlier = [
        earlier_name(name, code) for code in languages[:-1] for name in (RECORD_NAME, METRICS_NAME)
    ]
    return [CARD_NAME, RECORD_NAME, METRICS_NAME, *earlier]


def _plan_names(
    base: Checkpoint, languages: Sequence[str], tokenizer_files: Sequence[Path] = ()
) -> set[str]:
    """Return the names of all files of the output, no two of which may be the same."""
    new = [_shard_name(code) for code in languages] + document_names(languages)
    for name in [*_base_shards(base).values(), *_companions(base, tokenizer_files)]:
        if name in new:
            raise ModelError(
                f"The base has a file named {name} already.",
                hint="Choose another language code, or a base without that file.",
            )
        new.append(name)
    for file in _companions(base, tokenizer_files).values():
        if not os.access(file, os.R_OK):
            raise ModelError(
                f"{file} cannot be read: permission is denied.", hint="Allow yourself to read it."
            )
    return {*new, INDEX_NAME, CONFIG_NAME}


def _check_room(place: Path, folder: Path, needed: int) -> int:
    """Refuse what the disk of a folder has too little room for; returns the free bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{place} needs {_megabytes(needed)}, and the disk has {_megabytes(free)} free.",
            hint="Free some space, or choose a folder on another disk.",
            remedy="Free some space",
        )
    return free


def _check_new(base: Checkpoint, languages: Sequence[str]) -> None:
    for language in languages:
        if language in base.languages:
            raise LanguageError(
                f"{base.path.name} has {language} already.",
                hint="Choose another code, or another base.",
            )


def _check_apart(base: Path, output: Path) -> None:
    """The base is only ever read: the output may be neither it, nor in it, nor around it."""
    inner, outer = output.expanduser().resolve(), base.expanduser().resolve()
    if inner == outer:
        raise UsageError(
            f"{output} is the base itself, which is never changed.", hint="Choose another folder."
        )
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        place = "lies in the base's folder" if inner.is_relative_to(outer) else "holds the base"
        raise UsageError(f"{output} {place}.", hint="Choose a folder beside it.")


def _stored_adapter(
    base: Checkpoint, language: str, adapter: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the adapter in upstream's order and the base's dtype, after checking that it
    is whole."""
    template = base.adapter_names(base.languages[0])
    shapes = {
        name: base.info(known).shape
        for name, known in zip(base.adapter_names(language), template, strict=True)
    }
    if set(adapter) != set(shapes):
        odd = sorted(set(adapter) ^ set(shapes))
        raise ModelError(
            f"The adapter of {language} is not one of this base: {len(odd)} names differ, "
            f"such as {odd[0]}.",
            hint="It must have one bottleneck for each layer.",
        )
    dtype = torch_dtype(base.adapter_dtype)
    stored = {}
    for name, shape in shapes.items():
        if tuple(adapter[name].shape) != shape:
            raise ModelError(
                f"{name} has the shape {tuple(adapter[name].shape)} where the base has {shape}.",
                hint="The adapter was trained on another base.",
            )
        stored[name] = adapter[name].detach().to(device="cpu", dtype=dtype).contiguous()
        if not bool(stored[name].isfinite().all()):
            raise ModelError(
                f"{name} has values that are not finite in {base.adapter_dtype}.",
                hint="Training diverged: lower the learning rate.",
            )
    return stored


def _write_base_shards(base: Checkpoint, folder: Path) -> dict[str, str]:
    """Copy or converts the base's weights; returns tensor name -> file name."""
    if any(file.suffix != ".safetensors" for file in base.files):
        # A tied weight that a pickle stores twice is stored once, as safetensors' users expect.
        names = [name for name in base.names() if name not in TIED_NAMES]
        write_safetensors(
            folder / BASE_SHARD, ((name, base.info(name), base.iter_bytes(name)) for name in names)
        )
        return dict.fromkeys(names, BASE_SHARD)
    shard_of = _base_shards(base)
    for file, shard in shard_of.items():
        copy_file(file, folder / shard)
    return {name: shard_of[base.file_of(name)] for name in base.names()}


def _base_shards(base: Checkpoint) -> dict[Path, str]:
    """Return what each of the base's files of weights is called in the output."""
    if any(file.suffix != ".safetensors" for file in base.files):
        return dict.fromkeys(base.files[:1], BASE_SHARD)
    return {
        file: BASE_SHARD if file.name == "model.safetensors" else file.name for file in base.files
    }


def _shard_name(language: str) -> str:
    return f"model-{language}.safetensors"


def _write_adapter_shard(
    folder: Path, language: str, stored: Mapping[str, torch.Tensor]
) -> dict[str, str]:
    shard = _shard_name(language)
    entries: Iterator[tuple[str, TensorInfo, list[memoryview]]] = (
        (name, tensor_info(tensor), [tensor_bytes(tensor)]) for name, tensor in stored.items()
    )
    write_safetensors(folder / shard, entries)
    return dict.fromkeys(stored, shard)


def _write_index(
    base: Checkpoint,
    folder: Path,
    weight_map: Mapping[str, str],
    stored: Mapping[str, torch.Tensor],
) -> None:
    infos = [
        tensor_info(stored[name]) if name in stored else base.info(name) for name in weight_map
    ]
    index = {
        "metadata": {
            "total_parameters": base.num_parameters + sum(t.numel() for t in stored.values()),
            "total_size": sum(info.num_elements * ITEM_BYTES[info.dtype] for info in infos),
        },
        "weight_map": dict(weight_map),
    }
    _write_text(folder / INDEX_NAME, json.dumps(index, indent=2) + "\n")


def extended_config(base: Checkpoint, languages: Sequence[str]) -> str:
    """Return the base's config.json with more codes, every other byte as it was where possible."""
    text = (base.path / CONFIG_NAME).read_text(encoding="utf-8")
    wanted = base.config | {"languages": [*base.languages, *languages]}
    wanted.setdefault("architectures", ["XmodForMaskedLM"])
    # The last element of the list, whatever white space stands before it, and the end of the list.
    edited = re.sub(
        r'("languages"\s*:\s*\[(?:\s*"[^"]*"\s*,)*)(\s*)("[^"]*")(\s*\])',
        lambda match: (
            f"{match[1]}{match[2]}{match[3]}"
            + "".join(f",{match[2] or ' '}{json.dumps(language)}" for language in languages)
            + match[4]
        ),
        text,
        count=1,
    )
    if json.loads(edited) == wanted:
        return edited
    indent = re.search(r"\n([ \t]+)", text)
    return json.dumps(wanted, indent=indent[1] if indent else None) + "\n"


def _copy_companions(base: Checkpoint, folder: Path, tokenizer_files: Sequence[Path]) -> None:
    for name, file in _companions(base, tokenizer_files).items():
        copy_file(file, folder / name)


def _companions(base: Checkpoint, tokenizer_files: Sequence[Path]) -> dict[str, Path]:
    """Return what belongs with the base's weights: its tokenizer, its terms, earlier records.

    run.json and metrics.jsonl always tell of the language that was added last, so the base's
    become run-CODE.json and metrics-CODE.jsonl, after the last of its languages.
    """
    chosen: dict[str, Path] = {}
    patterns = DOCUMENT_PATTERNS if tokenizer_files else (*DOCUMENT_PATTERNS, *TOKENIZER_PATTERNS)
    for file in sorted(base.path.iterdir()):
        if not file.is_file() or not any(fnmatch.fnmatch(file.name, each) for each in patterns):
            continue
        name = file.name
        if name in (RECORD_NAME, METRICS_NAME):
            name = earlier_name(name, base.languages[-1])
        chosen.setdefault(name, file)
    return chosen | {file.name: file for file in tokenizer_files}


def earlier_name(name: str, language: str) -> str:
    """Return what a document of one language is called where a later language's has its name."""
    stem, suffix = name.rsplit(".", 1)
    return f"{stem}-{language}.{suffix}"


def _write_text(path: Path, text: str) -> None:
    # A path may hold bytes that are no UTF-8; JSON can spell what stands for them.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.0f} MB"
