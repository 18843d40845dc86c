"""From a corpus to what training and evaluation read: packed tokens, and held-out text under masks.

`add`, `probe` and `check` share this, so that their figures for one text are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xmod_extend.errors import CorpusError, ModelError
from xmod_extend.evaluation.masked_perplexity import METRIC, MaskedText, signature, unk_rate
from xmod_extend.evaluation.score import ScoredText
from xmod_extend.evaluation.seen_words import Kinds, find_kinds
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import choose_max_length
from xmod_extend.model.config import UPSTREAM_PAD_ID
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.text.foreign_lines import find_foreign_lines
from xmod_extend.text.lines import LinesInMemory, StoredLines
from xmod_extend.text.options import TextOptions
from xmod_extend.text.overlap import Overlap
from xmod_extend.text.report import CorpusReport
from xmod_extend.tokens.blocks import Ids, TrainingBlocks
from xmod_extend.tokens.packing import PackedBlocks, pack
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import LoadedTokenizer, TokenizerRecord, load_tokenizer
from xmod_extend.tokens.vocabulary import count_token_bytes, report_tokens

if TYPE_CHECKING:
    from xmod_extend.model.checkpoint import Checkpoint

EVALUATION_SEED = 20_220_512
"""Seed of the held-out masks: the same in every run, so that runs with other seeds compare."""
EVALUATION_MLM_PROBABILITY = 0.15
"""Share that is masked of the held-out text, whatever share training masks."""
MIN_TRAIN_BLOCKS = 4
MIN_SCORED_TOKENS = 50
UNREADABLE_HINT = (
    "Use a base whose vocabulary has these letters, or write the text in a script that this one "
    "knows; --force trains all the same, but no score will mean anything."
)


@dataclass(frozen=True, kw_only=True)
class PreparedText:
    """A corpus as a model reads it."""

    tokenizer: TokenizerRecord
    train: TrainingBlocks
    held_out: MaskedText
    held_out_lines: StoredLines | LinesInMemory
    fingerprint: str
    """What tells both sides from other texts; a resumed run knows them by it."""
    evaluation_scheme: MaskingScheme
    token_bytes: Ids
    """(V,): UTF-8 bytes that each token stands for."""
    unk_id: int | None
    report: CorpusReport
    max_length: int
    overlap: Overlap | None = None
    """What the held-out side has of the training side; None if that is streamed."""
    kinds: Kinds | None = None
    """(N,): of each scored token, whether the training side has its word."""

    def masking_scheme(self, *, mlm_probability: float, seed: int) -> MaskingScheme:
        """Return the scheme for training: as in evaluation, with another seed and perhaps rate."""
        return replace(self.evaluation_scheme, mlm_probability=mlm_probability, seed=seed)

    def signature(self, precision: str, text: MaskedText | None = None) -> str:
        """Return the signature of any score of the held-out text, or of a sample of it."""
        return signature(
            text or self.held_out,
            self.evaluation_scheme,
            unk_id=self.unk_id,
            text_sha256=self.report.held_out_sha256,
            tokenizer_sha256=self.tokenizer.sha256,
            max_length=self.max_length,
            precision=precision,
        )

    def scored_text(self, precision: str) -> ScoredText:
        """Return what scores of the whole held-out text have in common."""
        return ScoredText(
            metric=METRIC,
            signature=self.signature(precision),
            unk_rate=unk_rate(self.held_out, self.evaluation_scheme, self.unk_id),
            token_bytes=self.token_bytes,
        )


def read_text(options: TextOptions, callback: Callback) -> Corpus:
    """Read the corpus that the options name.

    Raises:
        As `text.corpus.read_corpus`.
    """
    callback.on_stage("Reading the corpus")
    corpus = read_corpus(
        options.corpus,
        held_out=options.held_out,
        text_field=options.text_field,
        encoding_errors=options.encoding_errors,
        streaming=options.streaming,
        drop_near_duplicates=options.drop_near_duplicates,
    )
    if options.lid_model is None:
        return corpus
    callback.on_stage(f"Identifying the language of its lines with {options.lid_model.name}")
    foreign = find_foreign_lines([corpus.train, corpus.held_out], options.lid_model)
    return replace(corpus, report=corpus.report.with_foreign_lines(foreign))


def prepare_text(
    corpus: Corpus,
    checkpoint: Checkpoint,
    *,
    max_length: int | None,
    callback: Callback,
    accept_unreadable: bool = True,
) -> PreparedText:
    """Tokenise, pack and mask a corpus for one base.

    Args:
        accept_unreadable: Whether a text of which the base can read too little is only warned
            about.

    Raises:
        UsageError: `max_length` is more than the base can read.
        ModelError: The base has no tokenizer that fits.
        CorpusError: The text makes too few tokens to train or to measure on, or is unreadable.
    """
    length = choose_max_length(checkpoint.config, max_length, name=checkpoint.path.name)
    tokenizer = load_tokenizer(checkpoint.path, vocab_size=checkpoint.config["vocab_size"])
    _check_padding(checkpoint, tokenizer)
    if tokenizer.note:
        callback.on_warning(tokenizer.note)
    train, held_out = tokenize(corpus.train, tokenizer), tokenize(corpus.held_out, tokenizer)
    report = report_tokens(corpus, tokenizer, [train.counts, held_out.counts])
    if report.unreadable and not accept_unreadable:
        raise CorpusError(report.unreadable, hint=UNREADABLE_HINT)
    scheme = evaluation_scheme(tokenizer)
    blocks = pack(train, max_length=length, bos_id=tokenizer.bos_id)
    measured = PackedBlocks(held_out, max_length=length, bos_id=tokenizer.bos_id)
    masked = MaskedText.from_blocks(measured, scheme)
    _require_enough_tokens(blocks, masked, report)
    kinds = None
    if corpus.overlap is not None:
        kinds = find_kinds(
            masked.scored_places,
            held_out,
            corpus.held_out,
            pieces=tokenizer.find_pieces,
            unseen=np.array(corpus.overlap.unseen, dtype=np.uint64),
        )
    return PreparedText(
        tokenizer=tokenizer.record,
        train=blocks,
        held_out=masked,
        held_out_lines=corpus.held_out,
        fingerprint=corpus.fingerprint,
        evaluation_scheme=scheme,
        token_bytes=count_token_bytes(tokenizer),
        unk_id=tokenizer.unk_id,
        report=report,
        max_length=length,
        overlap=corpus.overlap,
        kinds=kinds,
    )


def evaluation_scheme(tokenizer: LoadedTokenizer) -> MaskingScheme:
    """Return how a text is masked to measure on it: the same in every run."""
    return MaskingScheme(
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        vocabulary_size=len(tokenizer.tokenizer),
        mlm_probability=EVALUATION_MLM_PROBABILITY,
        seed=EVALUATION_SEED,
    )


def _check_padding(checkpoint: Checkpoint, tokenizer: LoadedTokenizer) -> None:
    """Refuse a tokenizer with another padding than the base: positions are counted from it."""
    configured = checkpoint.config.get("pad_token_id", UPSTREAM_PAD_ID)
    if configured != tokenizer.pad_id:
        raise ModelError(
            f"config.json's pad_token_id is {configured}, but {tokenizer.tokenizer.pad_token} is "
            f"{tokenizer.pad_id} in the tokenizer, which gives every token another position.",
            hint=f"Set pad_token_id to {tokenizer.pad_id} in config.json if the base was "
            "pretrained with this tokenizer.",
        )


def _require_enough_tokens(
    train: TrainingBlocks, held_out: MaskedText, report: CorpusReport
) -> None:
    if train.is_counted and len(train) < MIN_TRAIN_BLOCKS:
        raise CorpusError(
            f"The training text has {train.num_tokens:,} tokens, {len(train)} sequences of "
            f"{train.max_length}; at least {MIN_TRAIN_BLOCKS} sequences are needed.",
            hint="Add text, or use a lower --max-length.",
        )
    if held_out.num_scored_tokens < MIN_SCORED_TOKENS:
        raise CorpusError(
            f"The held-out text has {held_out.num_tokens:,} tokens, of which "
            f"{held_out.num_scored_tokens} would be masked; at least {MIN_SCORED_TOKENS} are "
            "needed to measure anything.",
            hint=report.unreadable or "Add text, or give a longer --held-out.",
        )
