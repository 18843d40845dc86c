"""Adds a language with transformers alone, as its documentation of X-MOD suggests.

One more entry in `languages`, everything frozen but the new adapter, and a plain loop in `train()`
mode. The same file runs in both majors of transformers.
"""

from __future__ import annotations

import torch
import transformers
from harness import LANGUAGE, Report, dropout_rates, parse_arguments, run_plain_loop
from transformers import AutoConfig, AutoModelForMaskedLM


def main() -> None:
    given = parse_arguments()
    transformers.logging.set_verbosity_error()
    config = AutoConfig.from_pretrained(given.base, **dropout_rates(given))
    config.languages = [*config.languages, LANGUAGE]
    dtype = torch.bfloat16 if given.precision == "bf16-weights" else torch.float32
    model = AutoModelForMaskedLM.from_pretrained(given.base, config=config, dtype=dtype)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = f".adapter_modules.{LANGUAGE}." in name
    model.set_default_language(LANGUAGE)
    model.train()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    run_plain_loop(
        given,
        model,
        lambda ids, labels: model(ids, attention_mask=torch.ones_like(ids), labels=labels),
        Report(versions),
    )


if __name__ == "__main__":
    main()
