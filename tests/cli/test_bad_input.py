"""Everything that a newcomer may get wrong: its exit code, its one or two lines, nothing left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import CONFIGS, YAMLS
from refusals import Invoke, assert_explained, listing

from xmod_extend.cli.errors import exit_code
from xmod_extend.errors import XmodExtendError

CORPORA = {
    "missing.txt": r"does not exist",
    "ones.txt": r"Did you mean .*one\.txt",
    "no_folder/a.txt": r"neither does its folder",
    "no_files": r"no file at all",
    "pdfs": r"found 1 \.pdf",
    "*.docx": r"matches no file",
    "table.csv": r"no field 'text' \(found 'a', 'b'\)",
    "png.txt": r"a PNG image",
    "elf.txt": r"an ELF program",
    "noise.txt": r"binary data",
    "gzip.txt": r"gzip data without the suffix",
    "utf16.txt": r"UTF-16 by its byte-order mark.*iconv",
    "utf16le.txt": r"UTF-16LE by its pattern",
    "latin1.txt": r"latin1\.txt is not valid UTF-8: line 801 .*iconv -f CP1252",
    "nuls.txt": r"UTF-16|binary data",
    "one.txt": r"found 1 line .*at least 20 different lines",
    "few.txt": r"at least 10,000 bytes",
    "empty.txt": r"no line at all",
    "blank.txt": r"300 lines, none with text",
    "same.txt": r"found 1 line .*repeated ones left out",
    "solid.txt": r"one line of [\d,]+ bytes without a space",
    "cut.txt.gz": r"damaged or incomplete gzip",
    "plain.txt.gz": r"damaged or incomplete gzip",
    "empty.txt.gz": r"no line at all",
    "other.jsonl": r"other\.jsonl:1 has no field 'text' .*--text-field txt",
    "number.jsonl": r"number\.jsonl:1: the field 'text' is not a string",
    "scalar.jsonl": r"not an object \(found a number\)",
    "broken.jsonl": r"broken\.jsonl:51 is not valid JSON",
    "array.jsonl": r"not an object \(found an array\)",
    "indented.jsonl": r"indented\.jsonl:1 is not valid JSON",
    "no_column.parquet": r"no field 'text' \(found 'sentence'\)",
    "numbers.parquet": r"does not hold strings but int64",
    "cut.parquet": r"no parquet file",
    "text.parquet": r"no parquet file",
    "empty.parquet": r"no parquet file",
}


@pytest.mark.parametrize("name", CORPORA)
def test_a_bad_corpus_is_exit_3_before_weights_are_loaded(
    invoke: Invoke, work: Path, texts: Path, base: Path, name: str
) -> None:
    result = invoke("add", "--lang", "quz_PE", "--corpus", texts / name, "--base", base)
    assert_explained(result, 3, CORPORA[name])
    assert "Loading the shared weights" not in result[2]
    assert listing(work) == []


@pytest.mark.parametrize(
    ("corpus", "code", "expected"),
    [
        ("", 3, "'' is not a path"),
        ("/dev/null", 3, "a pipe or a device"),
        ("https://example.org/a.txt", 3, r"hf://datasets/USER/NAME"),
        ("hf://datasets/one", 3, "not the address of a data set"),
        ("hf://datasets/a/b/weights.zip", 3, "Unsupported file type"),
        ("hf://datasets/a/b", 5, "The data set a/b is not in the cache"),
        ("hf://datasets/a/b/c.txt", 5, "c.txt of the data set a/b is not in the cache"),
    ],
)
def test_what_is_no_corpus_on_this_machine(
    invoke: Invoke, work: Path, base: Path, corpus: str, code: int, expected: str
) -> None:
    result = invoke("add", "--lang", "quz_PE", "--corpus", corpus, "--base", base)
    assert_explained(result, code, expected)
    assert listing(work) == []


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        ("missing.txt", "does not exist"),
        ("two.txt", "too little text to measure on: found 2 lines"),
        ("empty.txt", "no line at all"),
        ("png.txt", "a PNG image"),
        (None, "of which 800 are in the held-out text too.*not in the corpus"),
    ],
)
def test_a_bad_held_out_text_is_exit_3(
    invoke: Invoke, work: Path, texts: Path, base: Path, corpus: Path, held_out: str, expected: str
) -> None:
    text = corpus if held_out is None else texts / held_out
    options = ("--lang", "quz_PE", "--corpus", corpus, "--base", base, "--held-out", text)
    assert_explained(invoke("add", *options), 3, expected)
    assert listing(work) == []


@pytest.mark.parametrize("command", ["check", "probe"])
@pytest.mark.parametrize("name", ["missing.txt", "latin1.txt", "few.txt", "broken.jsonl"])
def test_other_commands_refuse_a_corpus_in_the_same_words(
    invoke: Invoke, work: Path, texts: Path, base: Path, command: str, name: str
) -> None:
    expected = CORPORA[name]
    assert_explained(invoke(command, "--corpus", texts / name, "--base", base), 3, expected)
    assert_explained(
        invoke(command, "--corpus", texts / name, "--base", base, "--json"), 3, expected
    )


BASES = {
    "truncated": r"truncated: [\d,]+ bytes expected, [\d,]+ found",
    "bad_header": r"not a safetensors file",
    "no_bytes": r"only 0 bytes",
    "lfs": r"Git LFS pointer.*git lfs pull",
    "no_weights": r"has no weights",
    "no_config": r"has no config\.json",
    "cut_config": r"config\.json is not JSON",
    "list_config": r"does not hold a JSON object",
    "binary_config": r"not JSON: it is not UTF-8",
    "no_tokenizer": r"has no tokenizer",
    "cut_tokenizer": r"The tokenizer in .* cannot be loaded",
    "empty_tokenizer": r"The tokenizer in .* cannot be loaded",
    "bert": r"a bert, not an X-MOD",
    "no_type": r"no `model_type`",
    "vocabulary": r"vocab_size is 50, but there are 120",
    "negative": r"config\.json describes no model",
    "null": r"transformers refuses",
    "width": r"hidden_size is 64, but there are 32",
    "words_for_width": r"transformers refuses",
    "deeper": r"num_hidden_layers is 5, but there are 2",
    "shallower": r"num_hidden_layers is 1, but there are 2",
    "heads": r"config\.json describes no model",
    "activation": r"config\.json describes no model",
    "bottleneck": r"adapter_reduction_factor is 7",
    "no_bottleneck": r"config\.json describes no model",
    "positions": r"max_position_embeddings is 9",
    "more_languages": r"no adapter: fr_XX",
    "fewer_languages": r"does not list: de_DE, sw_KE",
    "no_language": r"does not list: ",
    "one_word": r"not a list of language codes",
    "twice": r"lists de_DE twice",
    "flash": r"plain transformers cannot use.*The cause is attn_implementation: correct it",
    "quantised": r"is to be quantised",
    "no_padding": r"pad_token_id is null",
    "other_padding": r"pad_token_id is 5, but <pad> is 1 in the tokenizer",
    "no_vocab_size": r"config\.json disagrees with the weights",
    "no_max_position_embeddings": r"config\.json disagrees with the weights",
    "no_hidden_size": r"config\.json disagrees with the weights",
    "no_languages": r"does not list: de_DE, sw_KE",
    "no_head": r"no masked-LM head",
    "half": r"model-00002-of-00002\.safetensors .* is missing",
    "code": r"holds code, which opening would run",
    "old_code": r"not a PyTorch file of tensors|holds code",
    "noise": r"not a PyTorch file of tensors|damaged",
    "nan": r"damaged",
}


def test_every_config_has_its_case() -> None:
    assert set(CONFIGS) <= set(BASES)


@pytest.mark.parametrize("name", BASES)
def test_a_damaged_base_is_exit_4_before_training(
    invoke: Invoke, work: Path, bases: Path, corpus: Path, name: str
) -> None:
    result = invoke("add", "--lang", "quz_PE", "--corpus", corpus, "--base", bases / name)
    assert_explained(result, 4, BASES[name])
    assert "Training" not in result[2]
    assert not (bases / "pickle-was-run").exists()
    assert listing(work) == []


@pytest.mark.parametrize("command", ["info", "check", "probe", "verify"])
@pytest.mark.parametrize("name", ["truncated", "no_config", "bert", "twice"])
def test_other_commands_refuse_a_base_in_the_same_words(
    invoke: Invoke, work: Path, bases: Path, base: Path, corpus: Path, command: str, name: str
) -> None:
    if (command, name) == ("check", "truncated"):
        # It needs the tokenizer alone.
        assert invoke("check", "--corpus", corpus, "--base", bases / name)[0] == 0
        return
    arguments = {
        "info": [bases / name],
        "verify": [bases / name, "--base", base],
        "check": ["--corpus", corpus, "--base", bases / name],
        "probe": ["--corpus", corpus, "--base", bases / name],
    }[command]
    assert_explained(invoke(command, *arguments), 4, BASES[name])
    assert_explained(invoke(command, *arguments, "--json"), 4, BASES[name])


@pytest.mark.parametrize(
    ("base", "code", "expected"),
    [
        ("", 4, "The base is empty"),
        ("./nowhere", 4, r"The folder \./nowhere does not exist"),
        ("a/b/c", 4, "does not exist"),
        ("a@b", 4, "a name that the Hub allows"),
        ("two words", 4, "a name that the Hub allows"),
        ("someone/xmod--base", 4, "a name that the Hub allows"),
        (__file__, 4, "is a file, not a folder"),
        ("facebook/xmod-base", 5, "offline mode.*HF_HUB_OFFLINE"),
    ],
)
def test_what_is_no_base(
    invoke: Invoke, work: Path, corpus: Path, base: str, code: int, expected: str
) -> None:
    assert_explained(
        invoke("add", "--lang", "quz_PE", "--corpus", corpus, "--base", base), code, expected
    )
    assert_explained(invoke("info", base), code, expected)
    assert_explained(invoke("verify", work, "--base", base), 4 if code == 5 else code, "")
    assert listing(work) == []


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("quz-PE", r"Did you mean quz_PE\?"),
        ("quz", r"Did you mean quz_PE\?"),
        ("QUZ_PE", r"Did you mean quz_PE\?"),
        ("xx_YY", "no registered language"),
        ("quz_QQ", "no registered region"),
        ("en_XX", "The base already has en_XX"),
        ("to", r"Did you mean to_TO\?"),
        ("en.XX", r"Did you mean en_XX\?"),
        ("", "ISO 639"),
        ("кеч_PE", "ISO 639"),
        ("quz_PE\n", "not a language code"),
        ("q" * 300, "not a language code"),
    ],
)
def test_a_bad_language_is_exit_4_before_the_corpus_is_read(
    invoke: Invoke, work: Path, base: Path, corpus: Path, lang: str, expected: str
) -> None:
    result = invoke("add", "--lang", lang, "--corpus", corpus, "--base", base)
    assert_explained(result, 4, expected)
    assert "Reading" not in result[2]
    assert listing(work) == []


OPTIONS: list[tuple[tuple[str, ...], int, str]] = [
    (("--init", "from:zu"), 4, "the base has no zu.*It has en_XX, de_DE, sw_KE"),
    (("--init", "from:en"), 4, r"Did you mean from:en_XX\?"),
    (("--init", "zero"), 2, "random, nearest, mean or from:CODE"),
    (("--max-length", "1"), 2, "at least 8"),
    (("--max-length", "7"), 2, "at least 8"),
    (("--max-length", "100000"), 2, "at most 32 tokens"),
    (("--batch-size", "0"), 2, "at least 1"),
    (("--batch-size", "-1"), 2, "at least 1"),
    (("--batch-size", "100000000"), 2, "at most 65,536"),
    (("--batch-size", "2.5"), 2, "--batch-size"),
    (("--lr", "nan"), 2, "above 0"),
    (("--lr", "inf"), 2, "above 0"),
    (("--lr", "-1"), 2, "above 0"),
    (("--lr", "0"), 2, "above 0"),
    (("--lr", "1e300"), 2, "at most 1e"),
    (("--lr", "abc"), 2, "--lr"),
    (("--epochs", "0"), 2, "above 0"),
    (("--epochs", "nan"), 2, "above 0"),
    (("--epochs", "1e300"), 2, "at most"),
    (("--mlm-probability", "0"), 2, "between 0 and 1"),
    (("--mlm-probability", "1"), 2, "between 0 and 1"),
    (("--mlm-probability", "2"), 2, "between 0 and 1"),
    (("--mlm-probability", "nan"), 2, "between 0 and 1"),
    (("--max-steps", "0"), 2, "at least 1"),
    (("--max-steps", "9" * 21), 2, "at most"),
    (("--seed", "-1"), 2, "from 0 to"),
    (("--seed", "9" * 20), 2, "from 0 to"),
    (("--precision", "fp8"), 2, "auto, fp32, bf16"),
    (("--encoding-errors", "ignore"), 2, "strict, replace"),
    (("--max-steps", "3", "--epochs", "1"), 2, "both given"),
    (("--revision", "main"), 2, "a folder, not a Hub id"),
    (("--bogus",), 2, "No such option"),
    (("--force=maybe",), 2, "--force"),
    (("more.txt",), 2, "unexpected extra argument"),
    (("--text-field",), 2, "requires an argument"),
    (("--output", ""), 2, "--output is empty"),
    (("--output", "{corpus}"), 2, "is a file"),
    (("--output", "{corpus}/out"), 2, "part of its path is a file"),
    (("--output", "/proc/out"), 2, "cannot be written"),
    (("--output", "/dev/null"), 2, "is a file"),
    (("--output", "."), 2, "the current folder"),
    (("--output", ".."), 2, "the current folder"),
    (("--output", "/", "--force"), 2, "holds .*, which is only read"),
    (("--output", "{texts}"), 2, "not empty.*--force"),
    (("--output", "{texts}", "--force"), 2, "holds no checkpoint"),
    (("--output", "{base}"), 2, "is .*, which is only read"),
    (("--output", "{base}", "--force"), 2, "is .*, which is only read"),
    (("--output", "{base}/in"), 2, "lies in .*, which is only read"),
    (("--output", "n" * 300), 2, "too long"),
    (("--output", "a/b/" + "n" * 300), 2, "too long"),
    (("--output", "/dev/shm"), 2, "mount point|not empty"),
]


@pytest.mark.parametrize(
    ("options", "code", "expected"), OPTIONS, ids=[" ".join(case[0])[:50] for case in OPTIONS]
)
def test_a_bad_option_is_refused_before_the_corpus_is_read(
    invoke: Invoke,
    work: Path,
    base: Path,
    texts: Path,
    corpus: Path,
    options: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    given = [each.format(base=base, corpus=corpus, texts=texts) for each in options]
    before = listing(base, texts)
    result = invoke("add", "--lang", "quz_PE", "--corpus", corpus, "--base", base, *given)
    assert_explained(result, code, expected)
    assert "Reading" not in result[2]
    assert listing(work) == [] and listing(base, texts) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("addd",), "No such command 'addd'"),
        (("--bogus",), "No such option"),
        (("add",), "--lang is missing"),
        (("add", "--lang", "quz_PE"), "--corpus is missing"),
        (("add", "--corpus"), "requires an argument"),
        (("info",), "Missing argument"),
        (("verify",), "Missing argument"),
        (("check",), "Missing option"),
        (("probe",), "Missing option"),
    ],
)
def test_a_command_that_is_not_whole_is_exit_2(
    invoke: Invoke, work: Path, arguments: tuple[str, ...], expected: str
) -> None:
    assert_explained(invoke(*arguments), 2, expected)


def test_no_argument_shows_what_there_is(invoke: Invoke) -> None:
    code, _, err = invoke()
    assert code == 2 and "Usage: xmod-extend" in err and "verify" in err
    code, out, err = invoke("--help")
    assert code == 0 and "Usage: xmod-extend" in out and err == ""


YAML_ERRORS = {
    "list.yaml": "holds a list, not a mapping",
    "broken.yaml": "not valid YAML",
    "unknown.yaml": "Did you mean 'batch_size'",
    "nested.yaml": "'hyperparameters' is an unknown option.*There are lang, base",
    "no_word.yaml": "lang .*is False; it must be of type str.*quotes",
    "list_lang.yaml": "must be of type str",
    "mapping_corpus.yaml": "corpus .*must be of type str",
    "lists_corpus.yaml": "corpus .*must be of type a list of str",
    "number_as_word.yaml": "batch_size .*must be of type int",
    "bool_as_word.yaml": "force .*must be of type bool",
    "nan.yaml": "--lr is nan",
    "empty.yaml": "--lang is missing",
    "comment.yaml": "--lang is missing",
    "missing.yaml": "cannot be read: No such file",
    ".": "cannot be read: Is a directory",
}


@pytest.mark.parametrize("name", YAML_ERRORS)
def test_a_bad_config_file_is_exit_2(invoke: Invoke, work: Path, tmp_path: Path, name: str) -> None:
    if name in YAMLS:
        (tmp_path / name).write_text(YAMLS[name])
    assert_explained(invoke("add", "--config", tmp_path / name), 2, YAML_ERRORS[name])
    assert listing(work) == []


@pytest.mark.parametrize("command", ["add", "check", "probe", "verify", "info"])
def test_json_and_an_error_print_nothing_on_stdout(
    invoke: Invoke, work: Path, bases: Path, corpus: Path, command: str
) -> None:
    options = {
        "add": ("--lang", "quz_PE", "--corpus", corpus, "--base", bases / "half"),
        "check": ("--corpus", corpus, "--base", bases / "no_tokenizer"),
        "probe": ("--corpus", corpus, "--base", bases / "half"),
        "verify": (bases / "half", "--base", bases / "half"),
        "info": (bases / "half",),
    }[command]
    assert_explained(invoke(command, *options, "--json", "-q"), 4, "")


def test_a_learning_rate_that_diverges_writes_nothing(
    invoke: Invoke, work: Path, base: Path, corpus: Path
) -> None:
    options = ("--lang", "quz_PE", "--corpus", corpus, "--base", base)
    small = ("--max-steps", "30", "--batch-size", "2")
    result = invoke("add", *options, *small, "--lr", "1e30")
    assert_explained(result, 1, r"loss was .* --lr 0\.0")
    assert listing(work) == []


def test_text_with_marks_and_other_line_ends_is_taken(
    invoke: Invoke, work: Path, texts: Path, base: Path
) -> None:
    code, out, err = invoke("check", "--corpus", texts / "with_bom.txt", "--base", base, "--json")
    assert code == 0, err
    assert json.loads(out)["kept_lines"] == 800
    replaced = ("--corpus", texts / "latin1.txt", "--encoding-errors", "replace")
    code, out, err = invoke("check", *replaced, "--base", base, "--json")
    assert code == 0 and json.loads(out)["replaced_characters"] == 2
    assert "warning: 2 of" in err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"lang": "quz-PE"}, 4),
        ({"corpus": "missing.txt"}, 3),
        ({"base": "./nowhere"}, 4),
        ({"base": "facebook/xmod-base"}, 5),
        ({"lr": -1.0}, 2),
        ({"rate_of_learning": 1.0}, 2),
        ({"output": ""}, 2),
        ({"output": "."}, 2),
        ({"output": "a\0b"}, 2),
        ({"base": "n" * 300 + "/" + "n" * 300}, 4),
        ({"base": "/" + "n" * 300}, 4),
        ({"corpus": "n" * 300}, 3),
    ],
)
def test_the_library_raises_what_the_command_line_maps(
    work: Path, base: Path, corpus: Path, options: dict[str, Any], code: int
) -> None:
    from xmod_extend import add_language

    given = {"lang": "quz_PE", "corpus": corpus, "base": str(base)} | options
    with pytest.raises(XmodExtendError) as caught:
        add_language(**given)
    assert exit_code(caught.value) == code
    assert listing(work) == []
