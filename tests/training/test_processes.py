"""Several processes train what one would, and one that dies ends the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from checkpoints import make_checkpoint
from safetensors.torch import load_file
from sentences import make_sentences

from xmod_extend.errors import UsageError
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.files.run_folder import begun_languages, saved_states, step_of
from xmod_extend.training.device import make_processes

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def torchrun(count: int, *arguments: str | Path) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={count}", *map(str, arguments)]


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    script = Path(__file__).parent.parent / "train_together.py"
    for count in (1, 2):
        done = subprocess.run(
            torchrun(count, script, base, tmp_path),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr
    alone, first, second = (
        load_file(tmp_path / f"{name}.safetensors") for name in ("1-0", "2-0", "2-1")
    )
    # The same in both processes, to the bit; the same as one process's, but for rounding.
    for name, values in first.items():
        assert torch.equal(values, second[name]), name
    assert torch.equal(alone.pop("scores"), first.pop("scores"))
    assert alone["gradient"].abs().max() > 1e-3
    torch.testing.assert_close(first.pop("gradient"), alone.pop("gradient"), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(first.pop("losses"), alone.pop("losses"), rtol=1e-5, atol=0.0)
    for name, values in alone.items():
        # Adam divides a gradient by its own size: see test_equivalence.
        torch.testing.assert_close(first[name], values, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["masked_perplexity", "pseudo_perplexity"])
def test_two_processes_give_the_scores_of_one(base: Path, tmp_path: Path, metric: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{line}\n" for line in make_sentences(30, seed=6)))
    printed = []
    for count in (1, 2):
        caches = {name: str(tmp_path / f"{count}") for name in ("HF_HOME", "HF_DATASETS_CACHE")}
        arguments = ("-m", "xmod_extend", "compare", f"{base}:best", f"{base}:none")
        done = subprocess.run(
            torchrun(count, *arguments, "--text", text, "--metric", metric, "--json"),
            capture_output=True,
            text=True,
            env=ENVIRONMENT | caches,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed.append(json.loads(done.stdout))
    assert printed[0] == printed[1]


def test_processes_that_did_not_join_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = PartialState(cpu=True)
    monkeypatch.setattr("accelerate.PartialState", lambda **options: alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 processes were started, but accelerate joined 1"):
        make_processes()


@pytest.mark.slow
def test_a_dead_process_ends_the_others_and_its_work_goes_on(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["add", "--lang", "quz_PE", "--corpus", str(corpus), "--base", str(base)]
    options += ["--output", str(out), "--batch-size", "2", "--save-minutes", "0"]
    command = torchrun(2, "-m", "xmod_extend", *options, "--max-steps", "100000")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as launcher:
        while len(saved_states(tmp_path / "out.run")) < 2:
            assert launcher.poll() is None, launcher.communicate()
            time.sleep(0.05)
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        stdout, stderr = launcher.communicate(timeout=300)
    assert launcher.returncode != 0 and stdout == "" and not out.exists()
    assert "lost another one" in stderr or "Terminated" in stderr
    assert "--resume" in stderr
    states = saved_states(tmp_path / "out.run")
    assert states
    options[options.index("--save-minutes") + 1] = "10"
    alone = subprocess.run(
        [sys.executable, "-m", "xmod_extend", *options, "--max-steps", "100001", "--resume"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert alone.returncode == 2 and "the number of steps was 100000" in alone.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "count"), [("torchrun", 2), ("accelerate", 1)])
def test_add_runs_under_a_launcher_as_it_is(
    base: Path, corpus: Path, tmp_path: Path, launcher: str, count: int
) -> None:
    command = torchrun(count, "-m", "xmod_extend")
    if launcher == "accelerate":
        # Without GPUs, accelerate starts several processes through MPI only.
        command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "-m", "xmod_extend"]
    options = ["add", "--lang", "quz_PE", "--corpus", str(corpus), "--base", str(base), "--json"]
    options += ["--batch-size", "4", "--max-steps", "6", "--output"]
    alone = [sys.executable, "-m", "xmod_extend", *options, str(tmp_path / "1")]
    together = [*command, *options, str(tmp_path / "2")]
    records = []
    for each in (alone, together):
        done = subprocess.run(each, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        records.append(json.loads(done.stdout))
    assert ("in 2 processes" in done.stderr) is (count == 2)
    assert done.stderr.count("Scoring the held-out") == 1
    one, two = records
    assert one["evaluation"]["before"] == two["evaluation"]["before"]
    after = [record["evaluation"]["after"]["perplexity"] for record in records]
    assert after[1] == pytest.approx(after[0], rel=1e-3)
    assert verify_checkpoint(tmp_path / "2", base).added_languages == ("quz_PE",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.slow
def test_transformers_batch_in_two_processes_is_the_global_one_that_it_comes_to(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    options = ["add", "--lang", "quz_PE", "--corpus", str(corpus), "--base", str(base), "--json"]
    options += ["--max-steps", "4", "--lr", "1e-3", "--output"]
    theirs = ["--per-device-train-batch-size", "2", "--gradient-accumulation-steps", "2"]
    runs = [
        [sys.executable, "-m", "xmod_extend", *options, str(tmp_path / "1"), "--batch-size", "8"],
        [*torchrun(2, "-m", "xmod_extend"), *options, str(tmp_path / "2"), *theirs],
    ]
    records = []
    for command in runs:
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        records.append(json.loads(done.stdout))
    told = "global batch of 8 sequences, shared by 2 processes, worked through in 2 parts"
    assert done.stderr.count(told) == 1
    one, two = (record["training"] for record in records)
    assert one["batch_size"] == two["batch_size"] == 8
    assert (two["accumulation"], two["num_processes"]) == (2, 2)
    after = [record["evaluation"]["after"]["perplexity"] for record in records]
    assert after[1] == pytest.approx(after[0], rel=1e-3)


def run_add_many(failure: str, base: Path, corpus: Path, output: Path) -> tuple[int, str]:
    script = Path(__file__).parent.parent / "add_many_together.py"
    command = torchrun(2, script, base, corpus, output, failure)
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_all_processes_leave_a_language_that_one_of_them_cannot_read(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    code, err = run_add_many("reading", base, corpus, tmp_path / "out")
    assert code == 0, err
    assert verify_checkpoint(tmp_path / "out", base).added_languages == ("ay_BO",)


@pytest.mark.slow
def test_an_error_of_one_process_in_training_ends_the_run(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    code, err = run_add_many("training", base, corpus, tmp_path / "out")
    assert code != 0 and "no room" in err
    # What the first process saved of the language is of a whole step, and no other was begun.
    assert not (tmp_path / "out").exists()
    assert begun_languages(tmp_path / "out.run") == ["quz_PE"]
    states = saved_states(tmp_path / "out.run" / "quz_PE")
    assert [step_of(path) for path in states] == [3]
