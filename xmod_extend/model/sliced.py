"""What a slice on the disk holds: some languages of a checkpoint, in one file and in any order.

    config.json            the checkpoint's, with these languages
    model.safetensors      the shared weights and these languages' adapters
    slice.json             what it was made from, and the ids before and after
    run.json, ...          records, figures and reports of those that were added

All else that belongs to the checkpoint, such as its tokenizer and its license, comes along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.errors import ModelError
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.config import CONFIG_NAME, read_json_object
from xmod_extend.model.config_text import edit_config
from xmod_extend.model.extension import check_default
from xmod_extend.model.names import ADAPTER_NAME, TIED_NAMES
from xmod_extend.model.shards import TensorShard, bind
from xmod_extend.model.tensors import source_of
from xmod_extend.model.weights import SINGLE_NAME
from xmod_extend.model.writer import CheckpointContents

SLICE_NAME = "slice.json"
SLICE_SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SliceNote:
    """What a slice says of itself.

    Attributes:
        source: The checkpoint that it was made from: a Hub id, or a folder's name without its path.
        revision: The commit on the Hub.
        source_languages: How many languages that had.
        ids: Code -> its id there and its id here.
    """

    source: str
    revision: str | None
    source_languages: int
    ids: Mapping[str, tuple[int, int]]

    def to_json(self) -> str:
        """Return the text of slice.json."""
        note = {
            "schema_version": SLICE_SCHEMA_VERSION,
            "source": self.source,
            "revision": self.revision,
            "source_languages": self.source_languages,
            "ids": {code: {"was": old, "is": new} for code, (old, new) in self.ids.items()},
        }
        return json.dumps(note, indent=2, ensure_ascii=False) + "\n"


def sliced_contents(
    checkpoint: Checkpoint,
    languages: Sequence[str],
    *,
    companions: Mapping[str, Path],
    documents: Sequence[str] = (),
    default_language: str | None = None,
) -> CheckpointContents:
    """Return what a checkpoint with some of its languages holds, and nothing else changed.

    Args:
        languages: Codes of the checkpoint, which get their ids in this order.
        companions: Names of files that come along, and where they are.
        documents: Names of further texts, beside slice.json.
        default_language: None keeps the checkpoint's, if it is one of the languages.

    Raises:
        LanguageError: The default is none of the languages.
    """
    sources = {
        name: source_of(file, name)
        for name, file in checkpoint.weights.by_name.items()
        if name not in TIED_NAMES and _is_kept(name, languages)
    }
    return CheckpointContents(
        weight_map=bind(TensorShard(SINGLE_NAME, sources)),
        config=_config(checkpoint, languages, default_language),
        companions=companions,
        documents=[SLICE_NAME, *documents],
        sources=[checkpoint.path],
    )


def sliced_default(
    checkpoint: Checkpoint, languages: Sequence[str], default_language: str | None
) -> str | None:
    """Return the default language of a slice.

    Raises:
        LanguageError: One was asked for that is none of the languages.
    """
    if default_language is not None:
        check_default(default_language, languages)
        return default_language
    old = checkpoint.config.get("default_language")
    return old if old in languages else None


def read_slice_note(folder: Path) -> str | None:
    """Return the name of the checkpoint that a folder says it is a slice of; None if it is none."""
    file = folder / SLICE_NAME
    try:
        source = read_json_object(file).get("source") if file.is_file() else None
    except ModelError:
        return None
    return source[:200] if isinstance(source, str) else None


def _is_kept(name: str, languages: Sequence[str]) -> bool:
    match = ADAPTER_NAME.fullmatch(name)
    return match is None or match["language"] in languages


def _config(checkpoint: Checkpoint, languages: Sequence[str], default_language: str | None) -> str:
    changes: dict[str, Any] = {"languages": list(languages)}
    if "architectures" not in checkpoint.config:
        changes["architectures"] = ["XmodForMaskedLM"]
    default = sliced_default(checkpoint, languages, default_language)
    if default != checkpoint.config.get("default_language"):
        changes["default_language"] = default
    text = (checkpoint.path / CONFIG_NAME).read_text(encoding="utf-8")
    return edit_config(text, changes)
