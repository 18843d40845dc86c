"""Loading a base's tokenizer, refusing one that does not fit, and tokenising text."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_text import build_tokenizer, documents, sentences
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from xmod_extend.errors import CorpusError, HubError, ModelError
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.tokens import encoding
from xmod_extend.tokens import tokenizer as tokenizer_module
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.tokenised import tokenize
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def vocab_size() -> int:
    return int(build_tokenizer().get_vocab_size())


@pytest.fixture
def loaded(tokenizer_dir: Path, vocab_size: int) -> LoadedTokenizer:
    return load_tokenizer(tokenizer_dir, vocab_size=vocab_size)


@pytest.fixture
def corpus(write_lines: Callable[..., Path], cache_dir: Path) -> Corpus:
    lines = [*sentences(400), "the <mask> and </s> of others ☃"]
    return read_corpus([write_lines(lines)], cache_dir=cache_dir)


@pytest.fixture
def altered(tmp_path: Path, tokenizer_dir: Path) -> Callable[[Callable[[Any], None]], Path]:
    """A base's folder with a tokenizer.json that was changed."""

    def alter(change: Callable[[Any], None]) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(tokenizer_dir, folder)
        content = json.loads((folder / "tokenizer.json").read_text())
        change(content)
        (folder / "tokenizer.json").write_text(json.dumps(content))
        return folder

    return alter


def test_a_tokenizer_is_loaded_with_its_special_tokens(
    loaded: LoadedTokenizer, tokenizer_dir: Path, vocab_size: int
) -> None:
    assert (loaded.bos_id, loaded.pad_id, loaded.sep_id) == (0, 1, 2)
    assert loaded.mask_id == vocab_size - 1
    assert loaded.special_ids == (0, 1, 2, 3, vocab_size - 1)
    assert loaded.source == str(tokenizer_dir)
    assert loaded.note is None
    assert {path.name for path in loaded.files} == {"tokenizer.json", "tokenizer_config.json"}


def test_the_hash_is_of_what_decides_the_tokens(
    loaded: LoadedTokenizer,
    altered: Callable[[Callable[[Any], None]], Path],
    tokenizer_dir: Path,
    vocab_size: int,
) -> None:
    truncating = altered(lambda content: content.update(truncation=TRUNCATION, padding=None))
    assert load_tokenizer(truncating, vocab_size=vocab_size).sha256 == loaded.sha256
    shutil.rmtree(truncating)
    lower = altered(lambda content: content.update(normalizer={"type": "Lowercase"}))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (lower / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(lower, vocab_size=vocab_size).sha256 != loaded.sha256


TRUNCATION = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}


# What the class that transformers takes for an X-MOD does not take from tokenizer.json.
IGNORED: dict[str, dict[str, Any]] = {
    "lowercase": {"normalizer": {"type": "Lowercase"}},
    "nfkd": {"normalizer": {"type": "NFKD"}},
    "replaced": {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "i"}},
    "metaspace": {
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "first",
            "split": False,
        },
    },
    "punctuation": {
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Punctuation", "behavior": "Isolated"},
                {
                    "type": "Metaspace",
                    "replacement": "▁",
                    "prepend_scheme": "always",
                    "split": True,
                },
            ],
        }
    },
}


@pytest.mark.parametrize("class_name", ["XLMRobertaTokenizer", "PreTrainedTokenizerFast", None])
@pytest.mark.parametrize("kind", [*IGNORED, "as it is"])
def test_a_text_is_cut_as_users_of_the_checkpoint_will_cut_it(
    altered: Callable[[Callable[[Any], None]], Path],
    tmp_path: Path,
    vocab_size: int,
    kind: str,
    class_name: str | None,
) -> None:
    folder = altered(lambda content: content.update(IGNORED.get(kind, {})))
    if class_name:
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": class_name}))
    loaded = load_tokenizer(folder, vocab_size=vocab_size)
    output = tmp_path / "output"
    output.mkdir()
    for file in (*loaded.files, folder / "config.json"):
        shutil.copy(file, output)

    users = AutoTokenizer.from_pretrained(output)
    lines = [*sentences(200), "ÑAWI ñawi, (Ｗａｓｉ) ﬁ½ ½ⅷ. n\u0303awi", "▁a  b"]
    tokens = loaded.encoder()("".join(f"{line}\n" for line in lines).encode())
    found = [ids[:-1] for ids in documents(tokens)]
    assert found == [users(line, add_special_tokens=False)["input_ids"] for line in lines]

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    written = [backend.encode(line, add_special_tokens=False).ids for line in lines]
    if kind == "as it is" or class_name == "PreTrainedTokenizerFast":
        assert loaded.note is None
        assert found == written
        assert loaded.sha256 == hashlib.sha256(backend.to_str().encode()).hexdigest()
    else:
        assert found != written
        assert loaded.note is not None and "XLMRobertaTokenizer" in loaded.note


