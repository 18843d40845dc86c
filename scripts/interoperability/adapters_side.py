"""Computes logits with `adapters` and transformers 4, in an environment of their own.

usage: python adapters_side.py PLAN

PLAN is a JSON file that scripts/interoperability/adapterhub.py wrote: where the folders lie that it
converted. What is made here, an adapter and a model saved by the library, is for it to convert
back. The logits go to the file that PLAN names, under `WAY/LANGUAGE`.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import adapters
import numpy as np
import torch
import transformers
from adapters import AdapterSetup, AutoAdapterModel, BatchSplit, SeqBnConfig
from transformers import XmodForMaskedLM

Logits = dict[str, np.ndarray]


def compute(model: Any, plan: dict[str, Any], **options: Any) -> np.ndarray:
    ids = torch.tensor(plan["ids"])
    mask = torch.tensor(plan["mask"])
    with torch.no_grad():
        logits: np.ndarray = model(ids, attention_mask=mask, **options).logits.float().numpy()
    return logits


def plain(plan: dict[str, Any]) -> Logits:
    """The extended checkpoint in plain transformers, by `lang_ids` and by the default language."""
    model = XmodForMaskedLM.from_pretrained(plan["extended"]).eval()
    found = {}
    rows = len(plan["ids"])
    for number, language in enumerate(plan["languages"]):
        by_id = compute(model, plan, lang_ids=torch.full((rows,), number))
        model.set_default_language(language)
        by_default = compute(model, plan)
        assert np.array_equal(by_id, by_default)
        found[f"plain/{language}"] = by_id
    mixed = torch.arange(rows) % len(plan["languages"])
    found["plain/mixed"] = compute(model, plan, lang_ids=mixed)
    return found


def one_by_one(plan: dict[str, Any]) -> Logits:
    """Languages of the extended checkpoint, loaded into the base that lacks the new ones."""
    model = XmodForMaskedLM.from_pretrained(plan["base"]).eval()
    adapters.init(model)
    found = {}
    for language, folder in plan["adapters"].items():
        assert model.load_adapter(folder) == language
        model.set_active_adapters(language)
        found[f"load_adapter/{language}"] = compute(model, plan)
        model.delete_adapter(language)
        model.load_adapter(folder, load_as="other", use_safetensors=True)
        with AdapterSetup("other"):
            found[f"AdapterSetup/{language}"] = compute(model, plan)
        model.delete_adapter("other")
    return found


def whole(plan: dict[str, Any]) -> Logits:
    """The whole checkpoint in the form of AdapterHub/xmod-base."""
    model = AutoAdapterModel.from_pretrained(plan["whole"]).eval()
    assert type(model).__name__ == "XmodAdapterModel"
    (first,) = model.adapters_config.adapters
    model.set_active_adapters(first)
    found = {f"whole as it is/{first}": compute(model, plan)}
    for language in plan["languages"]:
        model.load_adapter(str(Path(plan["whole"], language)))
        model.set_active_adapters(language)
        found[f"whole, set_active_adapters/{language}"] = compute(model, plan)
        with AdapterSetup(language, head_setup="default"):
            found[f"whole, AdapterSetup/{language}"] = compute(model, plan)
    rows = len(plan["ids"])
    used = [plan["languages"][row % len(plan["languages"])] for row in range(rows)]
    # A batch is split into runs of neighbours, one for each adapter.
    order = sorted(range(rows), key=lambda row: used[row])
    names = sorted(set(used))
    setup = BatchSplit(*names, batch_sizes=[used.count(name) for name in names])
    with AdapterSetup(setup, head_setup="default"):
        ordered = {name: [plan[name][row] for row in order] for name in ("ids", "mask")}
        logits = compute(model, plan | ordered)
    mixed = np.empty_like(logits)
    mixed[order] = logits
    return found | {"whole, BatchSplit/mixed": mixed}


def made_here(plan: dict[str, Any]) -> Logits:
    """An adapter and a model that the library itself saves."""
    model = AutoAdapterModel.from_pretrained(plan["whole"]).eval()
    config = model.config
    for language in plan["languages"]:
        model.load_adapter(str(Path(plan["whole"], language)))
    model.add_adapter(
        plan["new"],
        SeqBnConfig(
            reduction_factor=config.adapter_reduction_factor,
            original_ln_before=config.adapter_layer_norm or config.adapter_reuse_layer_norm,
            original_ln_after=False,
            residual_before_ln=False if config.ln_before_adapter else "post_add",
            non_linearity=config.hidden_act,
        ),
    )
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if f".adapters.{plan['new']}." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * plan["scale"])
    model.set_active_adapters(plan["new"])
    found = {f"made there/{plan['new']}": compute(model, plan)}
    for in_safetensors in (False, True):
        folder = Path(plan["made"], "safetensors" if in_safetensors else "bin")
        folder.mkdir(parents=True)
        model.save_adapter(str(folder), plan["new"], use_safetensors=in_safetensors)
    model.delete_adapter(plan["new"])
    Path(plan["saved"]).mkdir()
    model.save_all_adapters(plan["saved"])
    for language in plan["languages"][1:]:
        model.delete_adapter(language)
    model.save_pretrained(plan["saved"])
    return found


def main() -> None:
    transformers.logging.set_verbosity_error()
    plan = json.loads(Path(sys.argv[1]).read_text())
    logits: Logits = {}
    for part in (plain, one_by_one, whole, made_here):
        logits |= part(plan)
    np.savez(plan["logits"], **logits)
    print(json.dumps({name: version(name) for name in ("adapters", "transformers", "torch")}))


if __name__ == "__main__":
    main()
