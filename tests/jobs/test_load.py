"""Some languages of a checkpoint in memory: upstream's results to the bit, for all its classes."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from checkpoints import LANGUAGES, make_checkpoint, make_config, save_bin
from safetensors.torch import load_file, save_file
from transformers import XmodForMaskedLM, XmodForSequenceClassification, XmodForTokenClassification

import xmod_extend
from xmod_extend.errors import LanguageError, ModelError, UsageError
from xmod_extend.model.routing import RoutedOutput
from xmod_extend.model.tasks import CLASSES

CHOSEN = ["sw_KE", "en_XX"]
"""Languages 2 and 0 of the checkpoints in the tests."""
UPSTREAM_IDS = torch.tensor([2, 0])


def make_task_checkpoint(path: Path, task: str, *, pre_norm: bool = False, **changes: Any) -> Path:
    """Saves a model of a task in which every parameter is random, its head included."""
    kind = getattr(transformers, CLASSES[task])
    torch.manual_seed(3)
    model = kind(make_config(pre_norm=pre_norm, **changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1 + ("LayerNorm.weight" in name))
    model.save_pretrained(path)
    return path


def make_inputs(task: str = "fill-mask") -> dict[str, torch.Tensor]:
    """Four sequences of nine tokens, one of them padded; in multiple choice four pairs of them."""
    generator = torch.Generator().manual_seed(4)
    shape = (4, 2, 9) if task == "multiple-choice" else (4, 9)
    ids = torch.randint(5, 119, shape, generator=generator)
    mask = torch.ones_like(ids)
    ids[1, ..., 5:], mask[1, ..., 5:] = 1, 0
    return {"input_ids": ids, "attention_mask": mask}


def results(outputs: Any) -> list[torch.Tensor]:
    return [value for value in outputs.values() if isinstance(value, torch.Tensor)]


def assert_same(ours: Any, theirs: Any) -> None:
    assert len(results(ours)) == len(results(theirs)) > 0
    for mine, other in zip(results(ours), results(theirs), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("task", CLASSES)
def test_each_class_gives_upstreams_bits(tmp_path: Path, task: str, pre_norm: bool) -> None:
    path = make_task_checkpoint(tmp_path / "saved", task, pre_norm=pre_norm)
    upstream = getattr(transformers, CLASSES[task]).from_pretrained(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The model reads in both directions")
        ours = xmod_extend.load(path, CHOSEN)
    assert type(ours) is type(upstream)
    assert not ours.training
    inputs = make_inputs(task)
    for langs in (["sw_KE"] * 4, ["sw_KE", "en_XX", "en_XX", "sw_KE"]):
        lang_ids = torch.tensor([CHOSEN.index(code) for code in langs])
        if task == "multiple-choice":
            # Upstream confuses the languages of several questions, but not its encoder.
            flat = {name: rows.flatten(0, 1) for name, rows in inputs.items()}
            row_ids = UPSTREAM_IDS[lang_ids].repeat_interleave(2)
            pooled = upstream.roberta(**flat, lang_ids=row_ids).pooler_output
            expected = upstream.classifier(pooled).view(4, 2)
            for given in (
                {"langs": langs},
                {"lang_ids": lang_ids},
                {"lang_ids": lang_ids[:, None].expand(4, 2)},
            ):
                assert torch.equal(ours(**inputs, **given).logits, expected)
            one = {name: rows[:1] for name, rows in inputs.items()}
            theirs = upstream(**one, lang_ids=UPSTREAM_IDS[lang_ids[:1]])
            assert_same(ours(**one, langs=langs[0]), theirs)
            continue
        theirs = upstream(**inputs, lang_ids=UPSTREAM_IDS[lang_ids])
        assert_same(ours(**inputs, langs=langs), theirs)
        assert_same(ours(**inputs, lang_ids=lang_ids), theirs)
        assert_same(ours(inputs["input_ids"], lang_ids, inputs["attention_mask"]), theirs)
    if task != "multiple-choice":
        by_token = torch.randint(0, 2, (4, 9))
        theirs = upstream(**inputs, lang_ids=UPSTREAM_IDS[by_token])
        assert_same(ours(**inputs, lang_ids=by_token), theirs)


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("langs", [["en_XX"] * 4, ["en_XX", "sw_KE", "sw_KE", "en_XX"]])
def test_training_gives_upstreams_gradients(
    tmp_path: Path, pre_norm: bool, langs: list[str]
) -> None:
    path = make_task_checkpoint(tmp_path / "saved", "token-classification", pre_norm=pre_norm)
    ours = xmod_extend.load(path, CHOSEN).train()
    upstream = XmodForTokenClassification.from_pretrained(path).train()
    inputs = make_inputs() | {"labels": torch.randint(0, 2, (4, 9))}
    ids = torch.tensor([CHOSEN.index(code) for code in langs])
    torch.manual_seed(5)  # of the dropout
    ours(**inputs, langs=langs).loss.backward()
    torch.manual_seed(5)
    upstream(**inputs, lang_ids=UPSTREAM_IDS[ids]).loss.backward()
    expected = dict(upstream.named_parameters())
    compared = 0
    for name, parameter in ours.named_parameters():
        other = expected[name].grad
        if ".sw_KE." in name and "sw_KE" not in langs:
            assert parameter.grad is None
        else:
            assert parameter.grad is not None
            assert other is not None
            assert torch.equal(parameter.grad, other), name
            compared += bool(parameter.grad.any())
    assert compared > 30


@pytest.mark.parametrize("task", ["fill-mask", "token-classification", "feature-extraction"])
@pytest.mark.parametrize("kind", ["autocast", "bf16"])
def test_bf16_is_near_fp32_also_under_autocast(tmp_path: Path, task: str, kind: str) -> None:
    path = make_task_checkpoint(tmp_path / "saved", task)
    exact = xmod_extend.load(path, CHOSEN)
    ours = xmod_extend.load(path, CHOSEN, dtype="bf16" if kind == "bf16" else None)
    inputs, langs = make_inputs(), ["sw_KE", "en_XX", "en_XX", "sw_KE"]
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        near = results(ours(**inputs, langs=langs))[0]
        near.float().square().mean().backward()
    expected = results(exact(**inputs, langs=langs))[0]
    assert bool((near.float() - expected).norm() < 0.02 * expected.norm())
    assert all(
        parameter.grad is None or bool(parameter.grad.isfinite().all())
        for parameter in ours.parameters()
    )


def test_bf16_weights_give_upstreams_bits(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved", dtype=torch.bfloat16)
    upstream = XmodForMaskedLM.from_pretrained(path)
    ours = xmod_extend.load(path, CHOSEN)
    assert ours.dtype == upstream.dtype == torch.bfloat16
    inputs, ids = make_inputs(), torch.tensor([0, 1, 1, 0])
    theirs = upstream(**inputs, lang_ids=UPSTREAM_IDS[ids])
    assert_same(ours(**inputs, lang_ids=ids), theirs)
    # Read from fp32 in pieces, the same values come out.
    whole = make_checkpoint(tmp_path / "fp32")
    half = xmod_extend.load(whole, CHOSEN, dtype=torch.bfloat16)
    expected = xmod_extend.load(whole, CHOSEN).to(torch.bfloat16).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in half.state_dict().items())


@pytest.mark.parametrize("kind", ["sharded", "bin", "sharded-bin"])
def test_every_format_is_read(tmp_path: Path, kind: str) -> None:
    path = make_checkpoint(tmp_path / "saved", kind=kind)
    inputs, ids = make_inputs(), torch.tensor([0, 1, 1, 0])
    theirs = XmodForMaskedLM.from_pretrained(path)(**inputs, lang_ids=UPSTREAM_IDS[ids])
    assert_same(xmod_extend.load(path, CHOSEN)(**inputs, lang_ids=ids), theirs)


def test_a_bare_encoder_is_loaded_with_and_without_a_head(tmp_path: Path) -> None:
    path = make_task_checkpoint(tmp_path / "saved", "feature-extraction")
    assert not any(name.startswith("roberta.") for name in load_file(path / "model.safetensors"))
    inputs = make_inputs()
    encoder = xmod_extend.load(path, "de_DE")
    with pytest.warns(UserWarning, match="saved has no weights of classifier"):
        tagger = xmod_extend.load(path, "de_DE", "token-classification", num_labels=5)
    assert tagger(**inputs).logits.shape == (4, 9, 5)
    assert torch.equal(
        tagger.base_model(**inputs).last_hidden_state, encoder(**inputs).last_hidden_state
    )


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("text-classification", "classifier"),
        ("question-answering", "qa_outputs"),
        ("multiple-choice", "pooler and classifier"),
        ("feature-extraction", "pooler"),
    ],
)
def test_a_new_head_is_upstreams_and_said(tmp_path: Path, task: str, parts: str) -> None:
    path = make_checkpoint(tmp_path / "saved")
    torch.manual_seed(6)
    upstream = getattr(transformers, CLASSES[task]).from_pretrained(path)
    torch.manual_seed(6)
    with pytest.warns(UserWarning, match=f"no weights of {parts}: they start from random") as said:
        ours = xmod_extend.load(path, LANGUAGES, task)
    assert len(said) == 1
    expected = upstream.state_dict()
    assert expected.keys() == ours.state_dict().keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())
    assert all(parameter.requires_grad for parameter in ours.parameters())


def test_what_is_saved_is_a_plain_checkpoint(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved")
    inputs, ids = make_inputs(), torch.tensor([0, 1, 1, 0])
    ours = xmod_extend.load(path, CHOSEN)
    expected = ours(**inputs, lang_ids=ids).logits
    ours.save_pretrained(tmp_path / "small")
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert config["architectures"] == ["XmodForMaskedLM"]
    assert config["languages"] == CHOSEN
    plain = XmodForMaskedLM.from_pretrained(tmp_path / "small")
    assert not any(isinstance(module, RoutedOutput) for module in plain.modules())
    assert torch.equal(plain(**inputs, lang_ids=ids).logits, expected)
    # Also over the file that its weights are mapped from.
    again = xmod_extend.load(tmp_path / "small", CHOSEN)
    with torch.no_grad():
        again.lm_head.bias.add_(1.0)
    again.save_pretrained(tmp_path / "small")
    changed = xmod_extend.load(tmp_path / "small", CHOSEN)
    torch.testing.assert_close(changed(**inputs, lang_ids=ids).logits, expected + 1.0)
    assert torch.equal(again(**inputs, lang_ids=ids).logits, changed(**inputs, lang_ids=ids).logits)


def test_a_copy_and_a_pickle_are_the_same_model(tmp_path: Path) -> None:
    ours = xmod_extend.load(make_checkpoint(tmp_path / "saved"), CHOSEN)
    inputs, langs = make_inputs(), ["sw_KE", "en_XX", "en_XX", "sw_KE"]
    expected = ours(**inputs, langs=langs).logits
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(other(**inputs, langs=langs).logits, expected)
        with torch.no_grad():
            other.lm_head.bias.add_(1.0)
    assert torch.equal(ours(**inputs, langs=langs).logits, expected)


def test_training_changes_no_file(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved")
    before = (path / "model.safetensors").read_bytes()
    ours = xmod_extend.load(path, CHOSEN)
    optimiser = torch.optim.SGD(ours.parameters(), lr=1.0)
    inputs = make_inputs()
    first = ours(**inputs, langs="en_XX", labels=inputs["input_ids"]).loss
    first.backward()
    optimiser.step()
    assert ours(**inputs, langs="en_XX", labels=inputs["input_ids"]).loss != first
    assert (path / "model.safetensors").read_bytes() == before


def test_a_language_is_the_default_where_none_is_named(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved", default_language="en_XX")
    inputs = make_inputs()
    upstream = XmodForMaskedLM.from_pretrained(path)
    two = xmod_extend.load(path, CHOSEN)
    assert torch.equal(two(**inputs).logits, upstream(**inputs).logits)
    one = xmod_extend.load(path, "de_DE")
    assert one.config.default_language is None
    upstream.set_default_language("de_DE")
    assert torch.equal(one(**inputs).logits, upstream(**inputs).logits)
    with pytest.raises(LanguageError, match="The batch names no language, and the model has 2"):
        xmod_extend.load(path, ["de_DE", "sw_KE"])(**inputs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lang_ids": torch.tensor([0, 1, 2, 0])}, r"has the id 2, .* ids 0 to 1 \(0 sw_KE, 1 en"),
        ({"lang_ids": torch.tensor([0, 1, -1, 0])}, "has the id -1"),
        ({"lang_ids": [0, 99, 0, 0]}, "has the id 99"),
        ({"lang_ids": torch.tensor([0, 1])}, r"shape \(2,\) for inputs of the shape \(4, 9\)"),
        ({"lang_ids": torch.zeros(4, 8, dtype=torch.long)}, r"shape \(4, 8\)"),
        ({"lang_ids": torch.tensor(0)}, r"shape \(\)"),
        ({"lang_ids": torch.zeros(4)}, "tensor of torch.float32"),
        ({"lang_ids": "en_XX"}, "is 'en_XX'"),
        ({"langs": ["en_XX"]}, "names 1 languages for 4 sequences"),
        ({"langs": [0, 1, 1, 0]}, r"langs is \[0, 1, 1, 0\]"),
        ({"langs": "en_XX", "lang_ids": torch.zeros(4)}, "Both langs and lang_ids"),
    ],
)
def test_wrong_languages_of_a_batch_are_refused(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    ours = xmod_extend.load(make_checkpoint(tmp_path / "saved"), CHOSEN)
    with pytest.raises(UsageError, match=message):
        ours(**make_inputs(), **given)
    with pytest.raises(LanguageError, match="The model has no language 'de_DE'"):
        ours(**make_inputs(), langs="de_DE")
    # A list of ids means what it says.
    inputs = make_inputs()
    by_list = ours(**inputs, lang_ids=[0, 1, 1, 0]).logits
    assert torch.equal(by_list, ours(**inputs, lang_ids=torch.tensor([0, 1, 1, 0])).logits)


def test_a_sequence_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved")
    ours = xmod_extend.load(path, "en_XX")
    ids = torch.full((2, 40), 7)
    with pytest.raises(UsageError, match="has 40 tokens, and the model reads 32"):
        ours(ids)
    ids[:, 32:] = 1  # padding takes no position
    mask = (ids != 1).long()
    upstream = XmodForMaskedLM.from_pretrained(path)
    theirs = upstream(ids, torch.zeros(2), mask)
    assert torch.equal(ours(ids, attention_mask=mask).logits, theirs.logits)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"langs": "sw_KA"}, LanguageError, "saved has no language 'sw_KA'"),
        ({"langs": ["en_XX", "en_XX"]}, LanguageError, "en_XX is named twice"),
        ({"langs": []}, LanguageError, "No language is named"),
        ({"langs": 3}, UsageError, "langs is 3"),
        ({"task": "fill-masc"}, UsageError, "X-MOD has no task 'fill-masc'"),
        ({"dtype": "int8"}, UsageError, "dtype is 'int8'"),
        ({"dtype": "quick"}, UsageError, "dtype is 'quick'"),
        ({"device": "fridge"}, UsageError, "no device 'fridge'"),
        ({"num_lables": 3}, UsageError, "num_lables is not a field"),
        ({"languages": ["en_XX"]}, UsageError, "languages is not a field"),
        ({"hidden_size": 64}, ModelError, "hidden_size is 64, but there are 32"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tmp_path: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = make_checkpoint(tmp_path / "saved")
    with pytest.raises(error, match=message) as caught:
        xmod_extend.load(path, **({"langs": "en_XX"} | given))
    if given.get("langs") == "sw_KA":
        assert getattr(caught.value, "hint", None) == "Did you mean sw_KE?"


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = make_task_checkpoint(tmp_path / "saved", "text-classification")
    tensors = load_file(path / "model.safetensors")

    def rewrite(**changes: torch.Tensor | None) -> None:
        edited = {
            name: tensor for name, tensor in (tensors | changes).items() if tensor is not None
        }
        save_file(edited, path / "model.safetensors", metadata={"format": "pt"})

    layer = "roberta.encoder.layer.1.output"
    for changes, message in (
        ({"classifier.dense.bias": None}, "classifier.dense.bias is missing"),
        ({f"{layer}.dense.bias": None}, f"{layer}.dense.bias is missing"),
        ({f"{layer}.more.bias": torch.zeros(3)}, "more.bias is not in the model"),
        ({"classifier.out_proj.bias": torch.zeros(3)}, "out_proj.bias should be 2 and is 3"),
        (
            {f"{layer}.adapter_modules.xx_XX.dense1.bias": torch.zeros(16)},
            "adapters that config.json does not list: xx_XX",
        ),
    ):
        rewrite(**changes)
        with pytest.raises(ModelError, match=message):
            xmod_extend.load(path, "en_XX")
    rewrite(**{"trainer.state": torch.zeros(1)})
    with pytest.warns(UserWarning, match="1 tensors that no X-MOD has, such as trainer.state"):
        assert isinstance(xmod_extend.load(path, "en_XX"), XmodForSequenceClassification)


def test_memory_that_a_pickle_shares_is_taken_apart(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved", kind="bin")
    tensors = torch.load(path / "pytorch_model.bin", weights_only=True)
    layer = "roberta.encoder.layer.{}.output.dense.bias"
    tensors[layer.format(0)] = tensors[layer.format(1)]
    save_bin(tensors, path)
    ours = xmod_extend.load(path, "en_XX")
    with torch.no_grad():
        ours.get_parameter(layer.format(0)).zero_()
    assert bool(ours.get_parameter(layer.format(1)).any())


def test_a_decoder_generates(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved")
    with pytest.warns(UserWarning, match="reads in both directions; give is_decoder=True"):
        xmod_extend.load(path, CHOSEN, "text-generation")
    ours = xmod_extend.load(path, CHOSEN, "text-generation", is_decoder=True)
    upstream = transformers.XmodForCausalLM.from_pretrained(path, is_decoder=True)
    ids, lang_ids = make_inputs()["input_ids"][2:], torch.tensor([1, 0])
    mask = torch.ones_like(ids)
    given = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False}
    assert torch.equal(
        ours.generate(ids, lang_ids=lang_ids, **given),
        upstream.generate(ids, lang_ids=UPSTREAM_IDS[lang_ids], **given),
    )


def test_the_bundled_base_is_loaded_by_name(tmp_path: Path) -> None:
    ours = xmod_extend.load("tiny", ["de_DE", "en_XX"])
    assert list(ours.config.languages) == ["de_DE", "en_XX"]
    assert ours.name_or_path == "tiny"


def test_the_callers_settings_change_nothing(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "saved")
    expected = xmod_extend.load(path, CHOSEN).state_dict()
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            ours = xmod_extend.load(path, CHOSEN)
    finally:
        torch.set_default_dtype(default)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())
    assert ours.base_model.embeddings.position_ids.device.type == "cpu"


@pytest.mark.slow
def test_other_languages_are_never_in_memory(tmp_path: Path) -> None:
    """Measured in a process of its own: a base of 194 MB, of which a language takes 4.2 MB."""
    if sys.platform != "linux":
        pytest.skip("/proc tells the peak")
    many = [f"{a}{b}_XX" for a in "abcd" for b in "abcdefghij"]
    shape = {"hidden_size": 512, "num_hidden_layers": 4, "vocab_size": 5_000}
    path = make_checkpoint(tmp_path / "saved", languages=many, **shape)
    assert (path / "model.safetensors").stat().st_size > 190e6
    program = (
        "import re, sys, xmod_extend, torch\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "xmod_extend.load('tiny', 'en_XX')\n"
        "before = peak()\n"
        "model = xmod_extend.load(sys.argv[1], ['aa_XX', 'dj_XX'])\n"
        "model(torch.randint(5, 9, (1, 4)), langs='aa_XX')\n"
        "print((peak() - before) * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    shutil.rmtree(path)
    assert int(done.stdout) < 70e6
