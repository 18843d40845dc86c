"""A base and language packs as one extended checkpoint.

    base, packs -> shapes, codes, output checked -> weights opened -> fingerprints compared
            -> checkpoint written -> compared with the base and with the packs -> it gets its name

The packs' files become files of the checkpoint byte for byte, unless a language gets another code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmod_extend.arguments import (
    PathOrName,
    PathsOrNames,
    as_names,
    as_path_or_name,
    as_paths_or_names,
)
from xmod_extend.errors import CheckFailedError, ModelError, XmodExtendError
from xmod_extend.files.hashing import file_sha256
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.install_request import InstallRequest, check_install, naming_replace
from xmod_extend.jobs.output import verify_written
from xmod_extend.jobs.pack import tokenizer_hash
from xmod_extend.jobs.sharing_options import InstallOptions
from xmod_extend.jobs.transplant import TransplantScore, score_transplant
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.extension import (
    CARD_NAME,
    extended_contents,
)
from xmod_extend.model.global_state import own_global_state
from xmod_extend.model.tensors import TORCH_NAMES
from xmod_extend.model.writer import CheckpointContents, plan_output, write_checkpoint
from xmod_extend.packs.description import weights_name
from xmod_extend.packs.fingerprint import Fingerprint, fingerprint_shared
from xmod_extend.packs.fitting import check_dtype, shared_difference
from xmod_extend.packs.pack import Pack, check_finite
from xmod_extend.packs.part import (
    PackPart,
    read_pack_record,
    record_files,
    renamed_records,
    reports,
)
from xmod_extend.report.card import CardSubject, model_card
from xmod_extend.report.record import VerificationRecord
from xmod_extend.tokens.tokenizer import find_tokenizer, find_tokenizer_files


@dataclass(frozen=True, kw_only=True)
class InstalledPack:
    """A pack in a checkpoint.

    Attributes:
        packed_as: The code that it had in the pack.
        language_id: The position of its code in `config.languages`.
        same_file: Whether its file is the pack's, byte for byte: not if it got another code.
        difference: How the shared weights differ from those it was trained against, if they do.
        score: What it is worth here, if it was transplanted and there was a text.
    """

    language: str
    packed_as: str
    pack: str
    language_id: int
    same_file: bool
    license: str | None
    difference: str | None = None
    score: TransplantScore | None = None


@dataclass(frozen=True, kw_only=True)
class InstallResult:
    """A checkpoint that was made of a base and packs."""

    output: str
    base: str
    languages: tuple[str, ...]
    installed: tuple[InstalledPack, ...]
    default_language: str | None
    verification: VerificationRecord

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return dataclasses.asdict(self)


def install_packs(
    base: PathOrName,
    packs: PathsOrNames,
    output: PathOrName,
    *,
    rename: str | Sequence[str] | Mapping[str, str] = (),
    default_language: str | None = None,
    license: str | None = None,
    revision: str | None = None,
    force: bool = False,
    text: PathsOrNames = (),
    replace: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
) -> InstallResult:
    """Make one extended checkpoint of a base and language packs, verified against both.

    Args:
        base: Folder or Hub id of an X-MOD, or `tiny`.
        packs: Folders, or ids on the Hub (`user/name@revision`). The languages get their ids in
            this order.
        output: Folder of the new checkpoint.
        rename: New codes: `NEW` for the only pack, `{"OLD": "NEW"}`, or `OLD=NEW`. OLD may be a
            pack as it is written in `packs`.
        default_language: The language of inputs without `lang_ids`; None leaves it as it is.
        license: The licence of the checkpoint, for its card.
        revision: Branch, tag or commit of a base on the Hub.
        force: Transplant packs that were trained against other shared weights.
        text: Text to score a transplanted adapter on; of several packs as `CODE=PATH`.
        replace: Replace the output folder if xmod-extend wrote it.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.

    Raises:
        ModelError: A pack was trained against other shared weights (without `force`), is of another
            shape or type than the base, or is damaged.
        LanguageError: The base or another pack has the code already.
        UsageError: The output cannot be written.
        HubError: Something cannot be downloaded.
        CheckFailedError: What was written is not the base and the packs.
    """
    options = InstallOptions.from_values(
        output=output,
        default_language=default_language,
        license=license,
        revision=revision,
        force=force,
        text=text,
        replace=replace,
    )
    renamed = (
        [f"{old}={new}" for old, new in rename.items()]
        if isinstance(rename, Mapping)
        else (as_names("rename", rename))
    )
    with choose_callback(callback, progress) as callback:
        request = check_install(
            as_path_or_name("base", base),
            as_paths_or_names("packs", packs),
            renamed,
            options,
            callback,
        )
        return run_install(request, callback)


@own_global_state()
def run_install(request: InstallRequest, callback: Callback) -> InstallResult:
    """Do `install_packs` for a request that is already checked."""
    options = request.options
    packs = [reference.open() for reference in request.packs]
    base = open_checkpoint(request.base.fetch())
    for pack in packs:
        check_dtype(pack.description, pack.name, TORCH_NAMES[base.adapter_dtype], request.base.base)
        check_finite(pack)
    callback.on_stage("Hashing the shared weights")
    shared = fingerprint_shared(base)
    parts = [
        _take_part(pack, code, shared, request, callback)
        for pack, code in zip(packs, request.codes, strict=True)
    ]
    _compare_tokenizers(base, packs, callback)
    contents = _contents(base, parts, request, _tokenizer_files(base, callback))
    with naming_replace():
        plan_output(options.output, contents, force=options.replace)
        callback.on_stage("Writing and verifying the checkpoint")
        verification, scores = write_checkpoint(
            options.output,
            contents,
            verify=lambda folder: _verify(folder, base, parts, request, callback),
            documents=lambda _: _documents(base, parts, request),
            force=options.replace,
        )
    _tell_of_transplants(parts, scores, request, callback)
    return InstallResult(
        output=str(options.output),
        base=request.base.base,
        languages=(*base.languages, *request.codes),
        installed=tuple(
            InstalledPack(
                language=part.code,
                packed_as=part.pack.language,
                pack=part.pack.name,
                language_id=len(base.languages) + position,
                same_file=not part.is_renamed,
                license=part.pack.description.license,
                difference=part.difference,
                score=scores.get(part.code),
            )
            for position, part in enumerate(parts)
        ),
        default_language=options.default_language or base.config.get("default_language"),
        verification=verification,
    )


def _take_part(
    pack: Pack, code: str, shared: Fingerprint, request: InstallRequest, callback: Callback
) -> PackPart:
    """Return a pack that may be installed.

    Raises:
        ModelError: It was trained against other shared weights, and nobody said that this is meant.
    """
    difference = shared_difference(pack.description, shared, request.base.base)
    if difference is not None and not request.options.force:
        raise ModelError(
            f"{pack.name} does not belong to {request.base.base}: {difference}.",
            hint="Install it into its own base. To transplant it all the same, use --force, and "
            "--text PATH to see what it is worth here.",
        )
    record, problem = read_pack_record(pack, code)
    if problem is not None:
        callback.on_warning(f"the run record of {pack.name} is left out: {problem}")
    return PackPart(pack=pack, code=code, record=record, difference=difference)


def _compare_tokenizers(base: Checkpoint, packs: Sequence[Pack], callback: Callback) -> None:
    """Warn of packs whose text was cut into other tokens."""
    known = {
        pack.name: pack.description.tokenizer_sha256
        for pack in packs
        if pack.description.tokenizer_sha256 is not None
    }
    if not known:
        return
    own = tokenizer_hash(base, callback)
    for name, sha256 in known.items():
        if own is not None and sha256 != own:
            callback.on_warning(
                f"{name} was trained with another tokenizer than {base.path.name} has, or with "
                "another version of it: where the two cut words differently, the adapter reads "
                "pieces that it was not trained on, and scores in its card do not hold here"
            )


def _tokenizer_files(base: Checkpoint, callback: Callback) -> list[Path]:
    """Return the files of the base's tokenizer, or none with a warning if it has none."""
    try:
        return find_tokenizer_files(find_tokenizer(base.path, vocab_size=base.config["vocab_size"]))
    except XmodExtendError as error:
        callback.on_warning(f"the checkpoint gets no tokenizer: {error.message}")
        return []


