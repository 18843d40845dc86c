"""Shows what an added Quechua adapter learnt: it prefers suffixes in their right order.

usage: python scripts/minimal_pairs.py CHECKPOINT

Each pair has one sentence as it is said and one with two suffixes exchanged. A sentence's score is
its pseudo-log-likelihood: the log-probability of each token when it alone is hidden, summed.

Source: Salazar et al. 2020 (arXiv 1910.14659), section 2, for the score; Warstadt et al. 2020
(arXiv 1912.00582) for the pairs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    XmodForMaskedLM,
    logging,
)

PAIRS = (
    ("Llamakunata michini.", "Llamatakuna michini.", "plural -kuna before case -ta"),
    ("Wawakunaqa pukllashanku.", "Wawaqakuna pukllashanku.", "plural -kuna before topic -qa"),
    ("Mamayqa wasipi tiyan.", "Mamaqay wasipi tiyan.", "possessive -y before topic -qa"),
    ("Taytay papata tarpushan.", "Taytay papata tarpunsha.", "progressive -sha before person -n"),
    ("Paykuna llank'arqanku.", "Paykuna llank'ankurqa.", "past -rqa before person -nku"),
    ("Wasiykipi mikhuni.", "Wasipiyki mikhuni.", "possessive -yki before case -pi"),
)


@torch.no_grad()
def pseudo_log_likelihood(
    model: XmodForMaskedLM, tokenizer: PreTrainedTokenizerBase, text: str, language: str
) -> float:
    """In nats; each of the sentence's T tokens is hidden in one of T copies."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"][0]
    positions = torch.arange(1, len(ids) - 1)
    copies = ids.repeat(len(positions), 1)
    copies[torch.arange(len(positions)), positions] = tokenizer.mask_token_id
    lang_ids = torch.full((len(positions),), model.config.languages.index(language))
    logits = model(copies, lang_ids=lang_ids, attention_mask=torch.ones_like(copies)).logits
    chosen = logits[torch.arange(len(positions)), positions].log_softmax(-1)
    return float(chosen.gather(1, ids[positions][:, None]).sum())


def main(folder: Path) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    languages = [record["evaluation"]["best_existing"], record["language"]]
    table = Table("right", "wrong", "rule", *languages, box=None, pad_edge=False)
    for right, wrong, rule in PAIRS:
        preferences = []
        for language in languages:
            gain = pseudo_log_likelihood(model, tokenizer, right, language) - pseudo_log_likelihood(
                model, tokenizer, wrong, language
            )
            preferences.append(f"{'right' if gain > 0 else 'wrong'} by {abs(gain):.1f} nats")
        table.add_row(right, wrong, rule, *preferences)
    Console(width=max(130, Console().width)).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
