"""A pack with anything in its files is opened, or refused with a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import make_checkpoint
from fuzzing import bounded, cases, dump, mutate_bytes, mutate_json, seeds
from hypothesis import given
from packed import pack

from xmod_extend.packs.description import DESCRIPTION_NAME
from xmod_extend.packs.pack import check_finite, open_pack

WEIGHTS = "model-de_DE.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    return pack(make_checkpoint(folder / "base"), "de_DE", folder / "pack")


@pytest.fixture(scope="module")
def spoilt(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("spoilt") / "pack"))


@cases(100)
@given(seed=seeds)
def test_any_description(made: Path, spoilt: Path, seed: int) -> None:
    original = (made / DESCRIPTION_NAME).read_bytes()
    changed = dump(mutate_json(json.loads(original), seed))
    (spoilt / DESCRIPTION_NAME).write_bytes(changed if seed % 4 else mutate_bytes(original, seed))
    (spoilt / WEIGHTS).write_bytes((made / WEIGHTS).read_bytes())
    with bounded():
        opened = open_pack(spoilt)
        # Whatever is accepted can be printed, and become a part of a file's name.
        text = f"{opened.description}"
        assert text.isprintable() and len(text) < 10_000
        assert "/" not in opened.language and ".." not in opened.language


@cases(100)
@given(seed=seeds)
def test_any_weights(made: Path, spoilt: Path, seed: int) -> None:
    (spoilt / DESCRIPTION_NAME).write_bytes((made / DESCRIPTION_NAME).read_bytes())
    content = (made / WEIGHTS).read_bytes()
    size = int.from_bytes(content[:8], "little")
    if seed % 2:
        header = dump(mutate_json(json.loads(content[8 : 8 + size]), seed))
        content = len(header).to_bytes(8, "little") + header + content[8 + size :]
    else:
        content = mutate_bytes(content[: 8 + size], seed) + content[8 + size :]
    (spoilt / WEIGHTS).write_bytes(content)
    with bounded():
        check_finite(open_pack(spoilt))
