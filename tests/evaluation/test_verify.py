"""The proof: it holds for what is written, and every change breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LANGUAGES, extend, make_checkpoint
from safetensors.torch import load_file, save_file
from transformers import XmodForMaskedLM

from xmod_extend.errors import LanguageError, ModelError
from xmod_extend.evaluation.verify import Verification, logits_digests, probe_inputs
from xmod_extend.evaluation.verify import verify_checkpoint as verify
from xmod_extend.model.checkpoint import open_checkpoint

ADAPTER = "roberta.encoder.layer.{}.output.adapter_modules.{}.dense1.bias"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = make_checkpoint(tmp_path / "base")
    (path / "tokenizer.json").write_text('{"version": "1.0"}')
    return path


@pytest.fixture
def extended(base: Path, tmp_path: Path) -> Path:
    return extend(open_checkpoint(base), tmp_path / "extended")


def edit(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def edit_config(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((path / "config.json").read_text())
    change(config)
    (path / "config.json").write_text(json.dumps(config))


def only_difference(result: Verification) -> str:
    assert not result.identical
    (difference,) = result.differences
    return difference


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin"])
def test_what_is_written_holds(tmp_path: Path, kind: str, pre_norm: bool) -> None:
    base = make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm)
    one = extend(open_checkpoint(base), tmp_path / "one")
    two = extend(open_checkpoint(one), tmp_path / "two", "fo_FO")
    result = verify(two, base)
    assert result.identical
    assert result.differences == ()
    assert result.added_languages == ("quz_PE", "fo_FO")
    assert result.tensors_compared == result.tensors_identical == len(open_checkpoint(base).names())
    assert result.languages_compared == result.languages_identical == LANGUAGES
    assert json.loads(json.dumps(result.as_dict()))["identical"] is True


def test_languages_can_be_chosen(extended: Path, base: Path) -> None:
    assert verify(extended, base, languages=["sw_KE"]).languages_compared == ("sw_KE",)
    assert verify(extended, base, languages=[]).languages_compared == ()
    with pytest.raises(LanguageError, match="no language quz_PE"):
        verify(extended, base, languages=["quz_PE"])


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("lm_head.layer_norm.bias", LANGUAGES),
        (ADAPTER.format(1, "de_DE"), ("de_DE",)),
        ("roberta.encoder.layer.0.output.LayerNorm.weight", LANGUAGES),
    ],
)
def test_one_changed_number_is_found(
    extended: Path, base: Path, name: str, changed: tuple[str, ...]
) -> None:
    edit(extended / "model-base.safetensors", lambda t: t[name][0].add_(0.5))
    result = verify(extended, base)
    assert result.tensors_identical == result.tensors_compared - 1
    assert set(result.languages_compared) - set(result.languages_identical) == set(changed)
    assert set(result.differences) == {
        f"{name} has other values, or another type or shape.",
        *(f"{code} gives other logits." for code in changed),
    }


def test_the_sign_of_a_zero_is_found(tmp_path: Path, base: Path) -> None:
    name = "lm_head.bias"
    edit(base / "model.safetensors", lambda t: t[name].zero_())
    extended = extend(open_checkpoint(base), tmp_path / "extended")
    edit(extended / "model-base.safetensors", lambda t: t[name].neg_())
    assert only_difference(verify(extended, base)).startswith(name)


def test_swapped_languages_are_found(extended: Path, base: Path) -> None:
    def swap(config: dict[str, Any]) -> None:
        codes = config["languages"]
        codes[0], codes[1] = codes[1], codes[0]

    edit_config(extended, swap)
    assert "does not begin with the base's in their order" in only_difference(
        verify(extended, base)
    )


@pytest.mark.parametrize("field", ["layer_norm_eps", "default_language", "hidden_dropout_prob"])
def test_a_changed_field_is_found(extended: Path, base: Path, field: str) -> None:
    value = {"default_language": "quz_PE"}.get(field, 0.3)
    edit_config(extended, lambda config: config.update({field: value}))
    assert any(
        difference.startswith(f"config.json: {field} was ")
        for difference in verify(extended, base).differences
    )


def test_fields_that_change_nothing_are_listed(extended: Path, base: Path) -> None:
    edit_config(
        extended,
        lambda config: (
            config.update({"transformers_version": "9.9"}),
            config.pop("hidden_dropout_prob"),
            config.update({"torch_dtype": config.pop("dtype")}),
        ),
    )
    result = verify(extended, base)
    assert result.identical
    for field in ("transformers_version", "hidden_dropout_prob", "dtype", "torch_dtype"):
        assert any(f"config.json: {field} was" in sentence for sentence in result.ignored)


def test_a_missing_and_an_unexpected_tensor_are_found(extended: Path, base: Path) -> None:
    index = extended / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    del content["weight_map"]["lm_head.bias"]
    index.write_text(json.dumps(content))
    edit(extended / "model-quz_PE.safetensors", lambda t: t.update({"extra": torch.zeros(1)}))
    content["weight_map"]["extra"] = "model-quz_PE.safetensors"
    index.write_text(json.dumps(content))
    result = verify(extended, base)
    assert "lm_head.bias is missing." in result.differences
    assert "extra is not in the base." in result.differences
    # Such a checkpoint cannot compute logits, which is told and not raised.
    assert result.languages_compared == ()


def test_a_lost_adapter_is_found(extended: Path, base: Path) -> None:
    name = ADAPTER.format(0, "quz_PE")
    index = extended / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    del content["weight_map"][name]
    index.write_text(json.dumps(content))
    assert f"{name} is missing" in only_difference(verify(extended, base))


def test_a_value_that_is_no_number_is_found(extended: Path, base: Path) -> None:
    name = ADAPTER.format(1, "quz_PE")
    edit(extended / "model-quz_PE.safetensors", lambda t: t[name].fill_(torch.inf))
    assert only_difference(verify(extended, base)) == f"{name} has values that are not finite."


def test_tokenizers_are_compared_by_content(extended: Path, base: Path) -> None:
    (extended / "tokenizer.json").write_text('{"version":\n"1.0"}')
    (extended / "spm.model").write_text("pieces")
    result = verify(extended, base)
    assert result.identical
    assert result.ignored == ("The tokenizer's spm.model is not in the base.",)
    (extended / "tokenizer.json").write_text('{"version": "2.0"}')
    assert "tokenizer.json" in only_difference(verify(extended, base))
    (extended / "tokenizer.json").unlink()
    assert "is missing" in only_difference(verify(extended, base))


def test_a_tied_weight_that_is_stored_twice_or_once_is_the_same(tmp_path: Path, base: Path) -> None:
    words, alias = "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"
    extended = extend(open_checkpoint(base), tmp_path / "extended")
    edit(base / "model.safetensors", lambda t: t.update({alias: t[words].clone()}))
    result = verify(extended, base)
    assert result.identical
    assert result.ignored == (f"{alias} is not stored a second time.",)


def test_a_base_that_is_none_is_an_error(extended: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        verify(extended, tmp_path / "nowhere")
    with pytest.raises(ModelError):
        verify(tmp_path / "nowhere", extended)


def test_the_logits_are_those_of_the_full_model(base: Path) -> None:
    """One slice after another gives what upstream gives with all languages loaded."""
    import hashlib

    checkpoint = open_checkpoint(base)
    probe = probe_inputs(checkpoint)
    digests = logits_digests(checkpoint, LANGUAGES, probe)
    assert len(set(digests.values())) == len(LANGUAGES)
    model = XmodForMaskedLM.from_pretrained(base).eval()
    inputs = {name: torch.tensor(rows) for name, rows in probe.items()}
    for number, code in enumerate(LANGUAGES):
        with torch.inference_mode():
            logits = model(**inputs, lang_ids=torch.full((2,), number)).logits
        assert hashlib.sha256(logits.numpy().tobytes()).hexdigest() == digests[code]


def test_the_probe_depends_on_the_vocabulary_alone(base: Path, tmp_path: Path) -> None:
    other = open_checkpoint(make_checkpoint(tmp_path / "other", seed=9, languages=["fi_FI"]))
    assert probe_inputs(open_checkpoint(base)) == probe_inputs(other)
    larger = open_checkpoint(make_checkpoint(tmp_path / "larger", vocab_size=121))
    assert probe_inputs(larger) != probe_inputs(other)


def test_a_base_that_returns_tuples_is_verified(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", return_dict=False)
    assert verify(base, base).identical
