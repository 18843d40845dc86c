"""Names of transformers' scripts: the same options, typed, in a file and in a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from xmod_extend.cli.app import run
from xmod_extend.errors import UsageError
from xmod_extend.jobs.add import add_language
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.options import ALIASES, AddOptions, merge_options
from xmod_extend.jobs.plan_file import combine_options
from xmod_extend.training.history import StepReport

REQUIRED: dict[str, Any] = {"lang": "quz_PE", "corpus": "a.txt"}
Way = Callable[[dict[str, Any]], AddOptions]

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "learning_rate": (2e-3, {"lr": 2e-3}),
    "num_train_epochs": (3.0, {"epochs": 3.0}),
    "per_device_train_batch_size": (4, {"batch_size": 4}),
    "gradient_accumulation_steps": (2, {"batch_size": 32, "accumulation": 2}),
    "max_seq_length": (64, {"max_length": 64}),
    "output_dir": ("out", {"output": Path("out")}),
    "model_name_or_path": ("tiny", {"base": "tiny"}),
    "train_file": ("b.txt", {"corpus": ("b.txt",)}),
    "validation_file": ("h.txt", {"held_out": "h.txt"}),
}
"""Each alias with a value, and what it makes of the options."""


class StopError(UsageError):
    """Ends a command where its options are known."""


@pytest.fixture(params=["typed", "typed with underscores", "file", "call"])
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Way:
    """A way to give options to `add`; returns what it makes of them."""
    seen: list[AddOptions] = []

    def stop(options: AddOptions, callback: object) -> None:
        seen.append(options)
        raise StopError("that is all")

    monkeypatch.setattr("xmod_extend.jobs.checks.check_request", stop)
    monkeypatch.setattr("xmod_extend.jobs.add.check_request", stop)

    def give(options: dict[str, Any]) -> AddOptions:
        seen.clear()
        if request.param == "call":
            with pytest.raises(StopError):
                add_language(**options)
        else:
            dash = "_" if "underscores" in request.param else "-"
            words = [
                word
                for name, value in options.items()
                for word in ("--" + name.replace("_", dash), str(value))
            ]
            if request.param == "file":
                file = tmp_path / "add.yaml"
                file.write_text(yaml.safe_dump(options))
                words = ["--config", str(file)]
            with pytest.raises(SystemExit):
                run(["add", *words])
        return seen[0]

    return give


def test_every_alias_has_its_case() -> None:
    assert set(CASES) == set(ALIASES)


@pytest.mark.parametrize("alias", CASES)
def test_an_alias_means_the_same_however_it_is_given(way: Way, alias: str) -> None:
    value, expected = CASES[alias]
    options = REQUIRED | {alias: value}
    if alias == "train_file":
        del options["corpus"]
    assert way(options) == AddOptions(**({"lang": "quz_PE", "corpus": ("a.txt",)} | expected))


@pytest.mark.parametrize("alias", CASES)
def test_both_names_of_an_option_are_refused(
    alias: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, (value, _) = ALIASES[alias], CASES[alias]
    both = {"lang": "quz_PE", "corpus": "a.txt", name: value, alias: value}
    with pytest.raises(UsageError, match="both given") as caught:
        merge_options(None, both)
    for spelled in (name, alias):
        assert "--" + spelled.replace("_", "-") in caught.value.message
    file = tmp_path / "add.yaml"
    file.write_text(yaml.safe_dump(both))
    with pytest.raises(UsageError, match="both given"):
        merge_options(file, {})
    words = [word for key in (name, alias) for word in ("--" + key.replace("_", "-"), str(value))]
    with pytest.raises(SystemExit, match="2"):
        run(["add", "--lang", "quz_PE", *words])
    assert "are both given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; it must be above 0"),
        ({"learning_rate": "fast"}, "--learning-rate is 'fast'; it must be of type float"),
        ({"per_device_train_batch_size": 0}, "--per-device-train-batch-size is 0"),
        ({"gradient_accumulation_steps": 1.5}, "--gradient-accumulation-steps is 1.5"),
        ({"max_seq_length": 7}, "--max-seq-length is 7; it must be at least 8 tokens"),
        ({"num_train_epochs": 1.0, "max_steps": 3}, "--max-steps and --epochs"),
        (
            {"per_device_train_batch_size": 60_000, "gradient_accumulation_steps": 2},
            "60,000 sequences x 1 processes x 2 accumulation steps are a global batch of 120,000",
        ),
        ({"learningrate": 1.0}, "'learningrate' is an unknown option"),
    ],
)
def test_a_wrong_value_is_named_as_it_was_given(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        merge_options(None, REQUIRED | options)


@pytest.mark.parametrize(
    ("size", "steps", "processes", "batch"),
    [(4, None, 1, 4), (4, 3, 1, 12), (4, 3, 2, 24), (None, 3, 2, 96), (4, None, 8, 32)],
)
def test_the_global_batch_is_the_product(
    monkeypatch: pytest.MonkeyPatch,
    size: int | None,
    steps: int | None,
    processes: int,
    batch: int,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    theirs = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
    options = merge_options(None, REQUIRED | theirs)
    assert (options.batch_size, options.accumulation) == (batch, steps or 1)
    told = options.describe_batch()
    if processes == 1 and steps is None:
        assert told is None
    else:
        assert told is not None and f"global batch of {batch} sequences" in told
        assert (f"{processes} processes" in told) is (processes > 1)
    # Ours is of all processes already.
    assert merge_options(None, REQUIRED | {"batch_size": 6}).batch_size == 6


@pytest.mark.parametrize(
    ("in_file", "typed", "expected"),
    [
        ({"lr": 1e-3}, {"learning_rate": 2e-3}, {"lr": 2e-3}),
        ({"learning_rate": 1e-3}, {"lr": 2e-3}, {"lr": 2e-3}),
        ({"learning_rate": 1e-3}, {"lr": None}, {"lr": None}),
        ({"batch_size": 9}, {"per_device_train_batch_size": 4}, {"batch_size": 4}),
        ({"per_device_train_batch_size": 4}, {"batch_size": 9}, {"batch_size": 9}),
        (
            {"per_device_train_batch_size": 4},
            {"gradient_accumulation_steps": 2},
            {"batch_size": 8, "accumulation": 2},
        ),
        (
            {"batch_size": 9, "accumulation": 3},
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
            {"batch_size": 8, "accumulation": 2},
        ),
    ],
)
def test_what_is_typed_replaces_the_files_whatever_the_name(
    tmp_path: Path, in_file: dict[str, Any], typed: dict[str, Any], expected: dict[str, Any]
) -> None:
    file = tmp_path / "add.yaml"
    file.write_text(yaml.safe_dump(in_file))
    options = merge_options(file, REQUIRED | typed)
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize("ours", ["batch_size", "accumulation"])
@pytest.mark.parametrize("theirs", ["per_device_train_batch_size", "gradient_accumulation_steps"])
def test_the_two_ways_to_count_a_batch_are_not_mixed(
    tmp_path: Path, ours: str, theirs: str
) -> None:
    with pytest.raises(UsageError, match=r"all processes.*the batch of one"):
        merge_options(None, REQUIRED | {ours: 4, theirs: 2})
    if ALIASES[theirs] != ours:
        file = tmp_path / "add.yaml"
        file.write_text(f"{ours}: 4\n")
        with pytest.raises(UsageError, match=r"all processes.*the batch of one"):
            merge_options(file, REQUIRED | {theirs: 2})


def test_an_option_that_a_file_spells_in_two_ways_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "add.yaml"
    file.write_text("max-steps: 3\nmax_steps: 5\n")
    with pytest.raises(UsageError, match=r"max-steps in .*add\.yaml and max_steps in"):
        merge_options(file, REQUIRED)


def test_an_empty_value_beside_the_other_name_says_nothing() -> None:
    assert merge_options(None, REQUIRED | {"lr": 1e-3, "learning_rate": None}).lr == 1e-3
    assert merge_options(None, REQUIRED | {"lr": None, "learning_rate": 1e-3}).lr == 1e-3


def test_the_languages_of_a_plan_have_aliases_too() -> None:
    first, second = combine_options(
        [
            {"lang": "quz_PE", "train_file": "quz.txt", "lr": 1e-3},
            {"lang": "ay_BO", "train_file": "ay.txt", "per_device_train_batch_size": 3},
        ],
        {"batch_size": 5, "lr": 5e-4},
        {},
        where="here",
    )
    assert (first.corpus, first.lr, first.batch_size) == (("quz.txt",), 1e-3, 5)
    assert (second.corpus, second.lr, second.batch_size) == (("ay.txt",), 5e-4, 3)
    with pytest.raises(UsageError, match="output cannot differ"):
        combine_options([{"lang": "quz_PE", "output_dir": "x"}], {}, {}, where="here")
    with pytest.raises(UsageError, match="--held-out is given for all languages"):
        combine_options([REQUIRED], {}, {"held_out": "h.txt"}, where="here")


@pytest.mark.slow
def test_a_run_by_aliases_is_the_same_run(base: Path, corpus: Path, tmp_path: Path) -> None:
    ours = {"corpus": corpus, "base": base, "output": tmp_path / "ours", "lr": 3e-3}
    ours |= {"batch_size": 8, "accumulation": 2, "max_length": 16}
    theirs = {"train_file": corpus, "model_name_or_path": base, "output_dir": tmp_path / "theirs"}
    theirs |= {"learning_rate": 3e-3, "per_device_train_batch_size": 4}
    theirs |= {"gradient_accumulation_steps": 2, "max_seq_length": 16}
    records = []
    for options in (ours, theirs):
        record = add_language(lang="quz_PE", max_steps=2, progress=False, **options)
        values = record.to_dict()
        for changing in ("created", "seconds", "output"):
            values.pop(changing, None)
        values["options"].pop("output")
        values["training"].pop("seconds")
        records.append(values)
    assert records[0] == records[1]
    assert records[0]["training"]["batch_size"] == 8
    shards = [
        (tmp_path / name / "model-quz_PE.safetensors").read_bytes() for name in ("ours", "theirs")
    ]
    assert shards[0] == shards[1]


def test_another_number_of_processes_is_another_batch_and_so_another_run(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "lang": "quz_PE",
        "corpus": corpus,
        "base": base,
        "output": tmp_path / "out",
        "max_length": 16,
        "max_steps": 4,
        "per_device_train_batch_size": 2,
    }

    class Stop(Callback):
        def on_step(self, report: StepReport) -> None:
            if report.step == 2:
                raise StopError("enough")

    with pytest.raises(StopError):
        add_language(**options, callback=Stop())
    monkeypatch.setattr("xmod_extend.training.options.started_processes", lambda: 2)
    with pytest.raises(UsageError, match="--batch-size was 2 and is 4"):
        add_language(**options, resume=True, progress=False)
