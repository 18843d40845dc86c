"""Publishing a checkpoint or a pack: looked at, compared, sent in one commit, and checked.

    folder looked at -> logged in -> repository looked at -> card merged and validated
        -> compared -> sent in one commit -> listed and compared -> tagged

Until something is sent nothing is changed on the Hub; what is there already is never sent again.
"""

from __future__ import annotations

import fnmatch
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import xmod_extend
from xmod_extend.arguments import PathOrName, as_path
from xmod_extend.errors import HubError, UsageError
from xmod_extend.files.sizes import describe_size
from xmod_extend.hub.publish import (
    OutgoingFile,
    UploadPlan,
    create_repository,
    find_origins,
    plan_upload,
    rejected_metadata,
    validate_card,
)
from xmod_extend.hub.remote import Remote, log_in, look_at
from xmod_extend.hub.sending import Message, check_sent, send, tag_state
from xmod_extend.jobs.callbacks import Callback, choose_callback
from xmod_extend.jobs.publication import (
    Publication,
    planned_publication,
    sent_publication,
)
from xmod_extend.jobs.published_card import PublishedCard, commit_description, make_card
from xmod_extend.jobs.published_folder import (
    PublishedFolder,
    inspect_folder,
)
from xmod_extend.jobs.push_checks import Change, check_repository
from xmod_extend.jobs.push_options import PublishOptions, PushOptions, What
from xmod_extend.jobs.sharing_options import PackOptions
from xmod_extend.model.extension import CARD_NAME
from xmod_extend.report.card_metadata import check_metadata


def push_to_hub(
    folder: PathOrName,
    repo: str,
    *,
    what: What | None = None,
    lang: str | None = None,
    license: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    plan: bool = False,
    force: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
) -> Publication:
    """Publish a checkpoint or a language pack on the Hub, in one commit.

    Whose token is used, and which Hub, is what huggingface_hub finds: `hf auth login`, `HF_TOKEN`,
    `HF_ENDPOINT`. What the Hub has is not sent again, and the base's weights are copied there.

    Args:
        folder: A checkpoint, a slice, or a language pack.
        repo: Repository as USER/NAME; it is made if it is not there.
        what: The whole checkpoint, or one language of it as a pack; by default what `folder` is.
        lang: Language to pack; by default the one that was added.
        license: Licence to name in the card.
        private: Make a new repository private.
        create_pr: Offer the change as a pull request to a repository that exists.
        plan: Find out what would be published, and change nothing.
        force: Publish although the repository holds something else, or languages that `folder`
            lacks.
        callback: Hears of the progress, in place of the display.
        progress: Whether progress and warnings are shown if there is no callback.

    Raises:
        UsageError: There is no such folder, or weights in it were changed since they were written.
        ModelError: It is neither a checkpoint nor a pack.
        HubError: The Hub cannot be reached, or refuses it.
    """
    options = PushOptions.from_values(
        repo=repo,
        what=what,
        lang=lang,
        license=license,
        private=private,
        create_pr=create_pr,
        plan=plan,
        force=force,
    )
    with choose_callback(callback, progress) as callback:
        return run_push(as_path("folder", folder).expanduser(), options, callback)


def run_push(folder: Path, options: PushOptions, callback: Callback) -> Publication:
    """Do `push_to_hub` for options that are already checked."""
    callback.on_stage(f"Looking at {folder}")
    with _what_is_meant(folder, options, callback) as published:
        for note in published.notes:
            callback.on_note(note)
        callback.on_stage(f"Looking at {options.repo} on the Hub")
        log_in(options.repo)
        return _publish(published, look_at(options.repo), options, callback)


@contextmanager
def _what_is_meant(
    folder: Path, options: PushOptions, callback: Callback
) -> Iterator[PublishedFolder]:
    """Yield the folder, or a pack of one of its languages that lasts as long as the block."""
    published = inspect_folder(folder)
    if options.what in (None, published.what):
        if options.lang is not None:
            raise UsageError(
                "--lang names the language of --what pack, which is made of a checkpoint.",
                hint="Leave it out, or give --what pack and a checkpoint.",
            )
        yield published
        return
    if options.what == "full":
        raise UsageError(
            f"{folder} is a language pack, which is a part of a checkpoint.",
            hint="Make a checkpoint of it with `xmod-extend install`, or publish it as a pack.",
        )
    with tempfile.TemporaryDirectory(prefix="xmod-extend-") as temporary:
        pack = Path(temporary) / options.repo.rsplit("/", 1)[-1]
        _pack(folder, pack, _language_to_pack(published, options.lang), options, callback)
        yield inspect_folder(pack)


