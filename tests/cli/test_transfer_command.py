"""`transfer` on the command line: its one line, its JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labelled_text import labelled_sentences, write_columns, write_table
from refusals import Invoke, assert_explained, listing


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    write_columns(folder / "train.tsv", labelled_sentences(60, seed=1))
    write_columns(folder / "test.tsv", labelled_sentences(20, seed=2))
    write_table(folder / "table.tsv", 20, seed=3)
    write_columns(folder / "other.tsv", [(["a"], ["NOUN"]), (["b"], ["PRON"])])
    (folder / "empty.tsv").write_text("")
    (folder / "header.tsv").write_text("text\tkind\nuno\ta\n")
    return folder


def test_a_script_gets_one_number_or_one_object(
    invoke: Invoke, work: Path, base: Path, files: Path
) -> None:
    options = ("--from", "en_XX", "--to", "sw_KE", "--max-steps", "3", "--seeds", "1")
    words = ("transfer", base, *options, "--train", files / "train.tsv", "--test")
    code, out, err = invoke(*words, files / "test.tsv", "--json", "--output", "task")
    assert code == 0, err
    result = json.loads(out)
    assert result["schema_version"] == 1 and result["scores"][0]["state"] == "target"
    assert json.loads((work / "task" / "transfer.json").read_text())["scores"] == result["scores"]

    code, out, err = invoke(*words, files / "test.tsv", "-q")
    assert code == 0 and out == f"{result['scores'][0]['value']:.4f}\n"
    assert "..." not in err
    shown = invoke(*words, files / "test.tsv")
    assert "an untrained slot" in shown[1] and "VERB" in shown[1]
    # The folder is not overwritten without being asked.
    again = invoke(*words, files / "test.tsv", "--output", "task")
    assert_explained(again, 2, "task exists and is not empty.*--force")


@pytest.mark.parametrize(
    ("test", "options", "code", "expected"),
    [
        ("test.tsv", ("--to", "quz_PE"), 4, "no language quz_PE"),
        ("test.tsv", ("--from", "sw_KE"), 2, "no transfer"),
        ("no.tsv", (), 3, "does not exist"),
        ("empty.tsv", (), 3, "is empty"),
        ("header.tsv", (), 3, r"'label or category'.*--label-field"),
        ("other.tsv", (), 3, r"labels that .*train.tsv does not have: PRON \(1 times\)"),
        ("table.tsv", (), 3, "labels of another kind"),
        ("test.tsv", ("--merge", "NOUN"), 2, "two at least"),
        ("test.tsv", ("--merge", "NOUN,VRB"), 2, "Did you mean VERB"),
        ("test.tsv", ("--seeds", "0"), 2, "--seeds is 0; it must be at least 1"),
        ("test.tsv", ("--max-length", "99"), 2, "reads at most 32 tokens"),
        ("test.tsv", ("--corpus", "no.txt"), 3, "does not exist"),
        ("test.tsv", ("--task", "words"), 2, "one of token, span, sentence, pair"),
        ("test.tsv", ("--output", "no/../"), 2, "current folder"),
    ],
)
def test_what_is_wrong_is_said_before_torch_is_loaded_and_nothing_is_left(
    invoke: Invoke,
    work: Path,
    base: Path,
    files: Path,
    test: str,
    options: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    given = {"--from": "en_XX", "--to": "sw_KE", "--train": str(files / "train.tsv")}
    given |= {"--test": str(files / test), "--output": "task"}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    result = invoke("transfer", base, *(word for pair in given.items() for word in pair))
    assert_explained(result, code, expected)
    assert "Loading torch" not in result[2]
    assert listing(work) == []
