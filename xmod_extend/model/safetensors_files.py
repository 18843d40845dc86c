"""safetensors files, opened by their header and read one tensor at a time; and written from pieces.

A base of 3.4 GB is never held in memory. Opening a file reads only its header; `read` copies one
tensor's bytes into fresh memory (no mapping of the file, whose touched pages would count as
resident), and `map` leaves them in the file until they are used. The header is parsed here and not
by the `safetensors` library so that a damaged or half-downloaded file can be told apart and named,
and so that `info` works without importing torch.

File format: 8 bytes little-endian header length, the header as a JSON object, then the tensors'
bytes without gaps. Source: the format section of the safetensors README.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.model.tensors import (
    CHUNK_BYTES,
    ITEM_BYTES,
    DamagedFileError,
    TensorInfo,
    cannot_be_read,
    digest_of,
    is_name,
    refuse_lfs_pointer,
    torch_dtype,
)
from xmod_extend.text.sniffing import LFS_POINTER

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Thirty times the header of xmod-base. The `safetensors` library takes 100 MB, which as Python's
objects would fill gigabytes."""


class SafetensorsFile:
    """One safetensors file.

    Raises:
        ModelError: The file is truncated or its header is not one of a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        entries, self.metadata, self._data_start = _read_header(path)
        self._entries = entries
        self._mapping: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def info(self, name: str) -> TensorInfo:
        return self._entries[name][0]

    def read(self, name: str) -> torch.Tensor:
        """Return the tensor in memory of its own."""
        import torch

        info, start = self._entries[name]
        raw = torch.empty(info.num_bytes, dtype=torch.uint8, device="cpu")
        view = raw.numpy().data
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._data_start + start)
            done = 0
            while done < info.num_bytes:
                count = file.readinto(view[done:])
                if not count:
                    raise self._ends_early(name)
                done += count
        return raw.view(torch_dtype(info.dtype)).reshape(info.shape)

    def map(self, name: str) -> torch.Tensor:
        """Return the tensor where it lies in the file: a private mapping, as transformers has it.

        A page of it is in memory once it is used, and shared with other processes until it is
        written to, which does not change the file.
        """
        import torch

        info, start = self._entries[name]
        dtype, begin = torch_dtype(info.dtype), self._data_start + start
        if begin % dtype.itemsize or not info.num_bytes:
            return self.read(name)
        if self._mapping is None:
            path, size = os.fspath(self.path), self.path.stat().st_size
            try:
                self._mapping = torch.UntypedStorage.from_file(path, shared=False, nbytes=size)
            except UnicodeEncodeError:  # torch opens no path that is not UTF-8
                return self.read(name)
        storage = self._mapping[begin : begin + info.num_bytes]
        return torch.empty(0, dtype=dtype, device="cpu").set_(storage).view(info.shape)

    def iter_bytes(self, name: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
        """Yield the tensor's bytes in pieces, each valid only until the next one is asked for."""
        info, start = self._entries[name]
        view = memoryview(bytearray(min(chunk_bytes, info.num_bytes)))
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._data_start + start)
            left = info.num_bytes
            while left:
                wanted = view[: min(left, len(view))]
                done = 0
                while done < len(wanted):
                    count = file.readinto(wanted[done:])
                    if not count:
                        raise self._ends_early(name)
                    done += count
                yield wanted
                left -= len(wanted)

    def digest(self, name: str) -> str:
        return digest_of(self.info(name), self.iter_bytes(name))

    def _ends_early(self, name: str) -> ModelError:
        return DamagedFileError(f"{self.path.name} ended while {name} was read.", self.path)


