"""Files, bases and settings that are wrong, each in its own way, made once for all tests."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file


def write_texts(folder: Path, sentences: list[str]) -> None:
    """Corpora of every wrong kind."""
    text = "\n".join(sentences)
    noise = random.Random(0).randbytes(5000)
    files: dict[str, str | bytes] = {
        "png.txt": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + noise,
        "elf.txt": b"\x7fELF\x02\x01\x01" + bytes(9) + noise,
        "noise.txt": noise,
        "gzip.txt": gzip.compress(text.encode()),
        "utf16.txt": text.encode("utf-16"),
        "utf16le.txt": text.encode("utf-16-le"),
        "latin1.txt": f"{text}\nñandú\n".encode("latin-1"),
        "one.txt": sentences[0],
        "few.txt": "\n".join(sentences[:30]),
        "two.txt": "\n".join(sentences[:2]),
        "empty.txt": b"",
        "blank.txt": "\n  \n\t\n" * 100,
        "same.txt": f"{sentences[0]}\n" * 20_000,
        "nuls.txt": "\0".join(text),
        "solid.txt": "kañu" * 100_000,
        "cut.txt.gz": gzip.compress(text.encode())[:2000],
        "plain.txt.gz": text,
        "empty.txt.gz": b"",
        "other.jsonl": _json_lines({"txt": each} for each in sentences),
        "number.jsonl": _json_lines({"text": each} for each in range(100)),
        "scalar.jsonl": "1\n2\n",
        "broken.jsonl": _json_lines({"text": each} for each in sentences[:50]) + "{'text': bad}\n",
        "array.jsonl": json.dumps([{"text": each} for each in sentences]),
        "indented.jsonl": json.dumps([{"text": each} for each in sentences], indent=1),
        "text.parquet": text,
        "empty.parquet": b"",
        "table.csv": "a,b\n1,2\n",
        "pdfs/one.pdf": b"%PDF-1.4",
        "with_bom.txt": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    pq.write_table(pa.table({"sentence": sentences}), folder / "no_column.parquet")
    pq.write_table(pa.table({"text": list(range(100))}), folder / "numbers.parquet")
    whole = (folder / "no_column.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "no_files").mkdir()


def _json_lines(records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


class Runs:
    """What a pickle could run, if it were opened carelessly."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def write_bases(folder: Path, base: Path) -> None:
    """Copies of a base, each damaged in one way."""
    weights = (base / "model.safetensors").read_bytes()
    tensors = load_file(base / "model.safetensors")
    config = json.loads((base / "config.json").read_text())

    def copy(name: str, **files: bytes | None) -> Path:
        target = folder / name
        shutil.copytree(base, target)
        for file, content in files.items():
            path = target / file.replace("__", ".")
            path.unlink() if content is None else path.write_bytes(content)
        return target

    def save(name: str, changed: dict[str, torch.Tensor]) -> None:
        save_file(changed, copy(name) / "model.safetensors", metadata={"format": "pt"})

    copy("truncated", model__safetensors=weights[: len(weights) // 2])
    copy("bad_header", model__safetensors=b"\xff" * 8 + weights[8:])
    copy("no_bytes", model__safetensors=b"")
    copy("lfs", model__safetensors=b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    copy("no_weights", model__safetensors=None)
    copy("no_config", config__json=None)
    copy("cut_config", config__json=b'{"model_type": ')
    copy("list_config", config__json=b"[]")
    copy("binary_config", config__json=b"\xff\xfe\x00")
    copy("no_tokenizer", tokenizer__json=None, tokenizer_config__json=None)
    copy("cut_tokenizer", tokenizer__json=b'{"a')
    copy("empty_tokenizer", tokenizer__json=b"{}")
    for name, change in CONFIGS.items():
        copy(name, config__json=json.dumps(config | change).encode())
    for key in ("vocab_size", "max_position_embeddings", "hidden_size", "languages"):
        rest = {name: value for name, value in config.items() if name != key}
        copy(f"no_{key}", config__json=json.dumps(rest).encode())
    save("no_head", {k: v for k, v in tensors.items() if not k.startswith("lm_head")})
    nan = {k: v.clone() for k, v in tensors.items()}
    nan["roberta.encoder.layer.0.output.dense.weight"][:] = float("nan")
    save("nan", nan)
    _write_half_of_two_shards(copy("half", model__safetensors=None), tensors)
    runs = Runs(folder / "pickle-was-run")
    torch.save({**tensors, "x": runs}, copy("code", model__safetensors=None) / "pytorch_model.bin")
    copy("old_code", model__safetensors=None, pytorch_model__bin=pickle.dumps(runs))
    copy("noise", model__safetensors=None, pytorch_model__bin=random.Random(0).randbytes(3000))


def _write_half_of_two_shards(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    names = list(tensors)
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    save_file(
        {name: tensors[name] for name in names[:10]}, folder / first, metadata={"format": "pt"}
    )
    where = dict.fromkeys(names[:10], first) | dict.fromkeys(names[10:], second)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert"},
    "no_type": {"model_type": None},
    "vocabulary": {"vocab_size": 50},
    "negative": {"vocab_size": -1},
    "null": {"vocab_size": None},
    "width": {"hidden_size": 64},
    "words_for_width": {"hidden_size": "big"},
    "deeper": {"num_hidden_layers": 5},
    "shallower": {"num_hidden_layers": 1},
    "heads": {"num_attention_heads": 7},
    "activation": {"hidden_act": "nope"},
    "bottleneck": {"adapter_reduction_factor": 7},
    "no_bottleneck": {"adapter_reduction_factor": 0},
    "positions": {"max_position_embeddings": 9},
    "more_languages": {"languages": ["en_XX", "de_DE", "sw_KE", "fr_XX"]},
    "fewer_languages": {"languages": ["en_XX"]},
    "no_language": {"languages": []},
    "one_word": {"languages": "en_XX"},
    "flash": {"attn_implementation": "flash_attention_2"},
    "quantised": {"quantization_config": {"load_in_8bit": True}},
    "no_padding": {"pad_token_id": None},
    "other_padding": {"pad_token_id": 5},
    "twice": {"languages": ["en_XX", "de_DE", "de_DE"]},
}
"""What config.json says, against the same weights."""

YAMLS = {
    "list.yaml": "- lang\n",
    "broken.yaml": "lr: [\n",
    "unknown.yaml": "batchsize: 3\n",
    "nested.yaml": "lang: quz_PE\ncorpus: x.txt\nhyperparameters:\n  lr: 1e-3\n",
    "no_word.yaml": "lang: no\ncorpus: x.txt\n",
    "list_lang.yaml": "lang: [quz_PE]\ncorpus: x.txt\n",
    "mapping_corpus.yaml": "lang: quz_PE\ncorpus: {a: b}\n",
    "lists_corpus.yaml": "lang: quz_PE\ncorpus: [[1, 2], {a: 3}]\n",
    "number_as_word.yaml": 'lang: quz_PE\ncorpus: x.txt\nbatch_size: "8"\n',
    "bool_as_word.yaml": 'lang: quz_PE\ncorpus: x.txt\nforce: "yes"\n',
    "nan.yaml": "lang: quz_PE\ncorpus: x.txt\nlr: .nan\n",
    "empty.yaml": "",
    "comment.yaml": "# nothing yet\n",
}
