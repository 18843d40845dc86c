"""What is measured: a text as one tokenizer cuts it, under one metric, the same for every state."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from xmod_extend.errors import CorpusError
from xmod_extend.evaluation import masked_perplexity, minimal_pairs, pseudo_perplexity
from xmod_extend.evaluation.losses import TokenLosses
from xmod_extend.evaluation.masked_perplexity import MaskedText, masked_losses
from xmod_extend.evaluation.pseudo_perplexity import (
    METRICS,
    Hidden,
    PseudoText,
    SpecialIds,
    num_copies,
    pseudo_losses,
)
from xmod_extend.evaluation.score import ScoredText
from xmod_extend.evaluation.words import WordFinder
from xmod_extend.jobs.checks import choose_max_length
from xmod_extend.jobs.measuring_options import MeasuringOptions
from xmod_extend.jobs.prepared_text import evaluation_scheme
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.text.lines import LinesInMemory, StoredLines
from xmod_extend.text.report import Coverage
from xmod_extend.tokens.blocks import Ids
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.tokenised import TokenisedText, tokenize
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer
from xmod_extend.tokens.vocabulary import Tally, count_token_bytes, find_unknown

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

    from xmod_extend.model.checkpoint import Checkpoint
    from xmod_extend.training.processes import Processes


NOTHING_KNOWN = 0.9
"""With a larger share of unknown characters hardly anything but spaces and signs is left."""


class Metric(Protocol):
    """One metric or several that are measured together, on one text."""

    names: tuple[str, ...]
    """Their names, the one to lead with first."""
    num_copies: int
    """What a measurement counts up to."""

    def losses(
        self,
        model: XmodForMaskedLM,
        *,
        processes: Processes | None,
        on_scored: Callable[[int], None],
    ) -> dict[str, TokenLosses]:
        """Measure the adapter in a slice's slot."""
        ...

    def signature(self, name: str, precision: str) -> str:
        """Return the signature of a score."""
        ...

    def targets(self) -> tuple[Ids, Ids]:
        """Return the documents and the ids of the scored tokens, the same for all names."""
        ...

    @property
    def unk_rate(self) -> float:
        """Share of unknown tokens."""
        ...


@dataclass(frozen=True, kw_only=True)
class TextOrigin:
    """What tells a text and its tokenizer from others."""

    text_sha256: str
    tokenizer_sha256: str


class MaskedMetric:
    """Masked perplexity."""

    names: tuple[str, ...] = (masked_perplexity.METRIC,)

    def __init__(
        self,
        text: MaskedText,
        scheme: MaskingScheme,
        origin: TextOrigin,
        *,
        unk_id: int | None,
        max_length: int,
    ) -> None:
        self.text = text
        self._scheme, self._origin, self._unk_id = scheme, origin, unk_id
        self._max_length = max_length
        self.num_copies = text.num_scored_tokens

    def losses(
        self,
        model: XmodForMaskedLM,
        *,
        processes: Processes | None,
        on_scored: Callable[[int], None],
    ) -> dict[str, TokenLosses]:
        (name,) = self.names
        return {name: masked_losses(model, self.text, processes=processes, on_scored=on_scored)}

    def signature(self, name: str, precision: str) -> str:
        return masked_perplexity.signature(
            self.text,
            self._scheme,
            unk_id=self._unk_id,
            text_sha256=self._origin.text_sha256,
            tokenizer_sha256=self._origin.tokenizer_sha256,
            max_length=self._max_length,
            precision=precision,
        )

    def targets(self) -> tuple[Ids, Ids]:
        return masked_perplexity.scored_targets(self.text)

    @property
    def unk_rate(self) -> float:
        return masked_perplexity.unk_rate(self.text, self._scheme, self._unk_id)


class PseudoMetric:
    """Pseudo-perplexity, of each token hidden alone, with the rest of its word, or both."""

    def __init__(self, text: PseudoText, hidden: Sequence[Hidden], origin: TextOrigin) -> None:
        self._text, self._origin = text, origin
        self._hidden = {METRICS[one]: one for one in hidden}
        self.names = tuple(self._hidden)
        self.num_copies = num_copies(text, tuple(self._hidden.values()))

    def losses(
        self,
        model: XmodForMaskedLM,
        *,
        processes: Processes | None,
        on_scored: Callable[[int], None],
    ) -> dict[str, TokenLosses]:
        hidden = tuple(self._hidden.values())
        found = pseudo_losses(model, self._text, hidden, processes=processes, on_scored=on_scored)
        return {METRICS[one]: losses for one, losses in found.items()}

    def signature(self, name: str, precision: str) -> str:
        return self._text.signature(
            self._hidden[name],
            text_sha256=self._origin.text_sha256,
            tokenizer_sha256=self._origin.tokenizer_sha256,
            precision=precision,
        )

    def targets(self) -> tuple[Ids, Ids]:
        return self._text.scored_targets()

    @property
    def unk_rate(self) -> float:
        return self._text.unk_rate


