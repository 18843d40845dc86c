"""fairseq's file of an X-MOD is the same model, and anything else in its place is refused."""

from __future__ import annotations

import os
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_model
from fairseq_files import fairseq_options, fairseq_tensors, without_token_types, write_fairseq
from transformers import XmodForMaskedLM

import xmod_extend
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.model.fairseq import TOKEN_TYPES, open_fairseq
from xmod_extend.model.tensors import tensor_of

LANGUAGES = ("sw_KE", "en_XX", "de_DE")
"""In no order of their own: the ids follow the options."""


def released(**changes: Any) -> XmodForMaskedLM:
    return without_token_types(make_model(languages=LANGUAGES, **changes))


def logits(model: XmodForMaskedLM) -> torch.Tensor:
    ids = torch.randint(5, 120, (4, 14), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    ids[1, 9:], mask[1, 9:] = 1, 0
    with torch.no_grad():
        found: torch.Tensor = model(
            ids, attention_mask=mask, lang_ids=torch.tensor([0, 1, 2, 1])
        ).logits
    return found


@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("where", ["cfg", "cfg-as-dict", "args"])
def test_the_logits_are_those_of_the_model_that_it_is_of(
    pre_norm: bool, where: str, tmp_path: Path
) -> None:
    model = released(pre_norm=pre_norm)
    options = fairseq_options(model)
    parts: dict[str, Any] = {
        "cfg": {},
        "cfg-as-dict": {"cfg": {"model": vars(options)}},
        "args": {"cfg": None, "args": options},
    }[where]
    file = write_fairseq(tmp_path / "model.pt", model, **parts)
    output = tmp_path / "out"
    done = xmod_extend.convert_checkpoint(file, from_="fairseq", output=output)
    assert done.form == "checkpoint" and done.languages == LANGUAGES
    assert sorted(entry.name for entry in output.iterdir()) == [
        ".xmod-extend.json",
        "config.json",
        "model.safetensors",
    ]
    converted = XmodForMaskedLM.from_pretrained(output).eval()
    assert torch.equal(logits(converted), logits(model))
    meant = model.config.to_dict()
    for field, value in converted.config.to_dict().items():
        if field not in ("_name_or_path", "architectures", "dtype", "transformers_version"):
            assert value == meant[field], field


@pytest.mark.slow
def test_a_language_can_be_added_to_it(tmp_path: Path, base: Path, corpus: Path) -> None:
    model = released()
    file = write_fairseq(tmp_path / "model.pt", model)
    xmod_extend.convert_checkpoint(
        file, from_="fairseq", tokenizer=base, output=tmp_path / "converted"
    )
    record = xmod_extend.add_language(
        lang="quz_PE",
        corpus=corpus,
        base=tmp_path / "converted",
        output=tmp_path / "extended",
        max_steps=1,
        batch_size=2,
    )
    assert record.base.languages == LANGUAGES


def test_the_tokenizer_beside_it_comes_along(tmp_path: Path) -> None:
    file = write_fairseq(tmp_path / "model.pt", released())
    without = xmod_extend.convert_checkpoint(file, from_="fairseq", output=tmp_path / "without")
    assert any("no tokenizer" in note for note in without.notes)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"pieces")
    given = xmod_extend.convert_checkpoint(file, from_="fairseq", output=tmp_path / "out")
    assert not given.notes
    assert (tmp_path / "out" / "sentencepiece.bpe.model").read_bytes() == b"pieces"
    with pytest.raises(UsageError, match="no folder with a tokenizer"):
        xmod_extend.convert_checkpoint(
            file, from_="fairseq", tokenizer=tmp_path / "none", output=tmp_path / "other"
        )


def test_older_names_and_half_precision_are_read(tmp_path: Path) -> None:
    model = released(dtype=torch.float16)
    tensors = {
        name.replace("layernorm_embedding", "emb_layer_norm").replace("encoder.", "decoder.", 1): (
            tensor
        )
        for name, tensor in fairseq_tensors(model).items()
    }
    # Buffers are dropped under the names that they always had.
    tensors = {name: tensor for name, tensor in tensors.items() if "version" not in name}
    read = open_fairseq(write_fairseq(tmp_path / "model.pt", model, model=tensors))
    stored = {name: tensor for name, tensor in model.state_dict().items() if "decoder" not in name}
    assert set(read.tensors) == set(stored)
    for name, source in read.tensors.items():
        assert torch.equal(tensor_of(source), stored[name]), name


