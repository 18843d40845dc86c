"""What `install` can refuse before a base is downloaded: by descriptions and config.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xmod_extend.errors import LanguageError, UsageError
from xmod_extend.files.atomic import OutputError
from xmod_extend.files.output_folder import recover
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.sharing_options import InstallOptions
from xmod_extend.jobs.transplant import pair_texts
from xmod_extend.languages import parse_language
from xmod_extend.model.base import BaseReference, resolve_base
from xmod_extend.model.config import check_extendable, config_languages
from xmod_extend.model.extension import check_default, describe_default
from xmod_extend.model.writer import check_output
from xmod_extend.packs.fitting import check_codes, check_shape, name_languages
from xmod_extend.packs.source import PackReference, resolve_pack
from xmod_extend.text.sources import check_paths


@dataclass(frozen=True, kw_only=True)
class InstallRequest:
    """A base and packs that fit it, as far as it is known without their weights.

    Attributes:
        codes: The code that each pack is installed under.
        texts: Code -> the text that it is scored on if it is transplanted.
    """

    base: BaseReference
    packs: tuple[PackReference, ...]
    codes: tuple[str, ...]
    texts: dict[str, str]
    options: InstallOptions


def check_install(
    base: str,
    packs: Sequence[str],
    renamed: Sequence[str],
    options: InstallOptions,
    callback: Callback,
) -> InstallRequest:
    """Check the base's config, what the packs say of themselves, the codes and the output.

    Raises:
        ModelError: The base is no X-MOD, a pack is none, or is of another shape.
        LanguageError: A code is taken, or is none.
        HubError: Something cannot be downloaded.
        UsageError: The output cannot be written, or a text is for no pack.
        CorpusError: A text is missing.
    """
    if not packs:
        raise UsageError("There is no pack to install.", hint="Name at least one pack.")
    reference = resolve_base(base, revision=options.revision)
    found = [resolve_pack(pack) for pack in packs]
    callback.on_stage(f"Looking at {reference.base} and {_counted(len(found))}")
    config = reference.load_config()
    check_extendable(config, reference.name)
    existing = config_languages(config)
    descriptions = [pack.describe() for pack in found]
    own = [description.language for description in descriptions]
    codes = name_languages(packs, own, renamed)
    for code, old in zip(codes, own, strict=True):
        if code != old:
            parse_language(code, existing=existing)
        _check_key(code)
    check_codes(codes, packs, existing)
    for description, pack in zip(descriptions, packs, strict=True):
        check_shape(description, pack, config, reference.base)
    if options.default_language is not None:
        old_default = config.get("default_language")
        check_default(options.default_language, [*existing, *codes])
        if options.default_language != old_default:
            callback.on_note(describe_default(old_default, options.default_language))
    texts = pair_texts(options.text, codes)
    check_paths(list(texts.values()))
    recover(options.output)
    with naming_replace():
        check_output(options.output, force=options.replace, source=reference.path)
        for pack_reference in found:
            if pack_reference.path is not None:
                check_output(options.output, force=options.replace, source=pack_reference.path)
    return InstallRequest(
        base=reference,
        packs=tuple(found),
        codes=tuple(codes),
        texts=texts,
        options=options,
    )


@contextmanager
def naming_replace() -> Iterator[None]:
    """Name the option that replaces a folder as `install` calls it."""
    try:
        yield
    except OutputError as error:
        message, hint, remedy = (
            str(text).replace("--force", "--replace")
            for text in (error.message, error.hint, error.remedy)
        )
        raise OutputError(message, hint=hint, remedy=remedy) from error


def _check_key(code: str) -> None:
    """Refuse a code that upstream cannot name a module by."""
    from torch import nn

    if hasattr(nn.ModuleDict, code):
        raise LanguageError(
            f"{code} cannot be the code of a language: PyTorch has another meaning for it.",
            hint=f"Give it another code: --as {code}=CODE.",
        )


def _counted(count: int) -> str:
    return "a pack" if count == 1 else f"{count} packs"
