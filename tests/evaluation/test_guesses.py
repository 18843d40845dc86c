"""Guesses are the likeliest tokens by upstream's own softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from transformers import XmodForMaskedLM

from xmod_extend.evaluation.guesses import top_guesses
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.slice import load_slice


def test_guesses_are_upstream_s(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "base")
    ids = np.array([0, 9, 119, 17, 119, 2])
    found = top_guesses(load_slice(open_checkpoint(folder), LANGUAGES[2]), ids, np.array([2, 4]))
    whole = XmodForMaskedLM.from_pretrained(folder).eval()
    batch = torch.from_numpy(ids)[None]
    with torch.no_grad():
        logits = whole(
            batch, lang_ids=torch.tensor([2]), attention_mask=torch.ones_like(batch)
        ).logits
    for gap, guesses in zip((2, 4), found, strict=True):
        expected = logits[0, gap].softmax(-1).topk(5)
        assert [guess.token_id for guess in guesses] == expected.indices.tolist()
        assert [guess.probability for guess in guesses] == pytest.approx(
            expected.values.tolist(), rel=1e-5
        )