def test_the_heads_of_tasks_are_left_out_and_said(tmp_path: Path) -> None:
    model = released()
    tensors = fairseq_tensors(model) | {"classification_heads.mnli.dense.weight": torch.zeros(2, 2)}
    read = open_fairseq(write_fairseq(tmp_path / "model.pt", model, model=tensors))
    assert read.notes == ("the heads of tasks were left out: they are no part of an X-MOD.",)
    assert not bool(tensor_of(read.tensors[TOKEN_TYPES]).any())


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


class Unknown:
    """A class of a library, as fairseq's own or omegaconf's."""


def refused(file: Path, output: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        xmod_extend.convert_checkpoint(file, from_="fairseq", output=output)
    assert not output.exists()
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("place", ["cfg", "args", "model", "extra_state"])
def test_a_pickle_that_holds_code_is_refused_and_runs_none_of_it(
    place: str, tmp_path: Path
) -> None:
    proof = tmp_path / "was-run"
    for number, harm in enumerate((Harmful(proof), Namespace(lr=Harmful(proof)), Unknown())):
        file = write_fairseq(tmp_path / f"{number}.pt", released(), **{place: {"a": harm}})
        error = refused(file, tmp_path / "out")
        assert "holds code" in error.message
        assert not proof.exists()
    assert "test_fairseq.Unknown" in error.message


def test_a_plain_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    proof, file = tmp_path / "was-run", tmp_path / "model.pt"
    file.write_bytes(pickle.dumps({"model": Harmful(proof), "cfg": {}}))
    refused(file, tmp_path / "out")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation_fn": "relu"}, "activation_fn"),
        ({"encoder_attention_heads": "4"}, "encoder_attention_heads"),
        ({"encoder_attention_heads": 10**12}, "encoder_attention_heads"),
        ({"encoder_layers": 3}, "num_hidden_layers"),
        ({"ln_before_adapter": None}, "ln_before_adapter"),
        ({"languages": ["sw_KE", "en_XX"]}, "de_DE"),
        ({"languages": [*LANGUAGES, "en_XX"]}, "listed twice"),
        ({"languages": "sw_KE"}, "languages"),
        ({"no_scale_embedding": False}, "no_scale_embedding"),
        ({"bottleneck": 4}, "adapter_reduction_factor"),
        ({"adapter_layer_norm": True}, "adapter_layer_norm"),
    ],
)
def test_options_that_contradict_the_weights_are_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    model = released()
    options = fairseq_options(model, **changes)
    file = write_fairseq(tmp_path / "model.pt", model, cfg={"model": options})
    assert said in refused(file, tmp_path / "out").message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": None}, "no part `model`"),
        ({"model": [1, 2]}, "dictionary of tensors"),
        ({"cfg": None}, "neither `cfg` nor `args`"),
        ({"cfg": {"model": []}}, "neither `cfg` nor `args`"),
        ({"model": {"encoder.other": torch.zeros(2)}}, "no X-MOD has"),
        ({"model": {}}, "no word embeddings"),
    ],
)
def test_what_is_no_such_file_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = write_fairseq(tmp_path / "model.pt", released(), **change)
    assert said in refused(file, tmp_path / "out").message


def test_a_head_of_its_own_is_refused(tmp_path: Path) -> None:
    model = released()
    tensors = fairseq_tensors(model)
    tensors["encoder.lm_head.weight"] = tensors["encoder.lm_head.weight"] + 1
    file = write_fairseq(tmp_path / "model.pt", model, model=tensors)
    assert "does not share the word embeddings" in refused(file, tmp_path / "out").message


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = write_fairseq(tmp_path / "model.pt", released())
    file.write_bytes(file.read_bytes()[:-5000])
    assert "damaged" in refused(file, tmp_path / "out").message
    assert "is not a file" in refused(tmp_path / "none.pt", tmp_path / "out").message


def test_a_link_beside_it_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "id_rsa").write_text("secret")
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "sentencepiece.bpe.model").symlink_to(tmp_path / "id_rsa")
    (folder / "model.pt").write_bytes(b"")
    assert "is a link out of its folder" in refused(folder / "model.pt", tmp_path / "out").message
