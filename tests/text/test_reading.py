"""Reading files: line ends, encodings, JSON lines, tables, and what only looks like text."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import random
import shlex
import subprocess
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmod_extend.errors import CorpusError
from xmod_extend.text import reading
from xmod_extend.text.reading import Piece, read_blocks, split_block
from xmod_extend.text.sources import find_sources


def read(path: Path, **options: Any) -> list[str]:
    (source,) = find_sources([path], **options)
    return [line for block in read_blocks(source) for line in split_block(block)]


def refusal(path: Path, **options: Any) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        read(path, **options)
    return caught.value


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


Write = Callable[[str, bytes], Path]


def test_lines_end_at_the_three_line_ends_only(write: Write) -> None:
    content = "a\nb\r\nc\rd\u2028e\x0bf\x85g\x1ch\n\nlast"
    assert read(write("a.txt", content.encode())) == [
        "a",
        "b",
        "c",
        "d\u2028e\x0bf\x85g\x1ch",
        "",
        "last",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from([b"a", "ñ".encode(), b"\n", b"\r", b"\r\n", b" "])))
def test_blocks_do_not_change_the_lines(
    write: Write, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    content = b"".join(pieces)
    path = write("a.txt", content)
    expected = [line.decode() for line in content.splitlines()]
    for block in (1, 2, 3, 1 << 20):
        monkeypatch.setattr(reading, "_BLOCK_BYTES", block)
        assert read(path) == expected


def test_an_overlong_line_comes_in_pieces_of_little_memory(write: Write) -> None:
    path = write("a.txt", b"short\n" + "ñawi rumi ".encode() * 2_000_000 + b"\nend\n")
    (source,) = find_sources([path])
    tracemalloc.start()
    size = 0
    parts = []
    for block in read_blocks(source):
        for number, line in enumerate(split_block(block), block.number):
            is_first = number == block.number
            parts.append((number, block.piece if is_first else Piece.WHOLE))
            size += len(line)
            assert line.endswith((" ", "short", "end"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 20_000_000 + len("shortend")
    assert parts[:3] == [(1, Piece.WHOLE), (2, Piece.FIRST), (2, Piece.FURTHER)]
    assert parts[-1] == (3, Piece.WHOLE)
    assert peak < 16 << 20


def test_an_overlong_line_without_spaces_is_cut_between_characters(write: Write) -> None:
    text = "語" * 1_500_000
    assert "".join(read(write("a.txt", text.encode()))) == text


def test_gzip_is_read_and_its_damage_reported(write: Write) -> None:
    packed = gzip.compress("ñ\nb\n".encode() * 5_000)
    assert read(write("a.txt.gz", packed))[:2] == ["ñ", "b"]
    assert "damaged or incomplete gzip" in refusal(write("b.txt.gz", packed[:-9])).message
    broken = packed[:30] + bytes(8) + packed[38:]
    assert "damaged or incomplete gzip" in refusal(write("c.txt.gz", broken)).message
    assert "damaged or incomplete gzip" in refusal(write("d.txt.gz", b"plain text")).message


def test_invalid_utf8_is_located(write: Write) -> None:
    path = write("a.txt", "ñ\nabc ".encode() + b"\xf1 x\n")
    error = refusal(path)
    assert "line 2 has the byte 0xf1 at offset 7" in error.message
    assert error.hint is not None
    assert "CP1252: 'abc ñ x'; CP1250: 'abc ń x'" in error.hint
    assert read(path, encoding_errors="replace") == ["ñ", "abc \ufffd x"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("runa simi\n".encode("utf-16"), "UTF-16 by its byte-order mark"),
        ("runa simi\n".encode("utf-32"), "UTF-32 by its byte-order mark"),
        (b"\xfe\xff\0r\0u", "UTF-16 by its byte-order mark"),
        ("runa simi\n".encode("utf-16-le") * 9, "UTF-16LE by its pattern"),
        ("runa simi\n".encode("utf-16-be") * 9, "UTF-16BE by its pattern"),
        (b"%PDF-1.7\n...", "a PDF document"),
        (b"PK\x03\x04....", "a ZIP archive or an office document"),
        (gzip.compress(b"x", mtime=0), "gzip data without the suffix"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\x7fELF\x02", "an ELF program"),
        (bytes(range(256)), "binary data of an unknown format"),
    ],
)
def test_what_is_no_utf8_text_is_named(write: Write, content: bytes, kind: str) -> None:
    assert kind in refusal(write("a.txt", content)).message


@pytest.mark.parametrize("encoding", ["CP1252", "CP1251"])
def test_the_command_that_converts_an_encoding_works(write: Write, encoding: str) -> None:
    line = "Ñawpa pachapi, señor." if encoding == "CP1252" else "Татар теле бик матур."
    path = write("my text.txt", (line + "\n").encode(encoding) * 3)
    hint = refusal(path).hint
    assert hint is not None and f"{encoding}: {line!r}" in hint
    command = hint.split("`")[1]
    assert command.startswith(f"iconv -f {encoding} ")
    subprocess.run(command, shell=True, check=True)
    assert read(path.with_name("my text-utf8.txt")) == [line] * 3


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
            "is a Git LFS pointer",
            "git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html><title>404</title>", "is an HTML page", "failed download"),
        (b"<?xml version='1.0'?><!-- x --><HTML lang=en>", "is an HTML page", "failed download"),
    ],
)
def test_what_came_in_the_place_of_the_text_is_named(
    write: Write, content: bytes, message: str, hint: str
) -> None:
    error = refusal(write("a.txt", content))
    assert message in error.message and hint in f"{error.message} {error.hint}"


def test_a_stray_zero_byte_and_a_mark_do_not_make_text_binary(write: Write) -> None:
    assert len(read(write("a.txt", b"\xef\xbb\xbfrow\n" * 200 + b"\0\n"))) == 201
    assert read(write("b.txt", b"GIF8 is how a picture begins\n")) == [
        "GIF8 is how a picture begins"
    ]


def jsonl(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_a_json_record_is_one_line(write: Write) -> None:
    content = (
        b"\xef\xbb\xbf" + jsonl({"text": "a\nb"}, {"text": None}) + b"\n" + jsonl({"text": ""})
    )
    assert read(write("a.jsonl", content)) == ["a\nb", "", "", ""]
    packed = gzip.compress(jsonl({"content": "x"}))
    assert read(write("a.jsonl.gz", packed), text_field="content") == ["x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', "a.jsonl:2 is not valid JSON: Expecting value"),
        (b'["text"]\n', "a.jsonl:1 is JSON but not an object (found an array)"),
        (b'"text"\n', "found a string"),
        (b"3\n", "found a number"),
        (b"[" * 100_000 + b"\n", "a.jsonl:1 is not valid JSON"),
        (b'{"text": 3}\n', "the field 'text' is not a string (found a number)"),
        (b'{"text": ["a"]}\n', "found an array"),
        (b'{"texto": "a", "id": 1}\n', "no field 'text' (found 'texto', 'id')"),
        (b'{"text": "\xff"}\n', "line 1 has the byte 0xff at offset 10"),
    ],
)
def test_a_wrong_json_line_is_named(write: Write, content: bytes, message: str) -> None:
    assert message in refusal(write("a.jsonl", content)).message


def test_a_missing_field_is_answered_with_the_nearest_one(write: Write) -> None:
    hint = refusal(write("a.jsonl", jsonl({"texto": "a", "id": 1}))).hint
    assert hint == "Did you mean --text-field texto?"
    hint = refusal(write("a.jsonl", jsonl({"zzz": "a"}))).hint
    assert hint is not None and "--text-field" in hint


def test_a_record_without_end_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_RECORD_BYTES", 1 << 20)
    path = write("a.jsonl", b'{"text": "' + b"x" * (2 << 20))
    assert "a record of more than 1 MiB" in refusal(path).message


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_a_parquet_column_is_read(tmp_path: Path) -> None:
    texts = ["a", None, "b\nc", ""]
    assert read(table(tmp_path / "a.parquet", id=[1, 2, 3, 4], text=texts)) == ["a", "", "b\nc", ""]
    categories = pa.array(["x", "y", "x"]).dictionary_encode()
    assert read(table(tmp_path / "b.parquet", text=categories)) == ["x", "y", "x"]


def test_a_wrong_table_is_named(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", texts=["a"], n=[1])
    assert "no field 'text' (found 'texts', 'n')" in refusal(path).message
    assert refusal(path).hint == "Did you mean --text-field texts?"
    assert "does not hold strings but int64" in refusal(path, text_field="n").message
    path.write_bytes(path.read_bytes()[:40])
    assert "is damaged or no parquet file" in refusal(path).message


def test_a_column_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = pa.array(["runa"])
    pq.write_table(pa.Table.from_arrays([rows, rows], names=["text", "text"]), path)
    assert "has 2 columns named 'text'" in refusal(path).message


def test_valid_json_is_read_whatever_its_numbers(write: Write) -> None:
    long = "9" * 5_000
    path = write("a.jsonl", f'{{"id": {long}, "text": "runa"}}\n'.encode())
    assert read(path) == ["runa"]


def test_json_errors_are_sentences(write: Write) -> None:
    deep = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    assert "it is nested too deeply" in refusal(write("a.jsonl", deep)).message
    message = refusal(write("b.jsonl", b'{"text": "ru\x01na"}\n')).message
    assert "Invalid control character at character 13" in message


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.tsv", 'id\ttext\n1\tñan "puri\n2\tkay\n', {}, ['ñan "puri', "kay"]),
        ("a.tsv", "1\tñan\n2\tkay\n", {"text_field": "2"}, ["ñan", "kay"]),
        ("a.tsv", "id\ttext\n1\n2\tkay", {}, ["", "kay"]),
        ("a.csv", '\ufeffid,text\r\n1,"ñan, puri"\r\n\r\n2,"two\nlines"\r\n', {}, None),
        ("a.csv", "id;text\n1;ñan\n", {}, ["ñan"]),
        ("a.csv", "id,simi\n1,ñan\n", {"text_field": "simi"}, ["ñan"]),
        ("a.csv", "", {}, []),
    ],
)
def test_tables_of_text_are_read_by_column(
    write: Write, name: str, content: str, options: dict[str, str], expected: list[str] | None
) -> None:
    path = write(name, content.encode())
    assert read(path, **options) == (["ñan, puri", "two\nlines"] if expected is None else expected)


def test_a_wrong_table_of_text_is_named(write: Write) -> None:
    error = refusal(write("a.tsv", "1\tñan\n".encode()))
    assert "has no field 'text' (found '1', 'ñan')" in error.message
    assert error.hint is not None and "its number, counted from 1" in error.hint
    assert "has 2 columns named" in refusal(write("b.csv", b"text,text\nx,y\n")).message
    shifted = b"id,text\n1,a,b\n"
    assert (
        "b.csv:2 has 3 fields, but the first row has 2" in refusal(write("b.csv", shifted)).message
    )
    error = refusal(write("c.csv", b"text\nabc\nse\xf1or\n"))
    assert "line 3 has the byte 0xf1 at offset 11" in error.message


def compress(kind: str, content: bytes) -> bytes:
    match kind:
        case ".gz":
            return gzip.compress(content)
        case ".bz2":
            return bz2.compress(content)
        case ".xz":
            return lzma.compress(content)
        case _:
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, "zstd") as stream:
                stream.write(content)
            return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_text_is_read_and_its_damage_reported(write: Write, kind: str) -> None:
    random = np.random.default_rng(1)
    lines = ["".join(map(chr, random.integers(97, 122, 50))) for _ in range(3_000)]
    content = compress(kind, "".join(f"{line}\n" for line in lines).encode())
    assert read(write(f"a.txt{kind}", content)) == lines
    # Several streams in one file, as `cat` makes them.
    assert read(write(f"b.txt{kind}", content * 2)) == lines * 2
    assert "is damaged or incomplete" in refusal(write(f"c.txt{kind}", content[:-900])).message
    assert "is damaged or incomplete" in refusal(write(f"d.txt{kind}", b"no such data")).message
    assert read(write(f"e.tsv{kind}", compress(kind, b"id\ttext\n1\tx\n"))) == ["x"]


@settings(max_examples=150)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(str.encode),
        st.lists(
            st.sampled_from([b'{"text": ', b'"x"', b"}", b"\n", b"\t", b",", b'"', b"[", b"\0"])
        ).map(b"".join),
    ),
    name=st.sampled_from(
        "a a.txt a.jsonl a.csv a.tsv a.parquet a.txt.gz a.txt.zst a.txt.bz2 a.txt.xz".split()
    ),
    errors=st.sampled_from(["strict", "replace"]),
)
def test_whatever_a_file_holds_it_is_read_or_refused(
    content: bytes, name: str, errors: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            lines = read(path, encoding_errors=errors)
        except CorpusError as error:
            assert str(path) in error.message and error.exit_code == 3
        else:
            assert all(isinstance(line, str) for line in lines)


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", 'id,text\r\n1,"Ru, ""si""\nñ"\r\n2,b\r\n\r\n3\r\n', ['Ru, "si"\nñ', "b", ""]),
        ("a.csv", "\ufeffid;text;n\n1;a,b;0\n", ["a,b"]),
        ("a.tsv", 'text\tid\n"Runa" simi\t1\n"x\t2\n', ['"Runa" simi', '"x']),
        ("a.csv", "text\nñawi\n", ["ñawi"]),
        ("a.csv", "text\n" + "x" * 500_000 + "\n", ["x" * 500_000]),
        ("a.tsv", "", []),
    ],
)  # fmt: skip
def test_a_column_of_plain_text_is_read(
    write: Write, name: str, content: str, texts: list[str]
) -> None:
    assert read(write(name, content.encode())) == texts


def test_a_column_without_a_name_has_a_number(write: Write) -> None:
    path = write("a.tsv", "1\tquz\tRuna simi\n7\tquz\tÑawi\n".encode())
    assert read(path, text_field="3") == ["Runa simi", "Ñawi"]
    error = refusal(path)
    assert "has no field 'text' (found '1', 'quz', 'Runa simi')" in error.message
    assert error.hint is not None and "number, counted from 1" in error.hint
    assert "number, counted from 1" in str(refusal(write("b.csv", b"Runa\n")).hint)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,text\n1,a,b\n", "a.csv:2 has 3 fields, but the first row has 2"),
        ("a.csv", b"text,text\na,b\n", "has 2 columns named 'text'"),
        ("a.tsv", b"text\n\xf1andu\n", "line 2 has the byte 0xf1 at offset 5"),
        ("a.csv", b'text\n"a\nb\n', "unexpected end of data"),
        ("a.csv", b'text\n"a" b\n', "is not a valid table"),
    ],
)
def test_a_wrong_row_is_named(write: Write, name: str, content: bytes, message: str) -> None:
    path = write(name, content)
    assert message in refusal(path).message


def test_the_field_limit_of_other_users_of_csv_stays(write: Write) -> None:
    before = csv.field_size_limit()
    (source,) = find_sources([write("a.csv", b"text\n" + b"a\n" * 5_000)])
    blocks = read_blocks(source)
    next(blocks)
    assert csv.field_size_limit() == before
    blocks.close()  # type: ignore[attr-defined]


HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not\nFound</title></head><body></body></html>\n"


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz", "a.parquet", "a.csv", "wiki_00"])
def test_what_is_no_text_whatever_its_name_is_refused(write: Write, name: str) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"
    error = refusal(write(name, pointer))
    assert "a Git LFS pointer" in error.message and "git lfs pull" in str(error.hint)
    assert "an HTML page with the title '404 Not Found'" in refusal(write(name, HTML)).message
    weights = (64).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}}' + bytes(99)
    assert "a model's weights" in refusal(write(name, weights)).message


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("CP1252", "El ñandú y la cigüeña vivían allí, ¿no? Él dijo que sí.\n"),
        ("CP1250", "Łužica je kraj, w kotrymž Serbja bydla; wón piše list swojej maćeri.\n"),
        ("ISO-8859-2", "Zażółć gęślą jaźń: wszyscy ludzie rodzą się wolni i równi.\n"),
        ("CP1251", "Все люди рождаются свободными и равными в своём достоинстве.\n"),
        ("KOI8-R", "Все люди рождаются свободными и равными в своём достоинстве.\n"),
        ("CP1253", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι.\n"),
        ("CP1255", "כל בני האדם נולדו בני חורין ושווים בערכם.\n"),
        ("CP1256", "يولد جميع الناس أحرارا متساوين في الكرامة.\n"),
        ("CP874", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน\n"),
        ("CP932", "すべての人間は、生まれながらにして自由である。\n"),
        ("CP949", "모든 인간은 태어날 때부터 자유로우며 동등하다.\n"),
        ("GB18030", "我们的国家在这里,一个人的生活是自由的。\n"),
        ("UTF-16", "Runa simi ñawi.\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a b.txt", "-a.txt.gz", "wiki_00"])
def test_the_command_that_is_named_converts_the_text(
    write: Write, monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, name: str
) -> None:
    content = (text * 30).encode(encoding)
    path = write(name, gzip.compress(content) if name.endswith(".gz") else content)
    monkeypatch.chdir(path.parent)
    hint = refusal(Path(name)).hint
    assert hint is not None and f"-f {encoding}" in hint
    command = hint.split("`")[1]
    subprocess.run(["sh", "-c", command], check=True)
    assert read(Path(shlex.split(command)[-1])) == (text * 30).splitlines()


def test_an_encoding_that_cannot_be_told_is_not_guessed(write: Write) -> None:
    noise = bytes(random.Random(0).choices(range(128, 256), k=4_000))
    error = refusal(
        write("a.txt", b"a " + b"\n".join(noise[i : i + 9] for i in range(0, 4_000, 9)))
    )
    assert "cannot be told" in error.message and "loses letters" in str(error.hint)
