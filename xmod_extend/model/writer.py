"""Writing a checkpoint: whole and verified, or not there.

    config.json                      as it is given
    *.safetensors                    the shards: files taken over, or tensors
    model.safetensors.index.json     binds them; a file that is alone needs none
    tokenizer.json, LICENSE, ...     companions: files that are copied
    README.md, run.json, ...         documents: texts that tell of the checkpoint, written last

What is in it is the caller's list (`CheckpointContents`); nothing here knows what it is for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import ModelError
from xmod_extend.files.atomic import OutputError
from xmod_extend.files.copying import copy_file
from xmod_extend.files.output_folder import check_target, check_writable
from xmod_extend.files.verified_folder import (
    Verified,
    check_apart,
    write_text,
    write_verified_folder,
)
from xmod_extend.model.config import CONFIG_NAME
from xmod_extend.model.shards import FileShard, Shard, list_shards
from xmod_extend.model.upstream import make_xmod_config
from xmod_extend.model.validation import check_shapes, expected_shapes
from xmod_extend.model.weights import INDEX_NAME, SINGLE_NAME

SLACK_BYTES = 32 * 1024 * 1024
"""Room for the tokenizer, the record and the report."""


@dataclass(frozen=True, kw_only=True)
class CheckpointContents:
    """All that a checkpoint is to hold.

    Attributes:
        weight_map: The name of each tensor, in the order of the index, and the shard that it is
            bound to. `bind` makes one of a list of shards.
        config: The text of config.json.
        companions: Names of files to copy, and where they are now.
        documents: Names of the texts that are written when all else is verified.
        sources: Folders that any of this comes from. The output may not touch them.
    """

    weight_map: Mapping[str, Shard]
    config: str
    companions: Mapping[str, Path]
    documents: Sequence[str] = ()
    sources: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class OutputPlan:
    """Where the output goes and what it takes; made before training, so that nothing is in vain.

    Attributes:
        needed_bytes: Room that is needed at most until it is written, beside what is there
            already. Files whose blocks can be shared need none.
        free_bytes: Room that there is, on the output's disk.
        replaces: Whether a checkpoint that is there now will be replaced.
    """

    output: Path
    needed_bytes: int
    free_bytes: int
    replaces: bool


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """What the disk must hold besides the output.

    Attributes:
        folder: Where.
        before_bytes: Until the output is written, at most.
        writing_bytes: While it is written.
    """

    folder: Path
    before_bytes: int
    writing_bytes: int


def check_output(
    output: Path, *, force: bool, source: Path | None = None, needed_bytes: int = 0
) -> None:
    """Check that an output may and can be written, as far as it is known without its contents.

    Args:
        source: A folder that the output will be made from, if it is known.
        needed_bytes: Room that it takes on the disk, if it is known.

    Raises:
        UsageError: It may not or cannot.
    """
    if source is not None:
        check_apart(source, output)
    check_target(output, force=force)
    _check_room(output, check_writable(output), needed_bytes)


def plan_output(
    output: Path, contents: CheckpointContents, *, force: bool, others: DiskUse | None = None
) -> OutputPlan:
    """Find out before the work whether the output can be written after it.

    Args:
        contents: What will be written; of tensors that are not there yet, only their sizes count.
        others: What the work keeps on the disk until then.

    Raises:
        UsageError: It cannot: the folder is taken, lies in a source, or cannot be written, or the
            disk has too little room.
        ModelError: The contents contradict each other, or a file of them cannot be read.
    """
    for source in contents.sources:
        check_apart(source, output)
    _file_names(contents)
    shards = list_shards(contents.weight_map)
    check_target(output, force=force)
    parent = check_writable(output)
    needed = SLACK_BYTES + sum(shard.needed_bytes(parent) for shard in shards)
    if others is not None:
        needed = _add_others(needed, others, parent)
    return OutputPlan(
        output=output,
        needed_bytes=needed,
        free_bytes=_check_room(output, parent, needed),
        replaces=output.expanduser().exists(),
    )


def write_checkpoint(
    output: Path,
    contents: CheckpointContents,
    *,
    verify: Callable[[Path], Verified],
    documents: Callable[[Verified], Mapping[str, str]] = lambda _: {},
    force: bool = False,
) -> Verified:
    """Write a checkpoint; nothing is seen at `output` until all is written and verified.

    Args:
        verify: Called with the finished folder before it gets its name; an error that it raises
            is raised, and the folder is removed.
        documents: Makes the texts of the checkpoint's documents from what `verify` returned.
        force: Replace a checkpoint that is there.

    Returns:
        What `verify` returned.

    Raises:
        ModelError: The contents contradict each other, or a file of them cannot be read.
        UsageError: The output cannot be written; what was there before is left as it was.
    """
    names = _file_names(contents)
    shards = list_shards(contents.weight_map)
    index = _index(contents)

    def write(folder: Path) -> None:
        _write_shards(folder, shards)
        if not _is_single_file(contents):
            write_text(folder / INDEX_NAME, index)
        write_text(folder / CONFIG_NAME, contents.config)
        _copy_companions(folder, contents.companions)

    return write_verified_folder(
        output,
        names=names,
        write=write,
        verify=verify,
        documents=documents,
        sources=contents.sources,
        force=force,
    )


def _file_names(contents: CheckpointContents) -> set[str]:
    """Return the names of all files, no two of which may be the same."""
    shards = list(dict.fromkeys(contents.weight_map.values()))
    copied = {shard.name: shard.file.path for shard in shards if isinstance(shard, FileShard)}
    copied |= contents.companions
    names = [CONFIG_NAME, *contents.documents, *contents.companions]
    names += [shard.name for shard in shards]
    if not _is_single_file(contents):
        names.append(INDEX_NAME)
    for name, count in Counter(names).items():
        if count > 1:
            raise ModelError(
                f"{copied[name].parent.name} has a file named {name} already."
                if name in copied
                else f"Two files of the output would be named {name}.",
                hint="Rename or remove that file, or choose another name for the new one.",
            )
    for file in contents.companions.values():
        if not os.access(file, os.R_OK):
            raise ModelError(
                f"{file} cannot be read: permission is denied.", hint="Allow yourself to read it."
            )
    return set(names)


def _is_single_file(contents: CheckpointContents) -> bool:
    """Return whether all tensors are in one file of the name that transformers looks for first."""
    shards = list(dict.fromkeys(contents.weight_map.values()))
    if all(shard.name != SINGLE_NAME for shard in shards):
        return False
    # No index beside it would be read.
    assert len(shards) == 1, f"{SINGLE_NAME} beside other shards"
    assert set(shards[0].tensors) == set(contents.weight_map), f"{SINGLE_NAME} has other tensors"
    return True


def _add_others(needed: int, others: DiskUse, parent: Path) -> int:
    """Return what the output's disk needs if it holds the others too; another disk is checked."""
    existing_bytes = sum(file.stat().st_size for file in others.folder.rglob("*") if file.is_file())
    disk = next(folder for folder in others.folder.parents if folder.exists())
    before, writing = others.before_bytes - existing_bytes, others.writing_bytes - existing_bytes
    if disk.stat().st_dev == parent.stat().st_dev:
        return max(needed + writing, before)
    _check_room(others.folder, disk, max(before, 0))
    return needed


