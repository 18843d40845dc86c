"""Tensors in files of whatever format: what is known of them without reading them, and how they are
read in pieces.

`model/safetensors_files.py` and `model/torch_files.py` have the formats.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from xmod_extend.errors import ModelError
from xmod_extend.text.sniffing import LFS_POINTER

if TYPE_CHECKING:
    import torch

ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
"""Bytes per element of each dtype, in the format's own spelling."""

TORCH_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "I64": "int64",
    "U64": "uint64",
    "F64": "float64",
}
"""The same dtypes as attributes of `torch`, which is also config.json's spelling."""

MOST_NAME_LENGTH = 250
"""Characters of a tensor's or a file's name; the longest of an X-MOD's has a third of it."""

CHUNK_BYTES = 4 * 1024 * 1024
"""How much of a tensor is in memory at a time while it is hashed or copied."""


class DamagedFileError(ModelError):
    """A file is cut short or altered.

    If it is a link, as in the Hub's cache, the hint is to delete the file that it points to, which
    a new download would take for whole.
    """

    def __init__(self, message: str, path: Path) -> None:
        hint = "Download or copy the file again."
        if path.is_symlink():
            hint = f"Delete {path.resolve()}, to which it is a link, and it is downloaded again."
        super().__init__(message, hint=hint)


def refuse_lfs_pointer(path: Path, start: bytes) -> None:
    """Refuse the pointer that Git LFS leaves in the place of a file.

    Raises:
        ModelError: `start`, the file's first bytes, are a pointer's.
    """
    if start.startswith(LFS_POINTER):
        raise ModelError(
            f"{path.name} is a Git LFS pointer of {path.stat().st_size} bytes, not the file "
            "itself.",
            hint=f"Fetch the file with `git lfs pull` in {path.parent}.",
        )


def cannot_be_read(path: Path, error: OSError) -> ModelError:
    """Return the error to raise when the file system cannot read a file."""
    hint = f"Look at {path}."
    if isinstance(error, PermissionError):
        hint = f"Ask the owner of {path} to let you read it."
    return ModelError(f"{path.name} cannot be read: {error.strerror}.", hint=hint)


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's entry in a header, with `dtype` in safetensors' spelling (`F32`)."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.num_elements * ITEM_BYTES[self.dtype]


class TensorFile(Protocol):
    """A file of tensors, whatever its format."""

    path: Path

    @property
    def names(self) -> tuple[str, ...]: ...

    def info(self, name: str) -> TensorInfo: ...

    def read(self, name: str) -> torch.Tensor: ...

    def map(self, name: str) -> torch.Tensor: ...

    def iter_bytes(self, name: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]: ...

    def digest(self, name: str) -> str: ...


@dataclass(frozen=True)
class TensorSource:
    """A tensor to write, and where its bytes come from.

    Attributes:
        chunks: Returns the bytes in pieces. A tensor whose room is only planned has none.
    """

    info: TensorInfo
    chunks: Callable[[], Iterable[bytes | memoryview]] = tuple


def source_of(file: TensorFile, name: str) -> TensorSource:
    """Return a tensor of a file, which is read in pieces when it is written."""
    return TensorSource(file.info(name), lambda: file.iter_bytes(name))


def source_in_memory(tensor: torch.Tensor) -> TensorSource:
    """Return a tensor in memory, which is not copied."""
    return TensorSource(tensor_info(tensor), lambda: [tensor_bytes(tensor)])


def read_as(file: TensorFile, name: str, dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor of a file in another dtype, of which a piece at a time is in memory twice."""
    import torch

    info = file.info(name)
    if torch_dtype(info.dtype) == dtype:
        return file.read(name)
    values = torch.empty(info.num_elements, dtype=dtype, device="cpu")
    done = 0
    for chunk in file.iter_bytes(name):
        piece = _as_tensor(chunk, info.dtype)
        values[done : done + piece.numel()] = piece
        done += piece.numel()
    return values.view(info.shape)


def read_rows(file: TensorFile, name: str, num_rows: int) -> Iterator[torch.Tensor]:
    """Yield a matrix in blocks of so many rows, in the dtype of the file."""
    info = file.info(name)
    _, width = info.shape
    for chunk in file.iter_bytes(name, num_rows * width * ITEM_BYTES[info.dtype]):
        yield _as_tensor(chunk, info.dtype).view(-1, width)


def _as_tensor(chunk: memoryview, dtype: str) -> torch.Tensor:
    """Return bytes as a flat tensor with memory of its own, aligned as PyTorch aligns it.

    The last bits of a product may depend on the alignment.
    """
    import torch

    raw = torch.empty(len(chunk), dtype=torch.uint8, device="cpu")
    raw.numpy().data[:] = chunk
    return raw.view(torch_dtype(dtype))


def tensor_of(source: TensorSource) -> torch.Tensor:
    """Return the tensor of a source, in memory of its own."""
    import torch

    raw = torch.empty(source.info.num_bytes, dtype=torch.uint8, device="cpu")
    view, position = raw.numpy().data, 0
    for chunk in source.chunks():
        view[position : position + len(chunk)] = chunk
        position += len(chunk)
    return raw.view(torch_dtype(source.info.dtype)).reshape(source.info.shape)


def digest_of(info: TensorInfo, chunks: Iterable[bytes | memoryview]) -> str:
    """Return the SHA-256 over dtype, shape and bytes: the same only for identical tensors."""
    sha = hashlib.sha256(f"{info.dtype} {list(info.shape)}\n".encode())
    for chunk in chunks:
        sha.update(chunk)
    return sha.hexdigest()


def torch_dtype(dtype: str) -> torch.dtype:
    """Return the torch dtype of safetensors' spelling: `F32` is `torch.float32`."""
    import torch

    found: torch.dtype = getattr(torch, TORCH_NAMES[dtype])
    return found


def tensor_info(tensor: torch.Tensor) -> TensorInfo:
    """Return the header entry that `tensor` would have."""
    spelling = {name: dtype for dtype, name in TORCH_NAMES.items()}
    return TensorInfo(spelling[str(tensor.dtype).removeprefix("torch.")], tuple(tensor.shape))


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """Return a contiguous CPU tensor's memory, without a copy."""
    import torch

    # One of a single element counts as contiguous whatever its strides are.
    flat = tensor.detach().contiguous().as_strided((tensor.numel(),), (1,)).view(torch.uint8)
    return flat.numpy().data


def is_name(name: str) -> bool:
    """Return whether a tensor or a file may have a name: a short one, of visible characters."""
    return 0 < len(name) <= MOST_NAME_LENGTH and name.isprintable()
