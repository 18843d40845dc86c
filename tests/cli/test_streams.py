"""What becomes of the work does not depend on who listens."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from refusals import Invoke

from xmod_extend.cli.output import Output, wrap
from xmod_extend.cli.streams import require_descriptors, tolerant_stderr

PROGRAM = f"{sys.executable} -m xmod_extend"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("xmod-extend", PROGRAM)],
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        check=False,
    )


class Failing(io.StringIO):
    """A stream that fails as a full disk, a reader or a terminal that is gone does."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


ERRORS = [
    OSError(28, "No space left on device"),
    BrokenPipeError(32, "Broken pipe"),
    OSError(5, "Input/output error"),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_stderr_that_fails_ends_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Failing(error)
    monkeypatch.setattr(sys, "stderr", stream)
    with tolerant_stderr():
        output = Output()
        output.note("one")
        output.warning("two")
        output.error("three", "four")
        print("five", file=sys.stderr, flush=True)
    assert sys.stderr is stream


@pytest.mark.parametrize("error", ERRORS[:3], ids=lambda error: type(error).__name__)
def test_a_result_that_stands_needs_no_printing(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(error))
    for options in ({}, {"as_json": True}, {"quiet": True}):
        Output(**options).result({}, "line", "for people", effect="it is in there.")
    broken = isinstance(error, BrokenPipeError)
    assert capsys.readouterr().err.count("it is in there.") == (0 if broken else 3)
    if not broken:
        with pytest.raises(OSError, match=r"No space|Input/output"):
            Output().result({}, "line", "for people")


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["> /dev/full", "2> >(true) | true", ">&- 2>&-"])
def test_a_language_is_added_whoever_listens(
    base: Path, corpus: Path, tmp_path: Path, streams: str
) -> None:
    output = tmp_path / "out"
    options = f"--lang quz_PE --corpus {corpus} --base {base} --output {output} --max-steps 3"
    done = shell(f"xmod-extend add {options} {streams}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ("could not be printed" in done.stderr) == (streams == "> /dev/full")
    assert json.loads((output / "run.json").read_text())["verification"]["identical"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_verdict_is_the_same_whoever_listens(base: Path, bases: Path) -> None:
    command = f"xmod-extend verify {bases / 'nan'} --base {base} > /dev/full 2>&-"
    assert shell(command).returncode == 6


def test_the_help_and_the_version_end_quietly() -> None:
    for option in ("--help", "--version", "add --help"):
        assert shell(f"xmod-extend {option} | true").returncode == 0
    done = shell("xmod-extend --version > /dev/full")
    assert done.returncode == 2
    assert done.stderr == "error: The text could not be printed: No space left on device.\n"


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os; from xmod_extend.cli.streams import require_descriptors;"
        f"require_descriptors(); file = open({str(tmp_path / 'x')!r}, 'w');"
        "os.write(2, b'a message'); file.write(str(file.fileno()))"
    )
    done = shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-')
    assert done.returncode == 0
    assert int((tmp_path / "x").read_text()) > 2
    require_descriptors()


@pytest.mark.slow
def test_a_lost_connection_saves_the_state_as_a_request_to_end_does(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    options = f"--lang quz_PE --corpus {corpus} --base {base} --output {output} --max-steps 100000"
    process = subprocess.Popen(
        [sys.executable, "-m", "xmod_extend", "add", *options.split()],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Training"):
                break
        time.sleep(3)
        process.send_signal(signal.SIGHUP)
        rest = process.stderr.read()
    assert process.returncode == 143, rest
    assert "Terminated" in rest and "--resume` goes on from step" in rest
    assert not output.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LONG = (
    "The text is too short to measure on, and what is to be done about it takes many words; see "
    f"{'/a/folder' * 12} and then, which stays whole, "
    "`xmod-extend add --lang quz_PE --corpus 'the folder/a text.txt' --base tiny`."
)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_gets_whole_words(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    terminal, results = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", results)
    output = Output()
    output.error(LONG, LONG)
    output.note(f"  {LONG}")
    output.result({}, "", LONG)
    told, printed = (
        re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()) for stream in (terminal, results)
    )
    for written in (told, printed):
        for line in written.splitlines():
            # Wider are only a path and a command, which must stay whole to be copied.
            is_whole = line.strip().startswith(("/a/folder", "`xmod-extend"))
            assert len(line) <= columns or is_whole, line
        assert LONG.split()[-1] in written
    assert " ".join(printed.split()) == LONG


def test_a_file_gets_one_line_for_each_sentence() -> None:
    assert wrap(LONG, Output().err) == LONG


def test_the_help_is_as_narrow_as_the_terminal(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = invoke("--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 100
