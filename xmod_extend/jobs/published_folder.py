"""A folder that is to be published: what it is, and which of its files go to the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xmod_extend.errors import ModelError, UsageError
from xmod_extend.files.ownership import Files, checkpoint_files, is_as_written
from xmod_extend.hub.publish import OutgoingFile
from xmod_extend.jobs.push_options import What
from xmod_extend.model.base import choose_files
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.config import CONFIG_NAME
from xmod_extend.model.extension import CARD_NAME, RECORD_NAME
from xmod_extend.packs.description import DESCRIPTION_NAME
from xmod_extend.packs.pack import open_pack
from xmod_extend.report.record import RunRecord, read_record

WEIGHTS_SUFFIX = ".safetensors"
_EDITABLE = (CARD_NAME, "LICENSE", "NOTICE")
"""Beginnings of the names of files that are a person's to change."""


@dataclass(frozen=True, kw_only=True)
class PublishedFolder:
    """A checkpoint or a pack that is to be published.

    Attributes:
        files: What goes to the Hub, without the card.
        card: The text of README.md; None if there is none.
        name: What the card's code loads: the folder's name when it was written.
        languages: All that it has, in their order.
        added: Those that run records tell of.
        record: The newest run record, if there is one.
        notes: What is worth knowing, in sentences.
    """

    path: Path
    what: What
    files: tuple[OutgoingFile, ...]
    card: str | None
    name: str
    languages: tuple[str, ...]
    added: tuple[str, ...]
    record: RunRecord | None = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def base(self) -> str | None:
        """The base on the Hub, if the record names one."""
        base = None if self.record is None else self.record.base
        return None if base is None or base.commit is None else base.source


def inspect_folder(path: Path) -> PublishedFolder:
    """Return what a folder is and which of its files are published.

    Of a folder that the program wrote these are the files that it wrote; of another checkpoint its
    config, weights, tokenizer and documents. Hidden files never are.

    Raises:
        UsageError: There is no such folder, or weights in it were changed since they were written.
        ModelError: It is neither a checkpoint nor a pack, or is damaged.
    """
    if not path.is_dir():
        raise UsageError(
            f"{path} {'is a file, not a folder' if path.exists() else 'does not exist'}.",
            hint="Give the folder of a checkpoint or of a language pack.",
        )
    what: What = "pack" if _is_pack(path) else "full"
    languages, needed = _open_pack(path) if what == "pack" else _open_full(path)
    known = checkpoint_files(path)
    names = _chosen_names(path, known, what)
    if absent := sorted(needed - set(names)):
        raise UsageError(
            f"{path / absent[0]} belongs to it, but xmod-extend did not write it there.",
            hint="Write the checkpoint anew, or publish a folder that `save_pretrained` wrote.",
        )
    record = _record(path)
    files = tuple(OutgoingFile(name, path / name) for name in names if name != CARD_NAME)
    notes = _check_as_written(path, files, known, record)
    left_out = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.name not in names and not entry.name.startswith(".")
    )
    if left_out:
        notes.append(f"left out, for xmod-extend did not write it: {', '.join(left_out[:5])}")
    added = [file.name[4:-5] for file in files if file.name.startswith("run-")]
    return PublishedFolder(
        path=path,
        what=what,
        files=files,
        card=_card(path) if CARD_NAME in names else None,
        name=Path(record.output).name if record and record.output else path.resolve().name,
        languages=tuple(languages),
        added=(*added, *([record.language] if record else [])),
        record=record,
        notes=tuple(notes),
    )


def _is_pack(path: Path) -> bool:
    return (path / DESCRIPTION_NAME).is_file() and not (path / CONFIG_NAME).is_file()


def _open_full(path: Path) -> tuple[list[str], set[str]]:
    """Return a checkpoint's languages and the files that it needs; reads headers of weights."""
    checkpoint = open_checkpoint(path)
    if any(file.suffix != WEIGHTS_SUFFIX for file in checkpoint.files):
        raise ModelError(
            f"{path} stores its weights in PyTorch's pickle format, which is not published.",
            hint="Load it with transformers and store it with `save_pretrained`, or extend it.",
        )
    return checkpoint.languages, {CONFIG_NAME, *(file.name for file in checkpoint.files)}


def _open_pack(path: Path) -> tuple[list[str], set[str]]:
    """Return a pack's language and the files that it needs; reads the header of its weights."""
    description = open_pack(path).description
    return [description.language], {DESCRIPTION_NAME, description.weights_name}


def _chosen_names(path: Path, known: Files | None, what: What) -> list[str]:
    """Return the names of the files that are published."""
    present = [
        entry.name
        for entry in sorted(path.iterdir())
        if entry.is_file() and not entry.name.startswith(".") and _is_inside(path, entry)
    ]
    if known is not None:
        return [name for name in present if name in known]
    chosen = set(choose_files(present)) if what == "full" else {DESCRIPTION_NAME, RECORD_NAME}
    chosen.add(CARD_NAME)
    if what == "pack":
        chosen.update(name for name in present if name.endswith(WEIGHTS_SUFFIX))
    return [name for name in present if name in chosen]


def _is_inside(folder: Path, file: Path) -> bool:
    """Return whether a file lies where it seems to, or is a blob of the Hub's cache.

    A link to elsewhere would publish a file that nobody meant.
    """
    if not file.is_symlink():
        return True
    target, real = file.resolve(), folder.resolve()
    is_blob = real.parent.name == "snapshots" and target.parent == real.parent.parent / "blobs"
    return target.parent == real or is_blob


def _check_as_written(
    path: Path, files: Sequence[OutgoingFile], known: Files | None, record: RunRecord | None
) -> list[str]:
    """Refuse weights that were changed since they were written; return notes on other files."""
    notes = []
    for file in files:
        described = (known or {}).get(file.name, {})
        if is_as_written(path / file.name, described) or file.name.startswith(_EDITABLE):
            continue
        if not file.name.endswith(WEIGHTS_SUFFIX):
            notes.append(f"{file.name} was changed since it was written, and goes as it is now")
        elif not _is_known_copy(file, described, record):
            raise UsageError(
                f"{path / file.name} was changed since xmod-extend wrote it.",
                hint="Compare the checkpoint with its base: `xmod-extend verify`. Publish it as it "
                f"is after removing {path / '.xmod-extend.json'}.",
            )
    return notes


def _is_known_copy(
    file: OutgoingFile, described: Mapping[str, object], record: RunRecord | None
) -> bool:
    """Return whether only the time of a large file is another: the folder was copied.

    The base's files are known by their hashes from the run record.
    """
    if described.get("size") != file.size or "sha256" in described:
        return False
    hashes = set(record.base.files.values()) if record is not None else set()
    return not file.name.startswith("model-base") or not hashes or file.sha256 in hashes


def _record(path: Path) -> RunRecord | None:
    file = path / RECORD_NAME
    if not file.is_file():
        return None
    try:
        return read_record(file)
    except ModelError:
        return None


def _card(path: Path) -> str:
    try:
        return (path / CARD_NAME).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path / CARD_NAME} is not UTF-8.", hint="Save it as UTF-8, and try again."
        ) from error


def remote_languages(config: str | None) -> list[str] | None:
    """Return the languages that a config.json on the Hub lists; None if it is no X-MOD's."""
    try:
        values = json.loads(config or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("model_type") != "xmod":
        return None
    listed = values.get("languages", [values.get("language")])
    if not isinstance(listed, list) or not all(isinstance(code, str) for code in listed):
        return None
    return listed
