"""Loading a base's tokenizer, refusing one that does not fit, and tokenising text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_text import build_tokenizer, documents, sentences
from tokenizers import Tokenizer, normalizers

from xmod_extend.errors import CorpusError, HubError, ModelError
from xmod_extend.text import encoding
from xmod_extend.text import tokenizer as tokenizer_module
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.text.packing import PackedBlocks
from xmod_extend.text.tokenizer import (
    LoadedTokenizer,
    load_tokenizer,
    tokenize,
)


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
    assert load_tokenizer(lower, vocab_size=vocab_size).sha256 != loaded.sha256


TRUNCATION = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}


def test_tokenizer_json_is_taken_at_its_word(
    altered: Callable[[Callable[[Any], None]], Path], vocab_size: int
) -> None:
    folder = altered(lambda content: content.update(normalizer={"type": "Lowercase"}))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    backend = load_tokenizer(folder, vocab_size=vocab_size).tokenizer.backend_tokenizer
    assert isinstance(backend.normalizer, normalizers.Lowercase)


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
