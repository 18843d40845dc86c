"""Writing: the base's own bytes and one file more, all of it or nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from safetensors.torch import load_file
from transformers import XmodForMaskedLM

from xmod_extend.errors import LanguageError, ModelError, UsageError
from xmod_extend.files import folders
from xmod_extend.model import writer
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.writer import (
    StatesPlan,
    check_output,
    extended_config,
    plan_output,
    write_extended,
)


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(make_checkpoint(tmp_path / "base"))


def new_adapter(base: Checkpoint, language: str = "quz_PE") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    template = base.adapter_names(base.languages[0])
    return {
        name: torch.randn(base.info(known).shape, generator=generator)
        for name, known in zip(base.adapter_names(language), template, strict=True)
    }


def write(
    base: Checkpoint,
    target: Path,
    *,
    language: str = "quz_PE",
    force: bool = False,
    tokenizer_files: Sequence[Path] = (),
) -> list[Path]:
    return write_extended(
        base,
        target,
        adapters={language: new_adapter(base, language)},
        documents={"run.json": json.dumps({"language": language})},
        tokenizer_files=tokenizer_files,
        force=force,
    )


def nothing_hidden(folder: Path) -> bool:
    return not [entry for entry in folder.iterdir() if entry.name.startswith(".")]


def test_the_base_is_kept_byte_for_byte(base: Checkpoint, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "out"
    written = write(base, target)
    assert written == sorted(target.iterdir())
    assert [file.name for file in written] == [
        ".xmod-extend.json",
        "config.json",
        "model-base.safetensors",
        "model-quz_PE.safetensors",
        "model.safetensors.index.json",
        "run.json",
    ]
    original = (base.path / "model.safetensors").read_bytes()
    assert (target / "model-base.safetensors").read_bytes() == original
    pack = load_file(target / "model-quz_PE.safetensors")
    adapter = new_adapter(base)
    assert pack.keys() == adapter.keys()
    assert all(torch.equal(pack[name], adapter[name]) for name in adapter)
    assert nothing_hidden(target.parent)


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin", "sharded-bin"])
def test_upstream_loads_every_tensor(tmp_path: Path, kind: str, pre_norm: bool) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm))
    write(base, tmp_path / "out")
    model, report = XmodForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert model.config.languages == [*LANGUAGES, "quz_PE"]
    before = XmodForMaskedLM.from_pretrained(base.path)
    for name, parameter in before.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter)
    for name, tensor in new_adapter(base).items():
        assert torch.equal(model.get_parameter(name), tensor)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_parameters"] == model.num_parameters()
    assert index["metadata"]["total_size"] == 4 * model.num_parameters()
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert open_checkpoint(tmp_path / "out").num_parameters == model.num_parameters()


def test_a_second_language_adds_one_file(base: Checkpoint, tmp_path: Path) -> None:
    write(base, tmp_path / "one")
    one = open_checkpoint(tmp_path / "one")
    write(one, tmp_path / "two", language="fo_FO")
    two = open_checkpoint(tmp_path / "two")
    assert two.languages == [*LANGUAGES, "quz_PE", "fo_FO"]
    for name in ("model-base.safetensors", "model-quz_PE.safetensors"):
        assert (two.path / name).read_bytes() == (one.path / name).read_bytes()
    assert json.loads((two.path / "run.json").read_text()) == {"language": "fo_FO"}
    assert json.loads((two.path / "run-quz_PE.json").read_text()) == {"language": "quz_PE"}
    write(two, tmp_path / "three", language="ay_BO")
    records = sorted(file.name for file in (tmp_path / "three").glob("run*.json"))
    assert records == ["run-fo_FO.json", "run-quz_PE.json", "run.json"]


def test_the_adapter_takes_the_dtype_of_the_base(tmp_path: Path) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", dtype=torch.bfloat16))
    write(base, tmp_path / "out")
    pack = load_file(tmp_path / "out" / "model-quz_PE.safetensors")
    assert {tensor.dtype for tensor in pack.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    "text",
    [
        '{\n    "languages": [\n        "a_A",\n        "b_B"\n    ],\n    "eps": 1e-05\n}\n',
        '{"architectures":["X"],"languages":["a_A"],"eps":1E-5}',
        '{"languages": [ "a_A" ], "other": {"languages": ["z"]}, "n": "é"}',
        '{"other": {"languages": ["z"]},\t"languages": ["a_A"]}',
        '{"eps": 1e-05}',
    ],
)
@pytest.mark.parametrize("added", [["quz_PE"], ["quz_PE", "ay_BO"]])
def test_nothing_of_the_config_changes_but_the_languages(
    base: Checkpoint, text: str, added: list[str], tmp_path: Path
) -> None:
    (base.path / "config.json").write_text(text, encoding="utf-8")
    base.config = json.loads(text)
    base.languages = base.config.get("languages", ["en_XX"])
    written = extended_config(base, added)
    expected = json.loads(text) | {"languages": [*base.languages, *added]}
    expected.setdefault("architectures", ["XmodForMaskedLM"])
    assert json.loads(written) == expected


def test_the_config_keeps_its_formatting(base: Checkpoint) -> None:
    before = (base.path / "config.json").read_text()
    after = extended_config(base, ["quz_PE", "ay_BO"])
    assert after.replace(',\n    "quz_PE",\n    "ay_BO"', "") == before
    assert after != before


def test_figures_of_earlier_languages_come_along_under_their_names(
    base: Checkpoint, tmp_path: Path
) -> None:
    last = base.languages[-1]
    (base.path / "metrics.jsonl").write_text('{"step": 1}\n')
    (base.path / "metrics-ay_BO.jsonl").write_text('{"step": 2}\n')
    write(base, tmp_path / "out")
    assert (tmp_path / "out" / f"metrics-{last}.jsonl").read_text() == '{"step": 1}\n'
    assert (tmp_path / "out" / "metrics-ay_BO.jsonl").read_text() == '{"step": 2}\n'


def test_several_languages_get_a_shard_each_and_their_ids_in_order(
    base: Checkpoint, tmp_path: Path
) -> None:
    adapters = {code: new_adapter(base, code) for code in ("quz_PE", "ay_BO")}
    write_extended(base, tmp_path / "out", adapters=adapters, documents={})
    written = open_checkpoint(tmp_path / "out")
    assert written.languages == [*LANGUAGES, "quz_PE", "ay_BO"]
    for code, adapter in adapters.items():
        for name, values in adapter.items():
            assert written.file_of(name).name == f"model-{code}.safetensors"
            assert torch.equal(written.read(name), values)
    one, two = (
        plan_output(base, tmp_path / "new", languages=codes, force=False).needed_bytes
        for codes in (["quz_PE"], ["quz_PE", "ay_BO"])
    )
    assert two - one == sum(values.numel() * 4 for values in adapters["ay_BO"].values())


def test_what_belongs_with_the_base_comes_along(base: Checkpoint, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "spm.model", "LICENSE", "README.md", "optimizer.pt"):
        (base.path / name).write_text(name)
    names = {file.name for file in write(base, tmp_path / "own")}
    assert {"tokenizer.json", "spm.model", "LICENSE"} <= names
    assert not {"README.md", "optimizer.pt"} & names
    other = tmp_path / "sentencepiece.bpe.model"
    other.write_text("pieces")
    names = {file.name for file in write(base, tmp_path / "other", tokenizer_files=[other])}
    assert {"sentencepiece.bpe.model", "LICENSE"} <= names
    assert not {"tokenizer.json", "spm.model"} & names


def test_a_wrong_adapter_is_refused_before_anything_is_written(
    base: Checkpoint, tmp_path: Path
) -> None:
    adapter = new_adapter(base)
    name = next(iter(adapter))
    cases = {
        "names differ": {key: adapter[key] for key in adapter if key != name},
        "has the shape": adapter | {name: torch.zeros(3)},
        "not finite in F32": adapter | {name: torch.full_like(adapter[name], torch.nan)},
    }
    for expected, wrong in cases.items():
        with pytest.raises(ModelError, match=expected):
            write_extended(base, tmp_path / "out", adapters={"quz_PE": wrong}, documents={})
    with pytest.raises(LanguageError, match="base has de_DE already"):
        write(base, tmp_path / "out", language="de_DE")
    assert not (tmp_path / "out").exists()
    assert nothing_hidden(tmp_path)


def test_values_too_large_for_the_base_are_refused(tmp_path: Path) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", dtype=torch.float16))
    adapter = {name: tensor * 1e6 for name, tensor in new_adapter(base).items()}
    with pytest.raises(ModelError, match="not finite in F16"):
        write_extended(base, tmp_path / "out", adapters={"quz_PE": adapter}, documents={})


def test_a_plan_says_what_is_needed(base: Checkpoint, tmp_path: Path) -> None:
    plan = plan_output(base, tmp_path / "new" / "out", languages=["quz_PE"], force=False)
    assert 0 < plan.needed_bytes < plan.free_bytes
    assert not plan.replaces
    assert not (tmp_path / "new").exists()
    assert nothing_hidden(tmp_path)


def test_an_output_that_is_taken_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    taken, file, empty = tmp_path / "taken", tmp_path / "file", tmp_path / "empty"
    for folder in (taken, empty):
        folder.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    file.write_text("")
    cases = [
        (taken, False, "exists and is not empty"),
        (
            taken,
            True,
            "holds no checkpoint that xmod-extend wrote, and --force replaces nothing else",
        ),
        (file, True, "is a file"),
        (file / "out", False, "a part of its path is a file"),
        (base.path, True, "is the base itself"),
        (base.path / "out", False, "lies in the base's folder"),
        (tmp_path, True, "holds the base"),
    ]
    for target, force, expected in cases:
        for attempt in (
            lambda target=target, force=force: plan_output(
                base, target, languages=["quz_PE"], force=force
            ),
            lambda target=target, force=force: write(base, target, force=force),
        ):
            with pytest.raises(UsageError, match=expected) as caught:
                attempt()
            assert caught.value.hint
    assert (taken / "thesis.tex").read_text() == "years of work"
    plan_output(base, empty, languages=["quz_PE"], force=False)
    write(base, empty)
    with pytest.raises(UsageError, match="exists and is not empty"):
        check_output(empty, force=False)
    check_output(empty, force=True)


def test_the_current_folder_is_not_replaced(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(base, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UsageError, match="the current folder"):
        write(base, tmp_path / "out", force=True)


def test_a_disk_with_too_little_room_is_refused(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"needs 3\d MB, and the disk has 1 MB free"):
        plan_output(base, tmp_path / "out", languages=["quz_PE"], force=False)


def test_the_states_of_the_run_are_counted_where_they_lie(base: Checkpoint, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    states = StatesPlan(folder=tmp_path / "out.run", training_bytes=2 * free, writing_bytes=0)
    options = {"languages": ["quz_PE"], "force": False}
    with pytest.raises(UsageError, match=r"out needs .* GB"):
        plan_output(base, tmp_path / "out", **options, states=states)
    alone = plan_output(base, tmp_path / "out", **options).needed_bytes
    for training, writing in ((0, 5_000_000), (alone + 5_000_000, 0)):
        states = StatesPlan(
            folder=tmp_path / "out.run", training_bytes=training, writing_bytes=writing
        )
        plan = plan_output(base, tmp_path / "out", **options, states=states)
        assert plan.needed_bytes == alone + 5_000_000
    # What is there already is not needed any more.
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run/state-00000001.safetensors").write_bytes(bytes(1_000_000))
    states = StatesPlan(folder=tmp_path / "out.run", training_bytes=0, writing_bytes=5_000_000)
    plan = plan_output(base, tmp_path / "out", **options, states=states)
    assert plan.needed_bytes == alone + 4_000_000


@pytest.mark.parametrize("name", ["model-quz_PE.safetensors", "run-quz_PE.json", "README.model"])
def test_a_name_that_the_base_owns_is_known_before_training(tmp_path: Path, name: str) -> None:
    folder = make_checkpoint(tmp_path / "base", kind="sharded")
    index = folder / "model.safetensors.index.json"
    if name.endswith(".safetensors"):
        shard = sorted(folder.glob("model-*.safetensors"))[0]
        index.write_text(index.read_text().replace(shard.name, name))
        shard.rename(folder / name)
    else:
        (folder / name).write_text("{}")
    base, codes = open_checkpoint(folder), ["quz_PE", "ay_BO"]
    if name == "README.model":
        plan_output(base, tmp_path / "out", languages=codes, force=False)
        return
    with pytest.raises(ModelError, match=f"a file named {name} already"):
        plan_output(base, tmp_path / "out", languages=codes, force=False)


def test_what_goes_along_must_be_readable(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base.path / "LICENSE").write_text("terms")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "LICENSE")
    with pytest.raises(ModelError, match="LICENSE cannot be read: permission is denied"):
        plan_output(base, tmp_path / "out", languages=["quz_PE"], force=False)


def test_force_replaces_the_whole_folder(base: Checkpoint, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(base, target, language="fo_FO")
    assert plan_output(base, target, languages=["quz_PE"], force=True).replaces
    write(base, target, force=True)
    assert open_checkpoint(target).languages == [*LANGUAGES, "quz_PE"]
    assert not (target / "model-fo_FO.safetensors").exists()
    assert nothing_hidden(tmp_path)


def test_a_link_is_followed_and_kept(base: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(base, tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert open_checkpoint(tmp_path / "disk").languages[-1] == "quz_PE"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission is denied"),
    ],
)
def test_an_error_while_writing_leaves_what_was_there(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
) -> None:
    target = tmp_path / "out"
    write(base, target, language="fo_FO")
    before = {file.name: file.read_bytes() for file in target.iterdir()}

    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(writer, "_write_index", refuse)
    with pytest.raises(UsageError, match=expected) as caught:
        write(base, target, force=True)
    assert caught.value.message.startswith(str(target))
    assert {file.name: file.read_bytes() for file in target.iterdir()} == before
    assert nothing_hidden(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing(
    base: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer, "_copy_companions", interrupt)
    with pytest.raises(error):
        write(base, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert nothing_hidden(tmp_path)


def test_a_failed_replacement_is_undone(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    write(base, target, language="fo_FO")
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        if ".writing-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UsageError, match="Input/output error"):
        write(base, target, force=True)
    assert open_checkpoint(target).languages[-1] == "fo_FO"
    assert nothing_hidden(tmp_path)


def dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_put_right(base: Checkpoint, tmp_path: Path) -> None:
    host, dead = folders._host(), dead_process()
    write(base, tmp_path / "out", language="fo_FO")
    (tmp_path / f".out.writing-{host}-{dead}").mkdir()
    (tmp_path / f".other.writing-{host}-{dead}").mkdir()
    (tmp_path / f".out.writing-elsewhere-{dead}").mkdir()
    (tmp_path / f".out.writing-{host}-{os.getppid()}").mkdir()
    # Killed between the two renames: the old output waits under its hidden name.
    (tmp_path / "out").rename(tmp_path / f".out.replaced-{host}-{dead}")
    folders.put_right(tmp_path / "out")
    assert open_checkpoint(tmp_path / "out").languages[-1] == "fo_FO"
    left = {entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")}
    assert left == {
        f".other.writing-{host}-{dead}",
        f".out.writing-elsewhere-{dead}",
        f".out.writing-{host}-{os.getppid()}",
    }


def test_every_way_of_copying_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(100_000))
    folders.copy_file(source, tmp_path / "cloned")
    monkeypatch.setattr(folders, "_clone", lambda *_: False)
    folders.copy_file(source, tmp_path / "in_kernel")

    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    folders.copy_file(source, tmp_path / "plain")
    for name in ("cloned", "in_kernel", "plain"):
        assert (tmp_path / name).read_bytes() == source.read_bytes()
