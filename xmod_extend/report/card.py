"""The model card (README.md) of a checkpoint or a pack, made from run records alone.

The card is a Jinja template in `templates/card.md`, with a file for each part. Whatever comes from
a record is escaped, for a record may be a stranger's. A part is left out where there is nothing for
it.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import Environment

from xmod_extend.report import markdown, plain_words
from xmod_extend.report.axes import format_figure
from xmod_extend.report.card_language import DescribedLanguage, describe_language
from xmod_extend.report.card_metadata import front_matter, is_hub_id
from xmod_extend.report.html import format_percent
from xmod_extend.report.markdown import Markdown
from xmod_extend.report.pages import make_environment
from xmod_extend.report.record import RunRecord, describe_epochs
from xmod_extend.report.versions import own_version

MOST_FILES = 50
"""Files of the base whose hashes are listed."""


@dataclass(frozen=True, kw_only=True)
class CardSubject:
    """What a card tells of."""

    what: Literal["checkpoint", "slice", "pack"]
    name: str
    """The folder's short name, which the card's code loads until a repository is known."""
    languages: tuple[str, ...]
    """All codes of the checkpoint in their order, or the pack's one."""
    described: tuple[str, ...]
    """Codes that the card tells of: those that were added, all of a slice, or the pack's."""
    records: Mapping[str, RunRecord]
    """Those of `described` that have a record."""
    base_name: str
    base_id: str | None
    """The base on the Hub; None of one that is not there."""
    base_revision: str | None
    license: str | None
    """As the publisher named it; None if nothing was said."""
    default_language: str | None = None
    transplanted: tuple[str, ...] = ()
    """Codes whose adapters were trained against other shared weights than stand here."""


def model_card(subject: CardSubject) -> str:
    """Return the card in Markdown with the Hub's metadata; all its figures are from the records."""
    base_id = subject.base_id if is_hub_id(subject.base_id) else None
    languages = [
        describe_language(
            code,
            subject.records.get(code),
            index=subject.languages.index(code) if code in subject.languages else None,
            is_transplanted=code in subject.transplanted,
        )
        for code in subject.described
    ]
    recorded = [one for one in languages if one.record is not None]
    trained = [one for one in recorded if not one.is_transplanted]
    body = (
        _environment()
        .get_template("card.md")
        .render(
            subject=subject,
            languages=languages,
            num_before=len(subject.languages) - len(subject.described),
            recorded=recorded,
            trained=trained,
            shown=next((one for one in languages if one.example), languages[-1]),
            default=subject.default_language,
            base_id=base_id,
            base_name=_short_name(subject.base_name),
            base_files=_base_files(trained),
            license=(subject.license or "").removeprefix("other:"),
            version=_version(trained),
            installed=f"{_short_name(subject.base_name)}-{subject.described[-1]}",
        )
    )
    metadata = front_matter(
        languages,
        what=subject.what,
        name=subject.name,
        base_id=base_id,
        license=subject.license,
    )
    # Parts that were left out leave their empty lines.
    return f"---\n{metadata}\n---\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def card_for_repository(card: str, name: str, repo_id: str) -> str:
    """Return a card whose code loads a repository of the Hub; all else stays as it is.

    Args:
        card: What `model_card` returned, or somebody's edition of it.
        name: The folder's name that it was made with.
        repo_id: The repository, as USER/NAME.
    """
    literal, word = markdown.python_string(name), markdown.shell_word(name)
    installed = re.compile(rf"(xmod-extend install .*)(?<= ){re.escape(word)}(?= --output )")

    def rename(block: re.Match[str]) -> str:
        loading = block[0].replace(f"({literal}", f"({markdown.python_string(repo_id)}")
        return installed.sub(lambda match: match[1] + shlex.quote(repo_id), loading)

    return re.sub(r"^```(?:python|bash)\n.*?^```$", rename, card, flags=re.DOTALL | re.MULTILINE)


def _version(trained: list[DescribedLanguage]) -> str:
    """Return the version that trained the language that was added last, or this one."""
    record = trained[-1].record if trained else None
    return own_version() if record is None else record.versions.get("xmod-extend", own_version())


def _base_files(trained: list[DescribedLanguage]) -> dict[str, str]:
    """Return the weights of the base and their hashes, if all that was added left them as they
    were."""
    files = [language.record.base.files for language in trained if language.record is not None]
    if not files or any(not set(files[0].values()) <= set(one.values()) for one in files):
        return {}
    return dict(list(files[0].items())[:MOST_FILES])


def _short_name(name: str) -> str:
    """Return a name without the folders that it may stand in."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] or "base"


@functools.cache
def _environment() -> Environment:
    return make_environment(
        escape=markdown.escape,
        code=markdown.code,
        link=markdown.link,
        verbatim=markdown.verbatim,
        python=markdown.python_string,
        word=markdown.shell_word,
        path=markdown.address_part,
        braces=lambda text: Markdown(f"{{{markdown.verbatim(text)}}}"),
        heading=_heading,
        listed=_listed,
        count=lambda number: f"{number:,}",
        figure=format_figure,
        hundredths=lambda value: f"{value:.2f}" if abs(value) < 1e9 else format_figure(value),
        percent=format_percent,
        epochs=describe_epochs,
        language_of=plain_words.name_of,
    )


def _heading(depth: int) -> Markdown:
    return Markdown("#" * depth)


def _listed(names: Iterable[Any]) -> Markdown:
    """Return `A`, `A and B`, or `A, B and C`, each of them escaped."""
    escaped = [markdown.escape(name) for name in names]
    return Markdown(" and ".join(filter(None, [", ".join(escaped[:-1]), *escaped[-1:]])))
