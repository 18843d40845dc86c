"""Labelled text for a task: sentences whose words, or which themselves, have labels.

    form       read from                                       an example is
    CoNLL-U    .conllu, or ten columns                         a sentence; a label a word
    columns    word and label a line, a blank line between     a sentence; a label a word
    table      .tsv, .csv, .jsonl, .parquet with named fields  a sentence, or two, with one label

All may be compressed. Such files are small beside a corpus, and are read as a whole.

Source: https://universaldependencies.org/format.html for CoNLL-U; Ramshaw and Marcus 1995 for the
labels of spans, in the variant IOB2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xmod_extend.errors import CorpusError
from xmod_extend.text.cleaning import clean_line
from xmod_extend.text.columns import missing_field
from xmod_extend.text.formats import COMPRESSIONS, Format, require_regular, unreadable
from xmod_extend.text.labelled_tables import TABLES, read_table
from xmod_extend.text.reading import read_content
from xmod_extend.text.sniffing import explain_undecodable
from xmod_extend.text.sources import Source

Task = Literal["token", "span", "sentence", "pair"]
WORD_TASKS: tuple[Task, ...] = ("token", "span")
"""Tasks with a label for each word."""

CONLLU_FIELDS = "ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC".split()
LABEL_FIELDS = ("label", "category")
"""Where the label of a table is looked for."""
TEXT_FIELDS: tuple[tuple[str, ...], ...] = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("text",),
    ("sentence",),
)
"""Where the text of a table is looked for; two of them are a pair."""

_SPAN_LABEL = re.compile(r"O|[BI]-.+")
_UNANNOTATED = "_"


@dataclass(frozen=True)
class Example:
    """A sentence, or a pair of them, and what is right of it."""

    texts: tuple[str, ...]
    """Words, where these have labels; else the sentence, or the two of a pair."""
    labels: tuple[str | None, ...]
    """The label of each word, None where there is none; else one label."""
    text: str
    """All of it as running text."""


@dataclass(frozen=True)
class LabelledText:
    """The examples of a file."""

    name: str
    task: Task
    examples: tuple[Example, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, sorted."""
        found = {label for example in self.examples for label in example.labels}
        return tuple(sorted(label for label in found if label is not None))


def read_labelled(
    path: str | Path,
    *,
    task: Task | None = None,
    text_field: str | None = None,
    label_field: str | None = None,
) -> LabelledText:
    """Read a file of labelled text.

    Args:
        path: The file.
        task: What is labelled; found by the form of the file if None.
        text_field: Field of a table with the text; of a pair two, with a comma between.
        label_field: Field with the label, in CoNLL-U one of its columns; by default UPOS there, and
            `label` or `category` in a table.

    Raises:
        CorpusError: The file is missing, empty, of another form, or lacks a field.
    """
    source = _find_source(Path(path))
    content = read_content(source)
    if not content.strip():
        raise CorpusError(f"{source.name} is empty.", hint="Give a file with labelled examples.")
    text = "" if source.format == "parquet" else _decode(source, content)
    form = _form_of(source, text, task)
    if task is not None and (form == "table") == (task in WORD_TASKS):
        what = "a table, with labels of texts" if form == "table" else "words with a label each"
        raise CorpusError(
            f"{source.name} holds {what}, but the task is {task}.",
            hint="Leave --task out, or give a file of the form that the task has.",
        )
    if form == "table":
        examples = _read_table(source, content, text, task, text_field, label_field)
    elif form == "conllu":
        examples = list(_read_conllu(source.name, text, label_field or "UPOS"))
    else:
        examples = list(_read_columns(source.name, text))
    if not any(label is not None for example in examples for label in example.labels):
        raise CorpusError(
            f"{source.name} has no labelled example.",
            hint="Give a file with labels, or name the field that holds them with --label-field.",
        )
    if task == "span":
        _require_spans(source.name, examples)
    return LabelledText(source.name, task or _task_of(form, examples), tuple(examples))


def _find_source(path: Path) -> Source:
    """Return a file that exists, by the form that its name tells."""
    name = str(path)
    path = path.expanduser()
    stem = path.name.lower()
    if path.suffix.lower() in COMPRESSIONS:
        stem = stem.removesuffix(path.suffix.lower())
    file_format: Format = TABLES.get(Path(stem).suffix, "text")
    if not path.exists():
        raise CorpusError(f"{name} does not exist.", hint="Check the path.")
    if path.is_dir():
        raise CorpusError(f"{name} is a folder, not a file.", hint="Name the file of the task.")
    try:
        require_regular(path, name)
    except OSError as error:
        raise unreadable(name, error) from error
    return Source(path, name, file_format)


def _decode(source: Source, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise explain_undecodable(source.name, source.path, error, number, 0) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _form_of(source: Source, text: str, task: Task | None) -> Literal["conllu", "columns", "table"]:
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("# ")]
    first = lines[0].split("\t") if lines else []
    if source.format in ("jsonl", "csv", "parquet"):
        return "table"
    is_named_so = ".conllu" in source.path.suffixes
    if is_named_so or (len(first) == len(CONLLU_FIELDS) and first[0].split("-")[0].isdecimal()):
        return "conllu"
    # A table has no blank lines; sentences of words and labels have them between.
    is_parted = len(first) == 2 and "\n\n" in text.strip("\n")
    if source.format == "tsv" and not (is_parted or task in WORD_TASKS):
        return "table"
    return "columns"


