"""Several languages at once: each as if it were alone, and one that fails fails alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from dying_work import die
from sentences import make_sentences

import xmod_extend
from xmod_extend.errors import LanguagesFailedError, UsageError
from xmod_extend.files.run_folder import begun_languages
from xmod_extend.jobs import add_many
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.report.record import RunRecord
from xmod_extend.training.history import StepReport

COMMON = {"max_steps": 12, "batch_size": 4, "lr": 0.02}


@pytest.fixture(scope="module")
def entries(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Two languages, with texts and options of their own."""
    other = tmp_path_factory.mktemp("text") / "other.txt"
    other.write_text("\n".join(make_sentences(600, seed=3)) + "\n", encoding="utf-8")
    return [
        {"lang": "quz_PE", "corpus": str(corpus), "init": "nearest"},
        {"lang": "ay_BO", "corpus": str(other), "max_steps": 8, "seed": 5, "dropout": True},
    ]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """What is compared to the byte is computed alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def add(
    base: Path, languages: list[dict[str, Any]], output: Path, **options: Any
) -> tuple[RunRecord, ...]:
    return xmod_extend.add_languages(
        languages=languages, base=str(base), output=output, **(COMMON | options)
    )


def shard(folder: Path, code: str) -> bytes:
    return (folder / f"model-{code}.safetensors").read_bytes()


@pytest.fixture(scope="module")
def alone(
    base: Path, entries: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Each language's shard from a run of its own."""
    folder = tmp_path_factory.mktemp("alone")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for entry in entries:
        options = COMMON | entry | {"output": folder / entry["lang"]}
        xmod_extend.add_language(base=str(base), **options)
    torch.set_num_threads(before)
    return {entry["lang"]: shard(folder / entry["lang"], entry["lang"]) for entry in entries}


def assert_as_alone(output: Path, base: Path, alone: dict[str, bytes]) -> None:
    for code, expected in alone.items():
        assert shard(output, code) == expected, code
    result = xmod_extend.verify_checkpoint(output, base)
    assert result.differences == () and result.added_languages == tuple(alone)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_each_language_is_as_if_it_were_alone(
    base: Path, entries: list[dict[str, Any]], alone: dict[str, bytes], tmp_path: Path, jobs: int
) -> None:
    output = tmp_path / "out"
    records = add(base, entries, output, jobs=jobs)
    assert_as_alone(output, base, alone)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [record.language for record in records] == ["quz_PE", "ay_BO"]
    files = {"run-quz_PE.json": records[0], "run.json": records[1]}
    for name, record in files.items():
        assert json.loads((output / name).read_text()) == record.to_dict()
        assert RunRecord.from_dict(record.to_dict()) == record
        assert record.verification is not None and record.verification.identical
    for name, steps in (("metrics-quz_PE.jsonl", 12), ("metrics.jsonl", 8)):
        lines = [json.loads(line) for line in (output / name).read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, steps + 1))
    card = (output / "README.md").read_text()
    assert card.count("## Results: ") == 2 and "`quz_PE` is 3 and `ay_BO` is 4" in card
    assert '- "quz"\n- "ay"\n' in card


class Watcher(Callback):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_stage(self, name: str) -> None:
        self.said.append(name)

    def on_warning(self, text: str) -> None:
        self.said.append(text)

    def stages(self, word: str) -> list[str]:
        return [text.split(":")[0] for text in self.said if word in text]


