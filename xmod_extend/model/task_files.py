"""What was learnt of a task, as files that plain peft or plain transformers load.

LoRA    adapter_config.json, adapter_model.safetensors: the task adapter and the head
full    model.safetensors, tokenizer files: a whole model with all languages
both    config.json: the checkpoint's, with the names of the labels
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from xmod_extend.files.copying import copy_file
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.config import CONFIG_NAME
from xmod_extend.model.names import ADAPTER_NAME
from xmod_extend.model.safetensors_files import write_safetensors
from xmod_extend.model.task_model import HEAD, task_config
from xmod_extend.model.tensors import (
    TensorSource,
    source_in_memory,
    source_of,
)
from xmod_extend.tokens.tokenizer import find_tokenizer_files

if TYPE_CHECKING:
    from peft import PeftModel

LORA_CONFIG_NAME, LORA_NAME = "adapter_config.json", "adapter_model.safetensors"
MODEL_NAME = "model.safetensors"
RESULT_NAME = "transfer.json"


def task_file_names(checkpoint: Checkpoint, *, is_full: bool) -> list[str]:
    """Return the names of the files that `write_task` writes, and of the result beside them."""
    shared = [CONFIG_NAME, RESULT_NAME]
    if is_full:
        tokenizer = [file.name for file in find_tokenizer_files(checkpoint.path)]
        return [*shared, MODEL_NAME, *tokenizer]
    return [*shared, LORA_CONFIG_NAME, LORA_NAME]


def task_bytes(checkpoint: Checkpoint, *, is_full: bool) -> int:
    """Return about how much room the files take."""
    return 4 * checkpoint.num_parameters if is_full else checkpoint.num_parameters // 10


def write_task(
    folder: Path, model: nn.Module, checkpoint: Checkpoint, labels: Sequence[str]
) -> None:
    """Write a trained model of a task into an empty folder.

    Args:
        model: A `PeftModel`, or the slice itself if its shared weights were trained.
    """
    from peft import PeftModel

    config = task_config(checkpoint, labels)
    if isinstance(model, PeftModel):
        _write_lora(folder, model)
    else:
        config.architectures = [type(model).__name__]
        _write_model(folder / MODEL_NAME, model, checkpoint)
        for file in find_tokenizer_files(checkpoint.path):
            copy_file(file, folder / file.name)
    config.save_pretrained(folder)


def _write_lora(folder: Path, model: PeftModel) -> None:
    """Write what `PeftModel.save_pretrained` does, without its questions to the Hub."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    sources = {
        name: source_in_memory(tensor.detach().cpu().contiguous())
        for name, tensor in tensors.items()
    }
    _write(folder / LORA_NAME, sources)
    config = model.peft_config["default"]
    was_training, config.inference_mode = config.inference_mode, True
    config.save_pretrained(str(folder))
    config.inference_mode = was_training


def _write_model(path: Path, model: nn.Module, checkpoint: Checkpoint) -> None:
    """Write the trained weights, and every language's adapter as the checkpoint has it."""
    sources: dict[str, TensorSource] = {}
    for name, tensor in model.state_dict().items():
        if not ADAPTER_NAME.fullmatch(name):
            sources[name] = source_in_memory(tensor.detach().cpu().contiguous())
    for language in checkpoint.languages:
        for name in checkpoint.adapter_names(language):
            sources[name] = source_of(checkpoint.weights.by_name[name], name)
    assert any(name.startswith(HEAD) for name in sources)
    _write(path, sources)


def _write(path: Path, sources: dict[str, TensorSource]) -> None:
    write_safetensors(
        path, ((name, source.info, source.chunks()) for name, source in sources.items())
    )