@pytest.mark.parametrize("normalizer", ["NFKC", "NFKD", "Lowercase"])
def test_a_spelling_that_becomes_a_special_token_is_text(
    altered: Callable[[Callable[[Any], None]], Path], vocab_size: int, normalizer: str
) -> None:
    folder = altered(lambda content: content.update(normalizer={"type": normalizer}))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load_tokenizer(folder, vocab_size=vocab_size)
    encode = loaded.encoder()
    special = set(loaded.special_ids) - {3}
    backend = loaded.tokenizer.backend_tokenizer
    pairs = [("\uff1cs\uff1e", "<s>"), ("a\uff1c/s\uff1eb", "a</s>b"), ("＜MASK＞ x", "<MASK> x")]
    if normalizer == "Lowercase":
        pairs = [("<S>", "<s>"), ("a</S>b", "a</s>b"), ("<PAD> x", "<pad> x")]
    reached = 0
    for spelling, plain in pairs:
        reached += bool(special & set(backend.encode(spelling, add_special_tokens=False).ids))
        (ids,) = documents(encode(f"{spelling}\n".encode()))
        assert not special & set(ids[:-1]), spelling
        (expected,) = documents(encode(f"{plain}\n".encode()))
        assert ids == expected
    assert reached >= 2


HOSTILE: dict[str, Any] = {
    "no object": [],
    "deep": None,
    "no model": {"version": "1.0"},
    "empty steps": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}},
    "charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "unk_id": {"model": {"type": "Unigram", "unk_id": 99, "vocab": [["<s>", 0.0]]}},
    "no unk": {
        "model": {
            "type": "Unigram",
            "unk_id": None,
            "vocab": [[name, 0.0] for name in ("<s>", "<pad>", "</s>", "<unk>", "▁a")],
        }
    },
    "nan": {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<s>", None]]}},
    "far id": {"added_tokens": "far"},
}


@pytest.mark.parametrize("class_name", ["XLMRobertaTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tokenizer_is_refused_or_works(
    altered: Callable[[Callable[[Any], None]], Path], kind: str, class_name: str
) -> None:
    def change(content: Any) -> None:
        if kind == "far id":
            content["added_tokens"][-1]["id"] = 4_000_000_000
        elif isinstance(HOSTILE[kind], dict):
            if kind == "no model":
                content.pop("model")
            content.update(HOSTILE[kind])

    folder = altered(change)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": class_name}))
    if kind == "no object":
        (folder / "tokenizer.json").write_text("[]")
    if kind == "deep":
        (folder / "tokenizer.json").write_text("[" * 100_000)
    try:
        loaded = load_tokenizer(folder, vocab_size=1_000)
        loaded.encoder()("runa ☃ simi\n".encode())
    except ModelError as error:
        assert error.hint
    else:
        # An id in the file is not taken at its word: the library counts on.
        assert kind in ("empty steps", "far id") or class_name == "XLMRobertaTokenizer"


def test_a_mask_that_is_another_special_token_is_refused(
    altered: Callable[[Callable[[Any], None]], Path], vocab_size: int
) -> None:
    folder = altered(lambda content: None)
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "<unk>"}))
    with pytest.raises(ModelError, match="another special token too"):
        load_tokenizer(folder, vocab_size=vocab_size)


def test_other_special_tokens_make_other_tokens(
    corpus: Corpus, altered: Callable[[Callable[[Any], None]], Path], vocab_size: int
) -> None:
    """The same tokenizer.json with another `sep_token`: the cache must tell them apart."""
    folder = altered(lambda content: None)
    found = []
    for sep_token in ("</s>", "<s>"):
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "sep_token": sep_token}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        loaded = load_tokenizer(folder, vocab_size=vocab_size)
        found.append({ids[-1] for ids in documents(tokenize(corpus.train, loaded))})
    assert found == [{2}, {0}]