def _language_to_pack(published: PublishedFolder, lang: str | None) -> str:
    if lang is not None:
        return lang
    if len(published.added) != 1:
        raise UsageError(
            f"{published.path} has {len(published.added)} languages that were added, so that it is "
            "not clear which one is meant.",
            hint="Name it with --lang.",
        )
    return published.added[0]


def _pack(
    folder: Path, output: Path, language: str, options: PushOptions, callback: Callback
) -> None:
    from xmod_extend.jobs.pack import run_pack

    chosen = PackOptions(lang=language, output=output, license=options.license)
    run_pack(str(folder), chosen, callback)


def _publish(
    published: PublishedFolder, remote: Remote, options: PushOptions, callback: Callback
) -> Publication:
    change = check_repository(remote, published, options)
    card = make_card(remote, published, options.license)
    for note in card.notes:
        callback.on_warning(note)
    if card.text is not None and (problems := check_metadata(card.text)):
        raise rejected_metadata(problems)
    plan = _plan(published, remote, card, change, callback)
    for line in _describe(plan, remote, options):
        callback.on_note(line)
    # Asked before anything is made or sent.
    is_validated = card.text is None or validate_card(card.text, options.repo)
    publication = planned_publication(published, remote, card, plan, options)
    if options.plan or plan.is_empty:
        return publication
    if not remote.exists:
        create_repository(options.repo, private=options.private)
        remote = look_at(options.repo)
        plan = replace(
            plan_upload(remote, (*plan.changed, *plan.unchanged), ()), origins=plan.origins
        )
    size = plan.upload_bytes
    callback.on_stage(f"Uploading {describe_size(size)} to {options.repo}")
    description = commit_description(xmod_extend.__version__, card)
    message = Message(title=change.title, description=description)
    sent = send(
        remote,
        plan,
        message,
        create_pr=options.create_pr,
        card_is_validated=is_validated,
        tell=callback.on_note,
    )
    callback.on_stage("Checking what the Hub has now")
    check_sent(remote, plan, sent)
    tag = change.tag
    if tag is not None and (options.create_pr or not tag_state(remote, tag, callback.on_warning)):
        tag = None
    return sent_publication(publication, remote, plan, sent, tag)


def _plan(
    published: PublishedFolder,
    remote: Remote,
    card: PublishedCard,
    change: Change,
    callback: Callback,
) -> UploadPlan:
    """Compare the folder with the repository."""
    callback.on_stage("Comparing the files by their hashes")
    outgoing = list(published.files)
    if card.text is not None:
        outgoing.append(OutgoingFile(CARD_NAME, card.text.encode("utf-8")))
    removable = [
        name
        for name in remote.files
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in change.replaced)
    ]
    plan = plan_upload(remote, outgoing, removable)
    record = published.record
    if record is None or record.base.commit is None or not plan.changed:
        return plan
    origins = find_origins(plan.changed, record.base.source, record.base.commit)
    return replace(plan, origins=origins)


def _describe(plan: UploadPlan, remote: Remote, options: PushOptions) -> Sequence[str]:
    """Return what a plan does, a line for each file."""
    if plan.is_empty:
        return [f"{options.repo} has all {len(plan.unchanged)} files already; nothing to commit"]
    lines = []
    if not remote.exists:
        lines.append(f"a new {'private' if options.private else 'public'} repository")
    for file in plan.changed:
        origin = plan.origins.get(file.name)
        how = f"copied on the server from {origin.repo_id}" if origin else "uploaded"
        lines.append(f"{file.name}, {describe_size(file.size)}: {how}")
    lines += [f"{name}: removed, for the folder has it no more" for name in plan.removed]
    if plan.unchanged:
        lines.append(f"{len(plan.unchanged)} files are there already")
    lines.append(f"{describe_size(plan.upload_bytes)} to upload")
    return lines


def publish_added(options: PublishOptions, output: Path, callback: Callback) -> Publication | None:
    """Publish a checkpoint that was just written, if that was asked for.

    Raises:
        HubError: It could not be published. The checkpoint stands, and the hint has the command
            that goes on.
    """
    if options.push_to_hub is None or os.environ.get("RANK", "0") != "0":
        return None
    chosen = PushOptions(repo=options.push_to_hub, private=options.private)
    try:
        return run_push(output.expanduser(), chosen, callback)
    except (HubError, UsageError) as error:
        command = f"xmod-extend push {shlex.quote(str(output))} --repo {chosen.repo}"
        command += " --private" if chosen.private else ""
        raise HubError(
            f"{output} is written and verified, but was not published: {error.message}",
            hint=f"{error.hint or ''} Then go on with `{command}`.".strip(),
        ) from error
