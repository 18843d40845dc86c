"""What all tests share: no network, no user's cache, and a base that trains in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoints import make_checkpoint
from hypothesis import HealthCheck, settings
from sample_text import build_tokenizer
from sentences import make_sentences

# A busy machine is no reason to fail: what is tested is the result, not the time it took.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

VOCABULARY = 120


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the user's caches out of the tests and the tests out of the user's caches."""
    home = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", str(home / "datasets"))
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_DATASETS_CACHE", str(home / "datasets"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


def write_tokenizer(folder: Path) -> None:
    """A throw-away Unigram tokenizer with XLM-R's special tokens and `VOCABULARY` entries."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY - 1, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(make_sentences(300, seed=8), trainer)
    # The trainer's sums, and with them the order of the pieces, differ from process to process.
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = sorted((round(-score, 1), piece) for piece, score in vocabulary[len(special) :])
    ordered = [(piece, 0.0) for piece in special] + [(piece, -score) for score, piece in pieces]
    tokenizer.model = models.Unigram(ordered, unk_id=special.index("<unk>"))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random post-norm X-MOD with three languages and a tokenizer."""
    folder = make_checkpoint(tmp_path_factory.mktemp("bases") / "small", vocab_size=VOCABULARY)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def pre_norm_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with xmod-large-prenorm's flags."""
    folder = make_checkpoint(
        tmp_path_factory.mktemp("bases") / "prenorm", vocab_size=VOCABULARY, pre_norm=True
    )
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """800 sentences of a made-up language, one a line."""
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("\n".join(make_sentences(800)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    def write(lines: list[str], name: str = "corpus.txt") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base's folder as far as the tokenizer goes, with its configuration left to the class."""
    folder = tmp_path_factory.mktemp("base")
    build_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 8}))
    (folder / "config.json").write_text(json.dumps({"model_type": "xmod"}))
    return folder
