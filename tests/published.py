"""Checkpoints to publish, and a Hub to publish them on."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkpoints import LANGUAGES, new_adapter
from hub_server import COMMIT, TOKEN, Hub, serve
from run_records import make_record

from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.extension import (
    CARD_NAME,
    RECORD_NAME,
    extended_contents,
    trained_adapter,
)
from xmod_extend.model.writer import write_checkpoint
from xmod_extend.report.card import CardSubject, model_card
from xmod_extend.report.record import BaseRecord, RunRecord

BASE_ID = "someone/xmod-small"


@contextmanager
def hub_for_publishing(hub: Hub, patch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """Serves a Hub that the client of this process takes for the Hub, logged in as `someone`."""
    import huggingface_hub
    from huggingface_hub import constants

    with serve(hub):
        patch.setattr(constants, "ENDPOINT", hub.endpoint)
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        patch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.endpoint)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", TOKEN)
        # The client waits between its attempts.
        patch.setattr(time, "sleep", lambda _: None)
        yield hub
        huggingface_hub.close_session()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder, hidden ones too."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def published_files(folder: Path) -> dict[str, bytes]:
    """What of a folder is to be on the Hub, without the card, which names the repository there."""
    hidden = {CARD_NAME, ".xmod-extend.json"}
    return {name: raw for name, raw in files_of(folder).items() if name not in hidden}


def write_extended(
    source: Path, output: Path, language: str = "quz_PE", *, base_id: str | None = None
) -> Path:
    """Write a base with one more language, as `add` does, without training.

    Args:
        base_id: The base on the Hub that the record names; a folder if None.
    """
    base = open_checkpoint(source)
    adapter = trained_adapter(base, language, new_adapter(base, language))
    record = _record(source, language, output, base_id)
    earlier = [code for code in base.languages if code not in LANGUAGES]
    subject = CardSubject(
        what="checkpoint",
        name=output.name,
        languages=(*base.languages, language),
        described=(*earlier, language),
        records={language: record},
        base_name="xmod-small",
        base_id=base_id,
        base_revision=COMMIT if base_id else None,
        license=None,
    )
    write_checkpoint(
        output,
        extended_contents(base, {language: adapter}),
        verify=lambda _: None,
        documents=lambda _: {CARD_NAME: model_card(subject), RECORD_NAME: record.to_json()},
    )
    return output


def _record(source: Path, language: str, output: Path, base_id: str | None) -> RunRecord:
    weights = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in source.glob("*.safetensors")
    }
    base = BaseRecord(
        name="xmod-small",
        source=base_id or str(source),
        commit=COMMIT if base_id else None,
        languages=tuple(open_checkpoint(source).languages),
        num_parameters=1,
        files=weights,
    )
    record = make_record()
    return dataclasses.replace(record, language=language, base=base, output=str(output))
