"""Transplants: scored beside what the base has, before anybody trusts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from packed import Heard, add, pack

from xmod_extend.errors import CorpusError, UsageError
from xmod_extend.jobs.install import install_packs
from xmod_extend.jobs.transplant import pair_texts


@pytest.mark.slow
def test_a_transplant_is_scored_beside_the_best_adapter_of_the_base(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    import shutil

    import torch
    from transformers import XmodForMaskedLM

    other = Path(shutil.copytree(base, tmp_path / "other"))
    model = XmodForMaskedLM.from_pretrained(base)
    with torch.no_grad():
        model.lm_head.bias += 0.01
    model.save_pretrained(other)
    packed = pack(add(base, tmp_path / "with", "quz_PE"), "quz_PE", tmp_path / "quz")
    heard = Heard()
    result = install_packs(other, packed, tmp_path / "out", force=True, text=corpus, callback=heard)
    (installed,) = result.installed
    score = installed.score
    assert score is not None and score.best_existing in ("en_XX", "de_DE", "sw_KE")
    assert score.perplexity > 1 and score.best_perplexity > 1
    assert "quz_PE, transplanted" in score.verdict and ".out." not in score.verdict
    assert score.is_better == (not any("do not rely" in warning for warning in heard.warnings))
    assert not any("was not scored" in warning for warning in heard.warnings)
    # Where it belongs there is nothing to doubt, and the text is not looked at.
    heard = Heard()
    result = install_packs(base, packed, tmp_path / "own", text=corpus, callback=heard)
    assert result.installed[0].score is None
    assert any("text is not needed" in note for note in heard.notes)


def test_a_text_is_missing_before_anything_is_written(base: Path, tmp_path: Path) -> None:
    packed = pack(add(base, tmp_path / "with", "quz_PE"), "quz_PE", tmp_path / "quz")
    with pytest.raises(CorpusError):
        install_packs(
            base, packed, tmp_path / "out", text=tmp_path / "nowhere.txt", callback=Heard()
        )
    assert not (tmp_path / "out").exists()


def test_texts_find_their_packs() -> None:
    assert pair_texts(["a.txt"], ["quz_PE"]) == {"quz_PE": "a.txt"}
    assert pair_texts(["x=y.txt"], ["quz_PE"]) == {"quz_PE": "x=y.txt"}
    both = ["quz_PE", "ay_BO"]
    assert pair_texts(["ay_BO=b.txt", "quz_PE=a.txt"], both) == {
        "ay_BO": "b.txt",
        "quz_PE": "a.txt",
    }
    assert pair_texts([], both) == {}
    for wrong in (["a.txt"], ["fo_FO=a.txt"], ["ay_BO="], ["ay_BO=a", "ay_BO=b"]):
        with pytest.raises(UsageError) as caught:
            pair_texts(wrong, both)
        assert caught.value.hint
