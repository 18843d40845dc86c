"""Streamed text: the same batches whenever they are asked for, and nothing on the disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from sample_text import sentences

from xmod_extend.errors import CorpusError, HubError, UsageError
from xmod_extend.jobs.options import AddOptions
from xmod_extend.text import lines as lines_module
from xmod_extend.text.cleaning import clean_block
from xmod_extend.text.corpus import Corpus, read_corpus
from xmod_extend.text.lines import StreamedLines
from xmod_extend.text.reading import read_blocks
from xmod_extend.text.sources import find_sources
from xmod_extend.tokens import streaming
from xmod_extend.tokens.packing import PackedBlocks
from xmod_extend.tokens.streaming import StreamedBlocks
from xmod_extend.tokens.tokenised import StreamedTokens, tokenize
from xmod_extend.tokens.tokenizer import LoadedTokenizer, load_tokenizer

Write = Callable[..., Path]


@pytest.fixture
def loaded(tokenizer_dir: Path) -> LoadedTokenizer:
    return load_tokenizer(tokenizer_dir, vocab_size=10_000)


@pytest.fixture
def paths(write_lines: Write) -> list[Path]:
    lines = sentences(900)
    return [write_lines(lines[i::3], f"{i}.txt") for i in range(3)]


def stream(paths: list[Any], **options: Any) -> StreamedLines:
    return StreamedLines(tuple(find_sources(paths, download=False, **options)))


def lines_of(streamed: StreamedLines, order: list[int] | None = None) -> list[str]:
    return b"".join(streamed.pieces(order)).decode().splitlines()


def stream_corpus(paths: list[Path], **options: Any) -> Corpus:
    return read_corpus(paths, streaming=True, **options)


@pytest.fixture
def make(paths: list[Path], loaded: LoadedTokenizer) -> Callable[..., StreamedBlocks]:
    def make(max_length: int = 16, shuffled_blocks: int = 50) -> StreamedBlocks:
        return StreamedBlocks(
            StreamedTokens(stream(paths), loaded.encoder()),
            max_length=max_length,
            bos_id=loaded.bos_id,
            shuffled_blocks=shuffled_blocks,
        )

    return make


def take(blocks: StreamedBlocks, count: int, **options: Any) -> list[list[list[int]]]:
    return [b.tolist() for b in itertools.islice(blocks.batches(8, **options), count)]


def pack_whole(
    blocks: StreamedBlocks, loaded: LoadedTokenizer, order: list[int] | None = None
) -> PackedBlocks:
    """The same text as blocks in memory."""
    tokens = loaded.encoder()(b"".join(blocks._tokens.lines.pieces(order)))
    return PackedBlocks(tokens, max_length=16, bos_id=loaded.bos_id)


def test_a_stream_is_the_lines_once_each_in_the_order_of_the_files(
    write_lines: Write, paths: list[Path]
) -> None:
    lines = sentences(900)
    extra = write_lines(["", " \t", lines[0], lines[0], "  one\u00ad  more "], "extra.txt")
    streamed = stream([*paths, extra])
    expected = [line for i in range(3) for line in lines[i::3]] + [lines[0], "one more"]
    assert b"".join(streamed.pieces()).decode() == "".join(f"{line}\n" for line in expected)
    assert lines_of(streamed, [3, 0]) == [lines[0], "one more", *lines[0::3]]


def test_only_near_repetitions_are_found(
    write_lines: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "RECENT_LINES", 2)
    streamed = stream([write_lines(list("abacdaa"))])
    assert lines_of(streamed) == ["a", "b", "c", "d", "a"]
    (block,) = map(clean_block, read_blocks(streamed.sources[0]))
    excluded = frozenset({next(block.lines())[0]})
    assert len(lines_of(StreamedLines(streamed.sources, excluded))) == 3


@pytest.mark.parametrize("shuffled_blocks", [1, 50, 100_000])
def test_every_epoch_has_every_block_once(
    make: Callable[..., StreamedBlocks], loaded: LoadedTokenizer, shuffled_blocks: int
) -> None:
    blocks = make(shuffled_blocks=shuffled_blocks)
    epoch = np.random.default_rng([5, 0])
    offset = int(epoch.integers(15))
    order = epoch.permutation(3).tolist()
    packed = pack_whole(blocks, loaded, order)
    expected = packed.get(range(packed.num_blocks(offset)), offset).tolist()
    # Of the next epoch are only the last few.
    rows = list(itertools.chain.from_iterable(take(blocks, len(expected) // 8 + 2, seed=5)))
    assert sorted(rows[: len(expected)]) == sorted(expected)
    assert (rows[: len(expected)] == expected) == (shuffled_blocks == 1)
    assert len(blocks) == len(packed) and blocks.num_tokens == packed.num_tokens


def test_batches_depend_on_the_seed_and_the_step_alone(
    make: Callable[..., StreamedBlocks],
) -> None:
    once = make()
    first = take(once, 400, seed=1)
    length = len(once)
    assert 2 * length < 8 * 400, "more than two epochs"
    assert take(make(), 400, seed=1) == first
    assert take(once, 400, seed=1) == first
    assert take(once, 9, seed=2) != first[:9]
    for start in (1, length // 8, length // 8 + 1, 300):
        assert take(make(), 400 - start, seed=1, start_step=start) == first[start:]
        assert take(once, 400 - start, seed=1, start_step=start) == first[start:]


def test_the_epochs_of_a_stream_are_known_once_it_was_read(
    make: Callable[..., StreamedBlocks],
) -> None:
    blocks = make(shuffled_blocks=50)
    assert blocks.num_epochs(0) is None
    take(blocks, 3, seed=1)
    # What was read is a part of the text: to divide by it would give too many epochs.
    assert len(blocks) > 0 and blocks.num_epochs(3 * 8 * 16) is None
    whole = make()
    take(whole, 400, seed=1)
    assert whole.num_epochs(len(whole) * 16 * 3) == 3.0


def test_token_frequencies_are_the_same_wherever_a_run_was_taken_up(
    make: Callable[..., StreamedBlocks], loaded: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = make()
    packed = pack_whole(blocks, loaded)
    size = len(loaded.tokenizer)
    whole = packed.token_counts(size)
    assert whole.sum() == packed.num_tokens
    assert blocks.token_counts(size).tolist() == whole.tolist()
    take(blocks, 5, seed=1, start_step=3)
    assert blocks.token_counts(size).tolist() == whole.tolist()
    monkeypatch.setattr(streaming, "COUNTED_TOKENS", 10)
    monkeypatch.setattr(lines_module, "_PIECE_BYTES", 100)
    assert 10 <= make().token_counts(size).sum() < 200


def test_too_short_a_stream_is_refused_as_often_as_it_is_asked(
    write_lines: Write, loaded: LoadedTokenizer
) -> None:
    tokens = tokenize(stream([write_lines(["runa"])]), loaded)
    blocks = StreamedBlocks(tokens, max_length=512, bos_id=0)
    for start_step in (0, 3):
        with pytest.raises(CorpusError, match="not one sequence of 512 tokens"):
            next(blocks.batches(8, seed=0, start_step=start_step))


def test_an_epoch_that_is_passed_is_not_read_again(
    make: Callable[..., StreamedBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = make()
    take(blocks, len(make()) // 8 + 400, seed=1)
    passes: list[object] = []
    pieces = StreamedLines.pieces

    def counted(self: StreamedLines, order: Any = None) -> Iterator[bytes]:
        passes.append(order)
        return pieces(self, order)

    monkeypatch.setattr(StreamedLines, "pieces", counted)
    take(blocks, 1, seed=1, start_step=5 * len(blocks) // 8)
    assert len(passes) == 1


def test_held_out_lines_are_never_trained_on(paths: list[Path]) -> None:
    corpus = stream_corpus(paths)
    held_out = set(corpus.held_out)
    assert isinstance(corpus.train, StreamedLines)
    trained = set(lines_of(corpus.train))
    everything = set(lines_of(stream(paths)))
    assert held_out and not held_out & trained
    assert held_out | trained == everything
    assert stream_corpus(paths).held_out == corpus.held_out
    report = corpus.report
    assert report.held_out_lines == report.kept_lines == len(held_out)
    assert report.held_out_bytes == sum(len(line.encode()) for line in held_out)
    assert any("streamed" in warning for warning in report.warnings)


def test_a_given_held_out_text_is_taken_out_of_the_stream(
    paths: list[Path], write_lines: Write
) -> None:
    other = sentences(1_000)[890:]
    corpus = stream_corpus(paths, held_out=write_lines([*other, other[0]], "held_out.txt"))
    assert list(corpus.held_out) == other
    assert isinstance(corpus.train, StreamedLines)
    assert len(lines_of(corpus.train)) == 890


def test_too_little_text_is_refused(
    write_lines: Write, paths: list[Path], loaded: LoadedTokenizer
) -> None:
    with pytest.raises(CorpusError, match="too little text: found 30 lines"):
        stream_corpus([write_lines(sentences(30))])
    with pytest.raises(CorpusError, match="too little text to measure on: found 1 "):
        stream_corpus(paths, held_out=write_lines(["only this"], "held_out.txt"))
    tokens = tokenize(stream([write_lines(["runa"])]), loaded)
    blocks = StreamedBlocks(tokens, max_length=512, bos_id=0)
    with pytest.raises(CorpusError, match="not one sequence of 512 tokens"):
        next(blocks.batches(4, seed=0))


def test_nothing_is_written(
    paths: list[Path],
    make: Callable[..., StreamedBlocks],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(cache))
    before = sorted(tmp_path.rglob("*"))
    stream_corpus(paths)
    take(make(), 5, seed=0)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_set_on_the_hub_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def load(repository: str, **options: Any) -> datasets.IterableDataset:
        asked.append({"repository": repository, **options})
        rows = datasets.Dataset.from_dict({"body": [*sentences(5), None]})
        return rows.to_iterable_dataset()

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr("xmod_extend.text.hub.ask_hub", lambda _: None)
    streamed = stream(["hf://datasets/me/texts@v1"], text_field="body")
    assert lines_of(streamed) == sentences(5)
    assert asked[0] == {
        "repository": "me/texts",
        "data_files": None,
        "split": "train",
        "revision": "v1",
        "streaming": True,
    }
    assert streamed.names == ("hf://datasets/me/texts@v1",)
    with pytest.raises(CorpusError, match="has no column 'text' \\(found body\\)"):
        next(stream(["hf://datasets/me/texts"]).pieces())


def test_a_data_set_that_cannot_be_reached_is_an_error_of_the_hub() -> None:
    with pytest.raises(HubError, match="me/texts"):
        next(stream(["hf://datasets/me/texts"]).pieces())


def test_streaming_needs_the_number_of_steps() -> None:
    with pytest.raises(UsageError, match="--streaming needs --max-steps") as caught:
        AddOptions(lang="quz_PE", corpus=("a.txt",), streaming=True)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError):
        AddOptions(lang="quz_PE", corpus=("a.txt",), streaming=True, epochs=2.0)
    assert AddOptions(lang="quz_PE", corpus=("a.txt",), streaming=True, max_steps=5).streaming


def test_a_changed_file_changes_the_fingerprint(paths: list[Path]) -> None:
    before = stream(paths).fingerprint
    assert stream(paths).fingerprint == before
    assert stream(paths[:2]).fingerprint != before
    assert stream(paths, encoding_errors="replace").fingerprint != before
    with paths[0].open("a", encoding="utf-8") as file:
        file.write("one line more\n")
    assert stream(paths).fingerprint != before
