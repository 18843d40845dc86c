"""One language of a checkpoint as a pack: a folder that others install.

checkpoint -> language found -> where it comes from -> fingerprint of the shared weights
        -> pack written, read again and compared
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xmod_extend
from xmod_extend.arguments import PathOrName, as_path_or_name
from xmod_extend.errors import XmodExtendError
from xmod_extend.files.hashing import file_sha256
from xmod_extend.files.output_folder import recover
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.sharing_options import PackOptions
from xmod_extend.jobs.states import require_language
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.config import config_languages
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.writer import check_output
from xmod_extend.packs.description import PackDescription
from xmod_extend.packs.fingerprint import fingerprint_shared
from xmod_extend.packs.origin import Origin, find_origin
from xmod_extend.packs.pack import Pack
from xmod_extend.packs.shape import AdapterShape
from xmod_extend.packs.writing import (
    PackContents,
    adapter_dtype,
    language_shard,
    write_pack,
)
from xmod_extend.report.card import CardSubject, model_card
from xmod_extend.tokens.tokenizer import load_tokenizer


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """A pack that was written.

    Attributes:
        sha256: Of the file of weights.
        same_file: Whether that file is, byte for byte, one that the checkpoint has.
    """

    output: str
    language: str
    num_bytes: int
    sha256: str
    same_file: bool
    base_model: str | None
    base_revision: str | None
    shared_sha256: str
    license: str | None
    has_record: bool
    pack: Pack = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return {name: value for name, value in vars(self).items() if name != "pack"}


def pack_language(
    checkpoint: PathOrName,
    lang: str,
    output: PathOrName,
    *,
    license: str | None = None,
    revision: str | None = None,
    force: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
) -> PackResult:
    """Write one language of a checkpoint as a pack, which `install_packs` puts into another.

    Packed again, it is the same bytes. Nothing is asked of the network but a checkpoint that is on
    the Hub.

    Args:
        checkpoint: Folder or Hub id of an X-MOD, or `tiny`.
        lang: Code of one of its languages: an added one, or one of the base's own.
        output: Folder of the pack.
        license: Its licence, as the Hub spells it; by default the one that was named when the
            language was added. None is invented.
        revision: Branch, tag or commit of a checkpoint on the Hub.
        force: Replace the output folder if xmod-extend wrote it.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.

    Raises:
        LanguageError: The checkpoint has no such language.
        ModelError: It is no X-MOD masked language model, or is damaged.
        UsageError: The output cannot be written.
        HubError: The checkpoint cannot be downloaded.
        CheckFailedError: What was written is not what the checkpoint has.
    """
    options = PackOptions.from_values(
        lang=lang, output=output, license=license, revision=revision, force=force
    )
    with choose_callback(callback, progress) as callback:
        return run_pack(as_path_or_name("checkpoint", checkpoint), options, callback)


@own_global_state()
def run_pack(name: str, options: PackOptions, callback: Callback) -> PackResult:
    """Do `pack_language` for options that are already checked."""
    reference = resolve_base(name, revision=options.revision)
    callback.on_stage(f"Looking at {reference.base}")
    require_language(options.lang, config_languages(reference.load_config()), reference.base)
    recover(options.output)
    check_output(options.output, force=options.force, source=reference.path)
    folder = reference.fetch()
    checkpoint = open_checkpoint(folder)
    origin = find_origin(reference, folder, options.lang)
    if origin.problem is not None:
        callback.on_warning(f"the pack gets no run record: {origin.problem}")
    terms = options.license or origin.license
    if terms is None:
        callback.on_warning(
            "no licence is named, so that nobody knows what they may do with the pack; name one "
            "with --license, such as --license cc-by-4.0"
        )
    callback.on_stage("Hashing the shared weights")
    description = describe(checkpoint, options.lang, origin, terms, callback)
    callback.on_stage("Writing and verifying the pack")
    shard = language_shard(checkpoint, options.lang)
    contents = PackContents(
        description=description,
        shard=shard,
        record_file=origin.record_file,
        card=model_card(card_subject(options.output, description, origin)),
    )
    pack = write_pack(options.output, contents, checkpoint, force=options.force)
    source = checkpoint.weights.by_name[checkpoint.adapter_names(options.lang)[0]].path
    sha256 = file_sha256(pack.weights.path)
    return PackResult(
        output=str(options.output),
        language=options.lang,
        num_bytes=pack.weights.path.stat().st_size,
        sha256=sha256,
        same_file=(
            source.stat().st_size == pack.weights.path.stat().st_size
            and file_sha256(source) == sha256
        ),
        base_model=description.base_model,
        base_revision=description.base_revision,
        shared_sha256=description.shared.sha256,
        license=terms,
        has_record=origin.record is not None,
        pack=pack,
    )


def describe(
    checkpoint: Checkpoint,
    language: str,
    origin: Origin,
    terms: str | None,
    callback: Callback,
) -> PackDescription:
    """Return what a pack says of itself; reads each shared weight once."""
    return PackDescription(
        language=language,
        shape=AdapterShape.from_config(checkpoint.config),
        dtype=adapter_dtype(checkpoint, language),
        shared=fingerprint_shared(checkpoint),
        base_model=origin.base_id,
        base_revision=origin.base_revision,
        tokenizer_sha256=tokenizer_hash(checkpoint, callback),
        license=terms,
        created_by=f"xmod-extend {xmod_extend.__version__}",
    )


def tokenizer_hash(checkpoint: Checkpoint, callback: Callback) -> str | None:
    """Return the hash of a checkpoint's tokenizer, or None with a note if it cannot be had."""
    try:
        vocab_size = checkpoint.config["vocab_size"]
        return load_tokenizer(checkpoint.path, vocab_size=vocab_size).sha256
    except XmodExtendError as error:
        callback.on_note(f"the tokenizer is not compared: {error.message}")
        return None


def card_subject(output: Path, description: PackDescription, origin: Origin) -> CardSubject:
    """Return what the card of a pack tells of."""
    code = description.language
    return CardSubject(
        what="pack",
        name=output.expanduser().resolve().name,
        languages=(code,),
        described=(code,),
        records={} if origin.record is None else {code: origin.record},
        base_name=origin.base_name,
        base_id=description.base_model,
        base_revision=description.base_revision,
        license=description.license,
    )
