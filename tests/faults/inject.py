"""Runs `add` with each of its changes to the disk made to fail in turn, in forked processes.

usage: LD_PRELOAD=failing_disk.so python inject.py BASE CORPUS FOLDER [EVERY]

Prints one JSON object: how many cases ran, and a line for each that broke a promise. `EVERY` takes
only each so-manieth change (1: all of them). Importing torch takes longer than such a run, so one
process imports it and forks the ones that fail; it has a single thread, so a fork is a whole copy.

What must hold after a fault, whatever failed and where:

- the command ended with an exit code that the documentation names, and said what failed;
- the user's files have the bytes they had;
- the output folder is not there, or is what it was before, or is the right result;
- the same command with `--resume` gives the bytes of a run that nothing happened to, or says that
  the output is there already, and leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch

from xmod_extend.cli.app import run
from xmod_extend.jobs import add

ADAPTER = "model-quz_PE.safetensors"
FAULTS = (
    ("ENOSPC", errno.ENOSPC, True),
    ("EIO", errno.EIO, False),
    ("EACCES", errno.EACCES, False),
    ("SIGKILL", -signal.SIGKILL, False),
    ("SIGTERM", -signal.SIGTERM, False),
    ("SIGINT", -signal.SIGINT, False),
    ("SIGHUP", -signal.SIGHUP, False),
)
"""Name, error (or minus a signal), and whether it lasts: a full disk stays full."""
NUM_RACES = 5
DISK = ctypes.CDLL(None)
Prepare = Callable[["Case"], None]


@dataclass
class Case:
    """One folder in which one command is run."""

    folder: Path
    base: Path
    corpus: Path
    options: tuple[str, ...]

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def command(self, *more: str) -> list[str]:
        return [
            *("add", "--lang", "quz_PE", "--base", str(self.base), "--output", str(self.output)),
            *("--corpus", str(self.folder / "text.txt"), "--max-steps", "4", "--batch-size", "4"),
            *("--max-length", "16", "--save-minutes", "0", *self.options, *more),
        ]

    def make(self) -> None:
        """Makes the folder, with files of the user's around what will be written."""
        self.folder.mkdir(parents=True)
        shutil.copyfile(self.corpus, self.folder / "text.txt")
        for name in ("out.txt", "out.md", ".out", "notes/run.json", "notes/README.md"):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"the user's own {name}\n", encoding="utf-8")

    def users_files(self) -> dict[str, str]:
        """Name -> hash of what the user put there."""
        mine = ("text.txt", "out.txt", "out.md", ".out", "notes")
        files = contents(self.folder)
        return {name: digest for name, digest in files.items() if name.split("/")[0] in mine}

    def left_behind(self) -> list[str]:
        known = {"out", "cache", "text.txt", "out.txt", "out.md", ".out", "notes"}
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name not in known)


