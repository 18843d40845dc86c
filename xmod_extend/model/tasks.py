"""Upstream's seven X-MODs, each by the task that it is for, and the parts of their weights.

    feature-extraction    XmodModel                        pooler
    fill-mask             XmodForMaskedLM                  lm_head
    text-generation       XmodForCausalLM                  lm_head
    text-classification   XmodForSequenceClassification    classifier
    token-classification  XmodForTokenClassification       classifier
    question-answering    XmodForQuestionAnswering         qa_outputs
    multiple-choice       XmodForMultipleChoice            pooler, classifier

The tasks have the Hub's names, which are also those of `transformers.pipeline`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import UsageError

if TYPE_CHECKING:
    from transformers.models.xmod.modeling_xmod import XmodPreTrainedModel

CLASSES = {
    "feature-extraction": "XmodModel",
    "fill-mask": "XmodForMaskedLM",
    "text-generation": "XmodForCausalLM",
    "text-classification": "XmodForSequenceClassification",
    "token-classification": "XmodForTokenClassification",
    "question-answering": "XmodForQuestionAnswering",
    "multiple-choice": "XmodForMultipleChoice",
}
"""Task -> the name of upstream's class."""

BODY_PARTS = ("embeddings", "encoder", "pooler")
"""Parts of the weights that lie under `roberta.` in every class but `XmodModel`."""
HEADS = ("pooler", "lm_head", "classifier", "qa_outputs")
"""Parts that a checkpoint of another task may lack, or have in vain."""


def model_class(
    task: str | None, config: Mapping[str, Any], names: Collection[str]
) -> type[XmodPreTrainedModel]:
    """Return upstream's class for a task.

    Args:
        task: A task, or the name of a class. By default what the checkpoint was saved from.
        config: config.json.
        names: The checkpoint's tensors.

    Raises:
        UsageError: There is no such task.
    """
    from transformers.models.xmod import modeling_xmod

    name = _saved_class(config, names) if task is None else CLASSES.get(task, task)
    if name not in CLASSES.values():
        near = difflib.get_close_matches(name, [*CLASSES, *CLASSES.values()], n=1)
        raise UsageError(
            f"X-MOD has no task {name!r}.",
            hint=f"Did you mean {near[0]}?" if near else f"Its tasks are {', '.join(CLASSES)}.",
        )
    found: type[XmodPreTrainedModel] = getattr(modeling_xmod, name)
    return found


def _saved_class(config: Mapping[str, Any], names: Collection[str]) -> str:
    """Return the class that a checkpoint was saved from; by its weights if it does not say."""
    saved = config.get("architectures")
    if isinstance(saved, list) and len(saved) == 1 and saved[0] in CLASSES.values():
        return str(saved[0])
    has_head = any(part_of(name) == "lm_head" for name in names)
    return CLASSES["fill-mask" if has_head else "feature-extraction"]


def full_name(name: str) -> str:
    """Return what a tensor is called in a model with a head: `XmodModel` lacks `roberta.`."""
    return f"roberta.{name}" if name.split(".")[0] in BODY_PARTS else name


def part_of(name: str) -> str:
    """Return the part that a tensor belongs to, such as `encoder` or `lm_head`."""
    return name.removeprefix("roberta.").split(".")[0]
