"""The options of `pack`, `install`, `remove` and `slice`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xmod_extend.arguments import as_names, as_path_or_name
from xmod_extend.jobs.options import DefaultLanguageOptions
from xmod_extend.options import OptionGroup, option
from xmod_extend.report.licenses import as_license


@dataclass(frozen=True, kw_only=True)
class LicenseOptions(OptionGroup):
    """The terms of what is written."""

    PANEL = "What"

    license: str | None = option(
        "Licence of what is written, as the Hub spells it, such as cc-by-4.0. It is yours to name: "
        "nothing is assumed.",
        default=None,
        default_text="none",
        metavar="ID",
        read=as_license,
    )


@dataclass(frozen=True, kw_only=True)
class NewFolderOptions(OptionGroup):
    """The folder that is written."""

    PANEL = "Output"

    output: Path = option("Folder to write.", metavar="DIR")
    force: bool = option("Replace the output folder if xmod-extend wrote it.", default=False)


@dataclass(frozen=True, kw_only=True)
class PackOptions(NewFolderOptions, LicenseOptions):
    """All options of `pack` but the checkpoint."""

    PANEL = "What"

    lang: str = option("Code of one of its languages, such as quz_PE.", metavar="CODE")
    revision: str | None = option(
        "Branch, tag or commit of a checkpoint on the Hub.",
        default=None,
        default_text="its main branch",
        metavar="NAME",
    )


@dataclass(frozen=True, kw_only=True)
class InstallOptions(DefaultLanguageOptions, LicenseOptions):
    """All options of `install` but the base, the packs and their new codes.

    What --force is elsewhere has another name here: whoever accepts other shared weights should not
    thereby replace a folder, and whoever replaces a folder should not accept other weights.
    """

    PANEL = "What"

    revision: str | None = option(
        "Branch, tag or commit of a base on the Hub.",
        default=None,
        default_text="its main branch",
        metavar="NAME",
    )
    force: bool = option(
        "Transplant packs that were trained against other shared weights than the base has. It "
        "replaces no folder: that is --replace.",
        default=False,
    )
    text: tuple[str, ...] = option(
        "Text to score a transplanted adapter on, beside the base's best one: PATH, or CODE=PATH "
        "for each of several packs.",
        default=(),
        default_text="it is not scored",
        metavar="PATH",
    )
    output: Path = option("Folder of the new checkpoint.", metavar="DIR")
    replace: bool = option("Replace the output folder if xmod-extend wrote it.", default=False)


@dataclass(frozen=True, kw_only=True)
class RemoveOptions(NewFolderOptions, LicenseOptions):
    """All options of `remove` but the checkpoint."""

    PANEL = "What"

    lang: str = option("Code of the added language to leave out.", metavar="CODE")
    base: str | None = option(
        "The X-MOD that was extended: what it lacks was added.",
        default=None,
        default_text="the languages that run records tell of were added",
        metavar="BASE",
        read=as_path_or_name,
    )
    renumber: bool = option("Go on although later languages get other ids.", default=False)


def _as_codes(name: str, value: object) -> tuple[str, ...]:
    """Return codes of a list, or of a text with commas between them."""
    codes = (code.strip() for text in as_names(name, value) for code in text.split(","))
    return tuple(code for code in codes if code)


@dataclass(frozen=True, kw_only=True)
class SliceOptions(DefaultLanguageOptions, NewFolderOptions, LicenseOptions):
    """All options of `slice` but the checkpoint."""

    PANEL = "What"

    langs: tuple[str, ...] = option(
        "Codes of the languages to keep, with commas between them. They get their ids in this "
        "order.",
        metavar="CODES",
        read=_as_codes,
    )
    revision: str | None = option(
        "Branch, tag or commit of a checkpoint on the Hub.",
        default=None,
        default_text="its main branch",
        metavar="NAME",
    )
