"""Copying a file, in each way that a disk may allow."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from xmod_extend.files import copying


def test_every_way_of_copying_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(100_000))
    copying.copy_file(source, tmp_path / "cloned")
    monkeypatch.setattr(copying, "_clone", lambda *_: False)
    copying.copy_file(source, tmp_path / "in_kernel")

    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    copying.copy_file(source, tmp_path / "plain")
    for name in ("cloned", "in_kernel", "plain"):
        assert (tmp_path / name).read_bytes() == source.read_bytes()
