"""What all tests share: no network, no user's cache, and a base that trains in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoints import make_checkpoint
from hypothesis import HealthCheck, settings
from sample_text import VOCABULARY, build_tokenizer, write_tokenizer
from sentences import make_sentences

# A busy machine is no reason to fail: what is tested is the result, not the time it took.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


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
