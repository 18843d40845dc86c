"""From a corpus to what training and evaluation read: packed tokens, and held-out text under masks.

`add`, `probe` and `check` share this, so that their figures for one text are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xmod_extend.errors import CorpusError, ModelError
from xmod_extend.evaluation.perplexity import MaskedText, signature
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import choose_max_length
from xmod_extend.model.folder import UPSTREAM_PAD_ID
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.text.corpus import Corpus
from xmod_extend.text.coverage import Tally, find_unknown, tally_lines, tally_side
from xmod_extend.text.report import CorpusReport
from xmod_extend.text.streaming import StreamedBlocks, StreamedCorpus
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.tokenised import TokenCounts, TokenisedText
from xmod_extend.tokens.tokenizer import (
    LoadedTokenizer,
    TokenizerRecord,
    load_tokenizer,
    tokenize,
    tokenize_lines,
)

if TYPE_CHECKING:
    from xmod_extend.model.checkpoint import Checkpoint

EVALUATION_SEED = 20_220_512
"""Of the held-out masks: the same in every run, so that runs with other seeds compare."""
EVALUATION_MLM_PROBABILITY = 0.15
"""Of the held-out masks, whatever share training masks."""
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
    train: PackedBlocks | StreamedBlocks
    held_out: MaskedText
    evaluation_scheme: MaskingScheme
    token_bytes: npt.NDArray[np.int64]
    """(V,): UTF-8 bytes that each token stands for."""
    unk_id: int | None
    report: CorpusReport
    max_length: int

    def masking_scheme(self, *, mlm_probability: float, seed: int) -> MaskingScheme:
        """For training: chosen as in evaluation, with another seed and perhaps another rate."""
        return replace(self.evaluation_scheme, mlm_probability=mlm_probability, seed=seed)

    def signature(self, precision: str, text: MaskedText | None = None) -> str:
        """Of any score of the held-out text, or of a sample of it."""
        return signature(
            text or self.held_out,
            self.evaluation_scheme,
            unk_id=self.unk_id,
            text_sha256=self.report.held_out_sha256,
            tokenizer_sha256=self.tokenizer.sha256,
            max_length=self.max_length,
            precision=precision,
        )


def prepare_text(
    corpus: Corpus | StreamedCorpus,
    checkpoint: Checkpoint,
    *,
    max_length: int | None,
    callback: Callback,
    accept_unreadable: bool = True,
) -> PreparedText:
    """Tokenise, packs and masks a corpus for one base.

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
    train: PackedBlocks | StreamedBlocks
    held_out_tokens: TokenisedText
    if isinstance(corpus, StreamedCorpus):
        held_out_tokens = tokenize_lines(corpus.held_out, tokenizer)
        sides = [held_out_tokens.counts]
        train = StreamedBlocks(
            corpus.train, tokenizer.encoder(), max_length=length, bos_id=tokenizer.bos_id
        )
    else:
        train_tokens = tokenize(corpus.train, tokenizer)
        held_out_tokens = tokenize(corpus.held_out, tokenizer)
        sides = [train_tokens.counts, held_out_tokens.counts]
        train = PackedBlocks(train_tokens, max_length=length, bos_id=tokenizer.bos_id)
    report = add_token_counts(corpus, tokenizer, sides)
    if report.unreadable and not accept_unreadable:
        raise CorpusError(report.unreadable, hint=UNREADABLE_HINT)
    scheme = MaskingScheme(
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        vocabulary_size=len(tokenizer.tokenizer),
        mlm_probability=EVALUATION_MLM_PROBABILITY,
        seed=EVALUATION_SEED,
    )
    held_out_blocks = PackedBlocks(held_out_tokens, max_length=length, bos_id=tokenizer.bos_id)
    held_out = MaskedText.from_blocks(held_out_blocks, scheme)
    _require_enough_tokens(train, held_out, report)
    return PreparedText(
        tokenizer=tokenizer.record,
        train=train,
        held_out=held_out,
        evaluation_scheme=scheme,
        token_bytes=token_bytes(tokenizer),
        unk_id=tokenizer.unk_id,
        report=report,
        max_length=length,
    )


def _check_padding(checkpoint: Checkpoint, tokenizer: LoadedTokenizer) -> None:
    """Positions are counted from behind the padding: where the two differ, a text has others."""
    configured = checkpoint.config.get("pad_token_id", UPSTREAM_PAD_ID)
    if configured != tokenizer.pad_id:
        raise ModelError(
            f"config.json's pad_token_id is {configured}, but {tokenizer.tokenizer.pad_token} is "
            f"{tokenizer.pad_id} in the tokenizer, which gives every token another position.",
            hint=f"Set pad_token_id to {tokenizer.pad_id} in config.json if the base was "
            "pretrained with this tokenizer.",
        )


def add_token_counts(
    corpus: Corpus | StreamedCorpus, tokenizer: LoadedTokenizer, counts: Sequence[TokenCounts]
) -> CorpusReport:
    """Return the corpus's report with its tokens, and with what the tokenizer does not
    know of it."""
    report = corpus.report.with_tokens(
        sum(count.tokens for count in counts), sum(count.unk for count in counts)
    )
    train = Tally()
    if isinstance(corpus, StreamedCorpus):
        held_out = tally_lines(line.decode() for line in corpus.held_out)
    else:
        train = tally_side(corpus.train, report.train_bytes)
        held_out = tally_side(corpus.held_out, report.held_out_bytes)
    encode = tokenizer.encoder()
    return report.with_coverage(
        find_unknown(train + held_out, encode), find_unknown(held_out, encode)
    )


def token_bytes(tokenizer: LoadedTokenizer) -> npt.NDArray[np.int64]:
    """Return UTF-8 bytes that each token stands for; a word's mark counts as its space, `<unk>` as
    one."""
    pieces = tokenizer.tokenizer.get_vocab()
    sizes = np.ones(max(pieces.values()) + 1, dtype=np.int64)
    for piece, index in pieces.items():
        if index not in tokenizer.special_ids:
            sizes[index] = len(piece.replace("▁", " ").encode())
    return sizes


def _require_enough_tokens(
    train: PackedBlocks | StreamedBlocks, held_out: MaskedText, report: CorpusReport
) -> None:
    # How much a stream holds shows when it is read.
    if isinstance(train, PackedBlocks) and len(train) < MIN_TRAIN_BLOCKS:
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
