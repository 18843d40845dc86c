"""A task before it is learnt: its rows of tokens, leaks into the test, and what to compare with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmod_extend.evaluation.masked_perplexity import MaskedText
from xmod_extend.evaluation.probe import probe_adapters
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.prepared_text import EVALUATION_MLM_PROBABILITY, EVALUATION_SEED
from xmod_extend.jobs.transfer_request import TransferRequest
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.slice import free_slice, load_slice
from xmod_extend.objectives.masked import MaskingScheme
from xmod_extend.text.labelled import WORD_TASKS, LabelledText
from xmod_extend.text.leaks import Leaks, find_leaks
from xmod_extend.text.sources import find_sources
from xmod_extend.tokens.labelled import LabelledRows, encode_labelled
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer

if TYPE_CHECKING:
    import torch

    from xmod_extend.report.transfer import TaskTraining

METRIC_VERSION = 1
"""Goes up when the same files and options would get another score."""
PROBED_TOKENS = 32_768
"""Most tokens of the test text that existing adapters are ranked on."""
FEW_EXAMPLES = 30
"""With fewer test examples an interval says little."""


@dataclass(frozen=True, kw_only=True)
class PreparedTask:
    """What all seeds have in common."""

    request: TransferRequest
    checkpoint: Checkpoint
    device: torch.device
    train: LabelledRows
    test: LabelledRows
    dev: LabelledRows | None
    best_existing: str | None
    """The language whose adapter reads the test text best, the target's left out."""
    leaks: Leaks | None
    """None if no corpus was named."""
    warnings: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the head tells apart, in the order of their ids."""
        return self.request.train.labels

    @property
    def is_word_task(self) -> bool:
        return self.request.train.task in WORD_TASKS

    @property
    def states(self) -> dict[str, str | None]:
        """The adapters that read the test set, and their languages."""
        request = self.request
        best = {} if self.best_existing is None else {"best_existing": self.best_existing}
        return {"target": request.target, **best, "untrained": None, "source": request.source}

    def signature(self, training: TaskTraining) -> str:
        """Return what a score of the test set depends on, in one line."""
        request = self.request
        sha256 = hashlib.sha256()
        for row in self.test.rows:
            sha256.update(np.array([*row.input_ids, *row.places, *row.labels], "<i4").tobytes())
        merged = ";".join(request.options.merge) or "none"
        return (
            f"transfer:v{METRIC_VERSION}|task:{request.train.task}|method:{training.method}"
            f"|steps:{training.num_steps}|batch:{training.batch_size}|lr:{training.lr:g}"
            f"|seeds:0-{request.options.seeds - 1}|merged:{merged}|max_length:{training.max_length}"
            f"|precision:{training.precision}|test:{sha256.hexdigest()[:12]}"
        )


def prepare_task(
    request: TransferRequest, checkpoint: Checkpoint, device: torch.device, callback: Callback
) -> PreparedTask:
    """Look for leaks, rank the other adapters, and cut the labelled texts into rows.

    Raises:
        CorpusError: The corpus of the leak check cannot be read.
        ModelError: The checkpoint has no tokenizer that fits.
    """
    leaks = _find_leaks(request, callback)
    tokenizer = load_tokenizer(checkpoint.path, vocab_size=checkpoint.config["vocab_size"])
    best = _find_best_existing(request, checkpoint, tokenizer, device, callback)
    callback.on_stage("Tokenising the labelled text")
    # A test label that is scored as one with another need not be among those that are learnt.
    names = dict.fromkeys((*request.train.labels, *request.test.labels))
    names |= dict.fromkeys(() if request.dev is None else request.dev.labels)
    ids = {label: number for number, label in enumerate(names)}

    def encode(text: LabelledText) -> LabelledRows:
        return encode_labelled(text, tokenizer, ids, max_length=request.max_length)

    train, test = encode(request.train), encode(request.test)
    task = PreparedTask(
        request=request,
        checkpoint=checkpoint,
        device=device,
        train=train,
        test=test,
        dev=None if request.dev is None else encode(request.dev),
        best_existing=best,
        leaks=leaks,
        warnings=tuple(_warnings(request, train, test, leaks)),
    )
    for warning in task.warnings:
        callback.on_warning(warning)
    return task


def _find_leaks(request: TransferRequest, callback: Callback) -> Leaks | None:
    corpus = request.options.corpus
    if not corpus:
        return None
    callback.on_stage("Looking for the test sentences in the corpus")
    texts = [
        (example.text,) if request.test.task in WORD_TASKS else example.texts
        for example in request.test.examples
    ]
    return find_leaks(texts, find_sources(corpus))


def _find_best_existing(
    request: TransferRequest,
    checkpoint: Checkpoint,
    tokenizer: LoadedTokenizer,
    device: torch.device,
    callback: Callback,
) -> str | None:
    """Return the other language whose adapter has the lowest perplexity on the test text."""
    others = [code for code in checkpoint.languages if code != request.target]
    callback.on_stage(f"Probing {len(others)} other adapters on the text of {request.test.name}")
    text = _masked_text(request, tokenizer)
    if text.num_scored_tokens == 0 or not others:
        return None
    model = load_slice(checkpoint, others[0])
    model.to(device)  # type: ignore[arg-type]
    probe = probe_adapters(
        model,
        checkpoint,
        text,
        languages=others,
        on_score=callback.on_candidate,
        on_read=callback.on_scored,
    )
    free_slice(model)
    callback.on_note(
        f"best other adapter: {probe.best.language}, perplexity {probe.best.perplexity:,.1f}"
    )
    return probe.best.language


def _masked_text(request: TransferRequest, tokenizer: LoadedTokenizer) -> MaskedText:
    lines = "".join(f"{example.text}\n" for example in request.test.examples)
    scheme = MaskingScheme(
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        vocabulary_size=len(tokenizer.tokenizer),
        mlm_probability=EVALUATION_MLM_PROBABILITY,
        seed=EVALUATION_SEED,
    )
    blocks = PackedBlocks(
        tokenizer.encoder()(lines.encode()), max_length=request.max_length, bos_id=tokenizer.bos_id
    )
    return MaskedText.from_blocks(blocks, scheme, max_tokens=PROBED_TOKENS)


def _warnings(
    request: TransferRequest, train: LabelledRows, test: LabelledRows, leaks: Leaks | None
) -> list[str]:
    """Return what makes the result less useful, in sentences."""
    found = []
    for text, rows in ((request.train, train), (request.test, test)):
        if rows.num_cut:
            found.append(
                f"{rows.num_cut:,} of {len(text.examples):,} examples of {text.name} are longer "
                f"than {request.max_length:,} tokens and were read up to there."
            )
    if len(request.test.examples) < FEW_EXAMPLES:
        found.append(
            f"{request.test.name} has {len(request.test.examples)} examples only: the intervals "
            "are rough."
        )
    if leaks is not None and leaks.all:
        found.append(
            f"{len(leaks.all):,} of {len(request.test.examples):,} test examples are lines of the "
            "corpus, or nearly: what is scored there may be memory."
        )
    return found
