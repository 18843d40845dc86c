"""Writes the sample corpora: `python scripts/make_corpora.py`.

Each corpus holds sentences written by hand and sentences drawn from a small grammar of the
language, in an order drawn from the seed. The same seed gives the same bytes on every machine.
"""

import argparse
import unicodedata
from pathlib import Path

from corpora_grammar import english, german, quechua, spanish
from corpora_grammar.sampling import Dice

GRAMMARS = {"en_XX": english, "es_XX": spanish, "de_DE": german, "quz_PE": quechua}
SEED = 2022
NUM_SENTENCES = 8000

WRITTEN = Path(__file__).parent / "corpora_grammar" / "written"
CORPORA = Path(__file__).parent.parent / "corpora"


def build_corpus(
    language: str, *, seed: int = SEED, num_sentences: int = NUM_SENTENCES
) -> list[str]:
    """Builds one language's corpus: distinct sentences in NFC, written ones among drawn ones."""
    grammar = GRAMMARS[language]
    # The language's place gives each its own stream: adding one leaves the others as they are.
    dice = Dice(seed + list(GRAMMARS).index(language))
    written = (WRITTEN / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    # A dict keeps the order of insertion, which a set would not.
    sentences = dict.fromkeys(unicodedata.normalize("NFC", line) for line in written)
    while len(sentences) < num_sentences:
        sentences[unicodedata.normalize("NFC", grammar.sentence(dice))] = None
    corpus = list(sentences)
    dice.shuffle(corpus)
    return corpus


def write_corpora(directory: Path, *, seed: int = SEED) -> None:
    """Writes every language's corpus as UTF-8, one sentence per line."""
    directory.mkdir(parents=True, exist_ok=True)
    for language in GRAMMARS:
        text = "\n".join(build_corpus(language, seed=seed)) + "\n"
        (directory / f"{language}.txt").write_bytes(text.encode("utf-8"))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=CORPORA, help="directory to write to")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, other sentences")
    arguments = parser.parse_args()
    write_corpora(arguments.output, seed=arguments.seed)


if __name__ == "__main__":
    main()
