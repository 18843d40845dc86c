"""One language or a whole checkpoint in AdapterHub's form, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xmod_extend
from xmod_extend.arguments import shown
from xmod_extend.errors import LanguageError, UsageError
from xmod_extend.files.copying import copy_file
from xmod_extend.files.verified_folder import write_verified_folder
from xmod_extend.hub.client import HubRepository, fetch
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.convert import (
    Conversion,
    ConvertRequest,
    compare_digests,
    refuse_options,
    size_of,
)
from xmod_extend.jobs.pack import card_subject, tokenizer_hash
from xmod_extend.jobs.states import require_language
from xmod_extend.languages import parse_language
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import Checkpoint, open_checkpoint
from xmod_extend.model.config import CONFIG_NAME
from xmod_extend.model.extension import AdapterSources
from xmod_extend.model.shards import TensorShard
from xmod_extend.model.tensors import TORCH_NAMES, digest_of
from xmod_extend.model.writer import check_output, write_checkpoint
from xmod_extend.packs.adapterhub import (
    FILE_NAMES,
    HubAdapter,
    adapter_description,
    open_adapter,
    write_adapter,
)
from xmod_extend.packs.adapterhub_checkpoint import (
    BODY_NAME,
    body_config,
    body_names,
    companions,
    digests,
    language_sources,
    open_model,
    write_body,
)
from xmod_extend.packs.description import PackDescription, weights_name
from xmod_extend.packs.fingerprint import fingerprint_shared
from xmod_extend.packs.origin import Origin, find_origin
from xmod_extend.packs.shape import AdapterShape
from xmod_extend.packs.writing import PackContents, write_pack
from xmod_extend.report.card import model_card


def to_adapterhub(request: ConvertRequest) -> Conversion:
    """Write one language of a checkpoint, or all of it, in AdapterHub's form."""
    refuse_options(request, "base", "tokenizer", why="the checkpoint itself is converted")
    reference = resolve_base(request.source)
    reference.load_config()
    check_output(request.output, force=request.force, source=reference.path)
    checkpoint = open_checkpoint(reference.fetch())
    if request.lang is not None:
        require_language(request.lang, checkpoint.languages, request.source)
        return _write_language(request, checkpoint, request.lang, base_model=reference.repo_id)
    return _write_model(request, checkpoint, base_model=reference.repo_id)


def _write_language(
    request: ConvertRequest, checkpoint: Checkpoint, language: str, *, base_model: str | None
) -> Conversion:
    shape = AdapterShape.from_config(checkpoint.config)
    description = adapter_description(shape, language, name=request.source, base_model=base_model)
    sources = language_sources(checkpoint, language)
    needed = 2 * sum(source.info.num_bytes for source in sources.values())
    check_output(request.output, force=request.force, needed_bytes=needed)
    write_verified_folder(
        request.output,
        names=FILE_NAMES,
        write=lambda folder: write_adapter(folder, description, sources),
        verify=lambda folder: _check_language(folder, shape, checkpoint, language),
        sources=[checkpoint.path],
        force=request.force,
    )
    return Conversion(
        output=request.output,
        form="adapterhub-adapter",
        languages=(language,),
        num_bytes=size_of(request.output.expanduser()),
    )


def _write_model(
    request: ConvertRequest, checkpoint: Checkpoint, *, base_model: str | None
) -> Conversion:
    shape = AdapterShape.from_config(checkpoint.config)
    config = body_config(checkpoint, request.source)
    languages = checkpoint.languages
    others = companions(checkpoint.path)
    adapters = {code: language_sources(checkpoint, code) for code in languages}
    num_adapter_bytes = sum(
        source.info.num_bytes for sources in adapters.values() for source in sources.values()
    )
    check_output(
        request.output,
        force=request.force,
        # Each language is written twice, and one of them lies in the model as well.
        needed_bytes=checkpoint.num_bytes + num_adapter_bytes + num_adapter_bytes // len(languages),
    )

    def write(folder: Path) -> None:
        write_body(folder, checkpoint, config)
        for name, file in others.items():
            copy_file(file, folder / name)
        for language, sources in adapters.items():
            (folder / language).mkdir()
            description = adapter_description(
                shape, language, name=request.source, base_model=base_model
            )
            write_adapter(folder / language, description, sources)

    def verify(folder: Path) -> None:
        written = open_model(folder, str(request.output))
        expected = {name: checkpoint.digest(name) for name in body_names(checkpoint)}
        compare_digests(dict(digests(written.shared)), expected)
        for language in languages:
            _check_language(folder / language, shape, checkpoint, language)

    write_verified_folder(
        request.output,
        names=[
            *(CONFIG_NAME, BODY_NAME, *others),
            *(f"{language}/{name}" for language in languages for name in FILE_NAMES),
        ],
        write=write,
        verify=verify,
        sources=[checkpoint.path],
        force=request.force,
    )
    return Conversion(
        output=request.output,
        form="adapterhub-model",
        languages=tuple(languages),
        num_bytes=size_of(request.output.expanduser()),
    )