def _contents(
    base: Checkpoint,
    parts: Sequence[PackPart],
    request: InstallRequest,
    tokenizer_files: Sequence[Path],
) -> CheckpointContents:
    contents = extended_contents(
        base,
        {part.code: part.shard() for part in parts},
        tokenizer_files=tokenizer_files,
        default_language=request.options.default_language,
        documents=[CARD_NAME, *renamed_records(parts), *reports(parts)],
    )
    sources = [*contents.sources, *(part.pack.path for part in parts)]
    return dataclasses.replace(
        contents, companions={**contents.companions, **record_files(parts)}, sources=sources
    )


def _documents(
    base: Checkpoint, parts: Sequence[PackPart], request: InstallRequest
) -> dict[str, str]:
    options, codes = request.options, request.codes
    subject = CardSubject(
        what="checkpoint",
        name=options.output.expanduser().resolve().name,
        languages=(*base.languages, *codes),
        described=codes,
        records={part.code: part.record for part in parts if part.record is not None},
        base_name=request.base.name,
        base_id=request.base.repo_id,
        base_revision=request.base.commit,
        license=options.license,
        default_language=options.default_language or base.config.get("default_language"),
        transplanted=tuple(part.code for part in parts if part.difference is not None),
    )
    return {CARD_NAME: model_card(subject), **renamed_records(parts), **reports(parts)}


