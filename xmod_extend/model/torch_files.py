"""PyTorch's `.bin` and `.pt` files, with the interface of safetensors files.

`facebook/xmod-base` may be published only in this format. A pickle can hold code, so it is opened
by torch's restricted unpickler alone, and not by one that is known to be unsafe: before torch 2.10
a file can corrupt memory there (CVE-2026-24747), and before 2.6 run any code (CVE-2025-32434).
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.model.names import OLD_BUFFERS, TIED_NAMES
from xmod_extend.model.tensors import (
    CHUNK_BYTES,
    TORCH_NAMES,
    DamagedFileError,
    TensorInfo,
    cannot_be_read,
    digest_of,
    is_name,
    refuse_lfs_pointer,
    tensor_bytes,
    tensor_info,
    torch_dtype,
)
from xmod_extend.text.sniffing import LFS_POINTER

if TYPE_CHECKING:
    import torch

SAFE_SINCE = (2, 10)
"""The first version of torch without a known way around its restricted unpickler."""


class PickleFile:
    """One PyTorch `.bin` file, read by torch's restricted unpickler and never by a plain one.

    Names that are other names of one storage are dropped when they are tied weights, and so are
    the buffers that old transformers versions saved. The file is mapped; because touched pages of
    a mapping count as resident, the mapping is renewed now and then.

    Args:
        part: Returns the dictionary of tensors within what the file holds; by default all of it.
        inert: Classes without behaviour, whose instances the file may hold beside.

    Raises:
        ModelError: The file is damaged, holds anything but tensors, or holds code, or the
            installed torch does not read it safely.
    """

    RENEW_AFTER_BYTES = 256 * 1024 * 1024

    def __init__(
        self,
        path: Path,
        *,
        part: Callable[[object], object] | None = None,
        inert: Sequence[type] = (),
    ) -> None:
        self.path = path
        self._part = part
        self._inert = inert
        self._lock = threading.Lock()
        self._touched_bytes = 0
        self._tensors = self._load()
        self._infos = {name: tensor_info(tensor) for name, tensor in self._tensors.items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._infos)

    def info(self, name: str) -> TensorInfo:
        return self._infos[name]

    def read(self, name: str) -> torch.Tensor:
        """Return the tensor in memory of its own."""
        import torch

        info = self._infos[name]
        raw = torch.empty(info.num_bytes, dtype=torch.uint8, device="cpu")
        view, done = raw.numpy().data, 0
        for chunk in self.iter_bytes(name):
            view[done : done + len(chunk)] = chunk
            done += len(chunk)
        return raw.view(torch_dtype(info.dtype)).reshape(info.shape)

    def map(self, name: str) -> torch.Tensor:
        """Return the tensor where it lies in the file, as `SafetensorsFile.map` does."""
        return self._tensors[name]

    def iter_bytes(self, name: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
        """Yield the tensor's bytes in pieces, each valid only until the next one is asked for."""
        view = None
        for start in range(0, self._infos[name].num_bytes, chunk_bytes):
            # Asked for anew, so that the pages of earlier pieces need not stay resident.
            tensor = self._tensor(name, chunk_bytes)
            if view is None or tensor.is_contiguous():
                view = tensor_bytes(tensor)
            yield view[start : start + chunk_bytes]

    def digest(self, name: str) -> str:
        return digest_of(self.info(name), self.iter_bytes(name))

    def _tensor(self, name: str, touched_bytes: int) -> torch.Tensor:
        with self._lock:
            if self._touched_bytes > self.RENEW_AFTER_BYTES:
                self._tensors, self._touched_bytes = self._load(), 0
            self._touched_bytes += touched_bytes
            return self._tensors[name]

    def _load(self) -> dict[str, torch.Tensor]:
        import torch

        loaded = load_pickle(self.path, inert=self._inert)
        if self._part is not None:
            loaded = self._part(loaded)
        if not isinstance(loaded, dict) or not all(
            isinstance(name, str) and is_name(name) and isinstance(tensor, torch.Tensor)
            for name, tensor in loaded.items()
        ):
            raise ModelError(
                f"{self.path.name} does not hold a dictionary of tensors.",
                hint="A checkpoint's .bin file is what `save_pretrained` writes.",
            )
        odd = next((name for name, tensor in loaded.items() if not _is_plain(tensor)), None)
        if odd is not None:
            raise ModelError(
                f"{self.path.name} has {shown(odd)}, which is not a plain tensor of numbers.",
                hint="A checkpoint's .bin file is what `save_pretrained` writes.",
            )
        return _without_aliases(loaded)


def _is_plain(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is in memory as safetensors would have it."""
    import torch

    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and str(tensor.dtype).removeprefix("torch.") in TORCH_NAMES.values()
    )


def load_pickle(path: Path, *, inert: Sequence[type] = ()) -> object:
    """Return what a file holds, if that is only tensors, plain containers and plain values.

    Args:
        inert: Further classes that it may hold, which must have no behaviour.

    Raises:
        ModelError: The file is damaged or holds code, or the installed torch does not read it
            safely.
    """
    import pickle

    import torch

    try:
        _refuse_old_torch(path)
        # Only files in torch's zip format (since torch 1.6) can be mapped.
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
        refuse_lfs_pointer(path, start)
        in_zip = start.startswith(b"PK\x03\x04")
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(inert)):
            # The warnings are about the pickle's protocol; what matters becomes an error.
            warnings.simplefilter("ignore")
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=True if in_zip else None
            )
    except pickle.UnpicklingError as error:
        if "unsupported global" not in str(error).lower():
            raise DamagedFileError(
                f"{path.name} is not a PyTorch file of tensors, or not a whole one.", path
            ) from error
        raise ModelError(
            f"{path.name} holds code, which opening would run, and is not loaded"
            f"{_first_global(error)}.",
            hint="Use a checkpoint with safetensors, or one saved as plain tensors.",
        ) from error
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged pickle leads to
        raise DamagedFileError(
            f"{path.name} is damaged or truncated: {path.stat().st_size:,} bytes found.", path
        ) from error


def _refuse_old_torch(path: Path) -> None:
    import torch

    if tuple(map(int, torch.__version__.split(".")[:2])) < SAFE_SINCE:
        raise ModelError(
            f"{path.name} is a pickle, and torch {torch.__version__} does not read these safely: "
            "one that was made for it can corrupt memory (CVE-2026-24747).",
            hint="Install torch 2.10 or newer, or use a checkpoint with safetensors.",
        )


def _first_global(error: Exception) -> str:
    """Return what a pickle would have imported, as the end of a sentence, if torch says it."""
    match = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
    return f": {match[1].rstrip('.')}" if match else ""


def _without_aliases(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def same_memory(alias: str) -> bool:
        first, second = tensors.get(alias), tensors.get(TIED_NAMES[alias])
        return (
            first is not None
            and second is not None
            and first.data_ptr() == second.data_ptr()
            and first.shape == second.shape
        )

    aliases = {alias for alias in TIED_NAMES if same_memory(alias)}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name not in aliases and not name.endswith(OLD_BUFFERS)
    }