def _check_language(
    folder: Path, shape: AdapterShape, checkpoint: Checkpoint, language: str
) -> None:
    """Compare both files of a language that was written with the checkpoint."""
    expected = {name: checkpoint.digest(name) for name in checkpoint.adapter_names(language)}
    for in_pickle in (False, True):
        adapter = open_adapter(folder, shape, language, in_pickle=in_pickle)
        compare_digests(dict(digests(adapter.sources(language))), expected)


def from_adapterhub(request: ConvertRequest) -> Conversion:
    """Make a standard checkpoint of a whole model, or a language pack of a language adapter."""
    refuse_options(request, "tokenizer", why="the one beside the model is taken")
    reference = resolve_base(request.source)
    if reference.path is None:
        assert reference.repo_id is not None
        repository = HubRepository(
            reference.repo_id, "model", reference.revision, reference.endpoint
        )
        return _make_pack(request, fetch(repository, patterns=FILE_NAMES))
    if (reference.path / CONFIG_NAME).is_file():
        return _make_checkpoint(request, reference.path)
    return _make_pack(request, reference.path)


def _make_checkpoint(request: ConvertRequest, path: Path) -> Conversion:
    refuse_options(request, "base", "lang", why=f"{request.source} is a whole model")
    check_output(request.output, force=request.force, source=path)
    model = open_model(path, request.source)
    tensors = model.tensors()
    num_bytes = sum(source.info.num_bytes for source in tensors.values())
    check_output(request.output, force=request.force, needed_bytes=num_bytes)
    expected = dict(digests(tensors))

    def verify(folder: Path) -> None:
        checkpoint = open_checkpoint(folder)
        compare_digests({name: checkpoint.digest(name) for name in checkpoint.names()}, expected)

    write_checkpoint(request.output, model.contents(), verify=verify, force=request.force)
    return Conversion(
        output=request.output,
        form="checkpoint",
        languages=model.languages,
        num_bytes=size_of(request.output.expanduser()),
        notes=model.notes,
    )


@dataclass(frozen=True)
class _AdapterFolder:
    """What a pack is made from."""

    path: Path
    sources: AdapterSources

    def digest(self, name: str) -> str:
        source = self.sources[name]
        return digest_of(source.info, source.chunks())


def _make_pack(request: ConvertRequest, path: Path) -> Conversion:
    if request.base is None:
        raise UsageError(
            f"{request.source} is one language adapter, which does not say what model it is for.",
            hint="Name the X-MOD that it belongs to with --base.",
        )
    check_output(request.output, force=request.force, source=path)
    reference = resolve_base(request.base)
    config = reference.load_config()
    adapter = open_adapter(path, AdapterShape.from_config(config), request.source)
    language = _language(request, adapter)
    base = open_checkpoint(reference.fetch())
    # Where the base itself comes from; the adapter has no record of its own.
    origin = find_origin(reference, base.path, base.languages[0])
    origin = Origin(
        base_name=origin.base_name, base_id=origin.base_id, base_revision=origin.base_revision
    )
    sources = adapter.sources(language)
    description = PackDescription(
        language=language,
        shape=AdapterShape.from_config(config),
        dtype=adapter.dtype,
        shared=fingerprint_shared(base),
        base_model=origin.base_id,
        base_revision=origin.base_revision,
        tokenizer_sha256=tokenizer_hash(base, Callback()),
        created_by=f"xmod-extend {xmod_extend.__version__}",
    )
    contents = PackContents(
        description=description,
        shard=TensorShard(weights_name(language), sources),
        record_file=None,
        card=model_card(card_subject(request.output, description, origin)),
    )
    write_pack(request.output, contents, _AdapterFolder(path, sources), force=request.force)
    return Conversion(
        output=request.output,
        form="pack",
        languages=(language,),
        num_bytes=size_of(request.output.expanduser()),
        notes=tuple(_notes(request, adapter, base)),
    )


def _language(request: ConvertRequest, adapter: HubAdapter) -> str:
    """Return the code that an adapter gets.

    Raises:
        LanguageError: It is none.
    """
    if request.lang is not None:
        return parse_language(request.lang).code
    try:
        return parse_language(adapter.name).code
    except LanguageError as error:
        raise LanguageError(
            f"The adapter in {request.source} is called {shown(adapter.name)}, which is not the "
            "code of a language.",
            hint="Give it one with --lang CODE, such as quz_PE.",
        ) from error


def _notes(request: ConvertRequest, adapter: HubAdapter, base: Checkpoint) -> Iterator[str]:
    yield (
        f"AdapterHub's form does not say which weights an adapter was trained with; the pack says "
        f"those of {request.base}."
    )
    if adapter.has_head:
        yield "The head beside the adapter is no part of a language and was left out."
    needed = TORCH_NAMES[base.adapter_dtype]
    if adapter.dtype != needed:
        yield (
            f"The adapter is in {adapter.dtype} and the adapters of {request.base} are in "
            f"{needed}, so that it cannot be installed there."
        )