def _check_room(path: Path, folder: Path, needed: int) -> int:
    """Return the free bytes on the disk of a folder, or refuse `path` if they are too few."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{path} needs {_megabytes(needed)}, and the disk has {_megabytes(free)} free.",
            hint="Free some space, or choose a folder on another disk.",
            remedy="Free some space",
        )
    return free


def _index(contents: CheckpointContents) -> str:
    """Return the text of the index, after checking that the config describes just these tensors."""
    infos = {name: shard.info(name) for name, shard in contents.weight_map.items()}
    config = make_xmod_config(json.loads(contents.config))
    expected = expected_shapes(config)
    check_shapes(infos, expected, config)
    index = {
        "metadata": {
            # A checkpoint may hold more than the model, such as a pooler.
            "total_parameters": sum(infos[name].num_elements for name in expected),
            "total_size": sum(info.num_bytes for info in infos.values()),
        },
        "weight_map": {name: shard.name for name, shard in contents.weight_map.items()},
    }
    return json.dumps(index, indent=2) + "\n"


def _write_shards(folder: Path, shards: Sequence[Shard]) -> None:
    for shard in shards:
        shard.write(folder / shard.name)


def _copy_companions(folder: Path, companions: Mapping[str, Path]) -> None:
    for name, file in companions.items():
        copy_file(file, folder / name)


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.0f} MB"
