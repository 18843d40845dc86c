"""Writing the base with the trained languages, their records and the card, verified in one go."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import CheckFailedError
from xmod_extend.evaluation.verify import verify_checkpoint
from xmod_extend.files.run_folder import METRICS_NAME
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.card import extended_subject
from xmod_extend.jobs.checks import Request
from xmod_extend.model.checkpoint import Checkpoint
from xmod_extend.model.extension import (
    CARD_NAME,
    RECORD_NAME,
    REPORT_NAME,
    describe_default,
    earlier_name,
    extended_contents,
    trained_adapter,
)
from xmod_extend.model.trainable import Tensors
from xmod_extend.model.upstream import loading_faults
from xmod_extend.model.writer import write_checkpoint
from xmod_extend.report.card import model_card
from xmod_extend.report.html import html_report
from xmod_extend.report.record import RunRecord, VerificationRecord


@dataclass(frozen=True, kw_only=True)
class TrainedLanguage:
    """A trained language before it is written: its record has no verification yet."""

    tensors: Tensors
    """Under the names that they have in a checkpoint."""
    record: RunRecord
    metrics: str


def write_extended(
    base: Checkpoint,
    request: Request,
    trained: Sequence[TrainedLanguage],
    tokenizer_files: Sequence[Path],
    callback: Callback,
) -> list[RunRecord]:
    """Write the base with the languages, verified, and return their complete records."""
    callback.on_stage("Writing and verifying the checkpoint")
    started = time.perf_counter()
    codes = [language.record.language for language in trained]
    adapters = {
        code: trained_adapter(base, code, language.tensors)
        for code, language in zip(codes, trained, strict=True)
    }

    default = _default_language(request, [*base.languages, *codes], callback)

    def verify(folder: Path) -> list[RunRecord]:
        verification = verify_written(folder, base, codes, default_language=default)
        return [
            dataclasses.replace(
                language.record,
                verification=verification,
                output=str(request.output),
                seconds=language.record.seconds + time.perf_counter() - started,
            )
            for language in trained
        ]

    return write_checkpoint(
        request.output,
        extended_contents(
            base, adapters, tokenizer_files=tokenizer_files, default_language=default
        ),
        verify=verify,
        documents=lambda records: {
            CARD_NAME: model_card(extended_subject(base, request, records)),
            **_documents(records, [language.metrics for language in trained]),
        },
        force=request.options.force,
    )


def _documents(records: Sequence[RunRecord], metrics: Sequence[str]) -> dict[str, str]:
    """Return for each language its record, its report and the figures of its training."""
    texts = {}
    for record, figures in zip(records, metrics, strict=True):
        documents = {
            RECORD_NAME: record.to_json(),
            METRICS_NAME: figures,
            REPORT_NAME: html_report(record),
        }
        for name, text in documents.items():
            is_last = record is records[-1]
            texts[name if is_last else earlier_name(name, record.language)] = text
    return texts


def _default_language(request: Request, languages: Sequence[str], callback: Callback) -> str | None:
    """Return the default language that was asked for, if it is one of those that are written."""
    code = request.options.default_language
    if code is not None and code not in languages:
        callback.on_warning(f"the default language stays as it is: {code} is not written yet")
        return None
    return code


def verify_written(
    folder: Path, base: Checkpoint, added: Sequence[str], *, default_language: str | None = None
) -> VerificationRecord:
    """Compare what was written with the base, and load it as its users will.

    Args:
        added: The languages that it must have besides the base's, in their order.
        default_language: The one that was asked for; any other change of it is a difference.

    Raises:
        CheckFailedError: More than the added languages differs, or transformers cannot load it.
    """
    result = verify_checkpoint(folder, base.path)
    old = base.config.get("default_language")
    wanted = []
    if default_language not in (None, old):
        wanted = [f"config.json: {describe_default(old, default_language)}"]
    found = [difference for difference in result.differences if difference not in wanted]
    found += [f"it lacks this: {change}" for change in wanted if change not in result.differences]
    if found or result.added_languages != tuple(added):
        raise CheckFailedError(
            f"The checkpoint that was written differs from its base: "
            f"{'; '.join(found[:3]) or result.added_languages}; it was removed.",
            hint="The disk may be damaged; please report it if it happens again.",
        )
    faults = loading_faults(folder)
    if faults:
        raise CheckFailedError(
            f"Plain transformers cannot use the checkpoint that was written: {faults[0]} It was "
            "removed.",
            hint="Try the base with AutoModelForMaskedLM and AutoTokenizer: it should fail alike.",
        )
    return VerificationRecord(
        identical=not result.differences,
        tensors_compared=result.tensors_compared,
        languages_compared=len(result.languages_compared),
        differences=result.differences,
    )
