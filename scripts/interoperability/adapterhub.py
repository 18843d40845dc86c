"""Proves that an X-MOD computes the same in AdapterHub's `adapters` and in plain transformers 4.

usage: python scripts/interoperability/adapterhub.py BASE EXTENDED [--envs DIR] [--work DIR]

BASE is an X-MOD and EXTENDED a checkpoint that a language was added to. Both are folders. EXTENDED
is converted, language by language and as a whole; adapters_side.py computes logits of what was
converted, and of EXTENDED itself, in an environment with adapters 1.3.0 and transformers 4.57.6.
What it saves there is converted back. All logits are compared with those of EXTENDED here. The
table has the largest difference of each way; the exit code is 1 if one is above 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import XmodForMaskedLM
from transformers.utils import logging

import xmod_extend

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from environments import CACHE, ensure_environment  # noqa: E402

ENVIRONMENT = "adapters-1.3.0"
TOLERANCE = 1e-5
NEW = "quy_PE"
"""The language that is made with the library."""

Logits = dict[str, np.ndarray]


def probe(config: dict[str, Any]) -> dict[str, Any]:
    """Three rows of token ids, one of which is padded."""
    length = min(20, config["max_position_embeddings"] - 2)
    random = np.random.default_rng(0)
    ids = random.integers(5, config["vocab_size"], size=(3, length))
    mask = np.ones_like(ids)
    mask[1, length // 2 :] = 0
    ids[1, length // 2 :] = 1
    return {"ids": ids.tolist(), "mask": mask.tolist()}


def logits_here(folder: Path, plan: dict[str, Any], languages: list[str]) -> Logits:
    """Logits of a standard checkpoint in the installed transformers."""
    model = XmodForMaskedLM.from_pretrained(folder).eval()
    ids, mask = torch.tensor(plan["ids"]), torch.tensor(plan["mask"])
    numbers = {code: model.config.languages.index(code) for code in languages}
    rows = len(ids)
    by_language = {code: torch.full((rows,), number) for code, number in numbers.items()}
    by_language["mixed"] = torch.arange(rows) % len(model.config.languages)
    with torch.no_grad():
        return {
            code: model(ids, attention_mask=mask, lang_ids=lang_ids).logits.float().numpy()
            for code, lang_ids in by_language.items()
        }


def prove(base: Path, extended: Path, work: Path, python: Path) -> dict[str, float]:
    """Returns the largest difference of logits on each way, over all languages.

    Args:
        work: An empty folder, for what is converted.
        python: The interpreter of the environment with `adapters`.
    """
    config = json.loads((extended / "config.json").read_text())
    languages = config["languages"]
    folders = {name: work / name for name in ("whole", "made", "saved")}
    plan = probe(config) | {name: str(folder) for name, folder in folders.items()}
    plan |= {
        "base": str(base),
        "extended": str(extended),
        "languages": languages,
        "new": NEW,
        "scale": 0.1 if config["hidden_size"] < 100 else 0.02,
        "logits": str(work / "logits.npz"),
        "adapters": {code: str(work / "one" / code) for code in (languages[0], languages[-1])},
    }
    for code, folder in plan["adapters"].items():
        xmod_extend.convert_checkpoint(extended, to="adapterhub", lang=code, output=folder)
    xmod_extend.convert_checkpoint(extended, to="adapterhub", output=folders["whole"])
    (work / "plan.json").write_text(json.dumps(plan))
    run(python, work / "plan.json")

    expected = logits_here(extended, plan, languages)
    found: dict[str, float] = {}
    with np.load(plan["logits"]) as there:
        for name in there.files:
            way, language = name.split("/")
            if way != "made there":
                note(found, way, there[name], expected[language])
        made = there[f"made there/{NEW}"]
    for kind in ("bin", "safetensors"):
        pack, installed = work / f"pack-{kind}", work / f"installed-{kind}"
        xmod_extend.convert_checkpoint(
            folders["made"] / kind, from_="adapterhub", base=extended, output=pack
        )
        xmod_extend.install_packs(extended, [pack], output=installed, progress=False)
        here = logits_here(installed, plan, [NEW])[NEW]
        note(found, f"made there, {kind}, as a pack installed here", made, here)
    back = work / "back"
    xmod_extend.convert_checkpoint(folders["saved"], from_="adapterhub", output=back)
    for code, logits in logits_here(back, plan, languages).items():
        note(found, "saved there as a whole, converted back", logits, expected[code])
    return found


def note(found: dict[str, float], way: str, one: np.ndarray, other: np.ndarray) -> None:
    found[way] = max(found.get(way, 0.0), float(np.abs(one - other).max()))


def run(python: Path, plan: Path) -> None:
    # What this environment adds to the path is not for the other one.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, Path(__file__).with_name("adapters_side.py"), plan],
        capture_output=True,
        text=True,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stdout.strip().splitlines()[-1], file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("extended", type=Path)
    parser.add_argument("--envs", type=Path, default=CACHE, help=f"default: {CACHE}")
    parser.add_argument(
        "--work", type=Path, help="where converted folders go; default: a temporary"
    )
    given = parser.parse_args()
    logging.set_verbosity_error()
    python = ensure_environment(ENVIRONMENT, given.envs)
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        found = prove(given.base, given.extended, Path(work), python)
    for way, difference in found.items():
        print(f"{difference:9.2e}  {way}")
    if max(found.values()) > TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
