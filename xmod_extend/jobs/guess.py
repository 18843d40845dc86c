"""The likeliest words in the gaps of a text, by two states side by side."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from xmod_extend.arguments import PathOrName, as_int, as_text
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.evaluation.guesses import NUM_GUESSES, top_guesses
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.scored_states import OpenedState, find_best
from xmod_extend.jobs.scorer import Scorer, Slot
from xmod_extend.jobs.states import State, as_state, before_and_after, check_state
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.config import longest_input
from xmod_extend.model.global_state import own_global_state
from xmod_extend.report.guesses import FilledMask, GapGuesses, NamedGuess
from xmod_extend.text.cleaning import clean_line
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer
from xmod_extend.training.options import TrainingOptions


@own_global_state()
def fill_mask(
    before: State | PathOrName,
    after: State | PathOrName,
    text: str,
    *,
    lang: str | None = None,
    count: int = NUM_GUESSES,
    precision: str = "fp32",
    callback: Callback | None = None,
    progress: bool = True,
) -> FilledMask:
    """Guess the `<mask>`s of a sentence before and after.

    Args:
        before: As in `compare`; a checkpoint that lacks the language stands for its first one, as
            there is no text by which its best one could be chosen: name a `State` instead.
        after: As in `compare`.
        text: A sentence with one `<mask>` or several.
        lang: Code of the language, where a state names none.
        count: How many guesses of each gap.
        precision: Of the shared weights.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress is shown if there is no callback.

    Raises:
        UsageError: The text has no `<mask>`, or is longer than a checkpoint can read.
        XmodExtendError: As in `compare`.
    """
    sentence = clean_line(as_text("text", text))
    precision = TrainingOptions(precision=cast(Any, precision)).precision
    count = as_int("count", count)
    if count < 1:
        raise UsageError(f"count is {count}; it must be at least 1.")
    with choose_callback(callback, progress) as callback:
        states = before_and_after(as_state(before, "before"), as_state(after, "after"), lang)
        bases = [check_state(state) for state in states]
        scorer = Scorer(precision, callback)
        found = []
        try:
            for state, base in zip(states, bases, strict=True):
                checkpoint = open_checkpoint(base.fetch())
                tokenizer = load_tokenizer(
                    checkpoint.path, vocab_size=checkpoint.config["vocab_size"]
                )
                ids, gaps = _encode(sentence, tokenizer, longest_input(checkpoint.config))
                language = state.language
                if state.kind == "best":
                    opened = OpenedState(state=state, checkpoint=checkpoint)
                    language = find_best(opened, None, scorer, callback)
                kind = "language" if state.kind == "best" else state.kind
                slot = Slot(checkpoint=checkpoint, kind=kind, language=language)
                guesses = top_guesses(scorer.model_with(slot), ids, gaps, count=count)
                label = state.label if state.kind != "best" else f"{language} of {base.name}"
                found.append((label, [_named(some, tokenizer) for some in guesses]))
        finally:
            scorer.close()
        (first, before_guesses), (second, after_guesses) = found
        if len(before_guesses) != len(after_guesses):
            raise ModelError("The two checkpoints have tokenizers with different `<mask>`s.")
        return FilledMask(
            text=sentence,
            before=first,
            after=second,
            gaps=tuple(map(GapGuesses, before_guesses, after_guesses)),
        )


def _encode(
    sentence: str, tokenizer: LoadedTokenizer, longest: int | None
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the ids of a sentence, (T,), and where its gaps are, (G,)."""
    inside = tokenizer.tokenizer(sentence, add_special_tokens=False)["input_ids"]
    ids = np.array([tokenizer.bos_id, *inside, tokenizer.sep_id], dtype=np.int64)
    gaps = np.flatnonzero(ids == tokenizer.mask_id)
    mask = tokenizer.tokenizer.mask_token
    if not gaps.size:
        raise UsageError(
            f"The text has no {mask}.", hint=f"Put {mask} in the place of a word that is guessed."
        )
    if longest is not None and ids.size > longest:
        raise UsageError(
            f"The text has {ids.size:,} tokens; the checkpoint reads at most {longest:,}.",
            hint="Give one sentence.",
        )
    return ids, gaps


def _named(guesses: Any, tokenizer: LoadedTokenizer) -> tuple[NamedGuess, ...]:
    pieces = tokenizer.tokenizer.convert_ids_to_tokens([guess.token_id for guess in guesses])
    return tuple(
        NamedGuess(piece, guess.probability) for piece, guess in zip(pieces, guesses, strict=True)
    )
