"""A LoRA that peft trains on an extended checkpoint follows its languages, old and new."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from checkpoints import extend
from transformers import XmodForMaskedLM

from xmod_extend.model.checkpoint import open_checkpoint

# peft asks transformers in a way that transformers has since given another name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

TRAINED, OTHER = 1, 3
"""The ids of an old language that the LoRA is trained with, and of the new one."""
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module", params=["post-norm", "pre-norm"])
def extended(
    request: pytest.FixtureRequest,
    base: Path,
    pre_norm_base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    chosen = base if request.param == "post-norm" else pre_norm_base
    return extend(open_checkpoint(chosen), tmp_path_factory.mktemp("extended") / "out", "quz_PE")


def load(extended: Path) -> XmodForMaskedLM:
    model: XmodForMaskedLM = XmodForMaskedLM.from_pretrained(extended).eval()
    assert list(model.config.languages).index("quz_PE") == OTHER
    return model


def tensors_of(model: torch.nn.Module) -> Tensors:
    """Copies of upstream's tensors, under upstream's names."""
    return {
        name.replace("base_model.model.", "").replace(".base_layer", ""): tensor.clone()
        for name, tensor in model.state_dict().items()
        if "lora_" not in name
    }


def compute(model: torch.nn.Module, *languages: int) -> torch.Tensor:
    ids = torch.randint(5, 120, (4, 12), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    ids[2, 7:], mask[2, 7:] = 1, 0
    lang_ids = torch.tensor(languages if len(languages) > 1 else languages * 4)
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, lang_ids=lang_ids).logits
    return logits


def train(model: peft.PeftModel, *, steps: int = 4) -> None:
    optimizer = torch.optim.AdamW(
        (parameter for parameter in model.parameters() if parameter.requires_grad), lr=0.02
    )
    generator = torch.Generator().manual_seed(4)
    model.train()
    for _ in range(steps):
        ids = torch.randint(5, 120, (4, 12), generator=generator)
        loss = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            lang_ids=torch.full((4,), TRAINED),
            labels=ids,
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


@pytest.fixture
def trained(extended: Path) -> peft.PeftModel:
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"])
    model = peft.get_peft_model(load(extended), config)
    train(model)
    return model


def test_only_the_lora_was_trained(extended: Path, trained: peft.PeftModel) -> None:
    before, after = tensors_of(load(extended)), tensors_of(trained)
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sum(".adapter_modules.quz_PE." in name for name in after) == 8
    learnt = {name: tensor for name, tensor in trained.state_dict().items() if "lora_B" in name}
    assert learnt and all(bool(tensor.any()) for tensor in learnt.values())


def test_each_language_keeps_its_own_adapter(extended: Path, trained: peft.PeftModel) -> None:
    """What the LoRA does is added to the attention, and each row goes through its language."""
    plain = load(extended)
    for language in range(4):
        assert not torch.allclose(compute(trained, language), compute(plain, language), atol=1e-3)
    assert not torch.allclose(compute(trained, TRAINED), compute(trained, OTHER), atol=1e-3)
    with torch.no_grad():
        for name, layer in trained.named_modules():
            if isinstance(layer, peft.tuners.lora.Linear):
                target = plain.get_submodule(name.removeprefix("base_model.model."))
                target.weight += layer.get_delta_weight("default")
    mixed = compute(trained, 0, OTHER, TRAINED, OTHER)
    for row, language in enumerate((0, OTHER, TRAINED, OTHER)):
        # A batch with other languages in it is computed in other pieces.
        torch.testing.assert_close(mixed[row], compute(plain, language)[row], atol=1e-5, rtol=0)


def test_it_is_loaded_again_and_merged(
    extended: Path, trained: peft.PeftModel, tmp_path: Path
) -> None:
    trained.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("model*"))
    loaded = peft.PeftModel.from_pretrained(load(extended), tmp_path).eval()
    for language in (TRAINED, OTHER):
        assert torch.equal(compute(loaded, language), compute(trained, language))
    mixed = compute(loaded, OTHER, 0, OTHER, TRAINED)
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(compute(merged, OTHER, 0, OTHER, TRAINED), mixed, atol=1e-5, rtol=0)
    before, after = tensors_of(load(extended)), tensors_of(merged)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"roberta.encoder.layer.{layer}.attention.self.{part}.weight"
        for layer in range(2)
        for part in ("query", "value")
    }