def _task_of(form: str, examples: Sequence[Example]) -> Task:
    if form == "table":
        return "pair" if len(examples[0].texts) == 2 else "sentence"
    labels = [label for example in examples for label in example.labels if label is not None]
    are_spans = all(map(_SPAN_LABEL.fullmatch, labels)) and set(labels) != {"O"}
    return "span" if are_spans else "token"


def _require_spans(name: str, examples: Sequence[Example]) -> None:
    for example in examples:
        for label in example.labels:
            if label is not None and not _SPAN_LABEL.fullmatch(label):
                raise CorpusError(
                    f"{name} has the label {label}, but the task is span.",
                    hint="Labels of spans are O, B-TYPE and I-TYPE; leave --task out for others.",
                )


def _read_conllu(name: str, text: str, field: str) -> Iterator[Example]:
    if field.upper() not in CONLLU_FIELDS:
        raise missing_field(name, field, CONLLU_FIELDS, option="--label-field", what="label")
    column = CONLLU_FIELDS.index(field.upper())
    number = 0
    for block in text.split("\n\n"):
        words, labels, raw = [], [], None
        for line in block.split("\n"):
            number += 1
            if not line.strip():
                continue
            if line.startswith("#"):
                raw = line.removeprefix("# text = ") if line.startswith("# text = ") else raw
                continue
            fields = line.split("\t")
            if len(fields) != len(CONLLU_FIELDS):
                raise CorpusError(
                    f"{name}:{number} has {len(fields)} fields; a line of CoNLL-U has "
                    f"{len(CONLLU_FIELDS)}, with tabs between.",
                    hint="Mend the line, or name the form with --task.",
                )
            # 3-4 is a contraction of the words 3 and 4, and 3.1 a word that is left out.
            if fields[0].isdecimal():
                words.append(clean_line(fields[1]))
                labels.append(None if fields[column] == _UNANNOTATED else fields[column])
        number += 1
        if words:
            running = clean_line(raw) if raw else " ".join(words)
            yield Example(tuple(words), tuple(labels), running)


def _read_columns(name: str, text: str) -> Iterator[Example]:
    words: list[str] = []
    labels: list[str | None] = []
    for number, line in enumerate((text + "\n\n").split("\n"), start=1):
        # A tab stands between the two where there is one: a word may have spaces in it.
        fields = line.strip("\n").split("\t") if "\t" in line else line.split()
        if not line.strip():
            if words:
                yield Example(tuple(words), tuple(labels), " ".join(words))
            words, labels = [], []
        elif fields[0] == "-DOCSTART-" or (line.startswith("#") and len(fields) != 2):
            continue
        elif len(fields) != 2 or not all(map(str.strip, fields)):
            raise CorpusError(
                f"{name}:{number} has {len(fields)} fields; a word and its label are needed.",
                hint="Write a word and its label a line, and a blank line between sentences.",
            )
        else:
            words.append(clean_line(fields[0]))
            labels.append(fields[1].strip())


def _read_table(
    source: Source,
    content: bytes,
    text: str,
    task: Task | None,
    text_field: str | None,
    label_field: str | None,
) -> list[Example]:
    table = read_table(source, content if source.format == "parquet" else text.encode())
    names = list(table)
    texts = _text_fields(source.name, names, task, text_field)
    labels = [label_field] if label_field else [name for name in LABEL_FIELDS if name in names]
    if not labels or labels[0] not in names:
        wanted = label_field or " or ".join(LABEL_FIELDS)
        raise missing_field(source.name, wanted, names, option="--label-field", what="label")
    examples = []
    for number, row in enumerate(
        zip(*(table[name] for name in (*texts, labels[0])), strict=True), start=1
    ):
        *sentences, label = row
        if any(value is None or not str(value).strip() for value in row):
            raise CorpusError(
                f"{source.name} has no text or no label in row {number:,}.",
                hint="Leave the row out, or mend it.",
            )
        cleaned = tuple(clean_line(str(sentence)) for sentence in sentences)
        examples.append(Example(cleaned, (str(label).strip(),), " ".join(cleaned)))
    return examples


def _text_fields(
    name: str, names: list[str], task: Task | None, text_field: str | None
) -> tuple[str, ...]:
    """Return the fields with the text: one, or the two of a pair."""
    needed = {"sentence": 1, "pair": 2}.get(task or "")
    if text_field:
        chosen = tuple(part.strip() for part in text_field.split(","))
        absent = [part for part in chosen if part not in names]
        if absent:
            raise missing_field(name, absent[0], names)
        if len(chosen) > 2 or needed not in (None, len(chosen)):
            raise CorpusError(
                f"--text-field names {len(chosen)} fields.",
                hint="Name one for sentences, or two with a comma between for pairs.",
            )
        return chosen
    known = [fields for fields in TEXT_FIELDS if needed in (None, len(fields))]
    for fields in known:
        if set(fields) <= set(names):
            return fields
    raise missing_field(name, " or ".join(",".join(fields) for fields in known), names)
