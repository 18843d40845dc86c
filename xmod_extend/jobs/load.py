"""A checkpoint with a few of its languages in memory, for notebooks and services."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xmod_extend.arguments import PathOrName, as_names, as_path_or_name, as_text, shown
from xmod_extend.errors import UsageError
from xmod_extend.model.base import resolve_base
from xmod_extend.model.config import config_languages
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.selection import select_languages

if TYPE_CHECKING:
    import torch
    from transformers.models.xmod.modeling_xmod import XmodPreTrainedModel

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""This package's names of dtypes, and torch's."""


def load(
    checkpoint: PathOrName,
    langs: str | Sequence[str],
    task: str | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    revision: str | None = None,
    **config: Any,
) -> XmodPreTrainedModel:
    """Load an X-MOD with some of its languages; the others are never in memory.

        model = xmod_extend.load("USER/NAME", ["quz_PE", "es_XX"])
        model(**inputs, langs=["quz_PE", "es_XX"])   # a code for each sequence, or one for all

    The model is one of upstream's classes, in `eval()` mode, with `langs` in this order: their
    positions are the values of `lang_ids`, (B,) or (B, T). It runs only the adapters of the
    languages in a batch, under autocast too, and needs neither argument if it has one language or a
    default. In the checkpoint's dtype its weights are mapped and read when they are first used.

    Args:
        checkpoint: A folder, a Hub id such as `USER/NAME@REVISION`, or `tiny`.
        langs: Codes of the checkpoint.
        task: `fill-mask`, `text-classification`, `token-classification`, `question-answering`,
            `multiple-choice`, `text-generation` or `feature-extraction`. By default what the
            checkpoint was saved for. A head that it lacks is new, and a warning says so.
        dtype: Of all weights, such as `"bf16"` or `torch.bfloat16`; by default the checkpoint's.
        device: Such as `"cuda"`; by default the processor.
        revision: Branch, tag or commit on the Hub.
        config: Fields of the config, such as `num_labels=3`, as for `from_pretrained`.

    Raises:
        LanguageError: The checkpoint lacks one of the languages, or one is named twice.
        ModelError: It is not an X-MOD, or damaged.
        UsageError: There is no such task, dtype, device or field.
        HubError: It cannot be had from the Hub.
    """
    name = as_path_or_name("checkpoint", checkpoint)
    asked = as_names("langs", langs)
    if task is not None:
        task = as_text("task", task)
    reference = resolve_base(name, revision=revision)
    languages = select_languages(asked, config_languages(reference.load_config()), reference.name)
    with own_global_state():
        from xmod_extend.model.routing import route_languages
        from xmod_extend.model.some_languages import initialise, load_languages

        place = _device(device)
        loaded = load_languages(
            reference.fetch(),
            languages,
            task=task,
            dtype=_dtype(dtype),
            device=place,
            fields=config,
        )
    # A new head is drawn from the caller's random numbers, as transformers does it.
    initialise(loaded, place)
    route_languages(loaded.model)
    # For peft and whoever else asks where a model is from.
    loaded.model.name_or_path = loaded.model.config._name_or_path = name
    for sentence in _notes(loaded.model, loaded.new_parts, loaded.unused, reference.name):
        warnings.warn(sentence, stacklevel=2)
    return loaded.model


def _notes(
    model: XmodPreTrainedModel, new_parts: Sequence[str], unused: Sequence[str], name: str
) -> list[str]:
    notes = []
    if new_parts:
        notes.append(
            f"{name} has no weights of {' and '.join(new_parts)}: they start from random values, "
            "and mean nothing until they are trained."
        )
    if unused:
        notes.append(f"{name} has {len(unused)} tensors that no X-MOD has, such as {unused[0]}.")
    if type(model).__name__ == "XmodForCausalLM" and not model.config.is_decoder:
        notes.append(
            "The model reads in both directions; give is_decoder=True to have it generate text."
        )
    return notes


def _dtype(given: torch.dtype | str | None) -> torch.dtype | None:
    import torch

    if given is None:
        return None
    found = given
    if isinstance(given, str):
        found = getattr(torch, DTYPES.get(given, given), given)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UsageError(
            f"dtype is {shown(given)}, which is no type of weights.",
            hint="Give fp32, bf16 or fp16, or one of torch's.",
        )
    return found


def _device(given: torch.device | str | None) -> torch.device:
    import torch

    try:
        device = torch.device("cpu" if given is None else given)
        torch.empty(1, device=device)
    except Exception as error:  # each backend raises its own
        raise UsageError(
            f"There is no device {shown(given)} that PyTorch can use here.",
            hint='Give "cpu", or leave it out.',
        ) from error
    return device
