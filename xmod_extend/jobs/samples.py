"""Samples of the held-out text for the report: lines and gaps before and after, and cut words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.probe import ProbeResult
from xmod_extend.jobs.job import Job
from xmod_extend.jobs.sample_guesses import Gaps
from xmod_extend.jobs.sample_lines import LineReader, ScoredLines, choose_lines, encode_line
from xmod_extend.model.slice import load_adapter
from xmod_extend.report.samples import CutWord, Samples, SampleSentence
from xmod_extend.text.statistics import find_words
from xmod_extend.tokens.pieces import cut_line
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer
from xmod_extend.tokens.vocabulary import SAMPLE_BYTES

if TYPE_CHECKING:
    from xmod_extend.jobs.training import Trained

NUM_CUT_WORDS = 12
MOST_WORDS = 20_000
"""Among this many of the most frequent words, those that are cut most finely are found."""
MOST_LETTERS = 40
"""A longer run of letters is not taken for a word."""
MIN_COUNT = 2
"""Words that occur less often are named only where there are too few others."""


def take_samples(job: Job, probe: ProbeResult, trained: Trained, losses: TokenLosses) -> Samples:
    """Return samples, scored with the best existing adapter and then with the new one.

    The new adapter is in the slice's slot afterwards.

    Args:
        losses: Of the new adapter on all of the held-out text.
    """
    job.callback.on_stage("Scoring sample lines for the report")
    # It was let go of when the text had been read.
    path, vocab_size = job.checkpoint.path, job.checkpoint.config["vocab_size"]
    tokenizer = load_tokenizer(path, vocab_size=vocab_size)
    reader = LineReader(job.text.held_out_lines, tokenizer)
    chosen = choose_lines(reader, probe.best_losses, losses)
    lines = ScoredLines(job, tokenizer, [line for kind in chosen for line in kind])
    gaps = Gaps(job, tokenizer, reader, losses)
    load_adapter(job.model, job.checkpoint, probe.best.language)
    before, guessed_before = lines.score(), gaps.guess()
    trained.trainable.set_values(trained.result.tensors)
    after, guessed_after = lines.score(), gaps.guess()
    sentences = iter(
        SampleSentence(pieces=line.pieces, before=old, after=new, is_cut=line.is_cut)
        for line, old, new in zip(lines.lines, before, after, strict=True)
    )
    hardest, improved, typical = ([next(sentences) for _ in kind] for kind in chosen)
    # In the order of what is shown of them.
    hardest.sort(key=lambda line: -line.mean_after)
    improved.sort(key=lambda line: line.mean_after - line.mean_before)
    return Samples(
        hardest=tuple(hardest),
        most_improved=tuple(improved),
        typical=tuple(typical),
        guesses=gaps.samples(guessed_before, guessed_after),
        cut_words=_find_cut_words(job, tokenizer),
        signature=lines.signature,
    )


def _find_cut_words(job: Job, tokenizer: LoadedTokenizer) -> tuple[CutWord, ...]:
    """Return the words of the held-out text that have the most pieces, and no unknown one."""
    counts: Counter[str] = Counter()
    for text in job.text.held_out_lines.sample(SAMPLE_BYTES)[0]:
        counts.update(find_words(text))
    # Every tokenizer cuts numbers into digits, and what never ends is no word.
    words = [
        word
        for word, _ in counts.most_common(MOST_WORDS)
        if len(word) <= MOST_LETTERS and not any(map(str.isdigit, word))
    ]
    repeated = [word for word in words if counts[word] >= MIN_COUNT]
    words = repeated if len(repeated) >= NUM_CUT_WORDS else words
    if not words:
        return ()
    encode = tokenizer.encoder()
    tokens = encode("".join(f"{word}\n" for word in words).encode())
    starts = np.cumsum(tokens.sizes) - tokens.sizes
    unknown = np.add.reduceat(tokens.ids == encode.unk_id, starts)
    sizes = np.where(unknown > 0, 0, tokens.sizes)
    order = sorted(range(len(words)), key=lambda i: (-sizes[i], -counts[words[i]], words[i]))
    # A token may stand for no letter, such as the space before a word.
    finest = [
        CutWord(
            pieces=tuple(filter(None, cut_line(word, encode_line(word, encode), tokenizer))),
            count=counts[word],
        )
        for word in (words[i] for i in order[: 2 * NUM_CUT_WORDS] if sizes[i] > 0)
    ]
    finest.sort(key=lambda word: -len(word.pieces))
    return tuple(word for word in finest[:NUM_CUT_WORDS] if len(word.pieces) > 1)
