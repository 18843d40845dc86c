"""Nothing of the user's is removed or replaced, whatever stands where a run writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from refusals import Invoke

import xmod_extend
from xmod_extend.errors import UsageError
from xmod_extend.files import output_folder, ownership
from xmod_extend.files.output_folder import check_target, check_writable, recover
from xmod_extend.files.run_folder import (
    RunFolder,
    check_not_locked,
    check_run_folder,
    lock_run_folder,
    mark_run,
    state_name,
)

Place = Callable[[Path, Path], str]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def ignore(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def checkpoint(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a finished run left; to be copied, not changed."""
    path = tmp_path_factory.mktemp("finished") / "out"
    xmod_extend.add_language(
        lang="quz_PE", corpus=str(corpus), base=str(base), output=path, max_steps=1, batch_size=2
    )
    return path


def contents(folder: Path) -> dict[str, object]:
    """Every entry of a folder with its bytes, or where a link points to."""
    found: dict[str, object] = {}
    for entry in sorted(folder.rglob("*")):
        name = str(entry.relative_to(folder))
        if entry.is_symlink():
            found[name] = entry.readlink()
        else:
            found[name] = entry.read_bytes() if entry.is_file() else "folder"
    return found


def run_with_notes(work: Path, checkpoint: Path) -> str:
    (work / "out.run").mkdir()
    (work / "out.run/notes.txt").write_text("years of work")
    return "out.run is a folder that xmod-extend did not make, with notes.txt in it"


def run_with_figures(work: Path, checkpoint: Path) -> str:
    (work / "out.run").mkdir()
    (work / "out.run/metrics.jsonl").write_text('{"loss": 1}')
    return "out.run is a folder that xmod-extend did not make, with metrics.jsonl in it"


def run_is_a_file(work: Path, checkpoint: Path) -> str:
    (work / "out.run").write_text("#!/bin/sh")
    return "out.run is a file"


def run_is_a_link(work: Path, checkpoint: Path) -> str:
    (work / "elsewhere").mkdir()
    mark_run(work / "elsewhere")
    (work / "out.run").symlink_to(work / "elsewhere")
    return "out.run is a link"


def output_is_a_project(work: Path, checkpoint: Path) -> str:
    (work / "out").mkdir()
    (work / "out/tsconfig.json").write_text("{}")
    return "out (exists and is not empty|holds no checkpoint that xmod-extend wrote)"


def output_is_upstreams(work: Path, checkpoint: Path) -> str:
    (work / "out").mkdir()
    for name in ("config.json", "model.safetensors"):
        (work / "out" / name).write_text("{}")
    return "out (exists and is not empty|holds no checkpoint that xmod-extend wrote)"


def output_with_notes(work: Path, checkpoint: Path) -> str:
    shutil.copytree(checkpoint, work / "out")
    (work / "out/notes.txt").write_text("years of work")
    return "out (exists and is not empty|holds notes.txt, which xmod-extend did not write)"


def output_with_a_folder(work: Path, checkpoint: Path) -> str:
    shutil.copytree(checkpoint, work / "out")
    (work / "out/checkpoints").mkdir()
    return "out (exists and is not empty|holds checkpoints, which xmod-extend did not write)"


def output_with_an_edited_card(work: Path, checkpoint: Path) -> str:
    shutil.copytree(checkpoint, work / "out")
    card = work / "out/README.md"
    # As long as it was, and as old.
    before, text = card.stat(), card.read_text()
    card.write_text(text[:-2] + text[-2].swapcase() + text[-1] if text[-2].isalpha() else "x")
    os.utime(card, (before.st_atime, before.st_mtime))
    return "out (exists and is not empty|holds README.md, which was changed since)"


def old_output_with_an_edited_card(work: Path, checkpoint: Path) -> str:
    """Version 0.1.0 left no mark; what is newer than its record is the user's."""
    shutil.copytree(checkpoint, work / "out")
    (work / "out" / ownership.MARK_NAME).unlink()
    later = time.time() + 60
    os.utime(work / "out/README.md", (later, later))
    return "out (exists and is not empty|holds README.md, which was changed since)"


