"""The options of `push`, and those by which other commands publish what they wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, option
from xmod_extend.packs.description import LICENSE

What = Literal["full", "pack"]


def check_repo_id(repo_id: str) -> None:
    """Refuse what is not USER/NAME.

    Raises:
        UsageError: It has another form, or the Hub does not allow it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    hint = "Write USER/NAME, such as my-name/xmod-base-quz."
    if "@" in repo_id:
        raise UsageError(
            f"{repo_id} names a revision; what is published goes to the main branch.",
            hint="Leave the @ out, or offer a change with --create-pr.",
        )
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id} is not a name that the Hub allows.", hint=hint) from error
    if "/" not in repo_id:
        raise UsageError(f"{repo_id} does not say whose repository it is.", hint=hint)


@dataclass(frozen=True, kw_only=True)
class PushOptions(OptionGroup):
    """What is published, and where."""

    PANEL = "What"

    repo: str = option("Repository on the Hub; made if it is not there.", metavar="USER/NAME")
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
        rules=[(lambda text: bool(LICENSE.fullmatch(text)), "an identifier, such as cc-by-4.0")],
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
        check_repo_id(self.repo)
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
    )
    private: bool = option(
        "Make the repository of --push-to-hub private, if it is new.", default=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.push_to_hub is not None:
            check_repo_id(self.push_to_hub)
        elif self.private:
            raise UsageError(
                "--private is about the repository of --push-to-hub, which is not given.",
                hint="Name the repository with --push-to-hub USER/NAME, or leave --private out.",
            )
