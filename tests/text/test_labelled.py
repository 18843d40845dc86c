"""Labelled text in every form, and each thing that may be wrong with it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from xmod_extend.errors import CorpusError
from xmod_extend.text.labelled import Example, read_labelled

CONLLU = (
    "# sent_id = 1\n# text = Del gato.\n1-2\tDel\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tDe\tde\tADP\tprep\t_\t3\tcase\t_\t_\n2\tel\tel\tDET\t_\t_\t3\tdet\t_\t_\n"
    "2.1\tx\tx\tVERB\t_\t_\t_\t_\t_\t_\n3\tgato\tgato\tNOUN\t_\t_\t0\troot\t_\tSpaceAfter=No\n"
    "4\t.\t.\t_\t_\t_\t3\tpunct\t_\t_\n\n# sent_id = 2\n1\tSí\tsí\tINTJ\t_\t_\t0\troot\t_\t_\n"
)


Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, text: str | bytes) -> Path:
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path / name

    return put


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz", "a.txt"])
def test_conllu_has_its_words_without_contractions_and_empty_nodes(write: Write, name: str) -> None:
    text = read_labelled(write(name, CONLLU))
    assert text.task == "token" and text.labels == ("ADP", "DET", "INTJ", "NOUN")
    first, second = text.examples
    # A word without a tag has none, and is not called "_".
    assert first == Example(("De", "el", "gato", "."), ("ADP", "DET", "NOUN", None), "Del gato.")
    assert second == Example(("Sí",), ("INTJ",), "Sí")


def test_another_column_of_conllu_has_the_labels(write: Write) -> None:
    path = write("a.conllu", CONLLU)
    assert read_labelled(path, label_field="deprel").labels == ("case", "det", "punct", "root")


@pytest.mark.parametrize("name", ["a.iob2", "a.txt", "a.tsv", "a"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_word_and_its_label_a_line_are_spans_or_words(
    write: Write, name: str, ending: str
) -> None:
    lines = ["# id 1 x", "Ana\tB-PER", "Luz\tI-PER", "ríe\tO", "", "#\tO", ""]
    text = read_labelled(write(name, ending.join(lines)))
    assert text.task == "span"
    assert [example.texts for example in text.examples] == [("Ana", "Luz", "ríe"), ("#",)]
    words = read_labelled(write("b.txt", "Ana NOUN\nríe VERB\n"))
    assert words.task == "token" and words.examples[0].labels == ("NOUN", "VERB")


def test_tables_are_sentences_or_pairs_by_the_names_of_their_fields(write: Write) -> None:
    # The columns of SIB-200 and of AmericasNLI; a quotation mark in a .tsv is text.
    sib = read_labelled(write("a.tsv", 'index_id\tcategory\ttext\n7\tgeo\tEl "río\n'))
    assert sib.task == "sentence" and sib.examples == (Example(('El "río',), ("geo",), 'El "río'),)
    nli = read_labelled(write("a.csv", 'premise,hypothesis,label\n"a, b",c,0\nd,e,1\n'))
    assert nli.task == "pair"
    assert nli.examples[0] == Example(("a, b", "c"), ("0",), "a, b c")
    path = write("a.jsonl", '{"x": "a", "y": 1}\n{"x": "b", "y": 0}\n')
    lines = read_labelled(path, text_field="x", label_field="y")
    assert lines.task == "sentence" and lines.labels == ("0", "1")


def test_parquet_is_a_table_too(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["a", "b"], "label": [3, 4]}), path)
    assert read_labelled(path).labels == ("3", "4")


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.csv", "", {}, "is empty"),
        ("a.conllu", "\n\n", {}, "is empty"),
        ("a.tsv", "text\tlabel\n", {}, "no labelled example"),
        ("a.conllu", "1\tx" + "\t_" * 8, {}, "no labelled example"),
        ("a.conllu", "1\tx\n", {}, r"a.conllu:1 has 2 fields; .*CoNLL-U"),
        ("a.conllu", CONLLU, {"label_field": "UPO"}, r"no field 'UPO'.*--label-field UPOS"),
        ("a.txt", "Ana NOUN x\n", {}, r"a.txt:1 has 3 fields"),
        ("a.txt", "Ana NOUN\nríe\n", {}, r"a.txt:2 has 1 fields"),
        ("a.tsv", "text\tkind\na\tb\n", {}, r"'label or category' \(found 'text', 'kind'\)"),
        ("a.tsv", "txt\tlabel\na\tb\n", {"text_field": "text"}, r"--text-field txt"),
        ("a.tsv", "text\tlabel\na\tb\n", {"task": "pair"}, r"no field 'premise,hypothesis or"),
        ("a.tsv", "a\tb\tc\n1\t2\t3\n", {"text_field": "a,b,c", "label_field": "a"}, "3 fields"),
        ("a.tsv", "text\tlabel\na\t\n", {}, r"no text or no label in row 1"),
        ("a.csv", "text,label\na\n", {}, r"not a valid csv table"),
        ("a.csv", "text,text,label\na,b,c\n", {}, "2 columns named 'text'"),
        ("a.csv", "text,label\na,b\n", {"task": "token"}, "labels of texts, but the task is token"),
        ("a.txt", "Ana NOUN\n", {"task": "pair"}, "a label each, but the task is pair"),
        ("a.txt", "Ana NOUN\n", {"task": "span"}, "has the label NOUN, but the task is span"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"te\n', {}, "not a valid jsonl table"),
        ("a.parquet", "no table", {}, "not a valid parquet table"),
        ("a.csv", b"text,label\n\xff\xfe,b\n", {}, "UTF-16|UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    write: Write, name: str, content: str | bytes, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(CorpusError) as caught:
        read_labelled(write(name, content), **options)
    assert name in caught.value.message or "--text-field" in caught.value.message
    assert re.search(expected, f"{caught.value.message} {caught.value.hint}"), caught.value


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.tsv"):
        with pytest.raises(CorpusError, match=r"does not exist|is a folder"):
            read_labelled(path)