def _verify(
    folder: Path,
    base: Checkpoint,
    parts: Sequence[PackPart],
    request: InstallRequest,
    callback: Callback,
) -> tuple[VerificationRecord, dict[str, TransplantScore]]:
    """Compare what was written with the base and with the packs, and score what is transplanted.

    Raises:
        CheckFailedError: It is something else.
    """
    verification = verify_written(
        folder, base, request.codes, default_language=request.options.default_language
    )
    written = open_checkpoint(folder)
    for part in parts:
        weights = part.pack.weights
        is_same = all(
            written.digest(part.new_name(name)) == weights.digest(name) for name in weights.names
        )
        if is_same and not part.is_renamed:
            copied = folder / weights_name(part.code)
            is_same = file_sha256(copied) == file_sha256(weights.path)
        if not is_same:
            raise CheckFailedError(
                f"{part.code} in the checkpoint that was written is not what {part.pack.name} has; "
                "it was removed.",
                hint="The disk may be damaged; please report it if it happens again.",
            )
    scores = {
        part.code: score_transplant(
            base.path, folder, part.code, request.texts[part.code], request.base.base, callback
        )
        for part in parts
        if part.difference is not None and part.code in request.texts
    }
    return verification, scores


def _tell_of_transplants(
    parts: Sequence[PackPart],
    scores: Mapping[str, TransplantScore],
    request: InstallRequest,
    callback: Callback,
) -> None:
    for part in parts:
        if part.difference is None:
            if part.code in request.texts:
                callback.on_note(
                    f"{part.code} belongs to these shared weights, so that its text is not needed"
                )
            continue
        callback.on_warning(f"{part.code} is transplanted: {part.difference}")
        score = scores.get(part.code)
        if score is None:
            base, output = request.base.base, request.options.output
            callback.on_warning(
                f"{part.code} was not scored, and nothing is known of what it is worth here; "
                f"`xmod-extend compare {base} {output} --lang {part.code} --text PATH` tells"
            )
        elif not score.is_better:
            callback.on_warning(f"do not rely on {part.code} here: {score.verdict}")