PLACES: list[Place] = [
    run_with_notes,
    run_with_figures,
    run_is_a_file,
    run_is_a_link,
    output_is_a_project,
    output_is_upstreams,
    output_with_notes,
    output_with_a_folder,
    output_with_an_edited_card,
    old_output_with_an_edited_card,
]
FORMS = [
    (),
    ("--force",),
    ("--resume",),
    ("--resume", "--force"),
    ("--plan",),
    ("--plan", "--force"),
]


@pytest.mark.parametrize("is_several", [False, True], ids=["one", "several"])
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_what_is_the_users_is_refused_by_name_and_kept(
    invoke: Invoke,
    work: Path,
    base: Path,
    corpus: Path,
    checkpoint: Path,
    place: Place,
    form: tuple[str, ...],
    is_several: bool,
) -> None:
    expected = place(work, checkpoint)
    before = contents(work)
    given = ["--lang", "quz_PE", "--corpus", str(corpus)]
    if is_several:
        given += ["--lang", "ay_BO", "--corpus", str(corpus)]
    code, out, err = invoke("add", *given, "--base", str(base), "--output", "out", *form)
    assert code == 2 and out == ""
    assert re.search(expected, err), err
    assert "Reading" not in err and "Loading" not in err
    assert contents(work) == before


def test_a_language_folder_of_the_users_is_refused(
    invoke: Invoke, work: Path, base: Path, corpus: Path
) -> None:
    mark_run(work / "out.run")
    (work / "out.run/ay_BO").mkdir()
    (work / "out.run/ay_BO/notes.txt").write_text("years of work")
    before = contents(work)
    pairs = ["--lang", "quz_PE", "--corpus", corpus, "--lang", "ay_BO", "--corpus", corpus]
    for form in FORMS:
        code, _, err = invoke("add", *pairs, "--base", base, "--output", "out", *form)
        assert code == 2 and "out.run/ay_BO is a folder that xmod-extend did not make" in err
        assert contents(work) == before


