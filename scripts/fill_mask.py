"""Shows the best guesses for a hidden word: the base's best adapter beside the added one.

usage: python scripts/fill_mask.py CHECKPOINT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForMaskedLM, AutoTokenizer, logging

TEXTS = (
    "Mamayqa wasipi <mask> wayk'ushan.",
    "Wawakunaqa yachay <mask> rinku.",
    "Taytayqa chakrapi <mask> tarpushan.",
    "Llamakunaqa <mask> mikhushanku.",
)
"""Quechua: "my mother is cooking ... at home", "the children go to ...school", "my father is sowing
... in the field", "the llamas are eating ..."."""


def main(folder: Path) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    languages = [record["evaluation"]["best_existing"], record["language"]]
    table = Table("text", *languages, box=None, pad_edge=False)
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt")
        hidden = (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
        guesses = []
        for language in languages:
            lang_ids = torch.tensor([model.config.languages.index(language)])
            with torch.no_grad():
                logits = model(
                    input_ids=encoded["input_ids"],
                    attention_mask=encoded["attention_mask"],
                    lang_ids=lang_ids,
                ).logits[0, hidden]
            best = tokenizer.convert_ids_to_tokens(logits.topk(4).indices.tolist())
            guesses.append(" ".join(best))
        table.add_row(text, *guesses)
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
