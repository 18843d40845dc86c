"""Checkpoints with languages that were trained apart, and packs of them, for the tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from run_records import make_record

from xmod_extend.evaluation.verify import logits_digests, probe_inputs
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.pack import pack_language
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.extension import earlier_name, extended_contents, trained_adapter
from xmod_extend.model.writer import write_checkpoint


class Heard(Callback):
    """What a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)


def adapter(base: Checkpoint, code: str, seed: int) -> dict[str, torch.Tensor]:
    """A random adapter, in the base's type."""
    generator = torch.Generator().manual_seed(seed)
    template = base.adapter_names(base.languages[0])
    return {
        name: torch.randn(base.info(known).shape, generator=generator) * 0.1
        for name, known in zip(base.adapter_names(code), template, strict=True)
    }


def add(
    base: Path,
    output: Path,
    *codes: str,
    seed: int = 1,
    commit: str | None = None,
    source: str = "tiny",
    default_language: str | None = None,
) -> Path:
    """Writes what `add` writes for languages: their shards, and the records of a run of each."""
    opened = open_checkpoint(base)
    adapters = {
        code: trained_adapter(opened, code, adapter(opened, code, seed + i))
        for i, code in enumerate(codes)
    }
    texts = {}
    for code in codes:
        record = make_record()
        record = dataclasses.replace(
            record,
            language=code,
            base=dataclasses.replace(
                record.base, source=source, commit=commit, languages=tuple(opened.languages)
            ),
        )
        name = "run.json" if code == codes[-1] else earlier_name("run.json", code)
        texts[name] = record.to_json()
    contents = extended_contents(opened, adapters, default_language=default_language)
    write_checkpoint(output, contents, verify=lambda _: None, documents=lambda _: texts)
    return output


def pack(checkpoint: Path, code: str, output: Path, **options: Any) -> Path:
    """Packs one language, in silence."""
    pack_language(checkpoint, code, output, callback=Callback(), **options)
    return output


def logits(checkpoint: Path, *codes: str) -> Mapping[str, str]:
    """A digest of the logits of some languages, or of all."""
    opened = open_checkpoint(checkpoint)
    return logits_digests(opened, codes or opened.languages, probe_inputs(opened))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """The content of each file in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}
