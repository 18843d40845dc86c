"""Reports before any training: what a corpus is like, and which adapter reads it best."""

from __future__ import annotations

from dataclasses import dataclass

from xmod_extend.arguments import PathOrName, PathsOrNames
from xmod_extend.evaluation.bootstrap import compare
from xmod_extend.evaluation.probe import (
    Candidate,
    coverage_warnings,
    probe_adapters,
)
from xmod_extend.evaluation.score import Score, score
from xmod_extend.evaluation.unigram import unigram_losses
from xmod_extend.evaluation.verdict import describe_probe
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.options import CorpusOptions
from xmod_extend.jobs.prepared_text import prepare_text, read_text
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.slice import load_slice
from xmod_extend.text.cache import forget_refused_text
from xmod_extend.text.options import EncodingErrors
from xmod_extend.text.report import CorpusReport
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import load_tokenizer
from xmod_extend.tokens.vocabulary import report_tokens
from xmod_extend.training.device import choose_precision, make_processes
from xmod_extend.training.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """Scores of a base's existing adapters on the held-out part of a corpus, the best first."""

    base: str
    candidates: tuple[Candidate, ...]
    signature: str
    """The signature of a score on the whole text; each candidate has that of its own tokens."""
    unigram: Score
    """The score by the frequencies of the tokens in the training part."""
    verdict: str
    """What the scores are worth, in a sentence or two."""


@own_global_state()
def check_corpus(
    corpus: PathsOrNames,
    *,
    base: PathOrName = "facebook/xmod-base",
    revision: str | None = None,
    held_out: PathOrName | None = None,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
    drop_near_duplicates: bool = False,
    lid_model: PathOrName | None = None,
    callback: Callback | None = None,
    progress: bool = True,
) -> CorpusReport:
    """Read a corpus as `add_language` would, and report on it. Weights are not loaded.

    Progress and warnings are shown unless `progress` is false or there is a `callback`.

    Raises:
        CorpusError: The text is missing, unreadable, malformed or too little.
        ModelError: The base is no X-MOD, or has no tokenizer that fits.
        HubError: The base or the corpus cannot be had from the Hub.
    """
    options = CorpusOptions.from_values(
        corpus=corpus,
        base=base,
        revision=revision,
        held_out=held_out,
        text_field=text_field,
        encoding_errors=encoding_errors,
        drop_near_duplicates=drop_near_duplicates,
        lid_model=lid_model,
    )
    with choose_callback(callback, progress) as callback:
        return _check(options, callback)


@forget_refused_text()
def _check(options: CorpusOptions, callback: Callback) -> CorpusReport:
    reference = resolve_base(options.base, revision=options.revision)
    vocab_size = reference.load_config()["vocab_size"]
    corpus = read_text(options, callback)
    callback.on_stage(f"Tokenising it as {reference.name} would")
    tokenizer = load_tokenizer(reference.fetch_tokenizer(), vocab_size=vocab_size)
    if tokenizer.note:
        callback.on_warning(tokenizer.note)
    sides = tokenize(corpus.train, tokenizer), tokenize(corpus.held_out, tokenizer)
    report = report_tokens(corpus, tokenizer, [side.counts for side in sides])
    for warning in (*report.notes, *report.warnings):
        callback.on_warning(warning)
    return report


@own_global_state()
def probe_corpus(
    corpus: PathsOrNames,
    *,
    base: PathOrName = "facebook/xmod-base",
    revision: str | None = None,
    held_out: PathOrName | None = None,
    text_field: str = "text",
    encoding_errors: EncodingErrors = "strict",
    drop_near_duplicates: bool = False,
    lid_model: PathOrName | None = None,
    max_length: int | None = None,
    callback: Callback | None = None,
    progress: bool = True,
) -> ProbeReport:
    """Rank the base's existing adapters on a corpus: the scores that `add_language` sees.

    Progress and warnings are shown unless `progress` is false or there is a `callback`.

    Raises:
        As `add_language`.
    """
    options = CorpusOptions.from_values(
        corpus=corpus,
        base=base,
        revision=revision,
        held_out=held_out,
        text_field=text_field,
        encoding_errors=encoding_errors,
        drop_near_duplicates=drop_near_duplicates,
        lid_model=lid_model,
    )
    length = TrainingOptions(max_length=max_length).max_length
    with choose_callback(callback, progress) as callback:
        return _probe(options, length, callback)


@forget_refused_text()
def _probe(options: CorpusOptions, max_length: int | None, callback: Callback) -> ProbeReport:
    reference = resolve_base(options.base, revision=options.revision)
    reference.load_config()
    corpus = read_text(options, callback)
    checkpoint = open_checkpoint(reference.fetch())
    text = prepare_text(corpus, checkpoint, max_length=max_length, callback=callback)
    for warning in (*text.report.notes, *text.report.warnings):
        callback.on_warning(warning)
    callback.on_stage(f"Probing {len(checkpoint.languages)} adapters")
    device = make_processes().device
    precision = choose_precision("auto", device)
    model = load_slice(checkpoint, checkpoint.languages[0], precision=precision)
    model.to(device)  # type: ignore[arg-type]
    result = probe_adapters(
        model,
        checkpoint,
        text.held_out,
        sign=lambda sample: text.signature(precision.name, sample),
        on_score=callback.on_candidate,
        on_read=callback.on_scored,
    )
    for warning in coverage_warnings(result):
        callback.on_warning(warning)
    signature = text.signature(precision.name)
    counts = text.train.token_counts(text.token_bytes.size)
    guesses = unigram_losses(
        result.best_losses, counts, special_ids=text.evaluation_scheme.special_ids
    )
    return ProbeReport(
        base=reference.base,
        candidates=result.candidates,
        signature=signature,
        unigram=score(guesses, text.scored_text(precision.name)),
        verdict=describe_probe(
            best=result.best.language,
            over_unigram=compare(guesses, result.best_losses, seed=0),
            fit=text.report.verdict,
            unreadable=text.report.unreadable,
        ),
    )