@pytest.mark.parametrize("form", ["--resume", pytest.param("--force", marks=pytest.mark.slow)])
def test_a_users_file_in_a_folder_of_the_programs_is_kept(
    invoke: Invoke,
    work: Path,
    base: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    command = ["add", "--lang", "quz_PE", "--corpus", corpus, "--base", base, "--output", "out"]
    command += ["--max-steps", "1", "--batch-size", "2"]
    with monkeypatch.context() as patch:
        patch.setattr("xmod_extend.jobs.output.verify_checkpoint", interrupt)
        assert invoke(*command)[0] == 130
    (work / "out.run/notes.txt").write_text("years of work")
    # A run that is refused changes nothing, and neither does a plan.
    before = contents(work)
    assert invoke(*command)[0] == 2
    assert invoke(*command, "--plan", "--resume")[0] == 0
    assert contents(work) == before
    code, _, err = invoke(*command, form)
    assert code == 0, err
    assert "out.run stays: it holds notes.txt, which xmod-extend did not make" in err
    assert contents(work / "out.run") == {"notes.txt": b"years of work"}


def test_languages_that_are_cleaned_keep_what_is_the_users(tmp_path: Path) -> None:
    said: list[str] = []
    with lock_run_folder(tmp_path / "out", said.append) as run:
        for name in ("quz_PE", "ay_BO", "fo_FO"):
            mark_run(run.path / name)
            (run.path / name / "probe.safetensors").write_bytes(b"")
        (run.path / "quz_PE" / state_name(3)).write_bytes(b"")
        (run.path / "fo_FO/notes.txt").write_text("years of work")
    left = {name for name, what in contents(tmp_path / "out.run").items() if what != "folder"}
    kept = {"quz_PE/probe.safetensors", f"quz_PE/{state_name(3)}", "fo_FO/notes.txt"}
    assert left == kept | {ownership.MARK_NAME, f"quz_PE/{ownership.MARK_NAME}"}
    assert len(said) == 1 and "fo_FO stays: it holds notes.txt" in said[0]


@pytest.fixture
def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize("kind", ["writing", "replaced", "probe"])
def test_what_only_looks_like_a_leftover_is_kept(
    tmp_path: Path, checkpoint: Path, dead_process: int, kind: str
) -> None:
    name = f".out.{kind}-{output_folder._host()}-{dead_process}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("years of work")
    before = contents(tmp_path)
    recover(tmp_path / "out")
    assert contents(tmp_path) == before
    # The same for a leftover of the program's that something was put into.
    shutil.copytree(checkpoint, tmp_path / name, dirs_exist_ok=True)
    shutil.copytree(checkpoint, tmp_path / "out")
    before = contents(tmp_path)
    recover(tmp_path / "out")
    assert contents(tmp_path) == before
    (tmp_path / name / "notes.txt").unlink()
    recover(tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("is_old", [False, True], ids=["marked", "version 0.1.0"])
def test_a_checkpoint_of_the_programs_may_be_replaced(
    tmp_path: Path, checkpoint: Path, is_old: bool
) -> None:
    shutil.copytree(checkpoint, tmp_path / "out")
    if is_old:
        # It wrote neither the mark nor a report.
        (tmp_path / "out" / ownership.MARK_NAME).unlink()
        (tmp_path / "out" / "report.html").unlink()
    check_target(tmp_path / "out", force=True)
    with pytest.raises(UsageError, match="not empty"):
        check_target(tmp_path / "out", force=False)


def test_what_is_added_while_a_run_trains_is_kept(tmp_path: Path, checkpoint: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "out")
    with (
        pytest.raises(UsageError, match=r"holds notes\.txt"),
        output_folder.new_folder(tmp_path / "out", names=["config.json"], force=True) as folder,
    ):
        (folder / "config.json").write_text("{}")
        (tmp_path / "out/notes.txt").write_text("years of work")
        before = contents(tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_second_run_of_one_output_is_refused_at_once_and_told_of_the_first(
    invoke: Invoke, work: Path, base: Path, corpus: Path
) -> None:
    command = ["add", "--lang", "quz_PE", "--corpus", corpus, "--base", base, "--output", "out"]
    with lock_run_folder(work / "out", ignore):
        before = contents(work)
        for form in ("--force", "--resume"):
            code, _, err = invoke(*command, form)
            assert code == 2 and "Reading" not in err
            assert f"out is being written by another run (process {os.getpid()} on " in err
        assert invoke(*command, "--plan")[0] == 0
        assert contents(work) == before
        check_not_locked(work / "other")
    check_not_locked(work / "out")
    assert list(work.iterdir()) == []


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from xmod_extend.files.run_folder import *\n"
        "with lock_run_folder(Path(sys.argv[1]), print):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {process.pid} on .* since 20"):
            check_not_locked(tmp_path / "out")
        process.kill()
    with lock_run_folder(tmp_path / "out", ignore):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_race_one_at_a_time_holds_the_folder(tmp_path: Path) -> None:
    inside, most, entered = [0], [0], [0]

    def race() -> None:
        for _ in range(20):
            try:
                with lock_run_folder(tmp_path / "out", ignore):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    entered[0] += 1
                    inside[0] -= 1
            except UsageError:
                continue

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1 and entered[0] >= 20
    # Between two of them it may have looked like a folder of the user's, which is left.
    assert contents(tmp_path) in ({}, {"out.run": "folder"})


def test_a_users_empty_run_folder_is_used_and_left(tmp_path: Path) -> None:
    (tmp_path / "out.run").mkdir()
    with lock_run_folder(tmp_path / "out", ignore) as run:
        assert isinstance(run, RunFolder)
    assert contents(tmp_path) == {"out.run": "folder"}


def test_a_run_folder_of_version_0_1_0_is_known_by_its_states(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "out.run"
    folder.mkdir()
    save_file({}, folder / state_name(2), {"identity": "{}"})
    (folder / "metrics.jsonl").write_text("")
    check_run_folder(folder)
    (folder / "notes.txt").write_text("years of work")
    with pytest.raises(UsageError, match="did not make"):
        check_run_folder(folder)


@pytest.fixture
def begun(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[object]]:
    """A run that was killed after its probe and before its first state."""
    command: list[object] = ["add", "--lang", "quz_PE", "--corpus", corpus, "--output", "out"]
    command += ["--base", base, "--max-steps", "1", "--batch-size", "2"]
    with monkeypatch.context() as patch:
        patch.setattr("xmod_extend.jobs.training.train", interrupt)
        patch.setattr(RunFolder, "leave", lambda self, on_note: None)
        assert invoke(*command)[0] == 130
    assert (work / "out.run/probe.safetensors").exists()
    yield command


@pytest.mark.slow
def test_a_run_without_a_state_yet_does_not_go_on_as_another(
    invoke: Invoke, work: Path, begun: list[object], pre_norm_base: Path, corpus: Path
) -> None:
    other = work / "other.txt"
    other.write_text("\n".join(reversed(corpus.read_text().splitlines()[:200])))
    probe = (work / "out.run/probe.safetensors").read_bytes()
    for changes, expected in (
        (("--max-length", "16"), "--max-length was 32 and is 16"),
        (("--held-out", other), "the corpus is not the same"),
        (("--seed", "1"), "--seed was 0 and is 1"),
        (("--base", pre_norm_base), "the base is not the same"),
    ):
        code, _, err = invoke(*begun, "--resume", *changes)
        assert code == 2 and "out.run is of another run: " in err and expected in err, err
        assert "Probing" not in err
        assert (work / "out.run/probe.safetensors").read_bytes() == probe
    code, _, err = invoke(*begun, "--resume")
    assert code == 0 and "Probing" not in err, err


def test_advice_keeps_what_is_saved(
    invoke: Invoke, work: Path, base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["add", "--lang", "quz_PE", "--corpus", corpus, "--base", base, "--output", "out"]
    usage = shutil.disk_usage(work)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    code, _, err = invoke(*command, "--resume")
    assert code == 2 and "or choose a folder on another disk" in err
    mark_run(work / "out.run")
    (work / "out.run" / state_name(500)).write_bytes(b"")
    code, _, err = invoke(*command, "--resume")
    assert code == 2 and "another disk" not in err
    assert "Free some space and use --resume: out.run holds the state saved after step 500." in err

    def run_out_of_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("xmod_extend.jobs.add.run_add", run_out_of_memory)
        code, _, err = invoke(*command, "--resume")
    # The state is of this batch: with another it would be refused.
    assert code == 1 and "goes on from step 500" in err and "--batch-size" not in err
    (work / "out").mkdir()
    (work / "out/notes.txt").write_text("years of work")
    code, _, err = invoke(*command, "--resume")
    assert code == 2 and "Move it elsewhere and use --resume: " in err and "--force" not in err


def test_a_language_that_was_begun_is_not_left_out(
    invoke: Invoke, work: Path, base: Path, corpus: Path
) -> None:
    mark_run(work / "out.run")
    for code in ("quz_PE", "ay_BO"):
        mark_run(work / "out.run" / code)
        (work / "out.run" / code / "finished.safetensors").write_bytes(b"")
    before = contents(work)
    pairs = ["--lang", "quz_PE", "--corpus", corpus, "--lang", "fo_FO", "--corpus", corpus]
    code, _, err = invoke("add", *pairs, "--base", base, "--output", "out", "--resume")
    assert code == 2 and "has states of ay_BO, which this run leaves out" in err
    assert contents(work) == before


def test_a_name_that_gets_too_long_with_any_ending_is_refused(tmp_path: Path) -> None:
    ending = len(f"..replaced-{output_folder._host()}-") + output_folder._LONGEST_PROCESS_ID
    check_writable(tmp_path / ("n" * (255 - ending)))
    for length in (256 - ending, 255, 300):
        with pytest.raises(UsageError, match="its name is too long"):
            check_writable(tmp_path / ("n" * length))
    deep = tmp_path / "/".join(["d" * 200] * 30)
    with pytest.raises(UsageError, match="its name is too long"):
        check_writable(deep / "out")
    assert list(tmp_path.iterdir()) == []
