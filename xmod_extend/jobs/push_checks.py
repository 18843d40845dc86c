"""Whether a repository may become what a folder is, and what changes for its users."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xmod_extend.errors import HubError, UsageError
from xmod_extend.hub.remote import Remote, refuse_public
from xmod_extend.jobs.published_folder import PublishedFolder, remote_languages
from xmod_extend.jobs.push_options import PushOptions
from xmod_extend.model.config import CONFIG_NAME
from xmod_extend.packs.description import DESCRIPTION_NAME

OF_A_CHECKPOINT = (
    *("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    *("run.json", "run-*.json", "metrics.jsonl", "metrics-*.jsonl", "report.html", "report-*.html"),
)
"""Files that go when the folder has them no more: transformers would prefer an old
`model.safetensors` to the index."""
_OF_OTHERS = (*OF_A_CHECKPOINT, CONFIG_NAME, DESCRIPTION_NAME, "pytorch_model*.bin*")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf", ".ckpt")

Kind = Literal["nothing", "full", "pack", "other"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of a repository.

    Attributes:
        title: Of the commit.
        replaced: Patterns of files that go if the folder lacks them.
        tag: Name for the state before, if that is worth a name.
    """

    title: str
    replaced: tuple[str, ...]
    tag: str | None


def check_repository(remote: Remote, published: PublishedFolder, options: PushOptions) -> Change:
    """Return what becomes of a repository, or refuse it.

    Raises:
        HubError: It is not there, shown to everybody, or unreadable.
        UsageError: It holds something else, or languages that would be lost.
    """
    if options.create_pr and not remote.exists:
        raise HubError(
            f"{remote.repo_id} does not exist, or is not shown to this account, so that no pull "
            "request can be made.",
            hint="Check the spelling, or leave --create-pr out to make it.",
        )
    if options.private:
        refuse_public(remote)
    kind, there = _look_inside(remote)
    if kind not in ("nothing", published.what) and not options.force:
        named = {
            "full": "a whole checkpoint",
            "pack": "a language pack",
            "other": "something else than an X-MOD",
        }
        raise UsageError(
            f"{remote.repo_id} holds {named[kind]}, and {published.path} is "
            f"{named[published.what]}.",
            hint="Choose another repository, or replace what is there with --force.",
        )
    here = published.languages
    if not options.force:
        _check_languages(remote, published, there)
    new = [code for code in here if code not in there]
    lost = [code for code in there if code not in here]
    names = (new or lost) if kind != "nothing" else []
    return Change(
        title=_title(published, new, kind),
        replaced=()
        if kind == "nothing"
        else OF_A_CHECKPOINT
        if kind == published.what
        else _OF_OTHERS,
        tag=f"before-{names[0]}" if names and remote.commit is not None else None,
    )


def _look_inside(remote: Remote) -> tuple[Kind, list[str]]:
    """Return what a repository holds, and its languages."""
    if CONFIG_NAME in remote.files:
        languages = remote_languages(remote.read(CONFIG_NAME))
        return ("other", []) if languages is None else ("full", languages)
    if DESCRIPTION_NAME in remote.files:
        language = _pack_language(remote.read(DESCRIPTION_NAME))
        return ("other", []) if language is None else ("pack", [language])
    has_weights = any(name.endswith(_WEIGHTS) for name in remote.files)
    return ("other" if has_weights else "nothing"), []


def _pack_language(description: str | None) -> str | None:
    try:
        values = json.loads(description or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("model_type") != "xmod":
        return None
    language = values.get("language")
    return language if isinstance(language, str) else None


def _check_languages(remote: Remote, published: PublishedFolder, there: Sequence[str]) -> None:
    """Refuse to take a language away from a repository's users, or to give it another id."""
    lost = [code for code in there if code not in published.languages]
    if lost:
        raise UsageError(
            f"{remote.repo_id} has languages that {published.path} lacks: {_listed(lost)}.",
            hint="Add to the checkpoint that is published (--base "
            f"{remote.repo_id}), choose another repository, or take them away with --force.",
        )
    if list(published.languages[: len(there)]) != list(there):
        raise UsageError(
            f"The languages of {remote.repo_id} have other ids in {published.path}, which would "
            "change what its users' `lang_ids` mean.",
            hint="Choose another repository, or use --force.",
        )


def _title(published: PublishedFolder, new: Sequence[str], kind: Kind) -> str:
    if published.what == "pack":
        verb = "Update" if kind == "pack" else "Publish"
        return f"{verb} the language pack {published.languages[0]}"
    if kind == "full":
        return f"Add {_listed(new)}" if new else "Update the checkpoint"
    added = published.added
    return f"Publish an X-MOD with {_listed(added)}" if added else "Publish an X-MOD"


def _listed(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - 5} more" if len(codes) > 5 else ""
    return ", ".join(codes[:5]) + more
