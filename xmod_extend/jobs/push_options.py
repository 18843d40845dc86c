"""The options of `push`, and those by which other commands publish what they wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, Rule, option
from xmod_extend.report.licenses import as_license

What = Literal["full", "pack"]


def _is_repository(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


REPOSITORY: Rule = (
    _is_repository,
    "USER/NAME as the Hub allows it, without a revision, such as my-name/xmod-base-quz",
)


@dataclass(frozen=True, kw_only=True)
class PushOptions(OptionGroup):
    """What is published, and where."""

    PANEL = "What"

    repo: str = option(
        "Repository on the Hub; made if it is not there.", metavar="USER/NAME", rules=[REPOSITORY]
    )
    what: What | None = option(
        "The whole checkpoint, or one language of it as a pack.",
        default=None,
        default_text="what DIR is",
    )
    lang: str | None = option(
        "Language to pack with --what pack.",
        default=None,
        default_text="the one that was added",
        metavar="CODE",
    )
    license: str | None = option(
        "Licence to name in the card, as the Hub spells it, such as cc-by-4.0.",
        default=None,
        default_text="the card's own",
        metavar="ID",
        read=as_license,
    )
    private: bool = option("Make a new repository private.", default=False)
    create_pr: bool = option(
        "Offer the change as a pull request to a repository that exists.", default=False
    )
    plan: bool = option("Show what would be published, and change nothing.", default=False)
    force: bool = option(
        "Publish although the repository holds something else, or languages that DIR lacks.",
        default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.private and self.create_pr:
            raise UsageError(
                "--private is for a new repository, and --create-pr for one that exists.",
                hint="Leave one of the two out.",
            )


@dataclass(frozen=True, kw_only=True)
class PublishOptions(OptionGroup):
    """Publishing what was written."""

    PANEL = "Output"

    push_to_hub: str | None = option(
        "Publish the checkpoint there at the end, as `push` does.",
        default=None,
        default_text="it is not published",
        metavar="USER/NAME",
        rules=[REPOSITORY],
    )
    private: bool = option(
        "Make the repository of --push-to-hub private, if it is new.", default=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.private and self.push_to_hub is None:
            raise UsageError(
                "--private is about the repository of --push-to-hub, which must be given.",
                hint="Name the repository with --push-to-hub USER/NAME, or leave --private out.",
            )
