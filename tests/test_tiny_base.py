"""The bundled base: a real X-MOD that plain transformers loads, small, and trained."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    XmodForMaskedLM,
)

ROOT = Path(__file__).parent.parent
TINY = ROOT / "xmod_extend" / "bases" / "tiny"
LANGUAGES = ["en_XX", "es_XX", "de_DE"]


@pytest.fixture(scope="module")
def model() -> XmodForMaskedLM:
    return AutoModelForMaskedLM.from_pretrained(TINY).eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(TINY)


def read_sample(language: str, num_sentences: int = 200) -> list[str]:
    lines = (ROOT / "corpora" / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return lines[:num_sentences]


def test_is_an_upstream_xmod(model: XmodForMaskedLM) -> None:
    assert type(model) is XmodForMaskedLM
    assert list(model.config.languages) == LANGUAGES
    assert model.config.layer_norm_eps == 1e-5
    assert model.config.max_position_embeddings == 66
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    for layer in model.roberta.encoder.layer:
        assert list(layer.output.adapter_modules) == LANGUAGES


def test_fits_in_the_package() -> None:
    assert sum(file.stat().st_size for file in TINY.iterdir()) < 6_000_000


def test_special_tokens_are_laid_out_as_in_xlm_r(tokenizer: PreTrainedTokenizerBase) -> None:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(special) == [0, 1, 2, 3, len(tokenizer) - 1]
    ids = tokenizer("The market opens.")["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "The market opens."
    assert tokenizer("a <mask> b")["input_ids"].count(tokenizer.mask_token_id) == 1


def test_vocabulary_is_the_models_own(
    model: XmodForMaskedLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert len(tokenizer) == model.config.vocab_size
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(("language", "bound"), [("quz_PE", 0.005), ("es_XX", 0.0)])
def test_few_tokens_are_unknown(
    tokenizer: PreTrainedTokenizerBase, language: str, bound: float
) -> None:
    lines = (ROOT / "corpora" / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    ids = [i for row in tokenizer(lines, add_special_tokens=False)["input_ids"] for i in row]
    assert ids.count(tokenizer.unk_token_id) / len(ids) <= bound


def masked_losses(
    model: XmodForMaskedLM, tokenizer: PreTrainedTokenizerBase, language: str
) -> tuple[list[float], float]:
    """Returns each adapter's loss on a language's sample, and that of the sample's unigrams."""
    batch = tokenizer(
        read_sample(language), padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    generator = torch.Generator().manual_seed(1)
    ids = batch["input_ids"]
    chosen = (torch.rand(ids.shape, generator=generator) < 0.15) & (ids > 3)
    masked = torch.where(chosen, tokenizer.mask_token_id, ids)
    losses = []
    for lang_id in range(len(LANGUAGES)):
        with torch.no_grad():
            logits = model(
                masked,
                attention_mask=batch["attention_mask"],
                lang_ids=torch.full((len(ids),), lang_id),
            ).logits
        losses.append(torch.nn.functional.cross_entropy(logits[chosen], ids[chosen]).item())
    counts = Counter(ids[ids > 3].tolist())
    total = sum(counts.values())
    unigram = -sum(n / total * math.log(n / total) for n in counts.values())
    return losses, unigram


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_is_served_best_by_its_own_adapter(
    model: XmodForMaskedLM, tokenizer: PreTrainedTokenizerBase, language: str
) -> None:
    losses, unigram = masked_losses(model, tokenizer, language)
    own = losses[LANGUAGES.index(language)]
    others = [loss for i, loss in enumerate(losses) if LANGUAGES[i] != language]
    assert own < unigram - 1.0
    assert own < min(others) - 1.0
