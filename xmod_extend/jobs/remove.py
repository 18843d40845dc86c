"""A checkpoint without one of the languages that were added to it.

checkpoint -> was the language added? -> would others get other ids? -> the other files taken over
        -> compared with the checkpoint -> it gets its name
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.arguments import PathOrName, as_path_or_name
from xmod_extend.errors import LanguageError
from xmod_extend.evaluation.verify_part import require_part
from xmod_extend.files.output_folder import recover
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.card import part_subject
from xmod_extend.jobs.sharing_options import RemoveOptions
from xmod_extend.jobs.states import require_language
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.config import CONFIG_NAME, config_languages
from xmod_extend.model.config_text import edit_config
from xmod_extend.model.extension import CARD_NAME, describe_default, find_companions
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.shards import shards_without
from xmod_extend.model.writer import (
    CheckpointContents,
    check_output,
    plan_output,
    write_checkpoint,
)
from xmod_extend.packs.origin import Origin, find_origin
from xmod_extend.report.card import model_card
from xmod_extend.report.record_files import find_records, language_documents


@dataclass(frozen=True, kw_only=True)
class RemoveResult:
    """A checkpoint that was written without a language.

    Attributes:
        renumbered: Code -> its new id, of the languages that had another one.
        default_language: The default that is left; None if it was the removed language, or none.
    """

    output: str
    removed: str
    languages: tuple[str, ...]
    renumbered: dict[str, int]
    default_language: str | None
    tensors_compared: int
    languages_compared: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return dict(vars(self))


def remove_language(
    checkpoint: PathOrName,
    lang: str,
    output: PathOrName,
    *,
    base: PathOrName | None = None,
    renumber: bool = False,
    license: str | None = None,
    force: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
) -> RemoveResult:
    """Write a checkpoint without one of its added languages; all else is the same, and verified.

    Args:
        checkpoint: Folder or Hub id of an extended checkpoint.
        lang: Code of a language that was added, as its run record or `base` says.
        output: Folder of the new checkpoint.
        base: The X-MOD that was extended; by default the run records say what was added.
        renumber: Go on although languages after it get other ids.
        license: The licence of the checkpoint, for its card; by default the one that was named
            when the other languages were added.
        force: Replace the output folder if xmod-extend wrote it.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.

    Raises:
        LanguageError: The checkpoint has no such language, or it was not added, or others would get
            other ids.
        ModelError: The checkpoint is no X-MOD masked language model, or is damaged.
        UsageError: The output cannot be written.
        CheckFailedError: What was written differs in more than the language.
    """
    options = RemoveOptions.from_values(
        lang=lang, output=output, base=base, renumber=renumber, license=license, force=force
    )
    with choose_callback(callback, progress) as callback:
        return run_remove(as_path_or_name("checkpoint", checkpoint), options, callback)


@own_global_state()
def run_remove(name: str, options: RemoveOptions, callback: Callback) -> RemoveResult:
    """Do `remove_language` for options that are already checked."""
    reference = resolve_base(name)
    callback.on_stage(f"Looking at {reference.base}")
    languages = config_languages(reference.load_config())
    require_language(options.lang, languages, reference.base)
    recover(options.output)
    check_output(options.output, force=options.force, source=reference.path)
    checkpoint = open_checkpoint(reference.fetch())
    _check_added(checkpoint.path, options, reference.base)
    kept = [code for code in languages if code != options.lang]
    renumbered = _renumbered(languages, kept, options)
    old_default = checkpoint.config.get("default_language")
    if old_default == options.lang:
        callback.on_warning(describe_default(old_default, None))
    origins = {
        code: origin
        for code in kept
        if (origin := find_origin(reference, checkpoint.path, code)).record is not None
    }
    contents = _contents(checkpoint, kept, options.lang, has_card=bool(origins))
    plan_output(options.output, contents, force=options.force)
    callback.on_stage("Writing and verifying the checkpoint")
    proof = write_checkpoint(
        options.output,
        contents,
        verify=lambda folder: require_part(folder, checkpoint, kept),
        documents=lambda _: _documents(kept, origins, options, checkpoint),
        force=options.force,
    )
    return RemoveResult(
        output=str(options.output),
        removed=options.lang,
        languages=tuple(kept),
        renumbered=renumbered,
        default_language=None if old_default == options.lang else old_default,
        tensors_compared=proof.tensors_compared,
        languages_compared=len(proof.languages_compared),
    )


def _check_added(folder: Path, options: RemoveOptions, name: str) -> None:
    """Refuse to take out a language that was there before anything was added.

    Raises:
        LanguageError: It was, or nothing says that it was not.
    """
    lang = options.lang
    if options.base is not None:
        if lang in config_languages(resolve_base(options.base).load_config()):
            raise LanguageError(
                f"{lang} is a language of {options.base}, and was not added to it.",
                hint="To keep only some languages of a checkpoint, use `xmod-extend slice`.",
            )
    elif lang not in find_records(folder):
        raise LanguageError(
            f"No run record of {name} says that {lang} was added.",
            hint="If it was, name the X-MOD that was extended with --base. To keep only some "
            "languages of a checkpoint, use `xmod-extend slice`.",
        )


def _renumbered(
    languages: Sequence[str], kept: Sequence[str], options: RemoveOptions
) -> dict[str, int]:
    """Return the new ids of languages that had another one.

    Raises:
        LanguageError: There are some, and nobody said that this is meant.
    """
    if not kept:
        raise LanguageError(
            f"{options.lang} is the only language.", hint="A checkpoint must keep a language."
        )
    moved = {code: i for i, code in enumerate(kept) if languages[i] != code}
    if moved and not options.renumber:
        listed = ", ".join(f"{code} {new + 1} -> {new}" for code, new in moved.items())
        raise LanguageError(
            f"Without {options.lang}, other languages get other ids: {listed}.",
            hint="Whoever passes these ids as lang_ids would get another language. Use --renumber "
            "if that is meant.",
        )
    return moved


def _contents(
    checkpoint: Checkpoint, kept: Sequence[str], removed: str, *, has_card: bool
) -> CheckpointContents:
    changes: dict[str, Any] = {"languages": list(kept)}
    if checkpoint.config.get("default_language") == removed:
        changes["default_language"] = None
    text = (checkpoint.path / CONFIG_NAME).read_text(encoding="utf-8")
    return CheckpointContents(
        weight_map=shards_without(checkpoint, set(checkpoint.adapter_names(removed))),
        config=edit_config(text, changes),
        companions=_companions(checkpoint.path, kept, removed),
        documents=[CARD_NAME] if has_card else [],
        sources=[checkpoint.path],
    )


def _companions(folder: Path, kept: Sequence[str], removed: str) -> dict[str, Path]:
    """Return the files beside the weights, without those that tell of the removed language.

    If these were the last ones, with no code in their names, the language before takes its place.
    """
    records = find_records(folder)
    gone = set(language_documents(folder, removed, records.get(removed)).values())
    files = {file.name: file for file in find_companions(folder) if file not in gone}
    others = [code for code in kept if code in records]
    if others:
        last = language_documents(folder, others[-1], records[others[-1]])
        files = {name: file for name, file in files.items() if file not in last.values()}
        if not any(name in files for name in last):
            return files | last
        files |= {file.name: file for file in last.values()}
    return files


def _documents(
    kept: Sequence[str],
    origins: Mapping[str, Origin],
    options: RemoveOptions,
    checkpoint: Checkpoint,
) -> dict[str, str]:
    """Return the card, if there is an added language left that it can tell of."""
    if not origins:
        return {}
    default = checkpoint.config.get("default_language")
    subject = part_subject(
        "checkpoint",
        options.output,
        kept,
        origins,
        license=options.license,
        default_language=default if default in kept else None,
    )
    return {CARD_NAME: model_card(subject)}
