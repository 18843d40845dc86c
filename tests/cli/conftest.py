"""Folders and a command line for the tests of what is refused and what is not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import write_bases, write_texts
from refusals import Invoke, Result, listing
from sentences import make_sentences

from xmod_extend.cli.app import run as run_app


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    write_texts(folder, make_sentences(800))
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    write_bases(folder, base)
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, in which nothing may be left, as in the folder for temporary files."""
    folder, temporary = tmp_path / "work", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert listing(temporary) == []


@pytest.fixture
def invoke(capfd: pytest.CaptureFixture[str]) -> Invoke:
    """Runs a command in this process."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            run_app([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = caught.value.code
        return code if isinstance(code, int) else 0, out, err

    return call
