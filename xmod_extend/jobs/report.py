"""The reports of an extended checkpoint, written again from its run records."""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateError

from xmod_extend.arguments import PathOrName, as_path
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.files.documents import write_document
from xmod_extend.model.extension import RECORD_NAME
from xmod_extend.report.html import html_report, is_report
from xmod_extend.report.record import read_record


def write_report(checkpoint: PathOrName) -> tuple[Path, ...]:
    """Write report.html into an extended checkpoint again, and return its path.

    A checkpoint with several added languages gets one for each: `report.html` of the last one, and
    `report-CODE.html` of those before, as their records are named. Nothing but the records is read,
    so that it takes no model and no text.

    Args:
        checkpoint: Folder that `add_language` wrote.

    Raises:
        UsageError: There is no such folder, or it cannot be written, or a file of yours has the
            name.
        ModelError: There is no run record in it, or one that cannot be read.
    """
    folder = as_path("checkpoint", checkpoint).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is {'a file' if folder.exists() else 'not there'}.",
            hint="Give the folder of a checkpoint that `add` wrote.",
        )
    last = folder / RECORD_NAME
    if not last.is_file():
        raise ModelError(
            f"{folder} has no {RECORD_NAME}, which a report is made from.",
            hint="Give the folder of a checkpoint that `add` wrote.",
        )
    earlier = sorted(folder.glob(RECORD_NAME.replace(".", "-*.")))
    pages = {_report_name(file): _render(file) for file in (last, *earlier)}
    return tuple(
        write_document(folder, name, page, is_ours=is_report) for name, page in pages.items()
    )


def _report_name(record: Path) -> str:
    """Return the name of the report of a record: report-CODE.html of run-CODE.json."""
    return record.with_suffix(".html").name.replace("run", "report", 1)


def _render(file: Path) -> str:
    """Return the report of a record.

    Raises:
        ModelError: It is damaged, or of another version.
    """
    record = read_record(file)
    try:
        return html_report(record)
    except (TypeError, ValueError, KeyError, AttributeError, TemplateError) as error:
        # Whoever edited it by hand may have left any value anywhere.
        raise ModelError(
            f"{file} is not a run record that this version can read "
            f"({type(error).__name__}: {error}).",
            hint="Install the newest version of xmod-extend, or take the file as it was written.",
        ) from error
