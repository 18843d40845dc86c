"""A slice on the disk: some languages of a checkpoint, and nothing of them changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LANGUAGES, extend, make_checkpoint
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from xmod_extend import slice_checkpoint, verify_checkpoint
from xmod_extend.errors import CheckFailedError, LanguageError, ModelError, UsageError
from xmod_extend.evaluation import verify_part
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.shards import TensorShard
from xmod_extend.report.card_metadata import check_metadata


def cut(source: Path, langs: str | list[str], output: Path, **options: Any) -> Checkpoint:
    slice_checkpoint(source, langs, output, progress=False, **options)
    return open_checkpoint(output)


def logits(path: Path, code: str) -> torch.Tensor:
    """The logits of plain transformers."""
    model: Any = AutoModelForMaskedLM.from_pretrained(path)
    number = list(model.config.languages).index(code)
    ids = torch.randint(5, 119, (3, 7), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        result: torch.Tensor = model(ids, lang_ids=torch.full((3,), number)).logits
    return result


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin", "sharded-bin"])
def test_what_is_kept_is_the_same(tmp_path: Path, kind: str, pre_norm: bool) -> None:
    source = make_checkpoint(tmp_path / "source", kind=kind, pre_norm=pre_norm)
    whole = open_checkpoint(source)
    kept = ["sw_KE", "en_XX"]
    result = slice_checkpoint(source, kept, tmp_path / "small", progress=False)
    names = {file.name for file in (tmp_path / "small").iterdir()}
    written = {"README.md", "config.json", "model.safetensors", "slice.json"}
    assert names == {".xmod-extend.json", *written}
    small = open_checkpoint(tmp_path / "small")
    assert small.languages == kept
    dropped = set(whole.adapter_names("de_DE"))
    stored = load_file(tmp_path / "small/model.safetensors")
    expected = set(whole.shared_names()) | {
        name for code in kept for name in whole.adapter_names(code)
    }
    assert set(stored) == set(small.names()) == expected
    assert not dropped & set(stored)
    assert all(small.digest(name) == whole.digest(name) for name in expected)
    for code in kept:
        assert torch.equal(logits(tmp_path / "small", code), logits(source, code))
    assert result.languages == ("sw_KE", "en_XX")
    assert result.renumbered == {"sw_KE": 0, "en_XX": 1}
    assert result.tensors_compared == len(expected)
    assert result.languages_compared == 2
    assert result.num_bytes == (tmp_path / "small/model.safetensors").stat().st_size
    assert result.num_bytes < result.source_bytes
    json.dumps(result.to_dict())


@pytest.mark.slow
def test_the_config_differs_in_its_languages_alone(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", default_language="de_DE")
    before = (source / "config.json").read_text()
    cut(source, ["de_DE"], tmp_path / "one")
    after = json.loads((tmp_path / "one/config.json").read_text())
    assert after == json.loads(before) | {"languages": ["de_DE"]}
    # The default goes with its language, and another one comes when it is asked for.
    assert cut(source, ["en_XX"], tmp_path / "other").config["default_language"] is None
    asked = cut(source, "en_XX", tmp_path / "asked", default_language="en_XX")
    assert asked.config["default_language"] == "en_XX"
    assert "1e-05" in (tmp_path / "asked/config.json").read_text()
    with pytest.raises(LanguageError, match="--default-language is de_DE"):
        cut(source, "en_XX", tmp_path / "wrong", default_language="de_DE")
    assert not (tmp_path / "wrong").exists()


def test_bf16_and_a_pooler_are_kept_and_tied_weights_are_stored_once(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", dtype=torch.bfloat16)
    from safetensors.torch import save_file

    file = source / "model.safetensors"
    pooler = {"roberta.pooler.dense.weight": torch.ones(32, 32, dtype=torch.bfloat16)}
    tied = {"lm_head.decoder.bias": load_file(file)["lm_head.bias"].clone()}
    save_file(load_file(file) | pooler | tied, file, metadata={"format": "pt"})
    cut(source, "de_DE", tmp_path / "small")
    stored = load_file(tmp_path / "small/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert torch.equal(stored["roberta.pooler.dense.weight"], pooler["roberta.pooler.dense.weight"])
    assert "lm_head.decoder.bias" not in stored
    assert torch.equal(logits(tmp_path / "small", "de_DE"), logits(source, "de_DE"))


@pytest.mark.slow
def test_a_slice_of_a_slice_and_of_all_languages(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source")
    two = cut(source, ["sw_KE", "en_XX"], tmp_path / "two")
    one = cut(two.path, ["en_XX"], tmp_path / "one")
    direct = cut(source, ["en_XX"], tmp_path / "direct")
    assert (one.path / "model.safetensors").read_bytes() == (
        direct.path / "model.safetensors"
    ).read_bytes()
    assert json.loads((one.path / "slice.json").read_text()) == {
        "schema_version": 1,
        "source": "two",
        "revision": None,
        "source_languages": 2,
        "ids": {"en_XX": {"was": 1, "is": 0}},
    }
    assert str(tmp_path) not in (one.path / "slice.json").read_text()
    reordered = cut(source, list(reversed(LANGUAGES)), tmp_path / "all")
    assert reordered.languages == list(reversed(LANGUAGES))
    assert slice_checkpoint(source, LANGUAGES, tmp_path / "same", progress=False).renumbered == {}
    # A language can be added to a slice, and the result is verified against it.
    extended = extend(open_checkpoint(two.path), tmp_path / "extended")
    assert verify_checkpoint(extended, two.path).identical


@pytest.mark.parametrize(
    ("langs", "error", "message", "hint"),
    [
        ("sw_KA", LanguageError, "source has no language 'sw_KA'", "Did you mean sw_KE?"),
        (["en_XX", "SW"], LanguageError, "no language 'SW'", "Did you mean sw_KE?"),
        ("quz_PE", LanguageError, "no language 'quz_PE'", "It has en_XX, de_DE, sw_KE."),
        (["de_DE", "en_XX", "de_DE"], LanguageError, "de_DE is named twice", "each language once"),
        ([], LanguageError, "No language is named", "source has en_XX"),
        (" , ", LanguageError, "No language is named", "source has en_XX"),
        (3, UsageError, "--langs is 3", ""),
    ],
)
def test_wrong_languages_are_refused(
    tmp_path: Path, langs: Any, error: type[Exception], message: str, hint: str
) -> None:
    source = make_checkpoint(tmp_path / "source")
    with pytest.raises(error, match=message) as caught:
        cut(source, langs, tmp_path / "small")
    assert hint in (getattr(caught.value, "hint", None) or "")
    assert not (tmp_path / "small").exists()


def test_codes_may_have_commas_between_them(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source")
    assert cut(source, "sw_KE, en_XX", tmp_path / "small").languages == ["sw_KE", "en_XX"]


def test_only_what_the_program_wrote_is_replaced(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source")
    cut(source, "de_DE", tmp_path / "small")
    with pytest.raises(UsageError, match="exists and is not empty"):
        cut(source, "en_XX", tmp_path / "small")
    assert cut(source, "en_XX", tmp_path / "small", force=True).languages == ["en_XX"]
    with pytest.raises(UsageError, match="only read"):
        cut(tmp_path / "small", "en_XX", tmp_path / "small", force=True)
    (tmp_path / "small/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--force replaces nothing else"):
        cut(source, "de_DE", tmp_path / "small", force=True)


@pytest.mark.slow
def test_documents_of_kept_languages_come_along(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source")
    (source / "LICENSE").write_text("terms")
    (source / "tokenizer.json").write_text('{"version": "1.0"}')
    one = extend(open_checkpoint(source), tmp_path / "one", "quz_PE")
    (one / "metrics.jsonl").write_text("quz")
    two = extend(open_checkpoint(one), tmp_path / "two", "fo_FO")
    assert json.loads((two / "run.json").read_text())["language"] == "fo_FO"

    def documents(langs: list[str], name: str) -> dict[str, str | None]:
        small = cut(two, langs, tmp_path / name).path
        assert (small / "LICENSE").read_text() == "terms"
        assert (small / "tokenizer.json").is_file()
        # A card of its own: what is said of the whole checkpoint is not true of a part.
        assert "A part of" in (small / "README.md").read_text()
        return {
            file.name: json.loads(file.read_text()).get("language")
            if file.suffix[1:] == "json"
            else file.read_text()
            for file in small.iterdir()
            if file.name.startswith(("run", "metrics"))
        }

    assert documents(["fo_FO", "en_XX"], "last") == {"run.json": "fo_FO"}
    assert documents(["quz_PE", "en_XX"], "first") == {"run.json": "quz_PE", "metrics.jsonl": "quz"}
    assert documents(["fo_FO", "quz_PE"], "both") == {
        "run.json": "quz_PE",
        "metrics.jsonl": "quz",
        "run-fo_FO.json": "fo_FO",
    }
    assert documents(["en_XX"], "none") == {}


def test_its_card_says_what_it_is_a_part_of(tmp_path: Path) -> None:
    source = extend(open_checkpoint(make_checkpoint(tmp_path / "source")), tmp_path / "one")
    slice_checkpoint(source, "quz_PE,en_XX", tmp_path / "small", license="mit", progress=False)
    card = (tmp_path / "small" / "README.md").read_text()
    assert check_metadata(card) == []
    data = ModelCard(card).data
    assert data.language == ["quz", "en"] and data.license == "mit"
    assert data.library_name == "transformers"
    assert "with only Cusco Quechua and English\n" in card
    assert 'from_pretrained("small")' in card
    assert "`quz_PE` is 0 and `en_XX` is 1." in card
    assert "changed nothing else" not in card


@pytest.mark.slow
def test_verify_says_that_it_is_a_slice(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source")
    cut(source, ["sw_KE", "en_XX"], tmp_path / "small")
    result = verify_checkpoint(tmp_path / "small", source)
    (difference,) = result.differences
    assert difference == (
        "This is a slice of source, without 1 of the base's 3 languages, so it cannot equal the "
        "base; it was compared with source when it was made. Left out: de_DE."
    )
    assert result.languages_identical == ("en_XX", "sw_KE")
    # Whatever else differs is still found, and a note that is no JSON changes nothing.
    (tmp_path / "small/slice.json").write_text("[")
    result = verify_checkpoint(tmp_path / "small", source)
    assert result.differences == ("config.json: languages were lost: de_DE.",)


def test_what_is_damaged_while_it_is_written_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_checkpoint(tmp_path / "source")
    write = TensorShard.write

    def damage(shard: TensorShard, path: Path) -> None:
        write(shard, path)
        raw = bytearray(path.read_bytes())
        raw[-3] ^= 1
        path.write_bytes(raw)

    monkeypatch.setattr(TensorShard, "write", damage)
    with pytest.raises(
        CheckFailedError, match=r"differs in more than the languages that .*: .* removed"
    ):
        cut(source, "de_DE", tmp_path / "small")
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
    monkeypatch.undo()

    def refuse(*_: object) -> None:
        raise ModelError("it cannot be opened")

    monkeypatch.setattr(verify_part, "open_checkpoint", refuse)
    with pytest.raises(CheckFailedError, match="it cannot be opened"):
        cut(source, "de_DE", tmp_path / "small")


def test_a_checkpoint_without_an_lm_head_is_refused(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", kind="bin")
    tensors = torch.load(source / "pytorch_model.bin", weights_only=True)
    kept = {name: tensor for name, tensor in tensors.items() if "lm_head" not in name}
    torch.save(kept, source / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no masked-LM head"):
        cut(source, "de_DE", tmp_path / "small")
