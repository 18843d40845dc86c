"""Ctrl-C, SIGTERM and kill -9: the output is complete or not there, and the next run puts right."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xmod_extend.cli.app import run as run_app
from xmod_extend.cli.output import Output
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.files import output_folder
from xmod_extend.files.ownership import CHECKPOINT, UNFINISHED, describe_files, write_mark
from xmod_extend.model.checkpoint import open_checkpoint

Invoke = Callable[..., tuple[int, str]]


@pytest.fixture
def invoke(
    base: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Invoke:
    """Runs `add` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(target: str, *more: str) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            run_app(arguments(base, corpus, target, "1", *more))
        code = caught.value.code
        return code if isinstance(code, int) else 0, capfd.readouterr().err

    return call


def arguments(base: Path, corpus: Path, target: str | Path, steps: str, *more: str) -> list[str]:
    options = ["add", "--lang", "quz_PE", "--corpus", str(corpus), "--base", str(base)]
    return [*options, "--output", str(target), "--max-steps", steps, "--batch-size", "2", *more]


def press_control_c(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def send_sigterm(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (press_control_c, 130, "Interrupted"),
        pytest.param(send_sigterm, 143, "Terminated", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("place", "is_trained"),
    [
        ("xmod_extend.jobs.prepared_text.read_corpus", False),
        ("xmod_extend.jobs.training.train", False),
        ("xmod_extend.model.writer._write_shards", True),
        ("xmod_extend.jobs.output.verify_checkpoint", True),
        ("xmod_extend.files.atomic.flush_folder", True),
    ],
)
def test_an_interrupt_leaves_nothing_but_the_state(
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    is_trained: bool,
    stop: Callable[..., None],
    code: int,
    said: str,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["xmod-extend", "add", "--lang", "quz_PE", "two words"])
    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        found, err = invoke("new/folders/out")
    assert found == code
    lines = err.splitlines()
    assert "Traceback" not in err
    assert signal.getsignal(signal.SIGTERM) == before
    if not is_trained:
        assert lines[-1] == f"error: {said}; nothing was written."
        assert list(tmp_path.iterdir()) == []
        return
    command = "xmod-extend add --lang quz_PE 'two words' --resume"
    run = "new/folders/out.run holds the state saved after step 1"
    assert lines[-2] == f"error: {said}; new/folders/out was not written, but {run}."
    assert lines[-1] == f"hint: `{command}` goes on from step 1."
    assert [path.name for path in (tmp_path / "new/folders").iterdir()] == ["out.run"]
    code, err = invoke("new/folders/out")
    assert code == 2 and "saved after step 1." in err and "--resume" in err
    code, err = invoke("new/folders/out", "--resume")
    assert code == 0 and "Probing" not in err
    assert [path.name for path in (tmp_path / "new/folders").iterdir()] == ["out"]


@pytest.mark.slow
def test_an_interrupt_after_the_writing_says_so(
    invoke: Invoke, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xmod_extend.cli.add.show_one", press_control_c)
    code, err = invoke("out")
    assert code == 130
    assert err.splitlines()[-1] == "error: Interrupted; out was complete by then."
    assert verify_checkpoint(tmp_path / "out", base).added_languages == ("quz_PE",)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_cut_an_explanation_in_two(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    explain = Output.error

    def error(self: Output, message: str, hint: str | None) -> None:
        signal.raise_signal(number)
        explain(self, message, hint)

    before = signal.getsignal(number)
    monkeypatch.setattr(Output, "error", error)
    code, err = invoke("out", "--lang", "quechua")
    assert code == 2
    assert [line.split(":")[0] for line in err.splitlines()[-2:]] == ["error", "hint"]
    assert signal.getsignal(number) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("rename", [1, 2])
def test_an_interrupt_while_replacing_keeps_what_was_there(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rename: int
) -> None:
    assert invoke("out")[0] == 0
    before = contents(tmp_path / "out")
    original, calls = Path.rename, []

    def interrupted(path: Path, target: Path) -> Path:
        # Libraries rename files in their caches as well.
        if target.parent == tmp_path or path.parent == tmp_path:
            calls.append(path)
            if len(calls) == rename:
                raise KeyboardInterrupt
        return original(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        code, err = invoke("out", "--force", "--seed", "1")
    assert code == 130 and "out was not written, but out.run holds the state saved" in err
    assert contents(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.run"]


def leave_as_a_dead_process(folder: Path, kind: str) -> Path:
    """A folder such as a killed process leaves beside `out`."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    left = folder / f".out.{kind}-{output_folder._host()}-{dead.pid}"
    left.mkdir()
    (left / "config.json").write_text("{}")
    if kind == "writing":
        write_mark(left, UNFINISHED, files={"config.json": {}})
    else:
        write_mark(left, CHECKPOINT, files=describe_files(left))
    return left


@pytest.mark.slow
def test_the_next_run_puts_right_what_killed_ones_left(
    invoke: Invoke, base: Path, tmp_path: Path
) -> None:
    writing = leave_as_a_dead_process(tmp_path, "writing")
    replaced = leave_as_a_dead_process(tmp_path, "replaced")
    code, err = invoke("out")
    # What was moved away to be replaced is somebody's checkpoint: it comes back.
    assert code == 2 and "not empty" in err
    assert not writing.exists() and not replaced.exists()
    assert invoke("out", "--force")[0] == 0
    assert verify_checkpoint(tmp_path / "out", base).differences == ()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def start(base: Path, corpus: Path, target: Path, steps: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xmod_extend", *arguments(base, corpus, target, steps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(target.parent.parent)},
        # A job in the background of a shell ignores Ctrl-C, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(process: subprocess.Popen[str], mark: str) -> str:
    """What the process has said on stderr up to a line that contains `mark`."""
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if mark in line:
            break
    return said


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("mark", ["Loading torch", "Reading the corpus", "Training", "step 1"])
def test_a_signal_ends_a_real_run(
    base: Path, corpus: Path, tmp_path: Path, number: signal.Signals, code: int, mark: str
) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    with start(base, corpus, folder / "out", "2000") as process:
        wait_for(process, mark)
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
    assert process.returncode == code, err
    assert out == ""
    assert "Traceback" not in err
    left = [path.name for path in folder.iterdir()]
    if mark == "step 1":
        assert left == ["out.run"] and "--resume` goes on from step" in err.splitlines()[-1]
        assert "out was not written, but" in err.splitlines()[-2]
    else:
        # While training begins, the first step may or may not be done already.
        assert left == [] or (mark == "Training" and left == ["out.run"])
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.slow
def test_two_signals_do_not_interrupt_the_cleaning(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    with start(base, corpus, folder / "out", "100000") as process:
        wait_for(process, "Training")
        for _ in range(5):
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 143, err
    assert [path.name for path in folder.iterdir()] in ([], ["out.run"])


@pytest.mark.slow
def test_kill_9_at_any_moment_never_leaves_half_an_output(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    moments = random.Random(20)
    folder = tmp_path / "outputs"
    folder.mkdir()
    target = folder / "out"
    started = time.perf_counter()
    with start(base, corpus, target, "20") as process:
        assert process.communicate()[1]
    whole_run = time.perf_counter() - started
    complete = 0
    for attempt in range(15):
        if target.exists():
            target.rename(tmp_path / f"complete-{attempt}")
        with start(base, corpus, target, "20") as process:
            if attempt % 3:
                # The writing is a small part of a run on this small base: two thirds go there.
                wait_for(process, "Scoring the held-out text")
                delay = moments.uniform(0, 0.4)
            else:
                delay = moments.uniform(0, whole_run)
            timer = threading.Timer(delay, process.kill)
            timer.start()
            process.communicate(timeout=600)
            timer.cancel()
        if target.exists():
            complete += 1
            result = verify_checkpoint(target, base)
            assert result.differences == () and result.added_languages == ("quz_PE",)
            assert open_checkpoint(target).languages[-1] == "quz_PE"
        hidden = [path.name for path in folder.iterdir() if path != target]
        assert all(name.startswith(".out.") or name == "out.run" for name in hidden)
        shutil.rmtree(folder / "out.run", ignore_errors=True)
    assert complete < 15, "no run was killed in time"
    if target.exists():
        target.rename(tmp_path / "complete")
    with start(base, corpus, target, "2") as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert [path.name for path in folder.iterdir()] == ["out"]
    assert verify_checkpoint(target, base).differences == ()
