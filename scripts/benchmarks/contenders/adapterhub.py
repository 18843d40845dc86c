"""Adds a language with AdapterHub's `adapters`, as it documents X-MOD and adapter training.

`adapters` keeps X-MOD's adapters apart from the model: its own converted checkpoint holds the
shared weights, and each language is a repository of its own. So from our base the shared weights
and the LM head are loaded, and the adapters of the 81 languages, whose names it does not know, are
passed over. The new one gets the settings that AdapterHub's converter gives X-MOD's adapters.
`train_adapter` leaves the LM head's dense layer and layer norm trainable; so they train here too.

Source: adapter-hub/adapters, docs/classes/models/xmod.rst, utils/convert_xmod_checkpoint.py and
examples/pytorch/language-modeling/run_mlm.py.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
import transformers
from adapters import AutoAdapterModel, SeqBnConfig
from harness import LANGUAGE, Report, dropout_rates, parse_arguments, run_plain_loop
from transformers import AutoConfig


def main() -> None:
    given = parse_arguments()
    transformers.logging.set_verbosity_error()
    config = AutoConfig.from_pretrained(given.base, **dropout_rates(given))
    model = AutoAdapterModel.from_pretrained(given.base, config=config)
    if model.active_head is None:
        raise RuntimeError("the LM head was not loaded from the base")
    model.add_adapter(
        LANGUAGE,
        config=SeqBnConfig(
            reduction_factor=config.adapter_reduction_factor,
            original_ln_before=config.adapter_layer_norm or config.adapter_reuse_layer_norm,
            original_ln_after=False,
            residual_before_ln=False if config.ln_before_adapter else "post_add",
            non_linearity=config.hidden_act,
        ),
    )
    model.train_adapter(LANGUAGE)
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "adapters": version("adapters"),
    }
    run_plain_loop(
        given,
        model,
        lambda ids, labels: model(ids, attention_mask=torch.ones_like(ids), labels=labels),
        Report(versions),
    )


if __name__ == "__main__":
    main()
