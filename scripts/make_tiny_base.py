"""Pretrains `tiny`, the base that comes with the package: `python scripts/make_tiny_base.py`.

`tiny` is a real X-MOD masked language model, small enough to ship and to adapt on a laptop within
minutes. It learns three languages from the sample corpora; the fourth corpus, Cusco Quechua, is
left for the demonstration to add, and neither the model nor its tokenizer sees it here.

The run is drawn from one seed and is reproducible on one machine with one number of threads; other
numbers of threads or other processors add in another order and end in slightly different weights.
"""

import argparse
import hashlib
import math
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from torch.nn import functional
from transformers import XLMRobertaTokenizer, XmodConfig, XmodForMaskedLM

ROOT = Path(__file__).parent.parent
LANGUAGES = ("en_XX", "es_XX", "de_DE")
BOS, PAD, EOS, UNK = range(4)
IGNORED = -100
LETTERS = "".join(map(chr, (*range(0x41, 0x5B), *range(0x61, 0x7B)))) + "ÁÉÍÓÚÑÜÄÖáéíóúñüäöß"

Blocks = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the base is made."""

    seed: int = 2022
    languages: tuple[str, ...] = LANGUAGES
    hidden_size: int = 128
    num_layers: int = 3
    num_heads: int = 4
    vocab_size: int = 1000
    """Tokenizer entries, special tokens included."""
    block_tokens: int = 64
    """Length of a training block, `<s>` included."""
    blocks_per_language: int = 16
    """Blocks of each language in every step's batch."""
    num_steps: int = 1200
    warmup_steps: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    mlm_probability: float = 0.15
    held_out_percent: int = 5
    """Share of the sentences that is kept from training, drawn by each sentence's hash."""


def train_tokenizer(corpora: Path, settings: Settings) -> XLMRobertaTokenizer:
    """Trains a SentencePiece unigram model on the base's languages and lays it out as XLM-R does.

    XLM-R's order is `<s> <pad> </s> <unk>`, the pieces, `<mask>`. The vocabulary is small so that
    its pieces are shared: a large one would hold whole words of the three languages, and a new
    language would be spelt in letters that the base has hardly seen.
    """
    with tempfile.TemporaryDirectory() as directory:
        prefix = Path(directory) / "pieces"
        sentencepiece.SentencePieceTrainer.train(
            input=[str(corpora / f"{language}.txt") for language in LANGUAGES],
            model_prefix=str(prefix),
            model_type="unigram",
            # SentencePiece has three special pieces of its own, and we add <pad> and <mask>.
            vocab_size=settings.vocab_size - 2,
            character_coverage=1.0,
            # The small corpora lack some letters of their own alphabets, such as a capital Ñ.
            required_chars=LETTERS,
            byte_fallback=False,
            # The corpora are in NFC, and transformers' XLM-R tokenizer would drop another rule.
            normalization_rule_name="identity",
            shuffle_input_sentence=False,
            # Expectation-maximisation adds in another order with several threads.
            num_threads=1,
            minloglevel=2,
        )
        trained = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    pieces = [(trained.id_to_piece(i), trained.get_score(i)) for i in range(3, len(trained))]
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    return XLMRobertaTokenizer(
        vocab=[*special, *pieces, ("<mask>", 0.0)], model_max_length=settings.block_tokens
    )


def split_by_hash(lines: Iterable[str], held_out_percent: int) -> tuple[list[str], list[str]]:
    """Splits sentences into (training, held-out) ones by each sentence's own hash."""
    split: tuple[list[str], list[str]] = ([], [])
    for line in lines:
        digest = hashlib.sha256(line.encode("utf-8")).digest()
        split[int.from_bytes(digest[:4], "big") % 100 < held_out_percent].append(line)
    return split


def pack(sentences: list[list[int]], block_tokens: int) -> torch.Tensor:
    """Packs sentences into blocks `<s> sentence </s> sentence </s> ...`, all of them full."""
    stream = torch.tensor([token for sentence in sentences for token in (*sentence, EOS)])
    width = block_tokens - 1
    num_blocks = len(stream) // width
    blocks = stream[: num_blocks * width].view(num_blocks, width)
    return torch.cat([torch.full((num_blocks, 1), BOS), blocks], dim=1)


