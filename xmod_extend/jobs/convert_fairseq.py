"""fairseq's file of an X-MOD as a standard checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from xmod_extend.errors import ModelError, UsageError
from xmod_extend.jobs.convert import (
    Conversion,
    ConvertRequest,
    compare_digests,
    refuse_options,
    size_of,
)
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.extension import require_own_file
from xmod_extend.model.fairseq import open_fairseq
from xmod_extend.model.shards import TensorShard, bind
from xmod_extend.model.tensors import digest_of
from xmod_extend.model.writer import CheckpointContents, check_output, write_checkpoint
from xmod_extend.tokens.tokenizer import find_tokenizer_files

WEIGHTS_NAME = "model.safetensors"
SENTENCEPIECE_NAME = "sentencepiece.bpe.model"
"""What lies beside the weights where X-MOD's authors published them."""


def from_fairseq(request: ConvertRequest) -> Conversion:
    """Make a standard checkpoint of fairseq's file.

    Raises:
        ModelError: It is another model's, is damaged, or holds code.
        UsageError: The output cannot be written.
    """
    refuse_options(request, "base", "lang", why="the whole model is converted")
    path = Path(request.source).expanduser()
    if not path.is_file():
        raise ModelError(
            f"{request.source} is not a file.", hint="Give the model.pt that fairseq wrote."
        )
    tokenizer = _tokenizer(request, path)
    check_output(request.output, force=request.force)
    model = open_fairseq(path)
    num_bytes = sum(source.info.num_bytes for source in model.tensors.values())
    check_output(request.output, force=request.force, needed_bytes=num_bytes)
    expected = {
        name: digest_of(source.info, source.chunks()) for name, source in model.tensors.items()
    }

    def verify(folder: Path) -> None:
        checkpoint = open_checkpoint(folder)
        compare_digests({name: checkpoint.digest(name) for name in checkpoint.names()}, expected)

    contents = CheckpointContents(
        weight_map=bind(TensorShard(WEIGHTS_NAME, model.tensors)),
        config=json.dumps(model.config, indent=2) + "\n",
        companions=tokenizer,
    )
    write_checkpoint(request.output, contents, verify=verify, force=request.force)
    lacking = (
        "There is no tokenizer beside the weights: `add` takes XLM-R's, which is X-MOD's; others "
        "need --tokenizer DIR.",
    )
    return Conversion(
        output=request.output,
        form="checkpoint",
        languages=tuple(model.config["languages"]),
        num_bytes=size_of(request.output.expanduser()),
        notes=(*model.notes, *(() if tokenizer else lacking)),
    )


def _tokenizer(request: ConvertRequest, path: Path) -> dict[str, Path]:
    """Return the files of the tokenizer: those that were named, or the one beside the weights."""
    if request.tokenizer is None:
        beside = path.parent / SENTENCEPIECE_NAME
        if not beside.is_file():
            return {}
        require_own_file(beside)
        return {beside.name: beside}
    folder = request.tokenizer.expanduser()
    files = find_tokenizer_files(folder) if folder.is_dir() else []
    if not files:
        raise UsageError(
            f"--tokenizer {request.tokenizer} is no folder with a tokenizer.",
            hint=f"Give a folder with tokenizer.json or {SENTENCEPIECE_NAME}.",
        )
    for file in files:
        require_own_file(file)
    return {file.name: file for file in files}