@dataclass(frozen=True, kw_only=True)
class PreparedMeasurement:
    """A text under a metric, as the tokenizer of one checkpoint cuts it."""

    metric: Metric
    masked: MaskedMetric
    """The text under fixed masks, by which adapters are ranked whatever the metric."""
    token_bytes: Ids
    """(V,): UTF-8 bytes that each token stands for."""
    coverage: Coverage
    tokenizer_sha256: str
    max_length: int
    num_pairs: int = 0

    @property
    def scored_sha256(self) -> str:
        """Stands for the ids that are scored, whatever tokenizer made them."""
        return self.metric.signature(self.metric.names[0], "").rpartition("scored:")[2]

    def scored_text(self, name: str, precision: str) -> ScoredText:
        """Return what all scores of one name have in common."""
        signature = self.metric.signature(name, precision)
        if self.num_pairs:
            signature = f"{minimal_pairs.METRIC}:v1|pairs:{self.num_pairs}|{signature}"
        return ScoredText(
            metric=name,
            signature=signature,
            unk_rate=self.metric.unk_rate,
            token_bytes=self.token_bytes,
        )


def prepare_measurement(
    lines: StoredLines | LinesInMemory,
    text_sha256: str,
    checkpoint: Checkpoint,
    options: MeasuringOptions,
    *,
    max_length: int | None = None,
    num_pairs: int = 0,
) -> PreparedMeasurement:
    """Cut a text as a checkpoint's tokenizer does, and choose what is hidden of it.

    Args:
        lines: The text; of pairs the sentences, one behind another.
        max_length: Tokens at a time, where it is decided already.
        num_pairs: How many pairs the lines are; 0 if they are none.

    Raises:
        UsageError: `max_length` is more than the checkpoint can read.
        ModelError: It has no tokenizer that fits.
        CorpusError: Nothing of the text can be scored.
    """
    name = checkpoint.path.name
    length = choose_max_length(checkpoint.config, max_length or options.max_length, name=name)
    tokenizer = load_tokenizer(checkpoint.path, vocab_size=checkpoint.config["vocab_size"])
    tokens = tokenize(lines, tokenizer)
    coverage = find_unknown(Tally.of(lines), tokenizer.encoder())
    origin = TextOrigin(text_sha256=text_sha256, tokenizer_sha256=tokenizer.sha256)
    scheme = evaluation_scheme(tokenizer)
    blocks = PackedBlocks(tokens, max_length=length, bos_id=tokenizer.bos_id)
    most = options.max_tokens or masked_perplexity.MAX_TOKENS
    masked = MaskedMetric(
        MaskedText.from_blocks(blocks, scheme, max_tokens=most),
        scheme,
        origin,
        unk_id=tokenizer.unk_id,
        max_length=length,
    )
    metric: Metric = masked
    if num_pairs:
        # All of them are scored.
        every = sys.maxsize
        metric = _pseudo_metric(tokens, tokenizer, ["rest_of_word"], origin, length, every)
    elif options.metric != masked_perplexity.METRIC:
        most = options.max_tokens or pseudo_perplexity.MAX_TOKENS
        metric = _pseudo_metric(tokens, tokenizer, list(METRICS), origin, length, most)
    if not metric.num_copies or coverage.unknown_characters > NOTHING_KNOWN:
        raise CorpusError(
            coverage.describe_unreadable() if coverage.num_missing else "The text has no token.",
            hint="There is nothing to score: use a checkpoint whose vocabulary has these letters.",
        )
    return PreparedMeasurement(
        metric=metric,
        masked=masked,
        token_bytes=count_token_bytes(tokenizer),
        coverage=coverage,
        tokenizer_sha256=tokenizer.sha256,
        max_length=length,
        num_pairs=num_pairs,
    )


def _pseudo_metric(
    tokens: TokenisedText,
    tokenizer: LoadedTokenizer,
    hidden: Sequence[Hidden],
    origin: TextOrigin,
    max_length: int,
    max_tokens: int,
) -> PseudoMetric:
    words = WordFinder(tokenizer.tokenizer.get_vocab(), _unknown(tokenizer))
    ids = _special_ids(tokenizer)
    text = PseudoText.from_tokens(tokens, words, ids, max_length=max_length, max_tokens=max_tokens)
    return PseudoMetric(text, hidden, origin)


def _special_ids(tokenizer: LoadedTokenizer) -> SpecialIds:
    return SpecialIds(
        bos=tokenizer.bos_id,
        sep=tokenizer.sep_id,
        mask=tokenizer.mask_id,
        unk=tokenizer.unk_id,
        special=tokenizer.special_ids,
    )


def _unknown(tokenizer: LoadedTokenizer) -> tuple[int, ...]:
    return () if tokenizer.unk_id is None else (tokenizer.unk_id,)
