"""Writing: all of a checkpoint or nothing, whatever it is made of."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from checkpoints import LANGUAGES, extend, make_checkpoint, plan_to_extend
from transformers import XmodForMaskedLM

from xmod_extend.errors import ModelError, UsageError
from xmod_extend.files import output_folder
from xmod_extend.model import writer
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.shards import Shard, TensorShard, bind, existing_shards
from xmod_extend.model.tensors import source_in_memory, source_of
from xmod_extend.model.upstream import loading_faults
from xmod_extend.model.writer import CheckpointContents, DiskUse, check_output, write_checkpoint


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(make_checkpoint(tmp_path / "base"))


def nothing_hidden(folder: Path) -> bool:
    return not [entry for entry in folder.iterdir() if entry.name.startswith(".")]


def test_a_plan_says_what_is_needed(base: Checkpoint, tmp_path: Path) -> None:
    plan = plan_to_extend(base, tmp_path / "new" / "out")
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
        (base.path, True, r"base is .*/base, which is only read"),
        (base.path / "out", False, r"lies in .*/base, which is only read"),
        (tmp_path, True, r"holds .*/base, which is only read"),
    ]
    for target, force, expected in cases:
        for attempt in (
            lambda target=target, force=force: plan_to_extend(base, target, force=force),
            lambda target=target, force=force: extend(base, target, force=force),
        ):
            with pytest.raises(UsageError, match=expected) as caught:
                attempt()
            assert caught.value.hint
    assert (taken / "thesis.tex").read_text() == "years of work"
    plan_to_extend(base, empty)
    extend(base, empty)
    with pytest.raises(UsageError, match="exists and is not empty"):
        check_output(empty, force=False)
    check_output(empty, force=True)


def test_the_current_folder_is_not_replaced(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend(base, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UsageError, match="the current folder"):
        extend(base, tmp_path / "out", force=True)


def test_a_disk_with_too_little_room_is_refused(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"needs 3\d MB, and the disk has 1 MB free"):
        plan_to_extend(base, tmp_path / "out")


def test_the_states_of_the_run_are_counted_where_they_lie(base: Checkpoint, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    others = DiskUse(folder=tmp_path / "out.run", before_bytes=2 * free, writing_bytes=0)
    with pytest.raises(UsageError, match=r"out needs .* GB"):
        plan_to_extend(base, tmp_path / "out", others=others)
    alone = plan_to_extend(base, tmp_path / "out").needed_bytes
    for training, writing in ((0, 5_000_000), (alone + 5_000_000, 0)):
        others = DiskUse(folder=tmp_path / "out.run", before_bytes=training, writing_bytes=writing)
        plan = plan_to_extend(base, tmp_path / "out", others=others)
        assert plan.needed_bytes == alone + 5_000_000
    # What is there already is not needed any more.
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run/state-00000001.safetensors").write_bytes(bytes(1_000_000))
    others = DiskUse(folder=tmp_path / "out.run", before_bytes=0, writing_bytes=5_000_000)
    plan = plan_to_extend(base, tmp_path / "out", others=others)
    assert plan.needed_bytes == alone + 4_000_000


def test_force_replaces_the_whole_folder(base: Checkpoint, tmp_path: Path) -> None:
    target = tmp_path / "out"
    extend(base, target, "fo_FO")
    assert plan_to_extend(base, target, force=True).replaces
    extend(base, target, force=True)
    assert open_checkpoint(target).languages == [*LANGUAGES, "quz_PE"]
    assert not (target / "model-fo_FO.safetensors").exists()
    assert nothing_hidden(tmp_path)


def test_a_link_is_followed_and_kept(base: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    extend(base, tmp_path / "out")
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
    extend(base, target, "fo_FO")
    before = {file.name: file.read_bytes() for file in target.iterdir()}

    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(writer, "_copy_companions", refuse)
    with pytest.raises(UsageError, match=expected) as caught:
        extend(base, target, force=True)
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
        extend(base, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert nothing_hidden(tmp_path)


def test_a_failed_replacement_is_undone(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    extend(base, target, "fo_FO")
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        if ".writing-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UsageError, match="Input/output error"):
        extend(base, target, force=True)
    assert open_checkpoint(target).languages[-1] == "fo_FO"
    assert nothing_hidden(tmp_path)


def dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_put_right(base: Checkpoint, tmp_path: Path) -> None:
    host, dead = output_folder._host(), dead_process()
    extend(base, tmp_path / "out", "fo_FO")
    (tmp_path / f".out.writing-{host}-{dead}").mkdir()
    (tmp_path / f".other.writing-{host}-{dead}").mkdir()
    (tmp_path / f".out.writing-elsewhere-{dead}").mkdir()
    (tmp_path / f".out.writing-{host}-{os.getppid()}").mkdir()
    # Killed between the two renames: the old output waits under its hidden name.
    (tmp_path / "out").rename(tmp_path / f".out.replaced-{host}-{dead}")
    output_folder.recover(tmp_path / "out")
    assert open_checkpoint(tmp_path / "out").languages[-1] == "fo_FO"
    left = {entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")}
    assert left == {
        f".other.writing-{host}-{dead}",
        f".out.writing-elsewhere-{dead}",
        f".out.writing-{host}-{os.getppid()}",
    }


# Other lists than a base and its new languages.


def write(
    checkpoint: Checkpoint, target: Path, weight_map: dict[str, Shard], **changes: object
) -> XmodForMaskedLM:
    """Writes other weights with a changed config, and loads them as plain transformers does."""
    contents = CheckpointContents(
        weight_map=weight_map,
        config=json.dumps(checkpoint.config | changes),
        companions={},
        sources=[checkpoint.path],
    )
    assert write_checkpoint(target, contents, verify=loading_faults) == []
    model, report = XmodForMaskedLM.from_pretrained(target, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    index = json.loads((target / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_parameters"] == model.num_parameters()
    assert open_checkpoint(target).num_parameters == model.num_parameters()
    return model


def without(checkpoint: Checkpoint, language: str) -> dict[str, Shard]:
    removed = set(checkpoint.adapter_names(language))
    return {
        name: shard for name, shard in existing_shards(checkpoint).items() if name not in removed
    }


def test_a_language_that_has_a_file_is_left_out_with_it(base: Checkpoint, tmp_path: Path) -> None:
    one = open_checkpoint(extend(base, tmp_path / "one", "quz_PE", "fo_FO"))
    languages = [*LANGUAGES, "fo_FO"]
    model = write(one, tmp_path / "two", without(one, "quz_PE"), languages=languages)
    assert sorted(file.name for file in (tmp_path / "two").glob("*.safetensors")) == [
        "model-base.safetensors",
        "model-fo_FO.safetensors",
    ]
    for name in one.adapter_names("fo_FO"):
        assert torch.equal(model.get_parameter(name), one.read(name))


@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin"])
def test_a_language_that_lies_among_others_is_left_out(tmp_path: Path, kind: str) -> None:
    base = open_checkpoint(make_checkpoint(tmp_path / "base", kind=kind))
    names = [name for name in without(base, "de_DE") if name not in base.extra_names]
    rest = TensorShard(
        "model-rest.safetensors",
        {name: source_of(base.weights.by_name[name], name) for name in names},
    )
    model = write(base, tmp_path / "out", bind(rest), languages=["en_XX", "sw_KE"])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, base.read(name))


def test_a_grown_tensor_takes_the_place_of_the_old_one(base: Checkpoint, tmp_path: Path) -> None:
    old = {
        name: base.read(name)
        for name in ("roberta.embeddings.word_embeddings.weight", "lm_head.bias")
    }
    grown = {name: torch.cat([values, values[:5] + 1]) for name, values in old.items()}
    sources = {name: source_in_memory(values) for name, values in grown.items()}
    shards = existing_shards(base) | bind(TensorShard("model-vocabulary.safetensors", sources))
    model = write(base, tmp_path / "out", shards, vocab_size=125)
    before = (base.path / "model.safetensors").read_bytes()
    assert (tmp_path / "out/model-base.safetensors").read_bytes() == before
    for name, values in grown.items():
        assert torch.equal(model.get_parameter(name), values)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_shard_that_transformers_would_overrule_is_refused(
    base: Checkpoint, tmp_path: Path
) -> None:
    bias = {"lm_head.bias": source_in_memory(base.read("lm_head.bias") + 1)}
    shards = existing_shards(base) | bind(TensorShard("a.safetensors", bias))
    with pytest.raises(
        ModelError, match=r"model-base.safetensors has a tensor lm_head.bias as wel"
    ):
        write(base, tmp_path / "out", shards)
    assert not (tmp_path / "out").exists()


def test_weights_that_the_config_does_not_describe_are_refused(
    base: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"adapter_modules\.de_DE\.dense1\.weight is missing"):
        write(base, tmp_path / "out", without(base, "de_DE"))
    with pytest.raises(ModelError, match="vocab_size is 125, but there are 120 rows"):
        write(base, tmp_path / "out", existing_shards(base), vocab_size=125)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_is_not_verified_never_appears(base: Checkpoint, tmp_path: Path) -> None:
    contents = CheckpointContents(
        weight_map=existing_shards(base),
        config=(base.path / "config.json").read_text(),
        companions={},
        documents=["README.md"],
    )

    def refuse(folder: Path) -> None:
        assert {"config.json", "model-base.safetensors"} < {file.name for file in folder.iterdir()}
        raise ModelError("It is not the same.")

    with pytest.raises(ModelError, match="not the same"):
        write_checkpoint(tmp_path / "out", contents, verify=refuse)
    assert [entry.name for entry in tmp_path.iterdir()] == ["base"]
    write_checkpoint(
        tmp_path / "out",
        contents,
        verify=lambda folder: (folder / "config.json").stat().st_size,
        documents=lambda size: {"README.md": f"{size} bytes"},
    )
    assert (tmp_path / "out/README.md").read_text().endswith(" bytes")


def test_one_file_needs_no_index(base: Checkpoint, tmp_path: Path) -> None:
    file = base.weights.files[0]
    shard = TensorShard("model.safetensors", {name: source_of(file, name) for name in base.names()})
    contents = CheckpointContents(
        weight_map=bind(shard),
        config=(base.path / "config.json").read_text(),
        companions={},
        documents=["README.md"],
        sources=[base.path],
    )
    write_checkpoint(
        tmp_path / "out",
        contents,
        verify=loading_faults,
        documents=lambda faults: {"README.md": str(faults)},
    )
    names = {entry.name for entry in (tmp_path / "out").iterdir()}
    assert names == {".xmod-extend.json", "README.md", "config.json", "model.safetensors"}
    assert (tmp_path / "out/README.md").read_text() == "[]"
    written = open_checkpoint(tmp_path / "out")
    assert all(written.digest(name) == base.digest(name) for name in base.names())


def test_one_file_is_never_beside_others(base: Checkpoint, tmp_path: Path) -> None:
    file = base.weights.files[0]
    first, *others = base.names()
    weight_map = bind(
        TensorShard("model.safetensors", {first: source_of(file, first)}),
        TensorShard("model-more.safetensors", {name: source_of(file, name) for name in others}),
    )
    contents = CheckpointContents(
        weight_map=weight_map, config=(base.path / "config.json").read_text(), companions={}
    )
    with pytest.raises(AssertionError, match="beside other shards"):
        write_checkpoint(tmp_path / "out", contents, verify=lambda _: None)
    assert not (tmp_path / "out").exists()