def test_a_tokenizer_that_does_not_fit_is_refused(
    tokenizer_dir: Path, vocab_size: int, altered: Callable[[Callable[[Any], None]], Path]
) -> None:
    with pytest.raises(ModelError, match=rf"{vocab_size} tokens.*{vocab_size - 1} embeddings"):
        load_tokenizer(tokenizer_dir, vocab_size=vocab_size - 1)
    assert load_tokenizer(tokenizer_dir, vocab_size=vocab_size + 9).mask_id == vocab_size - 1

    folder = altered(lambda content: content["added_tokens"].pop())
    with pytest.raises(ModelError, match=r"has no mask_token \(<mask>\)"):
        load_tokenizer(folder, vocab_size=vocab_size)


def test_a_damaged_tokenizer_is_refused(tokenizer_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_tokenizer(tmp_path, vocab_size=1_000)
    (tmp_path / "tokenizer.json").rename(tmp_path / "sentencepiece.bpe.model")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_tokenizer(tmp_path, vocab_size=1_000)
    assert caught.value.hint is not None and "tokenizer.json" in caught.value.hint


def test_without_files_only_a_base_of_xlmr_size_gets_xlmr(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "xmod"}')
    with pytest.raises(ModelError, match="no tokenizer, and with 5,000 embeddings"):
        load_tokenizer(tmp_path, vocab_size=5_000)
    with pytest.raises(HubError, match=r"no tokenizer files, .* offline mode forbids") as caught:
        load_tokenizer(tmp_path, vocab_size=250_002)
    assert caught.value.hint is not None and "tokenizer.json" in caught.value.hint


def test_the_fallback_is_said_aloud(
    tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_module, "_fetch_xlmr", lambda: tokenizer_dir)
    loaded = load_tokenizer(tmp_path, vocab_size=250_002)
    assert loaded.source == "FacebookAI/xlm-roberta-base"
    assert loaded.note is not None and "XLM-R's are used" in loaded.note
    assert loaded.files


def test_documents_are_encoded_as_the_tokenizer_does(
    corpus: Corpus, loaded: LoadedTokenizer, tokenizer_dir: Path
) -> None:
    tokenised = tokenize(corpus.train, loaded)
    backend = Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json"))
    texts = [text.replace("<", "< ") for text in corpus.train]
    expected = [[*backend.encode(text, add_special_tokens=False).ids, 2] for text in texts]
    assert documents(tokenised) == expected
    flat = [token for row in expected for token in row[:-1]]
    assert not {0, 1, 2, loaded.mask_id} & set(flat)
    assert tokenised.counts == (len(flat), flat.count(3))


def test_names_of_special_tokens_in_the_text_are_text(
    corpus: Corpus, loaded: LoadedTokenizer
) -> None:
    texts = [*corpus.train, *corpus.held_out]
    assert any("<mask>" in text for text in texts)
    for side in (corpus.train, corpus.held_out):
        for ids in documents(tokenize(side, loaded)):
            assert loaded.mask_id not in ids
            assert ids.count(loaded.sep_id) == 1


def test_a_second_start_finds_the_tokens(
    corpus: Corpus, loaded: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = documents(tokenize(corpus.train, loaded))
    calls: list[object] = []
    monkeypatch.setattr(encoding.Encoder, "__call__", lambda *given: calls.append(given))
    assert documents(tokenize(corpus.train, loaded)) == first
    assert calls == []


def test_tokens_of_another_tokenizer_are_others(
    corpus: Corpus,
    loaded: LoadedTokenizer,
    altered: Callable[[Callable[[Any], None]], Path],
    vocab_size: int,
) -> None:
    folder = altered(lambda content: content.update(normalizer={"type": "Lowercase"}))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    other = load_tokenizer(folder, vocab_size=vocab_size)
    first = documents(tokenize(corpus.train, loaded))
    assert documents(tokenize(corpus.train, other)) != first


def test_a_full_disk_is_an_error_about_the_disk(
    corpus: Corpus, loaded: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoding.Encoder, "__call__", full)
    with pytest.raises(CorpusError, match="No space left"):
        tokenize(corpus.train, loaded)


def test_text_becomes_blocks_silently(
    corpus: Corpus,
    tokenizer_dir: Path,
    vocab_size: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    loaded = load_tokenizer(tokenizer_dir, vocab_size=vocab_size)
    tokenised = tokenize(corpus.train, loaded)
    blocks = PackedBlocks(tokenised, max_length=32, bos_id=loaded.bos_id)
    tokens = tokenised.counts.tokens
    assert blocks.num_tokens == tokens + len(corpus.train)
    assert len(blocks) == blocks.num_tokens // 31
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
