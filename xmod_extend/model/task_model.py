"""A slice with a new head for a task, and what of it is trained.

    embeddings            frozen
    language adapter      frozen, and swapped for another language's after training
    shared weights        trained: by LoRA, or themselves
    the head              new, and trained

Source: Pfeiffer et al. 2022 (arXiv 2205.06266), section 3.3, for what is frozen; Hu et al. 2021
(arXiv 2106.09685) for LoRA.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.slice import FP32, fill_slice

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import (
        XmodConfig,
        XmodForSequenceClassification,
        XmodForTokenClassification,
    )

    TaskModel = XmodForSequenceClassification | XmodForTokenClassification

LORA_TARGETS = (
    r"roberta\.encoder\.layer\.\d+\.(attention\.self\.(query|key|value)"
    r"|attention\.output\.dense|intermediate\.dense|output\.dense)"
)
"""All linear layers that the languages share; those of the adapters and the head have other
names."""
HEAD = "classifier"


def task_config(
    checkpoint: Checkpoint, labels: Sequence[str], *, languages: Sequence[str] | None = None
) -> XmodConfig:
    """Return the checkpoint's config with the labels of a task, optionally with other languages."""
    config = checkpoint.xmod_config(languages=languages)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.architectures = None
    return config


def load_task_slice(
    checkpoint: Checkpoint, language: str, labels: Sequence[str], *, is_word_task: bool, seed: int
) -> TaskModel:
    """Load the shared weights and one language under a new head, on the CPU and in fp32.

    The head's weights are drawn from N(0, `initializer_range`), its biases are zero: upstream's for
    a head that a checkpoint lacks.
    """
    from transformers import XmodForSequenceClassification, XmodForTokenClassification

    kind: Any = XmodForTokenClassification if is_word_task else XmodForSequenceClassification
    with torch.device("meta"):
        model: TaskModel = kind(task_config(checkpoint, labels, languages=[language]))
    generator = torch.Generator().manual_seed(seed)
    for module in model.classifier.modules():
        if isinstance(module, nn.Linear):
            weight = torch.empty(module.weight.shape)
            weight.normal_(0.0, float(model.config.initializer_range), generator=generator)
            module.weight = nn.Parameter(weight)
            module.bias = nn.Parameter(torch.zeros(module.bias.shape))
    body = [name for name in checkpoint.shared_names() if name.startswith("roberta.")]
    fill_slice(model, checkpoint, language, names=body, precision=FP32)
    return model


def with_lora(model: TaskModel, base: str, *, rank: int, seed: int) -> PeftModel:
    """Return the model with LoRA on the shared weights; it and the head alone are trained.

    Args:
        base: The Hub id or folder of the checkpoint, for whoever loads what is saved.
        rank: Of LoRA; its alpha is twice that.
        seed: Of LoRA's random half.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    is_word_task = type(model).__name__ == "XmodForTokenClassification"
    config = LoraConfig(
        task_type=TaskType.TOKEN_CLS if is_word_task else TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        target_modules=LORA_TARGETS,
        modules_to_save=[HEAD],
    )
    # peft draws from the global generator, which a job gives back at its end.
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # It asks transformers for an attribute under its old name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted: PeftModel = get_peft_model(model, config)
    config.base_model_name_or_path = base
    return adapted


def train_shared_weights(model: TaskModel) -> None:
    """Have all weights trained but embeddings and language adapters."""
    model.requires_grad_(True)
    model.freeze_embeddings_and_language_adapters()  # type: ignore[no-untyped-call]
