"""Installing: packs made apart, beside each other, each with the bits that it was packed with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoints import LANGUAGES, make_checkpoint
from packed import Heard, add, bytes_of, logits, pack
from transformers import XmodForMaskedLM

from xmod_extend.errors import CheckFailedError, LanguageError, ModelError, UsageError
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.jobs import install as installing
from xmod_extend.jobs.install import InstallResult, install_packs
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.report.record import read_record


def install(base: Path, packs: list[Path], output: Path, **options: object) -> InstallResult:
    return install_packs(base, packs, output, callback=Heard(), **options)  # type: ignore[arg-type]


@pytest.fixture
def one(base: Path, tmp_path: Path) -> Path:
    return pack(add(base, tmp_path / "with-quz", "quz_PE", seed=1), "quz_PE", tmp_path / "quz")


@pytest.fixture
def two(base: Path, tmp_path: Path) -> Path:
    return pack(add(base, tmp_path / "with-ay", "ay_BO", seed=2), "ay_BO", tmp_path / "ay")


@pytest.mark.slow
@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("kind", ["safetensors", "sharded", "bin"])
def test_packs_trained_apart_are_the_same_beside_each_other_in_any_order(
    tmp_path: Path, kind: str, pre_norm: bool
) -> None:
    base = make_checkpoint(tmp_path / "base", kind=kind, pre_norm=pre_norm)
    apart = {
        code: add(base, tmp_path / f"with-{code}", code, seed=seed)
        for seed, code in enumerate(("quz_PE", "ay_BO"))
    }
    packs = {code: pack(folder, code, tmp_path / code) for code, folder in apart.items()}
    old = logits(base)
    for order in (["quz_PE", "ay_BO"], ["ay_BO", "quz_PE"]):
        output = tmp_path / "-".join(order)
        result = install(base, [packs[code] for code in order], output)
        assert result.languages == (*LANGUAGES, *order)
        found = logits(output)
        assert {code: found[code] for code in LANGUAGES} == old
        for code in order:
            assert found[code] == logits(apart[code], code)[code]
            shard = f"model-{code}.safetensors"
            assert (output / shard).read_bytes() == (apart[code] / shard).read_bytes()
        # As plain transformers reads it, too.
        model, report = XmodForMaskedLM.from_pretrained(output, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"]
        assert model.config.languages == [*LANGUAGES, *order]


@pytest.mark.slow
def test_what_is_installed_is_a_checkpoint_like_any_other(
    base: Path, one: Path, two: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    result = install(base, [one, two], output, license="cc-by-4.0")
    verified = verify_checkpoint(output, base)
    assert verified.identical and verified.added_languages == ("quz_PE", "ay_BO")
    assert [(one.language, one.language_id) for one in result.installed] == [
        ("quz_PE", 3),
        ("ay_BO", 4),
    ]
    assert sorted(bytes_of(output)) == [
        ".xmod-extend.json",
        "README.md",
        "config.json",
        "model-ay_BO.safetensors",
        "model-base.safetensors",
        "model-quz_PE.safetensors",
        "model.safetensors.index.json",
        "report-quz_PE.html",
        "report.html",
        "run-quz_PE.json",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (output / "run-quz_PE.json").read_bytes() == (one / "run.json").read_bytes()
    assert (output / "run.json").read_bytes() == (two / "run.json").read_bytes()
    card = (output / "README.md").read_text()
    assert "quz_PE" in card and "ay_BO" in card and "cc-by-4.0" in card
    # It can be extended by packs again, one of the base's own languages among them.
    other = make_checkpoint(tmp_path / "other", languages=["xx_XX"], seed=0)
    own = pack(other, "xx_XX", tmp_path / "xx")
    install(output, [own], tmp_path / "more", force=True)
    assert (tmp_path / "more/run-ay_BO.json").read_bytes() == (two / "run.json").read_bytes()
    assert not (tmp_path / "more/run.json").exists()


def test_a_language_added_packed_and_installed_is_what_was_added(
    base: Path, one: Path, tmp_path: Path
) -> None:
    install(base, [one], tmp_path / "out")
    added, again = bytes_of(tmp_path / "with-quz"), bytes_of(tmp_path / "out")
    for name in added.keys() - {".xmod-extend.json"}:
        assert added[name] == again[name], name
    assert again.keys() - added.keys() == {"README.md", "report.html"}
    assert logits(tmp_path / "out") == logits(tmp_path / "with-quz")
    assert bytes_of(pack(tmp_path / "out", "quz_PE", tmp_path / "again")).keys() == (
        bytes_of(one).keys()
    )
    for name in ("model-quz_PE.safetensors", "adapter_config.json", "run.json"):
        assert (tmp_path / "again" / name).read_bytes() == (one / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "rename", ["quz_BO", ["quz_PE=quz_BO"], {"quz_PE": "quz_BO"}], ids=["one", "pair", "mapping"]
)
def test_a_language_gets_another_code(
    base: Path, one: Path, tmp_path: Path, rename: object
) -> None:
    output = tmp_path / "out"
    result = install(base, [one], output, rename=rename)
    (installed,) = result.installed
    assert (installed.language, installed.packed_as) == ("quz_BO", "quz_PE")
    assert not installed.same_file
    assert logits(output, "quz_BO")["quz_BO"] == logits(tmp_path / "with-quz", "quz_PE")["quz_PE"]
    assert read_record(output / "run.json").language == "quz_BO"
    record, before = (output / "run.json").read_text(), (one / "run.json").read_text()
    assert record == before.replace('"language": "quz_PE"', '"language": "quz_BO"', 1)
    assert XmodForMaskedLM.from_pretrained(output).config.languages[-1] == "quz_BO"


@pytest.mark.slow
def test_two_packs_of_one_code_stand_beside_each_other(
    base: Path, one: Path, tmp_path: Path
) -> None:
    other = add(base, tmp_path / "with-other", "quz_PE", seed=7)
    second = pack(other, "quz_PE", tmp_path / "second")
    with pytest.raises(
        LanguageError, match=f"{second} is quz_PE, which {one} has already"
    ) as caught:
        install(base, [one, second], tmp_path / "out")
    assert caught.value.hint and f"--as {second}=CODE" in caught.value.hint
    with pytest.raises(LanguageError, match="names several packs"):
        install(base, [one, second], tmp_path / "out", rename="quz_PE=quz_BO")
    install(base, [one, second], tmp_path / "out", rename={str(second): "quz_BO"})
    install(base, [one, second], tmp_path / "same", rename=["quz_PE", "quz_BO"])
    assert logits(tmp_path / "out") == logits(tmp_path / "same")
    assert logits(tmp_path / "out", "quz_BO")["quz_BO"] == logits(other, "quz_PE")["quz_PE"]


@pytest.mark.parametrize(
    ("rename", "expected"),
    [
        ("de_DE", "already has de_DE"),
        ("quz-BO", "not a language code"),
        ("xq_PE", "no registered language"),
        (["ay_BO=quz_BO"], "names no pack"),
        (["quz_BO", "ay_BO"], "1 packs and 2 --as"),
    ],
)
def test_a_code_that_does_not_fit_is_refused(
    base: Path, one: Path, tmp_path: Path, rename: object, expected: str
) -> None:
    with pytest.raises(LanguageError, match=expected) as caught:
        install(base, [one], tmp_path / "out", rename=rename)
    assert caught.value.exit_code == 4 and caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_language_that_the_base_has_is_refused(base: Path, one: Path, tmp_path: Path) -> None:
    own = pack(base, "de_DE", tmp_path / "de")
    for target, packed in ((base, own), (tmp_path / "with-quz", one)):
        with pytest.raises(LanguageError, match="which the base has already") as caught:
            install(target, [packed], tmp_path / "out")
        assert caught.value.exit_code == 4 and "--as" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hidden_act": "relu"}, "hidden_act is gelu, and not relu"),
        ({"adapter_reduction_factor": 4}, "adapter_reduction_factor is 2, and not 4"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 2, and not 3"),
        ({"hidden_size": 64}, "hidden_size is 32, and not 64"),
        ({"num_attention_heads": 2}, "num_attention_heads is 4, and not 2"),
        ({"layer_norm_eps": 1e-12}, "layer_norm_eps is 1e-05, and not 1e-12"),
        ({"ln_before_adapter": False}, "ln_before_adapter is true, and not false"),
    ],
)
def test_another_shape_is_refused_whatever_is_said(
    one: Path, tmp_path: Path, changes: dict[str, object], expected: str
) -> None:
    other = make_checkpoint(tmp_path / "other", **changes)  # type: ignore[arg-type]
    for force in (False, True):
        with pytest.raises(ModelError, match=expected) as caught:
            install(other, [one], tmp_path / "out", force=force)
        assert caught.value.exit_code == 4 and caught.value.hint
    assert not (tmp_path / "out").exists()


def test_another_type_is_refused(one: Path, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other", dtype=torch.bfloat16)
    with pytest.raises(ModelError, match=r"float32, and the adapters of .* are in bfloat16"):
        install(other, [one], tmp_path / "out", force=True)


@pytest.mark.slow
def test_other_shared_weights_are_refused_and_the_difference_is_named(
    base: Path, one: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    model = XmodForMaskedLM.from_pretrained(base)
    with torch.no_grad():
        model.lm_head.dense.bias[0] += 1
        model.roberta.encoder.layer[1].output.dense.bias[0] += 1
    model.save_pretrained(other)
    with pytest.raises(ModelError, match=r"other shared weights .* lm head, layer 1\.") as caught:
        install(other, [one], tmp_path / "out")
    assert caught.value.exit_code == 4
    assert "--force" in str(caught.value.hint)
    heard = Heard()
    result = install_packs(other, one, tmp_path / "out", force=True, callback=heard)
    assert result.installed[0].difference and "lm head, layer 1" in result.installed[0].difference
    assert any("transplanted" in warning for warning in heard.warnings)
    assert any(
        "was not scored" in warning and "xmod-extend compare" in warning
        for warning in heard.warnings
    )
    assert verify_checkpoint(tmp_path / "out", other).identical


@pytest.mark.slow
def test_force_replaces_no_folder_and_replace_accepts_no_weights(
    base: Path, one: Path, two: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    install(base, [one], output)
    before = bytes_of(output)
    with pytest.raises(UsageError, match="not empty") as caught:
        install(base, [two], output, force=True)
    assert "--replace" in str(caught.value.hint) and "--force" not in str(caught.value.hint)
    other = make_checkpoint(tmp_path / "other", seed=3)
    with pytest.raises(ModelError, match="other shared weights"):
        install(other, [two], output, replace=True)
    assert bytes_of(output) == before
    install(base, [two], output, replace=True)
    assert open_checkpoint(output).languages[-1] == "ay_BO"
    (output / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"--replace replaces nothing else"):
        install(base, [one], output, replace=True)


@pytest.mark.slow
def test_another_tokenizer_is_a_warning(base: Path, one: Path, tmp_path: Path) -> None:
    described = json.loads((one / "adapter_config.json").read_text())
    assert described["tokenizer_sha256"]
    heard = Heard()
    install_packs(base, one, tmp_path / "same", callback=heard)
    assert not heard.warnings
    described["tokenizer_sha256"] = "0" * 64
    (one / "adapter_config.json").write_text(json.dumps(described))
    install_packs(base, one, tmp_path / "out", callback=heard)
    (warning,) = heard.warnings
    assert "another tokenizer" in warning and "scores in its card do not hold" in warning


def test_a_default_language_is_set_when_asked_for(base: Path, one: Path, tmp_path: Path) -> None:
    heard = Heard()
    install_packs(base, one, tmp_path / "out", default_language="quz_PE", callback=heard)
    (note,) = (note for note in heard.notes if "default_language" in note)
    assert "were refused, and are read as quz_PE now" in note
    result = verify_checkpoint(tmp_path / "out", base)
    assert len(result.differences) == 1 and note in result.differences[0]
    with pytest.raises(LanguageError, match="--default-language is ay_BO"):
        install(base, [one], tmp_path / "other", default_language="ay_BO")


@pytest.mark.slow
def test_a_record_of_something_else_is_left_out(
    base: Path, one: Path, two: Path, tmp_path: Path
) -> None:
    own = json.loads((one / "run.json").read_text())
    own["evaluation"]["before"]["perplexity"] = "high"
    for text in ('{"a": 1}', (two / "run.json").read_text(), json.dumps(own)):
        (one / "run.json").write_text(text)
        heard = Heard()
        install_packs(base, one, tmp_path / "out", replace=True, callback=heard)
        assert any("is left out" in warning for warning in heard.warnings)
        assert not (tmp_path / "out/run.json").exists()


def test_nothing_to_install_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pack"):
        install(base, [], tmp_path / "out")
    with pytest.raises(ModelError, match="whole checkpoint"):
        install(base, [base], tmp_path / "out")
    with pytest.raises(ModelError, match="whole checkpoint"):
        install_packs(base, "tiny", tmp_path / "out", callback=Heard())


def test_the_output_touches_neither_the_base_nor_a_pack(
    base: Path, one: Path, tmp_path: Path
) -> None:
    for output in (base / "out", one, one / "out"):
        with pytest.raises(UsageError, match="only read"):
            install(base, [one], output, replace=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing(
    base: Path,
    one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise error

    before = sorted(entry.name for entry in tmp_path.iterdir())
    monkeypatch.setattr(installing, "verify_written", interrupt)
    with pytest.raises(error):
        install(base, [one], tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def test_a_file_that_was_copied_wrongly_is_found(
    base: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = installing.verify_written

    def damage(folder: Path, *arguments: object, **options: object) -> object:
        found = verify(folder, *arguments, **options)  # type: ignore[arg-type]
        shard = folder / "model-quz_PE.safetensors"
        raw = bytearray(shard.read_bytes())
        raw[-3] ^= 1
        shard.write_bytes(raw)
        return found

    monkeypatch.setattr(installing, "verify_written", damage)
    with pytest.raises(CheckFailedError, match="is not what"):
        install(base, [one], tmp_path / "out")
    assert not (tmp_path / "out").exists()
