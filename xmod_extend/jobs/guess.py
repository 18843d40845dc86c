"""The likeliest words in the gaps of a text, by two states side by side."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from xmod_extend.arguments import PathOrName, as_int, as_text
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.evaluation.guesses import NUM_GUESSES, top_guesses
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.scored_states import OpenedState, find_slot
from xmod_extend.jobs.scorer import Scorer
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
        try:
            (first, before_guesses), (second, after_guesses) = (
                _guess(
                    OpenedState(state=state, checkpoint=open_checkpoint(base.fetch())),
                    sentence,
                    count,
                    scorer,
                    callback,
                )
                for state, base in zip(states, bases, strict=True)
            )
        finally:
            scorer.close()
        if len(before_guesses) != len(after_guesses):
            raise ModelError("The two checkpoints have tokenizers with different `<mask>`s.")
        return FilledMask(
            text=sentence,
            before=first,
            after=second,
            gaps=tuple(map(GapGuesses, before_guesses, after_guesses)),
        )


def _guess(
    opened: OpenedState, sentence: str, count: int, scorer: Scorer, callback: Callback
) -> tuple[str, list[tuple[NamedGuess, ...]]]:
    """Return a state in a few words, and its guesses for each gap."""
    checkpoint = opened.checkpoint
    tokenizer = load_tokenizer(checkpoint.path, vocab_size=checkpoint.config["vocab_size"])
    ids, gaps = _encode(sentence, tokenizer, longest_input(checkpoint.config))
    slot = find_slot(opened, None, scorer, callback)
    guesses = top_guesses(scorer.model_with(slot), ids, gaps, count=count)
    state = opened.state
    if state.kind == "best":
        state = State(state.checkpoint, slot.language)
    return state.label, [_named(some, tokenizer) for some in guesses]


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