def contents(folder: Path) -> dict[str, str]:
    """Name -> hash of each file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def weights(folder: Path) -> dict[str, str]:
    """The files of a checkpoint that are the same in each run: the record and card have times."""
    return {
        name: digest
        for name, digest in contents(folder).items()
        if name.endswith((".safetensors", ".safetensors.index.json", "config.json"))
    }


def in_a_child(work: Callable[[], object], stderr: Path) -> int:
    """Does the work in a forked process; its exit code, or minus the signal that ended it."""
    return code_of(start(work, stderr))


def code_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(work: Callable[[], object], stderr: Path) -> int:
    """Forks a process that does the work and exits; its id."""
    child = os.fork()
    if not child:
        code = 99
        try:
            errors = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(errors, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 98
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def execute(case: Case, *more: str, at: int = 0, error: int = 0, lasts: bool = False) -> int:
    """Runs the command, with the fault if `at` is given; changes are counted into a file."""

    def work() -> None:
        os.environ["FAULT_ROOT"] = str(case.folder)
        datasets.config.HF_DATASETS_CACHE = str(case.folder / "cache")
        DISK.fault_arm(ctypes.c_long(at or 1 << 40), error, lasts)
        try:
            run(case.command(*more))
        finally:
            count = DISK.fault_count()
            DISK.fault_arm(ctypes.c_long(0), 0, 0)
            (case.folder.parent / "count").write_text(str(count))

    return in_a_child(work, case.folder.parent / "stderr")


def said(case: Case) -> str:
    return (case.folder.parent / "stderr").read_text(encoding="utf-8", errors="replace")


def fresh(case: Case) -> None:
    """A first run."""


def replacing(case: Case) -> None:
    """The output is there from another run, and is to be replaced."""
    assert execute(case, "--seed", "5") == 0, said(case)
    shutil.rmtree(case.folder / "cache")
    case.options = ("--force",)


def resuming(case: Case) -> None:
    """A state is there of a run that was interrupted."""

    class Enough(BaseException):
        pass

    def interrupted() -> None:
        datasets.config.HF_DATASETS_CACHE = str(case.folder / "cache")
        original = add.score_adapter

        def stop(*arguments: object) -> None:
            raise KeyboardInterrupt

        add.score_adapter = stop  # type: ignore[assignment]
        try:
            run(case.command())
        finally:
            add.score_adapter = original

    assert in_a_child(interrupted, case.folder.parent / "stderr") == 130, said(case)
    case.options = ("--resume",)


SCENARIOS: tuple[Prepare, ...] = (fresh, replacing, resuming)


def prepare(scenario: Prepare, folder: Path, base: Path, corpus: Path) -> Case:
    case = Case(folder / "work", base, corpus, ())
    case.make()
    scenario(case)
    return case


def broken_promises(
    case: Case, code: int, before: dict[str, str], old: dict[str, str], expected: dict[str, str]
) -> list[str]:
    """What does not hold after a fault, and after going on from there."""
    broken = []
    text = said(case)
    if (
        code not in (0, 2, 3, 130, 143, -signal.SIGKILL)
        or "Unexpected" in text
        or "Traceback" in text
    ):
        broken.append(f"ended with {code}")
    if code not in (0, -signal.SIGKILL) and "error:" not in text:
        broken.append("said nothing")
    if case.users_files() != before:
        broken.append("a file of the user's changed")
    found = weights(case.output)
    if found not in ({}, old, expected) and not (found == {} and not case.output.exists()):
        broken.append(f"the output is neither old nor right: {sorted(found)}")
    if code == 0 and found != expected:
        broken.append("success was said without the right result")
    again = () if "--resume" in case.options else ("--resume",)
    if (code_again := execute(case, *again)) not in (0, 2):
        broken.append(f"going on ended with {code_again}: {said(case)[-300:]}")
    elif code_again == 2 and "exists and is not empty" not in said(case):
        broken.append(f"going on was refused: {said(case)[-300:]}")
    if weights(case.output) != expected:
        broken.append("going on gave another result")
    if case.users_files() != before:
        broken.append("a file of the user's changed when going on")
    if left := case.left_behind():
        broken.append(f"left behind: {left}")
    return broken


def race(folder: Path, base: Path, corpus: Path, expected: dict[str, str]) -> list[str]:
    """Starts the same command twice, at nearly the same moment; what does not hold afterwards."""
    case = prepare(fresh, folder, base, corpus)
    before = case.users_files()

    def work() -> None:
        datasets.config.HF_DATASETS_CACHE = str(case.folder / "cache")
        run(case.command())

    first = start(work, folder / "first")
    time.sleep(random.Random(str(folder)).uniform(0, 0.3))
    second = start(work, folder / "stderr")
    codes = sorted([code_of(first), code_of(second)])
    broken = []
    # The second one is refused, be it that it comes during the other's run or after it.
    if codes != [0, 2]:
        texts = [(folder / name).read_text()[-400:] for name in ("first", "stderr")]
        broken.append(f"two runs at once ended with {codes}: {texts}")
    if weights(case.output) != expected:
        broken.append("two runs at once gave another result")
    if case.users_files() != before or case.left_behind():
        broken.append(f"two runs at once left {case.left_behind()}")
    return broken


def main() -> None:
    base, corpus, folder = (Path(argument).resolve() for argument in sys.argv[1:4])
    every = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    names = sys.argv[5].split(",") if len(sys.argv) > 5 else [s.__name__ for s in SCENARIOS]
    torch.set_num_threads(1)
    DISK.fault_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
    DISK.fault_count.restype = ctypes.c_long
    good = prepare(fresh, folder / "good", base, corpus)
    assert execute(good) == 0, said(good)
    expected = weights(good.output)
    cases, broken, counts = 0, [], {}
    for scenario in SCENARIOS:
        name = scenario.__name__
        if name not in names:
            continue
        template = prepare(scenario, folder / name / "template", base, corpus)
        old = weights(template.output)
        shutil.copytree(template.folder.parent, folder / name / "counted", symlinks=True)
        counted = Case(folder / name / "counted" / "work", base, corpus, template.options)
        assert execute(counted) == 0, said(counted)
        counts[name] = int((folder / name / "counted" / "count").read_text())
        for fault, error, lasts in FAULTS:
            # Each fault begins at another change, so that few cases see many places.
            for at in range(1 + FAULTS.index((fault, error, lasts)), counts[name] + 1, every):
                place = folder / name / "case"
                # The place is the same for all, so that a path in a state is the template's.
                shutil.copytree(template.folder.parent, place, symlinks=True)
                case = Case(place / "work", base, corpus, template.options)
                before = case.users_files()
                code = execute(case, at=at, error=error, lasts=lasts)
                text = said(case)
                print(f"{name}, {fault} at change {at}: ended with {code}", file=sys.stderr)
                for promise in broken_promises(case, code, before, old, expected):
                    broken.append(f"{name}, {fault} at change {at}: {promise}\n{text[-600:]}")
                cases += 1
                shutil.rmtree(place)
    for number in range(NUM_RACES):
        broken += race(folder / f"race-{number}", base, corpus, expected)
        cases += 1
    print(json.dumps({"cases": cases, "changes": counts, "broken": broken}))


if __name__ == "__main__":
    main()
