"""A smaller checkpoint: some languages of another one, in one file.

checkpoint -> are the languages there? -> output checked -> tensors copied in pieces
        -> compared with the checkpoint -> it gets its name
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.arguments import PathOrName, as_path_or_name
from xmod_extend.evaluation.verify_part import require_part
from xmod_extend.files.output_folder import recover
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.card import part_subject
from xmod_extend.jobs.sharing_options import SliceOptions
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.model.config import config_languages
from xmod_extend.model.extension import (
    CARD_NAME,
    describe_default,
    earlier_name,
    find_companions,
)
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.selection import select_languages
from xmod_extend.model.sliced import SLICE_NAME, SliceNote, sliced_contents, sliced_default
from xmod_extend.model.weights import SINGLE_NAME
from xmod_extend.model.writer import check_output, plan_output, write_checkpoint
from xmod_extend.packs.origin import find_origin
from xmod_extend.report.card import model_card
from xmod_extend.report.record_files import find_records, language_documents


@dataclass(frozen=True, kw_only=True)
class SliceResult:
    """A smaller checkpoint that was written.

    Attributes:
        languages: Its codes, where a code's position is its id.
        renumbered: Code -> its new id, of the languages that had another one.
        num_bytes: Size of its weights.
        source_bytes: Size of the weights that it was made from.
    """

    output: str
    source: str
    languages: tuple[str, ...]
    renumbered: dict[str, int]
    default_language: str | None
    num_bytes: int
    source_bytes: int
    tensors_compared: int
    languages_compared: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return dataclasses.asdict(self)


def slice_checkpoint(
    checkpoint: PathOrName,
    langs: str | Sequence[str],
    output: PathOrName,
    *,
    default_language: str | None = None,
    license: str | None = None,
    revision: str | None = None,
    force: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
) -> SliceResult:
    """Write a standard checkpoint of one file with only some languages of another one, verified.

    Args:
        checkpoint: A folder, a Hub id (`USER/NAME@REVISION`), or `tiny`.
        langs: Codes of the checkpoint. They get their ids in this order.
        output: Folder of the new checkpoint.
        default_language: The language of inputs without `lang_ids`; by default the checkpoint's, if
            it is one of `langs`.
        license: The licence of the slice, for its card.
        revision: Branch, tag or commit of a checkpoint on the Hub.
        force: Replace the output folder if xmod-extend wrote it.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.

    Raises:
        LanguageError: The checkpoint lacks one of the languages, or one is named twice.
        ModelError: It is no X-MOD masked language model, or is damaged.
        UsageError: The output cannot be written.
        HubError: It cannot be had from the Hub.
        CheckFailedError: What was written is not a part of the checkpoint.
    """
    options = SliceOptions.from_values(
        langs=langs,
        output=output,
        default_language=default_language,
        license=license,
        revision=revision,
        force=force,
    )
    with choose_callback(callback, progress) as callback:
        return run_slice(as_path_or_name("checkpoint", checkpoint), options, callback)


@own_global_state()
def run_slice(name: str, options: SliceOptions, callback: Callback) -> SliceResult:
    """Do `slice_checkpoint` for options that are already checked."""
    reference = resolve_base(name, revision=options.revision)
    callback.on_stage(f"Looking at {reference.base}")
    languages = config_languages(reference.load_config())
    kept = select_languages(options.langs, languages, reference.name)
    recover(options.output)
    check_output(options.output, force=options.force, source=reference.path)
    checkpoint = open_checkpoint(reference.fetch())
    default = sliced_default(checkpoint, kept, options.default_language)
    old_default = checkpoint.config.get("default_language")
    if default != old_default:
        callback.on_warning(describe_default(old_default, default))
    contents = sliced_contents(
        checkpoint,
        kept,
        companions=_companions(checkpoint.path, kept),
        default_language=options.default_language,
        documents=[CARD_NAME],
    )
    plan_output(options.output, contents, force=options.force)
    callback.on_stage("Writing and verifying the checkpoint")
    proof = write_checkpoint(
        options.output,
        contents,
        verify=lambda folder: require_part(folder, checkpoint, kept),
        documents=lambda _: {
            SLICE_NAME: _note(reference, languages, kept).to_json(),
            CARD_NAME: _card(reference, checkpoint.path, kept, default, options),
        },
        force=options.force,
    )
    return SliceResult(
        output=str(options.output),
        source=reference.base,
        languages=tuple(kept),
        renumbered={code: new for new, code in enumerate(kept) if languages.index(code) != new},
        default_language=default,
        num_bytes=(options.output.expanduser() / SINGLE_NAME).stat().st_size,
        source_bytes=checkpoint.num_bytes,
        tensors_compared=proof.tensors_compared,
        languages_compared=len(proof.languages_compared),
    )


def _companions(folder: Path, kept: Sequence[str]) -> dict[str, Path]:
    """Return the files beside the weights, and of languages only those that tell of a kept one.

    What tells of the last kept language that was added has no code in its name, as everywhere.
    """
    records = find_records(folder)
    files = {file.name: file for file in find_companions(folder)}
    for code, record in records.items():
        for file in language_documents(folder, code, record).values():
            files.pop(file.name, None)
    added = [code for code in kept if code in records]
    for code in added:
        for name, file in language_documents(folder, code, records[code]).items():
            files[name if code == added[-1] else earlier_name(name, code)] = file
    return files


def _note(reference: BaseReference, languages: Sequence[str], kept: Sequence[str]) -> SliceNote:
    return SliceNote(
        source=reference.repo_id or reference.name,
        revision=reference.commit,
        source_languages=len(languages),
        ids={code: (languages.index(code), new) for new, code in enumerate(kept)},
    )


def _card(
    reference: BaseReference,
    folder: Path,
    kept: Sequence[str],
    default: str | None,
    options: SliceOptions,
) -> str:
    """Return the card: of added languages it tells what their records say."""
    subject = part_subject(
        "slice",
        options.output,
        kept,
        {code: find_origin(reference, folder, code) for code in kept},
        license=options.license,
        default_language=default,
    )
    return model_card(subject)
