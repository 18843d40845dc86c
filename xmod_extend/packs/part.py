"""A pack as a part of the checkpoint that it is installed into, perhaps under another code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import ModelError
from xmod_extend.model.config_text import edit_config
from xmod_extend.model.extension import RECORD_NAME, REPORT_NAME, earlier_name
from xmod_extend.model.names import rename_language
from xmod_extend.model.shards import FileShard, Shard, TensorShard
from xmod_extend.model.tensors import source_of
from xmod_extend.packs.description import weights_name
from xmod_extend.packs.pack import Pack
from xmod_extend.report.html import html_report
from xmod_extend.report.record import RunRecord, read_record


@dataclass(frozen=True, kw_only=True)
class PackPart:
    """A pack with all that is known of it before anything is written.

    Attributes:
        code: The language's code in the checkpoint.
        record: Its run record, under that code.
        difference: How the shared weights differ from those it was trained against, if they do.
    """

    pack: Pack
    code: str
    record: RunRecord | None
    difference: str | None

    @property
    def is_renamed(self) -> bool:
        """Whether the language gets another code than it has in the pack."""
        return self.code != self.pack.language

    def shard(self) -> Shard:
        """Return its file byte for byte, or its tensors under the new code."""
        file = self.pack.weights
        if not self.is_renamed:
            return FileShard(weights_name(self.code), file)
        return TensorShard(
            weights_name(self.code),
            {self.new_name(name): source_of(file, name) for name in file.names},
        )

    def new_name(self, name: str) -> str:
        """Return what a tensor of the pack is called in the checkpoint."""
        return rename_language(name, self.pack.language, self.code)


def read_pack_record(pack: Pack, code: str) -> tuple[RunRecord | None, str | None]:
    """Return a pack's run record under a code, or None and why it is of no use."""
    if pack.record_file is None:
        return None, None
    try:
        record = read_record(pack.record_file)
    except ModelError as error:
        return None, error.message
    if record.language != pack.language:
        return None, "it tells of another language"
    record = dataclasses.replace(record, language=code)
    try:
        html_report(record)
    except Exception as error:  # whatever a stranger left there
        return None, f"no report can be made of it ({type(error).__name__})"
    return record, None


def record_files(parts: Sequence[PackPart]) -> dict[str, Path]:
    """Return the records that come along as they are, by their names in the checkpoint."""
    return {
        _document_name(RECORD_NAME, part, parts): part.pack.record_file
        for part in parts
        if part.record is not None and part.pack.record_file is not None and not part.is_renamed
    }


def renamed_records(parts: Sequence[PackPart]) -> dict[str, str]:
    """Return the texts of records whose languages get another code, which they name."""
    return {
        _document_name(RECORD_NAME, part, parts): edit_config(
            part.pack.record_file.read_text(encoding="utf-8"), {"language": part.code}
        )
        for part in parts
        if part.record is not None and part.pack.record_file is not None and part.is_renamed
    }


def reports(parts: Sequence[PackPart]) -> dict[str, str]:
    """Return the pages that show the results of those that have a record."""
    return {
        _document_name(REPORT_NAME, part, parts): html_report(part.record)
        for part in parts
        if part.record is not None and part.record.evaluation is not None
    }


def _document_name(name: str, part: PackPart, parts: Sequence[PackPart]) -> str:
    is_last = part is parts[-1]
    return name if is_last else earlier_name(name, part.code)