@pytest.fixture
def too_little(tmp_path: Path) -> Path:
    """A text whose lack of tokens shows only when it is read."""
    path = tmp_path / "short.txt"
    path.write_text("Kamiru tanisa wari.\nTanisa wari.\n")
    return path


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_that_fails_fails_alone_and_resuming_trains_only_the_missing(
    base: Path,
    entries: list[dict[str, Any]],
    alone: dict[str, bytes],
    too_little: Path,
    tmp_path: Path,
    jobs: int,
) -> None:
    output = tmp_path / "new" / "out"
    broken = [entries[0], entries[1] | {"corpus": str(too_little)}]
    with pytest.raises(LanguagesFailedError, match="1 of 2 languages failed") as caught:
        add(base, broken, output, jobs=jobs)
    assert list(caught.value.failures) == ["ay_BO"]
    assert [record.language for record in caught.value.records] == ["quz_PE"]
    assert shard(output, "quz_PE") == alone["quz_PE"]
    assert xmod_extend.verify_checkpoint(output, base).added_languages == ("quz_PE",)

    with pytest.raises(UsageError, match="not empty"):
        add(base, entries, output)
    watcher = Watcher()
    records = add(base, entries, output, resume=True, callback=watcher)
    assert watcher.stages("Training ") == ["ay_BO"]
    assert [record.language for record in records] == ["quz_PE", "ay_BO"]
    assert_as_alone(output, base, alone)
    assert [path.name for path in output.parent.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_not_replaced_by_resuming(
    base: Path, entries: list[dict[str, Any]], too_little: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with pytest.raises(LanguagesFailedError):
        add(base, [entries[0], entries[1] | {"corpus": str(too_little)}], output)
    run = output / "run.json"
    run.write_text(run.read_text() + "\n")
    with pytest.raises(UsageError, match="not empty"):
        add(base, entries, output, resume=True)


@pytest.mark.slow
def test_a_diverging_language_fails_alone_and_leaves_no_state(
    base: Path, entries: list[dict[str, Any]], alone: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    diverging = [entries[0] | {"lr": 1e30, "max_steps": 50}, entries[1]]
    with pytest.raises(LanguagesFailedError, match="loss was"):
        add(base, diverging, output, save_minutes=0.0)
    assert shard(output, "ay_BO") == alone["ay_BO"]
    assert sorted(path.name for path in (tmp_path / "out.run").iterdir()) == [
        ".xmod-extend.json",
        "ay_BO",
        "written.json",
    ]
    add(base, entries, output, resume=True)
    assert_as_alone(output, base, alone)


def test_nothing_is_written_if_all_fail(
    base: Path, entries: list[dict[str, Any]], too_little: Path, tmp_path: Path
) -> None:
    broken = [entry | {"corpus": str(too_little)} for entry in entries]
    with pytest.raises(LanguagesFailedError, match="nothing was written"):
        add(base, broken, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["short.txt"]


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_finished(
    base: Path,
    entries: list[dict[str, Any]],
    alone: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out"
    train_language = add_many.train_language

    def interrupted(job: Any, states: Any) -> Any:
        if job.language.code == "ay_BO":
            raise KeyboardInterrupt
        return train_language(job, states)

    with monkeypatch.context() as patch:
        patch.setattr(add_many, "train_language", interrupted)
        with pytest.raises(KeyboardInterrupt):
            add(base, entries, output)
    left = sorted(path.name for path in (tmp_path / "out.run").iterdir())
    assert left == [".xmod-extend.json", "quz_PE"]
    assert not output.exists()
    with pytest.raises(UsageError, match=r"the states of an interrupted run: quz_PE"):
        add(base, entries, output)
    with pytest.raises(UsageError, match=r"several languages \(quz_PE\)"):
        xmod_extend.add_language(base=str(base), output=output, **(COMMON | entries[0]))
    watcher = Watcher()
    add(base, entries, output, resume=True, callback=watcher)
    assert watcher.stages("Training ") == ["ay_BO"]
    assert_as_alone(output, base, alone)


@pytest.mark.slow
def test_other_options_for_a_finished_language_are_refused(
    base: Path, entries: list[dict[str, Any]], too_little: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with pytest.raises(LanguagesFailedError):
        add(base, [entries[0], entries[1] | {"corpus": str(too_little)}], output)
    with pytest.raises(LanguagesFailedError, match="of another run: the number of steps was 12"):
        add(base, [entries[0] | {"max_steps": 13}, entries[1]], output, resume=True)
    assert xmod_extend.verify_checkpoint(output, base).added_languages == ("ay_BO",)


@pytest.mark.slow
def test_a_process_that_is_killed_fails_alone(
    base: Path,
    entries: list[dict[str, Any]],
    alone: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(add_many, "train_alone", die)
        with pytest.raises(LanguagesFailedError, match="SIGKILL"):
            add(base, entries, output, jobs=2)
    assert shard(output, "quz_PE") == alone["quz_PE"]
    add(base, entries, output, resume=True)
    assert_as_alone(output, base, alone)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_all_processes_and_keeps_their_states(
    base: Path, entries: list[dict[str, Any]], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "xmod_extend", "add", "--base", str(base), "--jobs", "2"]
    for entry in entries:
        command += ["--lang", entry["lang"], "--corpus", entry["corpus"]]
    command += ["--output", str(tmp_path / "out"), "--max-steps", "20000"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # As a terminal does it, the signal is sent to the whole group.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for mark in ("Training", "Training"):
            next(line for line in process.stderr if mark in line)
        time.sleep(3)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=600)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "out was not written, but" in err and "the states of ay_BO, quz_PE" in err
    assert err.splitlines()[-1].endswith("--resume` goes on.")
    begun = begun_languages(tmp_path / "out.run")
    assert begun == ["ay_BO", "quz_PE"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.run"]


def test_a_plan_writes_nothing(base: Path, entries: list[dict[str, Any]], tmp_path: Path) -> None:
    records = add(base, entries, tmp_path / "out", plan=True)
    assert [record.plan.num_steps for record in records if record.plan] == [12, 8]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_line_takes_pairs_and_a_file(
    base: Path,
    entries: list[dict[str, Any]],
    alone: dict[str, bytes],
    too_little: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import yaml

    from xmod_extend.cli.app import run

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            run(["add", "--base", str(base), "--batch-size", "4", *arguments])
        out, err = capfd.readouterr()
        return int(caught.value.code or 0), out, err

    pairs: list[str] = []
    for entry in entries:
        pairs += ["--lang", entry["lang"], "--corpus", entry["corpus"]]
    code, out, err = call(*pairs, "--output", "pairs", "--max-steps", "2", "-q")
    assert (code, out) == (0, "pairs\n"), err
    assert xmod_extend.verify_checkpoint(Path("pairs"), base).added_languages == ("quz_PE", "ay_BO")
    code, _, err = call(*pairs, "--corpus", "x.txt", "--output", "pairs")
    assert code == 2 and "2 --lang and 3 --corpus" in err
    code, _, err = call("--lang", "quz_PE", "--corpus", entries[0]["corpus"], "--jobs", "2")
    assert code == 2 and "--jobs" in err

    broken = [entries[0], entries[1] | {"corpus": str(too_little)}]
    plan = {"output": "out", "lr": 0.02, "max_steps": 12, "languages": broken}
    Path("languages.yaml").write_text(yaml.safe_dump(plan))
    code, out, err = call("--plan-file", "languages.yaml", "--json")
    assert code == 1 and "1 of 2 languages failed" in err and "--resume" in err
    listed = json.loads(out)
    assert [each["language"] for each in listed] == ["quz_PE", "ay_BO"]
    assert listed[0]["output"] == "out" and "too little text" in listed[1]["error"]
    Path("languages.yaml").write_text(yaml.safe_dump(plan | {"languages": entries}))
    code, out, err = call("--plan-file", "languages.yaml", "--resume")
    assert code == 0, err
    rows = [line for line in out.splitlines() if line.startswith(("quz_PE, ", "ay_BO, "))]
    assert len(rows) == 2 and all(" to " in row for row in rows)
    said = [line for line in out.splitlines() if line.startswith(("quz_PE: ", "ay_BO: "))]
    # What follows the verdicts is of parts of the text, of which there may be too little.
    assert sum("token frequencies" in line for line in said) == 2
    assert "report-quz_PE.html, report.html" in out
    assert_as_alone(Path("out"), base, alone)


class Stopper(Callback):
    """Stops a training when it hears a word, or the third step of the first language."""

    def __init__(self, word: str = "") -> None:
        self.word, self.has_stopped = word, False

    def on_note(self, text: str) -> None:
        if self.word and self.word in text:
            self.request_stop()

    def on_step(self, report: StepReport) -> None:
        if report.step == 3 and not (self.word or self.has_stopped):
            self.has_stopped = True
            self.request_stop()


@pytest.mark.slow
def test_a_stop_is_for_the_language_that_is_being_trained(
    base: Path, entries: list[dict[str, Any]], alone: dict[str, bytes], tmp_path: Path
) -> None:
    first, second = add(base, entries, tmp_path / "out", callback=Stopper())
    assert first.training is not None and second.training is not None
    assert first.training.stopped and first.training.steps_done == 4
    assert second.training.stopped is None
    assert shard(tmp_path / "out", "ay_BO") == alone["ay_BO"]


@pytest.mark.slow
def test_a_stop_reaches_the_processes_of_the_languages(
    base: Path, entries: list[dict[str, Any]], tmp_path: Path
) -> None:
    long = [entry | {"max_steps": 1000} for entry in entries]
    callback = Stopper("held-out loss")
    records = add(base, long, tmp_path / "out", callback=callback, jobs=2)
    assert not callback.stop_requested
    for record in records:
        assert record.training is not None and record.training.stopped
        assert record.training.steps_done < 1000
