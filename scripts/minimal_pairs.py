"""Shows what an added Quechua adapter learnt: it prefers suffixes in their right order.

usage: python scripts/minimal_pairs.py CHECKPOINT

Each pair has one sentence as it is said and one with two suffixes exchanged. It is scored as
`xmod-extend compare CHECKPOINT:OLD CHECKPOINT:NEW --metric minimal_pairs` does.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import xmod_extend

PAIRS = Path(__file__).parent.parent / "corpora" / "pairs" / "quz_PE.tsv"


def main(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    languages = record["evaluation"]["best_existing"], record["language"]
    before, after = (xmod_extend.State(folder, language) for language in languages)
    compared = xmod_extend.compare(before, after, PAIRS, metric="minimal_pairs", progress=False)
    with PAIRS.open(encoding="utf-8", newline="") as file:
        rules = [row["rule"] for row in csv.DictReader(file, delimiter="\t")]
    table = Table("right", "wrong", "rule", *languages, box=None, pad_edge=False)
    for rule, row in zip(rules, compared.rows(), strict=True):
        margins = row["before_margin_nats"], row["after_margin_nats"]
        preferences = [
            f"{'right' if margin > 0 else 'wrong'} by {abs(margin):.1f} nats" for margin in margins
        ]
        table.add_row(row["right"], row["wrong"], rule, *preferences)
    console = Console(width=max(130, Console().width))
    console.print(table)
    console.print(compared.verdict)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
