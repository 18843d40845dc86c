"""Scores of one state, and of two side by side: what `eval` and `compare` do.

    options -> checkpoints and languages checked -> text -> tokens -> what is hidden
            -> each state scored on the same tokens -> scores, intervals, sentences

Whatever can be refused is refused before the text is read and before anything is downloaded.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from xmod_extend.arguments import PathOrName, PathsOrNames, as_path_or_name, as_text
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.evaluation.bootstrap import compare as compare_losses
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.minimal_pairs import compare_pairs, pair_margins
from xmod_extend.evaluation.score import Score
from xmod_extend.evaluation.verdict import describe_comparison
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.checks import choose_max_length
from xmod_extend.jobs.measurement import PreparedMeasurement
from xmod_extend.jobs.measuring_options import MeasuringOptions
from xmod_extend.jobs.scored_states import (
    SENTENCES,
    OpenedState,
    ScoredLines,
    prepare_lines,
    read_lines,
    score_state,
    take_lines,
)
from xmod_extend.jobs.scorer import Scorer
from xmod_extend.jobs.states import (
    State,
    as_state,
    before_and_after,
    check_state,
    name_language,
    require_language,
)
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.report.evaluation import (
    Comparison,
    Evaluation,
    ReferenceComparison,
)
from xmod_extend.text.sources import check_paths
from xmod_extend.tokens.tokenizer import find_tokenizer, find_tokenizer_files


@own_global_state()
def evaluate(
    state: State | PathOrName,
    text: PathsOrNames | None = None,
    *,
    sentences: Sequence[str] | None = None,
    lang: str | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    **options: Any,
) -> Evaluation:
    """Score one state on a text that it was not trained on.

    Args:
        state: A `State`, or a checkpoint whose language `lang` names.
        text: Files, folders or patterns; see `MeasuringOptions`.
        sentences: The sentences themselves, at least two, in place of `text`.
        lang: Code of the language, where the state names none.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.
        options: Other fields of `MeasuringOptions`, such as `metric="pseudo_perplexity"`.

    Raises:
        UsageError: An option is wrong.
        CorpusError: The text is missing, unreadable or empty, or no token of it is known.
        ModelError: The checkpoint is no X-MOD, or has no tokenizer that fits.
        LanguageError: It has no such language.
        HubError: It cannot be had from the Hub.
    """
    chosen, lines = measuring_options(text, options, sentences)
    with choose_callback(callback, progress) as callback:
        named = name_language(as_state(state, "state"), lang)
        reference = check_state(named)
        check_paths(() if lines else chosen.text)
        read = lines or read_lines(chosen, callback)
        opened = OpenedState(state=named, checkpoint=open_checkpoint(reference.fetch()))
        prepared = prepare_lines(read, opened.checkpoint, chosen)
        scorer = Scorer(chosen.precision, callback)
        try:
            return score_state(opened, read, prepared, scorer, callback)
        finally:
            scorer.close()


@own_global_state()
def compare(
    before: State | PathOrName,
    after: State | PathOrName,
    text: PathsOrNames | None = None,
    *,
    sentences: Sequence[str] | None = None,
    lang: str | None = None,
    reference: Mapping[str, PathOrName] | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    **options: Any,
) -> Comparison:
    """Score two states on the same tokens of a text.

    Args:
        before: A `State`, or a checkpoint whose language `lang` names. One that lacks this language
            stands for the best of its adapters.
        after: A `State`, or a checkpoint whose language `lang` names.
        text: Files, folders or patterns; see `MeasuringOptions`.
        sentences: The sentences themselves, at least two, in place of `text`.
        lang: Code of the language, where a state names none.
        reference: Texts of languages that both checkpoints have, by code: scored as well, and
            held against each other.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.
        options: Other fields of `MeasuringOptions`, such as `metric="pseudo_perplexity"`.

    Raises:
        ModelError: As in `evaluate`, or the two cut the text into different tokens.
        XmodExtendError: As in `evaluate`.
    """
    chosen, lines = measuring_options(text, options, sentences)
    references = {
        as_text("reference", code): as_path_or_name("reference", path)
        for code, path in (reference or {}).items()
    }
    with choose_callback(callback, progress) as callback:
        states = before_and_after(as_state(before, "before"), as_state(after, "after"), lang)
        bases = [check_state(state) for state in states]
        for code in references:
            for base in bases:
                require_language(code, list(base.load_config().get("languages", [])), base.base)
        check_paths([*(() if lines else chosen.text), *references.values()])
        read = lines or read_lines(chosen, callback)
        first, second = (
            OpenedState(state=state, checkpoint=open_checkpoint(base.fetch()))
            for state, base in zip(states, bases, strict=True)
        )
        scorer = Scorer(chosen.precision, callback)
        try:
            compared = _compare(first, second, read, chosen, scorer, callback)
            found = [
                _compare_reference(code, path, first, second, chosen, scorer, callback)
                for code, path in references.items()
            ]
        finally:
            scorer.close()
        return dataclasses.replace(compared, references=tuple(found))


def measuring_options(
    text: PathsOrNames | None, options: Mapping[str, Any], sentences: Sequence[str] | None = None
) -> tuple[MeasuringOptions, ScoredLines | None]:
    """Return the options of a call, checked, and its lines if it has any.

    Raises:
        UsageError: A name is unknown, or a value wrong.
        CorpusError: There are too few sentences.
    """
    known = [field.name for field in dataclasses.fields(MeasuringOptions)]
    for name in options:
        if name not in known:
            raise UsageError(
                f"{name!r} is an unknown option.", hint=f"There are {', '.join(known)}."
            )
    if sentences is None and text is None:
        raise UsageError(
            "There is no text to score.", hint="Give text='PATH', or sentences=[...] in Python."
        )
    if sentences is None:
        return MeasuringOptions.from_values(text=text, **options), None
    if text is not None:
        raise UsageError("Both text and sentences are given.", hint="Give one of them.")
    chosen = MeasuringOptions.from_values(text=SENTENCES, **options)
    return chosen, take_lines(sentences, chosen)


def _compare(
    before: OpenedState,
    after: OpenedState,
    text: ScoredLines,
    options: MeasuringOptions,
    scorer: Scorer,
    callback: Callback,
) -> Comparison:
    length = min(
        choose_max_length(one.checkpoint.config, options.max_length, name=one.checkpoint.path.name)
        for one in (before, after)
    )
    prepared = prepare_lines(text, before.checkpoint, options, length)
    _require_same_tokens(before, after, prepared, text, options, length)
    first = score_state(before, text, prepared, scorer, callback)
    second = score_state(after, text, prepared, scorer, Callback())
    pairs = [(losses, _losses(second)[name]) for name, losses in _losses(first).items()]
    improvements: list[Any]
    if text.num_pairs:
        margins = [[pair_margins(one, text.num_pairs) for one in pair] for pair in pairs]
        improvements = [compare_pairs(*both) for both in margins]
    else:
        improvements = [compare_losses(*both) for both in pairs]
    return Comparison(
        before=first,
        after=second,
        improvements=tuple(improvements),
        verdict=describe_comparison(
            first.state, second.state, improvements[0], unreadable=first.unreadable
        ),
    )


def _compare_reference(
    code: str,
    path: str,
    before: OpenedState,
    after: OpenedState,
    options: MeasuringOptions,
    scorer: Scorer,
    callback: Callback,
) -> ReferenceComparison:
    """Score a language that both checkpoints have, on its own text, masked."""
    chosen = dataclasses.replace(options, text=(path,), metric="masked_perplexity")
    text = read_lines(chosen, callback)
    first, second = (
        OpenedState(state=State(one.state.checkpoint, code), checkpoint=one.checkpoint)
        for one in (before, after)
    )
    compared = _compare(first, second, text, chosen, scorer, callback)
    (before_losses,), (after_losses,) = (
        _losses(one).values() for one in (compared.before, compared.after)
    )
    return ReferenceComparison(
        language=code,
        before=cast(Score, compared.before.score),
        after=cast(Score, compared.after.score),
        identical=bool(np.array_equal(before_losses.nats, after_losses.nats)),
    )


def _losses(evaluation: Evaluation) -> Mapping[str, TokenLosses]:
    assert evaluation.sentences is not None
    return evaluation.sentences.losses


def _require_same_tokens(
    before: OpenedState,
    after: OpenedState,
    prepared: PreparedMeasurement,
    text: ScoredLines,
    options: MeasuringOptions,
    max_length: int,
) -> None:
    """Refuse two checkpoints that cut the text into different tokens.

    Raises:
        ModelError: They do.
    """
    if _tokenizer_digest(before.checkpoint) == _tokenizer_digest(after.checkpoint):
        return
    other = prepare_lines(text, after.checkpoint, options, max_length)
    if other.scored_sha256 != prepared.scored_sha256:
        names = [one.checkpoint.path.name for one in (before, after)]
        raise ModelError(
            f"{names[0]} and {names[1]} have different tokenizers and cut the text into different "
            "tokens, so that their perplexities do not compare.",
            hint="Score each with `xmod-extend eval` and compare bits_per_byte, if neither has "
            "unknown tokens.",
        )


def _tokenizer_digest(checkpoint: Checkpoint) -> list[str]:
    folder = find_tokenizer(checkpoint.path, vocab_size=checkpoint.config["vocab_size"])
    files: Sequence[Any] = find_tokenizer_files(folder)
    return [f"{file.name}:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
