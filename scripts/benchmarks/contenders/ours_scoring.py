"""Scores sentences with xmod-extend; or only runs upstream's encoder over as many rows.

`forward` is the encoder of transformers, with one language, on batches of the very rows that `pll`
scores, in the same order and of the same size: no head, nothing hidden, nothing scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import torch
from scoring_harness import parse_arguments, report
from transformers import XmodForMaskedLM

from xmod_extend.evaluation.losses import batch_tokens
from xmod_extend.evaluation.pseudo_perplexity import (
    METRICS,
    Hidden,
    PseudoText,
    SpecialIds,
    num_copies,
    pseudo_losses,
)
from xmod_extend.evaluation.words import WordFinder
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.slice import load_slice
from xmod_extend.text.lines import LinesInMemory
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer
from xmod_extend.training.device import choose_precision

HIDDEN: dict[str, Hidden] = {name: hidden for hidden, name in METRICS.items()}


def main() -> None:
    given, sentences = parse_arguments()
    with own_global_state():
        measure(given, sentences)


def measure(given: argparse.Namespace, sentences: Sequence[str]) -> None:
    device = torch.device(given.device)
    checkpoint = open_checkpoint(given.base)
    tokenizer = load_tokenizer(given.base, vocab_size=checkpoint.config["vocab_size"])
    precision = choose_precision(given.precision, device)
    model = load_slice(checkpoint, given.language, precision=precision)
    model.to(device)
    if given.metric == "forward":
        # Upstream's adapter must be in the dtype of the rest.
        model.to(precision.compute)
    max_length = checkpoint.config["max_position_embeddings"] - 2

    def prepare(some: Sequence[str]) -> Callable[[], tuple[list[list[float]], int]]:
        text = pseudo_text(some, tokenizer, max_length)
        if given.metric == "forward":
            return lambda: ([], run_forward(model, text))
        hidden = HIDDEN[given.metric]

        def score() -> tuple[list[list[float]], int]:
            losses = pseudo_losses(model, text, [hidden])[hidden]
            each = [(-losses.nats[losses.documents == i]).tolist() for i in range(len(some))]
            return each, num_copies(text, [hidden])

        return score

    versions = {name: version(name) for name in ("transformers", "xmod-extend")}
    report(given, sentences, prepare, versions)


@torch.no_grad()
def run_forward(model: XmodForMaskedLM, text: PseudoText) -> int:
    """Upstream's encoder on as many rows as a score has, of the same lengths; how many."""
    lengths = np.repeat(
        [window.input_ids.size for window in text.windows],
        [window.scored.size for window in text.windows],
    )
    device = model.lm_head.bias.device
    rows = 0
    for length in np.unique(lengths).tolist():
        left = int((lengths == length).sum())
        most = max(1, batch_tokens(model) // length)
        while left:
            count = min(left, most)
            ids = torch.full((count, length), 5, device=device)
            languages = torch.zeros(count, dtype=torch.long, device=device)
            model.roberta(ids, languages, torch.ones_like(ids))
            left, rows = left - count, rows + count
    return rows


def pseudo_text(
    sentences: Sequence[str], tokenizer: LoadedTokenizer, max_length: int
) -> PseudoText:
    """The sentences as they are, not cleaned, each a document."""
    unknown = () if tokenizer.unk_id is None else (tokenizer.unk_id,)
    return PseudoText.from_tokens(
        tokenize(LinesInMemory(tuple(sentences), ""), tokenizer),
        WordFinder(tokenizer.tokenizer.get_vocab(), unknown),
        SpecialIds(
            bos=tokenizer.bos_id,
            sep=tokenizer.sep_id,
            mask=tokenizer.mask_id,
            unk=tokenizer.unk_id,
            special=tokenizer.special_ids,
        ),
        max_length=max_length,
        max_tokens=2**62,
    )


if __name__ == "__main__":
    main()
