"""Which files a corpus expands to, and what is said about those that cannot be read."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

import pytest

from xmod_extend.errors import CorpusError
from xmod_extend.text.sources import describe_left_out, find_sources


def names(*paths: str | Path) -> list[str]:
    return [source.path.name for source in find_sources(paths)]


def refusal(*paths: str | Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        find_sources(paths)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt.gz", "sub/c.JSONL", "sub/d.parquet", "notes.pdf", ".hidden.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
    (tmp_path / "data" / ".git").mkdir()
    (tmp_path / "data" / ".git" / "e.txt").write_text("x")
    return tmp_path / "data"


def test_a_folder_is_read_in_order_without_hidden_and_foreign_files(folder: Path) -> None:
    assert names(folder) == ["a.txt.gz", "b.txt", "c.JSONL", "d.parquet"]
    assert [source.format for source in find_sources([folder])] == [
        "text",
        "text",
        "jsonl",
        "parquet",
    ]


def test_a_pattern_matches_supported_files(folder: Path) -> None:
    assert names(f"{folder}/**/*.p*") == ["d.parquet"]
    assert names(f"{folder}/*.t*") == ["a.txt.gz", "b.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("x")
    assert names(tmp_path / "a[1].txt") == ["a[1].txt"]


def test_a_file_given_twice_counts_once(folder: Path) -> None:
    (folder / "link.txt").symlink_to(folder / "b.txt")
    assert names(folder / "b.txt", folder, f"{folder}/../data/b.txt").count("b.txt") == 1
    assert "link.txt" not in names(folder / "b.txt", folder / "link.txt")


def test_a_missing_file_is_answered_with_the_nearest_name(folder: Path) -> None:
    error = refusal(folder / "bb.txt")
    assert "does not exist" in error.message
    assert error.hint is not None and "b.txt" in error.hint
    assert "neither does its folder" in refusal(folder / "none" / "b.txt").message


def test_what_cannot_be_read_says_what_could_be(folder: Path) -> None:
    error = refusal(folder / "notes.pdf")
    assert "'.pdf'" in error.message
    assert error.hint is not None and ".txt, .jsonl, .csv and .tsv (also .gz" in error.hint
    assert "unsupported types (1 .pdf)" in refusal(f"{folder}/*.pdf").message
    assert "matches no file" in refusal(f"{folder}/*.csv").message


def test_a_folder_without_text_says_what_it_has(tmp_path: Path) -> None:
    assert "no file at all" in refusal(tmp_path).message
    (tmp_path / "a.docx").write_text("x")
    (tmp_path / "b.docx").write_text("x")
    assert "found 2 .docx" in refusal(tmp_path).message


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert "a pipe or a device" in refusal(tmp_path / "pipe.txt").message
    assert "a pipe or a device" in refusal("/dev/null").message


def test_a_file_that_may_not_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # Root may read everything, so that its bits alone would not do.
    monkeypatch.setattr(Path, "open", refuse)
    assert "permission denied" in refusal(folder / "b.txt").message


@pytest.mark.parametrize("given", ["", "  ", "a\0b", "https://example.org/a.txt"])
def test_what_is_no_path_is_refused(given: str) -> None:
    assert refusal(given).exit_code == 3


def test_no_path_at_all_is_refused() -> None:
    assert "No corpus" in refusal().message


def test_names_without_a_suffix_are_plain_text(tmp_path: Path) -> None:
    for name in ("AA/wiki_00", "AA/wiki_01.bz2", "part.001", "README", "LICENSE", "SHA256SUMS"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert names(tmp_path) == ["wiki_00", "wiki_01.bz2", "part.001"]
    # Who names a file means it.
    assert [source.format for source in find_sources([tmp_path / "README"])] == ["text"]
    (tmp_path / "model.bin").write_text("x")
    assert "Unsupported file type '.bin'" in refusal(tmp_path / "model.bin").message


def test_what_of_a_folder_is_not_read_is_said(folder: Path) -> None:
    (folder / "b.docx").write_text("x")
    (sentence,) = describe_left_out([folder, folder / "b.txt"])
    assert sentence.startswith(f"2 files in {folder} are not text that can be read and were left")
    assert "1 .docx, 1 .pdf" in sentence and sentence.endswith("such as b.docx.")
    (folder / "b.docx").unlink()
    (folder / "notes.pdf").unlink()
    assert describe_left_out([folder]) == []


@pytest.mark.parametrize(
    "files", [["run.json", "model.safetensors.index.json"], [".xmod-extend.json"]]
)
def test_outputs_of_this_program_are_no_text(folder: Path, files: list[str]) -> None:
    before = names(folder)
    output = folder / "xmod-base-quz_PE"
    output.mkdir()
    for name in [*files, "metrics.jsonl", "wiki_00"]:
        (output / name).write_text("{}")
    assert names(folder) == before
    assert "Outputs of this program" in describe_left_out([folder])[1]
    # An output that is named itself is looked into, and a file in it can be given.
    assert names(output / "metrics.jsonl") == ["metrics.jsonl"]


def test_a_subfolder_that_may_not_be_listed_is_no_silence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    error = refusal(folder)
    assert f"{folder}/sub may not be read" in error.message


def test_a_file_without_a_suffix_is_held_to_its_content(tmp_path: Path) -> None:
    (tmp_path / "wiki_00").write_text('<doc id="1">\nRuna\n</doc>\n')
    (tmp_path / "wiki_01").write_text('{"id": "1", "text": "Runa"}\n')
    (tmp_path / "wiki_02.bz2").write_bytes(b"BZh9")
    (tmp_path / "program").write_bytes(b"\x7fELF" + bytes(range(256)) * 20)
    (tmp_path / "page").write_text("<!DOCTYPE html><title>404</title>")
    (tmp_path / "latin").write_bytes("ñawi\n".encode("latin-1"))
    for given in (tmp_path, f"{tmp_path}/*"):
        assert [(source.path.name, source.format) for source in find_sources([given])] == [
            ("wiki_00", "text"),
            ("wiki_01", "jsonl"),
            ("wiki_02.bz2", "text"),
        ]
        (sentence,) = describe_left_out([given])
        assert sentence.startswith("3 files in") and "latin" in sentence
    assert names(tmp_path / "latin") == ["latin"]  # reading it says what is wrong


def test_a_pattern_says_what_it_leaves_out_and_passes_by_outputs(folder: Path) -> None:
    for output in ("out", "out.run", "several.run/quz_PE"):
        (folder / output).mkdir(parents=True)
        (folder / output / "metrics.jsonl").write_text('{"step": 1}')
    for name in ("out/run.json", "out/model.safetensors.index.json"):
        (folder / name).write_text("{}")
    for name in ("out.run", "several.run/quz_PE"):
        (folder / name / "state-00000001.safetensors").write_text("")
    for given in (f"{folder}/**/*", folder):
        assert names(given) == ["a.txt.gz", "b.txt", "c.JSONL", "d.parquet"]
        said = " ".join(describe_left_out([given]))
        assert "1 file in" in said and "1 .pdf" in said and "out.run" in said
    assert "nothing but what this program wrote" in refusal(f"{folder}/out*/*.jsonl").message
    # A log of somebody else's is text as any other.
    (folder / "metrics.jsonl").write_text("{}")
    assert "metrics.jsonl" in names(folder)


def test_links_that_are_not_followed_are_said(folder: Path) -> None:
    (folder / "linked").symlink_to(folder / "sub")
    (folder / "lost.txt").symlink_to(folder / "nowhere")
    assert names(folder) == ["a.txt.gz", "b.txt", "c.JSONL", "d.parquet"]
    assert "2 links in" in describe_left_out([folder])[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pytorch_model.bin", "is a part of a model.*--base"),
        ("model.safetensors", "is a part of a model"),
        ("sentencepiece.bpe.model", "is a part of a model"),
        ("tokenizer.json", "one JSON object a line"),
        ("text.parquet.gz", "Unsupported file type"),
        ("archive.tar.gz", "Unsupported file type"),
        ("notes.docx", "rename plain text to end in .txt"),
    ],
)
def test_what_a_file_is_instead_and_what_to_do(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).write_text("x")
    error = refusal(tmp_path / name)
    assert re.search(expected, f"{error.message} {error.hint}"), error
    assert "missing" not in error.message


def test_the_command_for_a_treebank_takes_its_sentences(tmp_path: Path) -> None:
    treebank = tmp_path / "FILE.conllu"
    treebank.write_text("# text = Runa simi.\n1\tRuna\n\n# text = Ñawi.\n")
    command = str(refusal(treebank).hint).split("`")[1]
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert (tmp_path / "FILE.txt").read_text() == "Runa simi.\nÑawi.\n"