def _read_header(path: Path) -> tuple[dict[str, tuple[TensorInfo, int]], dict[str, str], int]:
    """Return the entries (info and offset in the data), the metadata, and where the data starts."""
    try:
        with path.open("rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            start = file.read(len(LFS_POINTER))
            refuse_lfs_pointer(path, start)
            prefix = start[:8]
            file.seek(len(prefix))
            header_bytes = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or header_bytes > min(MAX_HEADER_BYTES, file_bytes - 8):
                raise _no_header(path, prefix, header_bytes, file_bytes)
            raw = file.read(header_bytes)
    except OSError as error:
        raise cannot_be_read(path, error) from error
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _bad_header(path, "it is not JSON") from error
    if not isinstance(header, dict):
        raise _bad_header(path, "it is not a JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise _bad_header(path, "its metadata is not a JSON object")
    entries = {name: _read_entry(path, name, entry) for name, entry in header.items()}
    data_bytes = _check_contiguous(path, entries)
    _check_size(path, expected=8 + header_bytes + data_bytes, found=file_bytes)
    return entries, metadata, 8 + header_bytes


def _read_entry(path: Path, name: str, entry: Any) -> tuple[TensorInfo, int]:
    if not is_name(name):
        raise _bad_header(path, f"it has the name {shown(name)}")
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        are_counts = all(type(number) is int and number >= 0 for number in (*shape, start, end))
    except (TypeError, KeyError, ValueError) as error:
        raise _bad_header(path, f"{name} lacks a dtype, a shape or offsets") from error
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _bad_header(path, f"{name} has the unknown dtype {shown(dtype)}")
    if not are_counts:
        raise _bad_header(path, f"{name} has a shape or offsets that are not counts")
    info = TensorInfo(dtype, tuple(shape))
    if end - start != info.num_bytes:
        raise _bad_header(
            path, f"{name} has {end - start:,} bytes where its shape needs {info.num_bytes:,}"
        )
    return info, start


def _check_contiguous(path: Path, entries: dict[str, tuple[TensorInfo, int]]) -> int:
    """Refuse gaps and overlaps between tensors; return the number of bytes of all."""
    position = 0
    for name, (info, start) in sorted(entries.items(), key=lambda item: (item[1][1], item[0])):
        # A tensor without elements shares its offset with its neighbour and takes no room.
        if start != position and info.num_bytes:
            raise _bad_header(path, f"{name} starts at byte {start:,}, not at {position:,}")
        position += info.num_bytes
    return position


def _check_size(path: Path, *, expected: int, found: int) -> None:
    if found < expected:
        raise DamagedFileError(
            f"{path.name} is truncated: {expected:,} bytes expected, {found:,} found.", path
        )
    if found > expected:
        raise DamagedFileError(
            f"{path.name} is longer than its header says: "
            f"{expected:,} bytes expected, {found:,} found.",
            path,
        )


def _no_header(path: Path, prefix: bytes, header_bytes: int, file_bytes: int) -> ModelError:
    if len(prefix) < 8:
        found = f"it has only {file_bytes} bytes"
    elif header_bytes > MAX_HEADER_BYTES:
        found = f"its first 8 bytes give a header length of {header_bytes:,}"
    else:
        return DamagedFileError(
            f"{path.name} is truncated: its header needs {header_bytes + 8:,} bytes, "
            f"{file_bytes:,} found.",
            path,
        )
    return DamagedFileError(f"{path.name} is not a safetensors file: {found}.", path)


def _bad_header(path: Path, what: str) -> ModelError:
    return DamagedFileError(f"{path.name} has a damaged header: {what}.", path)


def write_safetensors(
    path: Path,
    tensors: Iterable[tuple[str, TensorInfo, Iterable[bytes | memoryview]]],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file from pieces, so that no tensor need be in memory as a whole.

    Args:
        path: The file to write; an existing one is replaced.
        tensors: Name, info and bytes of the tensors. The bytes are asked for when they are written.
        metadata: Texts for the header, beside the format.

    Raises:
        OSError: The file cannot be written.
    """
    # Wider items first, as the `safetensors` library does it, keeps every tensor aligned.
    order = sorted(tensors, key=lambda entry: -ITEM_BYTES[entry[1].dtype])
    header: dict[str, object] = {"__metadata__": {"format": "pt"} | dict(metadata or {})}
    position = 0
    for name, info, _ in order:
        assert name not in header, f"{name} twice"
        end = position + info.num_bytes
        header[name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [position, end],
        }
        position = end
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name, info, chunks in order:
            written = sum(file.write(chunk) for chunk in chunks)
            assert written == info.num_bytes, f"{name}: {written} of {info.num_bytes} bytes"
