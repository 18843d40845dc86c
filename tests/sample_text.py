"""Made-up sentences and a throw-away tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from sentences import make_sentences
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from xmod_extend.tokens.tokenised import TokenisedText

WORDS = """
    runa simi ñawi wasi inti killa mayu urqu allqu misi warmi qhari wawa taytay mamay sach'a
    rumi para wayra nina yaku allpa hanaq kay uku pacha sumaq hatun huch'uy puka yana yuraq
""".split()

VOCABULARY = 120
"""Entries of the tokenizer that `write_tokenizer` writes."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def sentences(count: int, *, seed: int = 0, words: list[str] = WORDS) -> list[str]:
    """Different sentences of 6 to 14 words."""
    rng = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        sentence = " ".join(rng.choices(words, k=rng.randint(6, 14)))
        made[sentence.capitalize() + "."] = None
    return list(made)


def build_tokenizer() -> Tokenizer:
    """A Unigram model in the shape of XLM-R's: the same special tokens, `<mask>` the last id."""
    tokenizer = Tokenizer(models.Unigram())
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(sentences(200, seed=99), trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def documents(tokenised: TokenisedText) -> list[list[int]]:
    """The tokens of each document."""
    ids = tokenised.read(0, tokenised.num_tokens)
    ends = np.cumsum(tokenised.document_sizes())
    return [part.tolist() for part in np.split(ids, ends[:-1])]


def write_tokenizer(folder: Path) -> None:
    """A throw-away Unigram tokenizer with XLM-R's special tokens and `VOCABULARY` entries."""
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
