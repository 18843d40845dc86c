"""Writes a random X-MOD of a released model's exact shape, to measure memory, time and size with.

usage: python scripts/make_random_base.py DIR [--shape xmod-base|xmod-large-prenorm|tiny-for-tests]
           [--languages N] [--dtype F32|BF16]

The weights are noise; the names, shapes, config and languages are those of the release. The
tokenizer is the bundled base's, with pieces that no text has added until it is as large as the
release's. Tensors are written one at a time: this needs little memory.

Source of the shapes: Pfeiffer et al. 2022 (arXiv 2205.06266), section 3, and the released configs.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import make_xmod_config
from xmod_extend.model.safetensors_files import write_safetensors
from xmod_extend.model.tensors import (
    TensorInfo,
)
from xmod_extend.model.validation import expected_shapes
from xmod_extend.tokens.tokenizer import find_tokenizer_files

LANGUAGES = (
    "en_XX id_ID vi_VN ru_RU fa_IR sv_SE ja_XX fr_XX de_DE ro_RO ko_KR hu_HU es_XX fi_FI uk_UA "
    "da_DK pt_XX no_XX th_TH pl_PL bg_BG nl_XX zh_CN he_IL el_GR it_IT sk_SK hr_HR tr_TR ar_AR "
    "cs_CZ lt_LT hi_IN zh_TW ca_ES ms_MY sl_SI lv_LV ta_IN bn_IN et_EE az_AZ sq_AL sr_RS kk_KZ "
    "ka_GE tl_XX ur_PK is_IS hy_AM ml_IN mk_MK be_BY la_VA te_IN eu_ES gl_ES mn_MN kn_IN ne_NP "
    "sw_KE si_LK mr_IN af_ZA gu_IN cy_GB eo_EO km_KH ky_KG uz_UZ ps_AF pa_IN ga_IE ha_NG am_ET "
    "lo_LA ku_TR so_SO my_MM or_IN sa_IN"
).split()

COMMON = {
    "architectures": ["XmodForMaskedLM"],
    "model_type": "xmod",
    "vocab_size": 250_002,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "default_language": None,
}
SHAPES: dict[str, dict[str, Any]] = {
    "xmod-base": {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "pre_norm": False,
        "adapter_reduction_factor": 2,
        "adapter_layer_norm": False,
        "adapter_reuse_layer_norm": True,
        "ln_before_adapter": True,
    },
    "xmod-large-prenorm": {
        "num_hidden_layers": 24,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "pre_norm": True,
        "adapter_reduction_factor": 4,
        "adapter_layer_norm": True,
        "adapter_reuse_layer_norm": False,
        "ln_before_adapter": False,
    },
    "tiny-for-tests": {
        "vocab_size": 503,
        "max_position_embeddings": 66,
        "num_hidden_layers": 3,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "pre_norm": False,
        "adapter_reduction_factor": 2,
        "adapter_layer_norm": False,
        "adapter_reuse_layer_norm": True,
        "ln_before_adapter": True,
    },
}
PIECE = 1 << 20


def noise(count: int, dtype: str, seed: int) -> Iterator[bytes]:
    """`count` values of N(0, 0.02) as bytes, a million at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, count, PIECE):
        values = random.standard_normal(min(PIECE, count - start), dtype=np.float32) * 0.02
        if dtype == "BF16":
            # The upper half of a float32 is the bfloat16 that it truncates to.
            yield (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            yield values.tobytes()


def write_random_base(folder: Path, *, shape: str, num_languages: int, dtype: str) -> None:
    folder.mkdir(parents=True)
    config = COMMON | SHAPES[shape] | {"languages": LANGUAGES[:num_languages]}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    entries = []
    for seed, (name, sizes) in enumerate(expected_shapes(make_xmod_config(config)).items()):
        count = int(np.prod(sizes))
        info = TensorInfo(dtype, sizes)
        entries.append((name, info, noise(count, dtype, seed)))
    write_safetensors(folder / "model.safetensors", entries)
    for file in find_tokenizer_files(resolve_base("tiny").fetch()):
        shutil.copy(file, folder)
    enlarge_tokenizer(folder / "tokenizer.json", config["vocab_size"])


def enlarge_tokenizer(path: Path, size: int) -> None:
    """Adds pieces that begin with a character that no text has."""
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary: list[list[str | float]] = tokenizer["model"]["vocab"]
    random = np.random.default_rng(0)
    while len(vocabulary) < size:
        letters = random.integers(ord("a"), ord("z") + 1, size=random.integers(2, 8))
        # Behind the letters, so that no two are the same, its number in private-use characters.
        number = chr(0xE100 + len(vocabulary) // 1000) + chr(0xE100 + len(vocabulary) % 1000)
        vocabulary.append(["\ue000" + "".join(map(chr, letters)) + number, -20.0])
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="xmod-base")
    parser.add_argument("--languages", type=int, default=len(LANGUAGES))
    parser.add_argument("--dtype", choices=("F32", "BF16"), default="F32")
    given = parser.parse_args()
    write_random_base(
        given.folder, shape=given.shape, num_languages=given.languages, dtype=given.dtype
    )


if __name__ == "__main__":
    main()
