"""What an extended checkpoint holds: the base's own bytes, and one file for each new language.

config.json                      the base's, with the new codes at the end of `languages`
model-base.safetensors           the base's model.safetensors, byte for byte
model-CODE.safetensors           a new language's adapter
README.md, run.json, ...         the card; the record, the figures and the report of each language

All else that belongs to the base, such as its tokenizer and its license, comes along.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmod_extend.errors import LanguageError, ModelError
from xmod_extend.files.run_folder import METRICS_NAME
from xmod_extend.model.base import DOCUMENT_PATTERNS
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.config import CONFIG_NAME, read_json_object
from xmod_extend.model.config_text import edit_config
from xmod_extend.model.shards import Shard, TensorShard, bind, existing_shards
from xmod_extend.model.tensors import TensorInfo, TensorSource, source_in_memory, torch_dtype
from xmod_extend.model.writer import CheckpointContents
from xmod_extend.tokens.tokenizer import TOKENIZER_PATTERNS

if TYPE_CHECKING:
    import torch

RECORD_NAME = "run.json"
CARD_NAME = "README.md"
REPORT_NAME = "report.html"
LANGUAGE_DOCUMENTS = (RECORD_NAME, METRICS_NAME, REPORT_NAME)
"""Documents of the language that was added last; an earlier one has its code in their names."""

COMPANION_PATTERNS = (*DOCUMENT_PATTERNS, *TOKENIZER_PATTERNS)
"""Files that belong with the weights of a checkpoint, whatever is done to these."""

AdapterSources = Mapping[str, TensorSource]
"""One language's tensors under their names in a checkpoint."""


def extended_contents(
    base: Checkpoint,
    adapters: Mapping[str, AdapterSources | Shard],
    *,
    tokenizer_files: Sequence[Path] = (),
    default_language: str | None = None,
    documents: Sequence[str] | None = None,
) -> CheckpointContents:
    """Return what the base with more languages holds, and nothing else changed.

    Args:
        adapters: New code -> its adapter, from `planned_adapter` or `trained_adapter`, or the shard
            that has it. The languages get their ids in this order.
        tokenizer_files: The tokenizer to store. By default the base's own files.
        default_language: The language of inputs without `lang_ids`, if it is to change.
        documents: Names of the texts that will be written beside it; by default a card, and what
            there is of a language that was trained.

    Raises:
        LanguageError: The base has one of the languages already, or the default is none of them.
        ModelError: A companion of the base is a link out of its folder.
    """
    languages = list(adapters)
    for language in languages:
        if language in base.languages:
            raise LanguageError(
                f"{base.path.name} has {language} already.",
                hint="Choose another code, or another base.",
            )
    return CheckpointContents(
        weight_map=extended_shards(base, adapters),
        config=extended_config(base, languages, default_language),
        companions=_companions(base, tokenizer_files),
        documents=_document_names(languages) if documents is None else documents,
        sources=[base.path],
    )


def extended_shards(
    base: Checkpoint, adapters: Mapping[str, AdapterSources | Shard]
) -> dict[str, Shard]:
    """Return the base's shards and one more for each new language."""
    return existing_shards(base) | bind(
        *(
            TensorShard(f"model-{language}.safetensors", adapter)
            if isinstance(adapter, Mapping)
            else adapter
            for language, adapter in adapters.items()
        )
    )


def planned_adapter(base: Checkpoint, language: str) -> AdapterSources:
    """Return the adapter that a new language will have: without values before it is trained."""
    return {name: TensorSource(info) for name, info in _adapter_infos(base, language)}


def trained_adapter(
    base: Checkpoint, language: str, adapter: Mapping[str, torch.Tensor]
) -> AdapterSources:
    """Return an adapter in upstream's order and the base's dtype, after checking that it is whole.

    Args:
        adapter: The tensors under their names in a checkpoint, as `base.adapter_names(language)`
            lists them.

    Raises:
        ModelError: The adapter is not one for this base, or has values that are not finite.
    """
    infos = dict(_adapter_infos(base, language))
    if set(adapter) != set(infos):
        differing = sorted(set(adapter) ^ set(infos))
        raise ModelError(
            f"The adapter of {language} is not one of this base: {len(differing)} names differ, "
            f"such as {differing[0]}.",
            hint="It must have one bottleneck for each layer.",
        )
    sources = {}
    for name, info in infos.items():
        if tuple(adapter[name].shape) != info.shape:
            raise ModelError(
                f"{name} has the shape {tuple(adapter[name].shape)} where the base has "
                f"{info.shape}.",
                hint="The adapter was trained on another base.",
            )
        stored = adapter[name].detach().to(device="cpu", dtype=torch_dtype(info.dtype)).contiguous()
        if not bool(stored.isfinite().all()):
            raise ModelError(
                f"{name} has values that are not finite in {info.dtype}.",
                hint="Training diverged: lower the learning rate.",
            )
        sources[name] = source_in_memory(stored)
    return sources


