"""Measures from which share of unreadable characters on a score says nothing of the language.

usage: python scripts/benchmarks/unknown_letters.py --base DIR --text TRAINING HELD_OUT
           [--steps N] [--foreign START] LETTERS [LETTERS ...]

Each LETTERS is a set of letters, such as `qk` or `-` for none. Both sides of the text are written
with them replaced, one by one, by letters from code point START on (Armenian by default), which the
base's vocabulary must lack. An adapter is trained on each text and scored as `add` would; beside
that stand figures that missing letters cannot flatter:

- nats a character of the *whole* text: what the known characters cost, and ln(kinds) for each
  unknown one, where `kinds` is how many different characters are unknown;
- the perplexity of the tokens of words without an unknown character;
- the perplexity of the *readable* text, without any letter replaced, under the adapter that was
  trained on the unreadable one: what it learnt of the language.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import MaskedText, masked_losses
from xmod_extend.evaluation.unigram import unigram_losses
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.job import Job, prepare
from xmod_extend.jobs.options import merge_options
from xmod_extend.jobs.scoring import rank_existing, score_existing
from xmod_extend.jobs.training import train_adapter
from xmod_extend.model.adapter import set_adapter
from xmod_extend.objectives.prediction import IGNORED
from xmod_extend.text.lines import LinesInMemory
from xmod_extend.text.report import Coverage
from xmod_extend.tokens.tokenizer import load_tokenizer
from xmod_extend.tokens.vocabulary import Tally, find_unknown

COLUMNS = (
    "letters", "unknown tokens", "unknown characters", "words hit",
    "existing", "frequencies", "added",
    "nats a character: existing", "frequencies", "added",
    "readable words: frequencies", "added", "readable text: added",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", required=True)
    parser.add_argument("--text", required=True, nargs=2, metavar=("TRAINING", "HELD_OUT"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--foreign", type=lambda text: int(text, 0), default=0x561)
    parser.add_argument("letters", nargs="+", metavar="LETTERS")
    given = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |")
    print("| --- |" + " ---: |" * (len(COLUMNS) - 1))
    with tempfile.TemporaryDirectory() as folder:
        readable: MaskedText | None = None
        for letters in ["-", *(each for each in given.letters if each != "-")]:
            paths = [
                _replaced(Path(path), letters, given.foreign, Path(folder) / f"{number}.txt")
                for number, path in enumerate(given.text)
            ]
            job = _prepare(given, paths, Path(folder))
            readable = readable or job.text.held_out
            row = _measure(job, readable, paths[1].read_text(encoding="utf-8"))
            print(f"| {letters} | {' | '.join(row)} |", flush=True)


def _replaced(source: Path, letters: str, foreign: int, target: Path) -> Path:
    table: dict[int, int] = {}
    for number, letter in enumerate(sorted(set(letters) - {"-"})):
        # Armenian capitals stand 48 places before the small letters.
        table[ord(letter)] = foreign + number
        table[ord(letter.upper())] = foreign + number - 48
    target.write_text(source.read_text(encoding="utf-8").translate(table), encoding="utf-8")
    return target


def _prepare(given: argparse.Namespace, paths: list[Path], folder: Path) -> Job:
    options = {
        "base": given.base,
        "lang": "quz_PE",
        "corpus": str(paths[0]),
        "held_out": str(paths[1]),
        "output": str(folder / "unused"),
        "max_steps": given.steps,
        "force": True,
    }
    return prepare(merge_options(None, options), Callback())


def _measure(job: Job, readable: MaskedText, held_out: str) -> list[str]:
    probe = score_existing(job, rank_existing(job))
    trained = train_adapter(job, probe)
    set_adapter(job.model, trained.result.adapter)
    after = masked_losses(job.model, job.text.held_out)
    of_readable = masked_losses(job.model, readable)
    tokenizer = load_tokenizer(job.checkpoint.path, vocab_size=job.checkpoint.config["vocab_size"])
    counts = job.text.train.token_counts(len(job.text.token_bytes))
    unigram = unigram_losses(after, counts, special_ids=tokenizer.special_ids)
    lines = LinesInMemory(tuple(held_out.split("\n")), fingerprint="")
    coverage = find_unknown(Tally.of(lines), tokenizer.encoder())
    sides = (probe.best_losses, unigram, after)
    pieces = {index: piece for piece, index in tokenizer.tokenizer.get_vocab().items()}
    whole = _words_without_unknown(job.text.held_out, pieces, tokenizer.encoder().unk_id)
    return [
        f"{_unknown_tokens(job.text.held_out, tokenizer.encoder().unk_id):.1%}",
        f"{coverage.unknown_characters:.1%}",
        f"{coverage.words_hit:.1%}",
        *(f"{math.exp(side.mean_nats):.1f}" for side in sides),
        *(f"{_nats_a_character(side, pieces, coverage):.2f}" for side in sides),
        *(f"{math.exp(float(side.nats[whole].mean())):.1f}" for side in sides[1:]),
        f"{math.exp(of_readable.mean_nats):.1f}",
    ]


def _nats_a_character(losses: TokenLosses, pieces: dict[int, str], coverage: Coverage) -> float:
    letters = sum(len(pieces[target].replace("▁", "")) for target in losses.targets.tolist())
    known = float(losses.nats.sum()) / letters
    kinds = math.log(max(1, coverage.num_missing))
    unknown = coverage.unknown_characters
    return (1 - unknown) * known + unknown * kinds


def _unknown_tokens(text: MaskedText, unk_id: Any) -> float:
    unknown = sum(int((block.input_ids == unk_id).sum()) for block in text.blocks)
    return unknown / text.num_tokens


def _words_without_unknown(text: MaskedText, pieces: dict[int, str], unk_id: Any) -> Any:
    """Which of the scored tokens are of a word that has no unknown token."""
    opens = np.array([pieces[i].startswith("▁") for i in range(len(pieces))])
    flags = []
    for inputs, labels, _ in text.batches():
        for row, label in zip(inputs, labels, strict=True):
            ids = np.where(label != IGNORED, label, row)
            word = np.cumsum(opens[ids])
            hit = np.bincount(word, weights=ids == unk_id) > 0
            flags.append(~hit[word][label != IGNORED])
    return np.concatenate(flags)


if __name__ == "__main__":
    main()