def mask_tokens(
    input_ids: torch.Tensor, settings: Settings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hides tokens for the model to predict: 80 % as `<mask>`, 10 % as any token, 10 % as they are.

    Returns:
        The masked ids and the labels, which are -100 where nothing is to be predicted.
    """
    draw = torch.rand(input_ids.shape, generator=generator)
    chosen = (draw < settings.mlm_probability) & (input_ids > UNK)
    labels = torch.where(chosen, input_ids, IGNORED)
    kind = torch.rand(input_ids.shape, generator=generator)
    anything = torch.randint(UNK + 1, settings.vocab_size - 1, input_ids.shape, generator=generator)
    masked = torch.where(chosen & (kind < 0.8), settings.vocab_size - 1, input_ids)
    return torch.where(chosen & (kind >= 0.9), anything, masked), labels


def new_model(settings: Settings) -> XmodForMaskedLM:
    """Builds the untrained model, started so that a model this small learns within minutes.

    From the usual N(0, 0.02) and random positions, small masked language models predict nothing
    but each token's frequency for millions of tokens. Larger weights, positions started as
    sinusoids, and a first layer whose queries and keys begin near the identity (so that it looks at
    neighbours from the start) take them off that plateau early.
    """
    config = XmodConfig(
        vocab_size=settings.vocab_size,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        intermediate_size=4 * settings.hidden_size,
        max_position_embeddings=settings.block_tokens + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=0.06,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        adapter_reduction_factor=2,
        pre_norm=False,
        adapter_layer_norm=False,
        adapter_reuse_layer_norm=True,
        ln_before_adapter=True,
        languages=list(settings.languages),
    )
    torch.manual_seed(settings.seed)
    model = XmodForMaskedLM(config)
    with torch.no_grad():
        positions = model.roberta.embeddings.position_embeddings.weight
        positions.copy_(0.2 * sinusoids(*positions.shape))
        positions[PAD].zero_()
        first = model.roberta.encoder.layer[0].attention.self
        for linear in (first.query, first.key):
            linear.weight.add_(torch.eye(config.hidden_size))
    # The record of the usual range is what code that adds weights later would draw from.
    model.config.initializer_range = 0.02
    return model


def sinusoids(num_positions: int, width: int) -> torch.Tensor:
    """Returns the sine and cosine positions of the Transformer, (num_positions, width).

    Source: Vaswani et al. 2017, section 3.5.
    """
    position = torch.arange(num_positions)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([(position * frequency).sin(), (position * frequency).cos()], -1).flatten(1)


def masked_loss(
    model: XmodForMaskedLM, input_ids: torch.Tensor, labels: torch.Tensor, lang_ids: torch.Tensor
) -> torch.Tensor:
    """The mean loss of the masked positions; only they go through the head, which saves time."""
    hidden = model.roberta(input_ids, lang_ids=lang_ids).last_hidden_state
    chosen = labels != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[chosen]), labels[chosen])


def batches(
    sentences: dict[str, list[list[int]]], settings: Settings, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields (input_ids, lang_ids) without end: as many blocks of each language in every batch.

    Every language in every batch matters: an adapter that a batch does not select gets zero
    gradients, and Adam would still move it.
    """

    def blocks(own: list[list[int]]) -> Iterator[torch.Tensor]:
        while True:
            # The sentences come in another order, and so in other company, every time.
            order = torch.randperm(len(own), generator=generator).tolist()
            packed = pack([own[i] for i in order], settings.block_tokens)
            yield from packed.split(settings.blocks_per_language)[:-1]

    streams = [blocks(sentences[language]) for language in settings.languages]
    lang_ids = torch.arange(len(streams)).repeat_interleave(settings.blocks_per_language)
    while True:
        yield torch.cat([next(stream) for stream in streams]), lang_ids


def pretrain(
    model: XmodForMaskedLM, sentences: dict[str, list[list[int]]], settings: Settings
) -> None:
    """Trains every weight by masked language modelling, with warm-up and linear decay."""
    generator = torch.Generator().manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / settings.warmup_steps,
            (settings.num_steps - step) / (settings.num_steps - settings.warmup_steps),
        ),
    )
    # No dropout: the model is too small to overfit, and learns sooner without.
    model.eval()
    started = time.perf_counter()
    stream = batches(sentences, settings, generator)
    for step in range(1, settings.num_steps + 1):
        blocks, lang_ids = next(stream)
        input_ids, labels = mask_tokens(blocks, settings, generator)
        loss = masked_loss(model, input_ids, labels, lang_ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step % 25 == 0:
            seconds = time.perf_counter() - started
            print(
                f"step {step}/{settings.num_steps}  loss {loss.item():.3f}  {seconds:.0f} s",
                flush=True,
            )


@torch.no_grad()
def evaluate(
    model: XmodForMaskedLM, sentences: list[list[int]], lang_id: int, settings: Settings
) -> float:
    """The masked loss in nats per scored token, with masks drawn from the seed."""
    blocks = pack(sentences, settings.block_tokens)
    generator = torch.Generator().manual_seed(settings.seed)
    input_ids, labels = mask_tokens(blocks, settings, generator)
    lang_ids = torch.full((len(blocks),), lang_id)
    return masked_loss(model.eval(), input_ids, labels, lang_ids).item()


CARD = """# tiny

The base that comes with xmod-extend, for its demonstration and its tests. It is a real X-MOD
(`XmodForMaskedLM`, {num_parameters:,} parameters) and loads with `AutoModelForMaskedLM` and
`AutoTokenizer`, but it is **not a model to use**: it knows a few thousand sentences that a small
grammar wrote.

Made by `scripts/make_tiny_base.py` from the sample corpora en_XX, es_XX and de_DE (Apache-2.0, as
the project; the corpora's text is CC0): {num_layers} layers of {hidden_size}, a SentencePiece
vocabulary of {vocab_size} trained on the same text, {num_steps} steps of {batch} blocks of
{block_tokens} tokens, seed {seed}. It saw no Quechua.

Masked loss on held-out sentences of the same corpora ({held_out_percent} % of them, drawn by hash),
in nats per masked token, by the adapter that was switched on. The sentences come from the grammars
that the training sentences come from, so these figures say nothing about real text.

| text | {header} |
| --- |{rule}
{rows}
"""


def write_card(
    directory: Path, losses: dict[str, list[float]], model: XmodForMaskedLM, settings: Settings
) -> None:
    """Writes what the base is, how it was made, and its held-out losses."""
    rows = [
        f"| {language} | {' | '.join(f'{x:.2f}' for x in row)} |"
        for language, row in losses.items()
    ]
    card = CARD.format(
        num_parameters=model.num_parameters(),
        num_layers=model.config.num_hidden_layers,
        hidden_size=model.config.hidden_size,
        vocab_size=settings.vocab_size,
        num_steps=settings.num_steps,
        batch=len(LANGUAGES) * settings.blocks_per_language,
        block_tokens=settings.block_tokens,
        seed=settings.seed,
        held_out_percent=settings.held_out_percent,
        header=" | ".join(f"adapter {language}" for language in LANGUAGES),
        rule=" ---: |" * len(LANGUAGES),
        rows="\n".join(rows),
    )
    (directory / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Makes the tokenizer and the model, and writes both with their record."""
    parser = argparse.ArgumentParser(description="Pretrains the bundled base `tiny`.")
    parser.add_argument("--corpora", type=Path, default=ROOT / "corpora")
    parser.add_argument("--output", type=Path, default=ROOT / "xmod_extend" / "bases" / "tiny")
    parser.add_argument("--steps", type=int, default=Settings.num_steps)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = Settings(num_steps=arguments.steps)

    tokenizer = train_tokenizer(arguments.corpora, settings)
    training, held_out = {}, {}
    for language in LANGUAGES:
        corpus = (arguments.corpora / f"{language}.txt").read_text(encoding="utf-8")
        split = split_by_hash(corpus.splitlines(), settings.held_out_percent)
        training[language], held_out[language] = (
            tokenizer(lines, add_special_tokens=False)["input_ids"] for lines in split
        )
    model = new_model(settings)
    pretrain(model, training, settings)
    losses = {
        language: [evaluate(model, held_out[language], i, settings) for i in range(len(LANGUAGES))]
        for language in LANGUAGES
    }
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    write_card(arguments.output, losses, model, settings)


if __name__ == "__main__":
    main()