def _adapter_infos(base: Checkpoint, language: str) -> Iterator[tuple[str, TensorInfo]]:
    """Yield the tensors of a new language: shaped like those of the base's first one."""
    template = base.adapter_names(base.languages[0])
    for name, existing in zip(base.adapter_names(language), template, strict=True):
        yield name, TensorInfo(base.adapter_dtype, base.info(existing).shape)


def extended_config(
    base: Checkpoint, languages: Sequence[str], default_language: str | None = None
) -> str:
    """Return the base's config.json with more codes, every other byte as it was.

    Args:
        default_language: The language of inputs without `lang_ids`. None leaves it as it is: to
            set it changes what users of the base's languages get.

    Raises:
        LanguageError: The default is none of the languages.
    """
    changes: dict[str, object] = {"languages": [*base.languages, *languages]}
    if "architectures" not in base.config:
        changes["architectures"] = ["XmodForMaskedLM"]
    if default_language is not None:
        check_default(default_language, [*base.languages, *languages])
        changes["default_language"] = default_language
    return edit_config((base.path / CONFIG_NAME).read_text(encoding="utf-8"), changes)


def check_default(code: str, languages: Sequence[str]) -> None:
    """Refuse a default language that a checkpoint will not have.

    Raises:
        LanguageError: It is none of its languages.
    """
    if code not in languages:
        near = difflib.get_close_matches(code, languages, n=1)
        raise LanguageError(
            f"--default-language is {code}, which the checkpoint will not have.",
            hint=f"Did you mean {near[0]}?" if near else "Give one of its languages.",
        )


def describe_default(old: object, new: object) -> str:
    """Say what another default language changes for users of the languages that were there."""
    was = "refused" if old is None else f"read as {old}"
    now = "refused" if new is None else f"read as {new}"
    return (
        f"default_language was {json.dumps(old)} and is {json.dumps(new)}: inputs without lang_ids "
        f"were {was}, and are {now} now."
    )


def _companions(base: Checkpoint, tokenizer_files: Sequence[Path]) -> dict[str, Path]:
    """Return what belongs with the base's weights: its tokenizer, its terms, earlier records.

    run.json, metrics.jsonl and report.html always tell of the language that was added last, so the
    base's become run-CODE.json, metrics-CODE.jsonl and report-CODE.html, after the language that
    they tell of.
    """
    chosen: dict[str, Path] = {}
    recorded = recorded_language(base.path)
    last = recorded if recorded in base.languages else base.languages[-1]
    patterns = DOCUMENT_PATTERNS if tokenizer_files else COMPANION_PATTERNS
    for file in find_companions(base.path, patterns):
        name = file.name
        if name in LANGUAGE_DOCUMENTS:
            name = earlier_name(name, last)
        chosen.setdefault(name, file)
    for file in tokenizer_files:
        require_own_file(file)
    return chosen | {file.name: file for file in tokenizer_files}


def recorded_language(folder: Path) -> str | None:
    """Return the language that run.json tells of: the last one that was added with a record."""
    file = folder / RECORD_NAME
    try:
        language = read_json_object(file).get("language") if file.is_file() else None
    except ModelError:
        return None
    return language if isinstance(language, str) else None


def find_companions(folder: Path, patterns: Sequence[str] = COMPANION_PATTERNS) -> list[Path]:
    """Return the files of a folder that belong with its weights, sorted by name.

    Raises:
        ModelError: One of them is a link out of the folder.
    """
    found = []
    for file in sorted(folder.iterdir()):
        if not file.is_file() or not any(fnmatch.fnmatch(file.name, glob) for glob in patterns):
            continue
        require_own_file(file)
        found.append(file)
    return found


def require_own_file(file: Path) -> None:
    """Refuse to copy what lies elsewhere.

    Raises:
        ModelError: The file is a link out of its folder.
    """
    if not is_own_file(file):
        raise ModelError(
            f"{file} is a link out of its folder, and what lies there is not copied.",
            hint="Put the file itself in the place of the link.",
        )


def is_own_file(file: Path) -> bool:
    """Return whether a file lies in its folder, or is a link into the Hub's cache around that.

    A stranger's folder may link to what is private here; it would be copied, and published.
    """
    folder, target = file.parent.resolve(), file.resolve()
    if target.is_relative_to(folder):
        return True
    return folder.parent.name == "snapshots" and target.is_relative_to(
        folder.parent.parent / "blobs"
    )


def _document_names(languages: Sequence[str]) -> list[str]:
    """Return the documents of added languages: a card, and what there is of each."""
    earlier = [earlier_name(name, code) for code in languages[:-1] for name in LANGUAGE_DOCUMENTS]
    return [CARD_NAME, *LANGUAGE_DOCUMENTS, *earlier]


def earlier_name(name: str, language: str) -> str:
    """Return what a document of one language is called where a later language's has its name."""
    stem, suffix = name.rsplit(".", 1)
    return f"{stem}-{language}.{suffix}"
