"""The command line as a shell sees it: exit codes, stdout, stderr, what is left behind."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON_M = (sys.executable, "-m", "xmod_extend")


def run(
    *arguments: str | Path, timeout: float = 900, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTHON_M, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        check=False,
    )


def test_help_and_import_do_not_load_torch() -> None:
    code = (
        "import sys, xmod_extend; xmod_extend.__all__; import xmod_extend.cli.app;"
        "heavy = {'torch', 'transformers', 'datasets'} & set(sys.modules);"
        "sys.exit(str(heavy or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_help_names_every_option_of_add_language() -> None:
    import dataclasses

    from xmod_extend.jobs.options import AddOptions

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("add", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, a third of a second as a rule: a busy machine is not the program's fault.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert done.returncode == 0
    for field in dataclasses.fields(AddOptions):
        assert "--" + field.name.replace("_", "-") in done.stdout


def test_version_is_the_packages() -> None:
    import xmod_extend

    assert run("--version").stdout.strip() == xmod_extend.__version__


@pytest.mark.slow
def test_add_verify_info_and_json(base: Path, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ("--lang", "quz_PE", "--corpus", corpus, "--base", base, "--output", output)
    done = run("add", *options, "--max-steps", "2", "--batch-size", "4", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["schema_version"] == 1 and record["language"] == "quz_PE"
    assert "Traceback" not in done.stderr

    verified = run("verify", output, "--json")
    assert verified.returncode == 0, verified.stderr
    assert f"the base is {base}, as run.json says" in verified.stderr
    assert json.loads(verified.stdout)["added_languages"] == ["quz_PE"]

    described = run("info", output)
    assert described.returncode == 0 and "quz_PE" in described.stdout
    assert run("info", output, "-q").stdout.split() == ["en_XX", "de_DE", "sw_KE", "quz_PE"]


@pytest.mark.slow
def test_quiet_prints_the_folder_alone_and_verify_finds_a_changed_byte_in_it(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    options = ("--lang", "quz_PE", "--corpus", corpus, "--base", base, "--output", output)
    done = run("add", *options, "--max-steps", "1", "-q")
    assert done.returncode == 0
    assert done.stdout == f"{output}\n"
    assert "..." not in done.stderr

    shard = output / "model-base.safetensors"
    changed = bytearray(shard.read_bytes())
    changed[-3] ^= 1
    shard.write_bytes(changed)
    verified = run("verify", output, "--base", base)
    assert verified.returncode == 6
    assert "differs" in verified.stdout and "Traceback" not in verified.stderr


@pytest.mark.slow
def test_probe_ranks_and_check_reports(base: Path, corpus: Path) -> None:
    probed = run("probe", "--corpus", corpus, "--base", base, "--json")
    assert probed.returncode == 0, probed.stderr
    candidates = json.loads(probed.stdout)["candidates"]
    perplexities = [candidate["perplexity"] for candidate in candidates]
    assert len(candidates) == 3 and perplexities == sorted(perplexities)

    checked = run("check", "--corpus", corpus, "--base", base, "--json")
    assert checked.returncode == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert report["lines"] == 800 and report["fertility"] > 1
    cache = report["cache"]
    assert 0 < cache["num_bytes"] < cache["limit_bytes"] == 20_000_000_000
    assert f"prepared text is kept in {cache['folder']}: " in " ".join(checked.stderr.split())


@pytest.mark.slow
def test_flags_come_before_the_file_and_the_file_before_defaults(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    config = tmp_path / "add.yaml"
    config.write_text(f"lang: ay_BO\nbase: {base}\nmax-steps: 7\nlr: 1e-3\ncorpus: {corpus}\n")
    done = run("add", "--config", config, "--lang", "quz_PE", "--plan", "--json", "--seed", "0")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["language"] == "quz_PE"
    assert record["plan"]["num_steps"] == 7 and record["plan"]["lr"] == 1e-3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["add.yaml"]


@pytest.mark.parametrize(
    ("line", "names"),
    [("batchsize: 3", "batch_size"), ("lr: fast", "lr"), ("- lang", "list"), ("lr: [", "YAML")],
)
def test_a_bad_config_file_is_exit_2(tmp_path: Path, line: str, names: str) -> None:
    config = tmp_path / "add.yaml"
    config.write_text(line + "\n")
    done = run("add", "--config", config)
    assert done.returncode == 2
    assert names in done.stderr and "Traceback" not in done.stderr
