"""What a machine does to a command: odd names, full disks, closed folders, other terminals."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from refusals import Invoke, assert_explained, listing


def small_add(base: Path, corpus: Path | str, output: Path | str) -> list[str]:
    options = ["add", "--lang", "quz_PE", "--corpus", str(corpus), "--base", str(base)]
    return [*options, "--output", str(output), "--max-steps", "1", "--batch-size", "2"]


@pytest.mark.parametrize("name", ["with space [b]ñ/a/b", "n" * 200])
def test_odd_names_and_new_folders_are_taken(
    invoke: Invoke, work: Path, base: Path, corpus: Path, name: str
) -> None:
    code, out, err = invoke(*small_add(base, corpus, name))
    assert code == 0, err
    assert f"is in {name}\n" in out
    assert (work / name / "model-quz_PE.safetensors").is_file()
    assert [path.name for path in work.iterdir()] == [name.split("/")[0]]


def test_names_that_are_no_unicode_are_taken(
    invoke: Invoke, work: Path, base: Path, corpus: Path
) -> None:
    odd = os.fsdecode(b"\xff.txt")
    shutil.copy(corpus, work / odd)
    code, out, err = invoke(*small_add(base, odd, os.fsdecode(b"out\xff")), "--json")
    assert code == 0, err
    assert json.loads(out)["corpus"]["files"] == [odd]
    record = json.loads((work / os.fsdecode(b"out\xff") / "run.json").read_text("utf-8"))
    assert record["corpus"]["files"] == [odd]


def test_no_room_for_the_output_is_known_before_training(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(work)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    result = invoke(*small_add(base, corpus, "a/b/out"))
    assert_explained(result, 2, "the disk has 1 MB free")
    assert "Training" not in result[2]
    assert listing(work) == []


def test_a_disk_that_fills_up_while_writing_leaves_the_state_and_nothing_else(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xmod_extend.model import writer

    def fill(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "copy_file", fill)
    expected = r"the disk is full.*--resume` goes on from step 1\."
    assert_explained(invoke(*small_add(base, corpus, "a/b/out")), 2, expected)
    assert [path.name for path in (work / "a/b").iterdir()] == ["out.run"]
    assert [path.name for path in work.iterdir()] == ["a"]


def test_a_cache_that_cannot_be_written_is_gone_around(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", "/proc/cache")
    monkeypatch.setattr(
        "xmod_extend.text.cache_folder._temporary_cache_dir", lambda: work / "cache"
    )
    code, out, err = invoke("check", "--corpus", corpus, "--base", base, "--json")
    assert code == 0, err
    assert "warning: The cache folder /proc/cache/xmod_extend cannot be written" in err
    assert json.loads(out)["warnings"]


def test_a_full_cache_is_named(
    invoke: Invoke, work: Path, texts: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("xmod_extend.text.arrow.ArrowFile.write", refuse)
    options = ("--corpus", texts / "with_bom.txt", "--text-field", "other", "--base", base)
    assert_explained(invoke("check", *options), 3, "No space left.*HF_DATASETS_CACHE")


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "f"), 2, r"denied \(f\)"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left"),
        (MemoryError(), 1, "not enough memory.*--batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "not enough memory"),
    ],
)
def test_the_machines_limits_are_named(
    invoke: Invoke,
    work: Path,
    base: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    expected: str,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("xmod_extend.jobs.training.train", refuse)
    assert_explained(invoke(*small_add(base, corpus, "a/out")), code, expected)
    assert listing(work) == []


def test_a_full_disk_is_named_where_the_error_names_nothing(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any, **__: Any) -> None:
        usage = shutil.disk_usage(work)._replace(free=4096)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("xmod_extend.jobs.training.train", fill)
    expected = rf"No space left on device \({work}.* or .*\)"
    assert_explained(invoke(*small_add(base, corpus, "out")), 2, expected)


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["", "1"])
def test_what_plain_transformers_cannot_load_is_removed_and_not_to_be_resumed(
    invoke: Invoke,
    work: Path,
    base: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    debug: str,
) -> None:
    monkeypatch.setattr("xmod_extend.jobs.output.loading_faults", lambda _: ["It has a fault."])
    if debug:
        monkeypatch.setenv("XMOD_EXTEND_DEBUG", debug)
    code, out, err = invoke(*small_add(base, corpus, "out"))
    assert (code, out) == (6, "")
    assert "cannot use the checkpoint that was written: It has a fault. It was removed" in err
    assert "--resume" not in err and ("Traceback" in err) == bool(debug)
    assert not (work / "out").exists()
    assert not [path for path in work.iterdir() if path.name.startswith(".")]


def test_what_was_not_foreseen_is_one_line_and_its_place_on_request(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("xmod_extend.jobs.training.train", break_down)
    code, _, err = invoke(*small_add(base, corpus, "out"))
    assert code == 1
    assert "error: Unexpected ZeroDivisionError: two lines.\nhint: Set XMOD_EXTEND_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("XMOD_EXTEND_DEBUG", "1")
    code, _, err = invoke(*small_add(base, corpus, "out"))
    assert code == 1 and "Traceback" in err and "break_down" in err


def test_a_base_that_may_not_be_read_is_named(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name in ("config.json", "secret.txt"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    secret = work / "secret.txt"
    secret.write_text("x")
    monkeypatch.setattr(Path, "open", refuse)
    assert_explained(invoke(*small_add(base, secret, "out")), 3, "permission denied")
    assert_explained(invoke(*small_add(base, corpus, "out")), 4, "config.json cannot be read")
    assert_explained(invoke("info", base), 4, "config.json cannot be read")
    assert listing(work) == [str(secret)]


@pytest.mark.parametrize("name", ["is_dir", "is_file"])
def test_a_folder_that_may_not_be_entered_is_named(
    invoke: Invoke,
    work: Path,
    base: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    original = getattr(Path, name)

    def refuse(path: Path) -> bool:
        if path.is_relative_to(base):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return bool(original(path))

    monkeypatch.setattr(Path, name, refuse)
    expected = f"{base} cannot be read: Permission denied"
    assert_explained(invoke(*small_add(base, corpus, "out")), 4, expected)
    assert_explained(invoke("verify", base, "--base", base), 4, expected)
    assert listing(work) == []


def test_a_current_folder_that_is_gone_is_named(
    invoke: Invoke, work: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = work / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert_explained(invoke("info", base), 2, "The current folder does not exist any more")


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m xmod_extend"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("xmod-extend", program)],
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        check=False,
    )


def test_without_a_server_the_hub_is_given_up_soon(work: Path, base: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    assert shell(f"xmod-extend info {base}").returncode == 0
    usual = time.monotonic() - started
    environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "http_proxy": "", "no_proxy": "127.0.0.1"}
    started = time.monotonic()
    done = shell("timeout 600 xmod-extend info facebook/xmod-base", **environment)
    # The client alone would go on trying for half a minute. What a busy machine costs, it costs
    # the usual command as well.
    assert time.monotonic() - started < 3 * usual + 12
    result = done.returncode, done.stdout, done.stderr
    assert_explained(result, 5, "The Hub cannot be reached, and facebook/xmod-base is not")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(work: Path, base: Path, unbuffered: str) -> None:
    environment = {"PYTHONUNBUFFERED": unbuffered}
    for command in (f"info {base} | head -1", f"info {base} --json | true", f"info {base} >&-"):
        done = shell(f"xmod-extend {command}", **environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    done = shell(f"xmod-extend info {base} > /dev/full", **environment)
    assert_explained((done.returncode, done.stdout, done.stderr), 2, "No space left")


def test_plain_terminals_and_plain_letters_do(work: Path, base: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "TERM": "dumb"}
    done = shell("xmod-extend check --corpus ñandú.txt --base x/y/z", COLUMNS="20", **plain)
    assert_explained((done.returncode, done.stdout, done.stderr), 4, "The folder x/y/z does not")
    done = shell(f"xmod-extend check --corpus ñandú.txt --base {base}", COLUMNS="20", **plain)
    found = done.returncode, done.stdout, done.stderr
    assert_explained(found, 3, r"\\xf1and\\xfa\.txt does not exist")
    done = shell(f"xmod-extend info {base}", COLUMNS="20", **plain)
    assert done.returncode == 0 and "en_XX, de_DE, sw_KE" in done.stdout
