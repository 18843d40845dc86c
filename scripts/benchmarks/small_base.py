"""Pretrains a small X-MOD on real text, as a base to measure adaptation with.

usage: python scripts/benchmarks/small_base.py OUTPUT --tokenizer DIR --text CODE FILE
           [--text CODE FILE ...] [--whole-text CODE FILE ...] [--width D] [--length T]
           [--steps N] [--seed N] [--threads N]

There are as many blocks of each language in every batch, so that a language more makes a step
longer and takes nothing from the others: two bases of the same steps and seed, one with a language
and one without, have read the same text of all others under the same masks. Matrices are trained
by Muon and the rest by AdamW, in bf16 where the processor has instructions for it.

A small masked model spends most of its training on a plateau where it knows frequencies and not yet
its neighbours. Here the heads of the first layer begin by looking at them (`look_at_neighbours`):
after 500 steps the loss of five languages was 5.30, where with the start of
`scripts/make_tiny_base.py` it was 5.17 after 1,500 only.

A text is lines, one document each, plain or gzipped. Five in a hundred of its lines, drawn by each
line's hash, are kept out of training, in OUTPUT/held_out/CODE.txt; none of a text of --whole-text,
whose held-out text is another file.

Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon) for the optimiser, as PyTorch has it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoTokenizer, XmodForMaskedLM

from xmod_extend.model.routing import route_languages
from xmod_extend.training.device import choose_precision

sys.path.append(str(Path(__file__).resolve().parent.parent))

from make_tiny_base import (
    IGNORED,
    Settings,
    batches,
    mask_tokens,
    new_model,
    split_by_hash,
)

HEAD_WIDTH = 64
TOKENS_PER_LANGUAGE = 512
"""Of each language in every step, whatever the length of a block."""
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
WARMUP = 0.05
"""Share of the steps in which the rate rises; then it falls to zero."""
MLM_PROBABILITY = 0.2
OFFSETS = (-1, 1, 2, -2, 3, -3)
"""Of the token that each of the first layer's heads begins by looking at."""
HELD_OUT_PERCENT = 5


def read_text(path: Path) -> list[str]:
    """The lines of a text file, which may be gzipped."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [line for line in file.read().splitlines() if line.strip()]


def make_base(
    output: Path,
    tokenizer: Path,
    texts: dict[str, Path],
    whole_texts: dict[str, Path],
    *,
    width: int,
    length: int,
    steps: int,
    seed: int,
) -> None:
    """Pretrain a base and save it with its tokenizer, its held-out text and how it was made."""
    cutter = AutoTokenizer.from_pretrained(tokenizer)
    cutter.model_max_length = length
    settings = Settings(
        seed=seed,
        languages=(*texts, *whole_texts),
        hidden_size=width,
        num_layers=4,
        num_heads=max(2, width // HEAD_WIDTH),
        vocab_size=len(cutter),
        block_tokens=length,
        blocks_per_language=TOKENS_PER_LANGUAGE // length,
        num_steps=steps,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        mlm_probability=MLM_PROBABILITY,
    )
    training = {language: read_text(path) for language, path in whole_texts.items()}
    held_out = {}
    for language, path in texts.items():
        training[language], held_out[language] = split_by_hash(read_text(path), HELD_OUT_PERCENT)
    sentences = {}
    for language, train in training.items():
        sentences[language] = cutter(train, add_special_tokens=False, verbose=False)["input_ids"]
    model = new_model(settings)
    look_at_neighbours(model)
    pretrain(model, sentences, settings)
    model.save_pretrained(output)
    cutter.save_pretrained(output)
    folder = output / "held_out"
    folder.mkdir(exist_ok=True)
    for language, lines in held_out.items():
        (folder / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    record = {"steps": steps, "seed": seed, "tokens_per_language": steps * TOKENS_PER_LANGUAGE}
    (output / "pretraining.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


@torch.no_grad()
def look_at_neighbours(model: XmodForMaskedLM) -> None:
    """Start the first layer's heads at looking at the token before, the one behind, the next.

    The first dimensions are for positions, as sines and cosines, and hold hardly anything of the
    tokens. A head's queries are these turned by its offset and its keys are these as they are, so
    that their product is highest where the positions differ by the offset.
    """
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    longest, shortest = 2 * math.pi / 0.05, 2 * math.pi / 1.5
    frequencies = 2 * math.pi / torch.logspace(math.log10(shortest), math.log10(longest), size // 2)
    embeddings = model.roberta.embeddings
    embeddings.word_embeddings.weight[:, :size] *= 0.1
    embeddings.token_type_embeddings.weight.zero_()
    positions = embeddings.position_embeddings.weight
    angles = torch.arange(len(positions))[:, None] * frequencies
    positions.zero_()
    positions[:, :size] = 0.2 * torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    positions[embeddings.padding_idx] = 0
    attention = model.roberta.encoder.layer[0].attention.self
    for head in range(config.num_attention_heads):
        own = slice(head * size, (head + 1) * size)
        turned = OFFSETS[head % len(OFFSETS)] * frequencies
        attention.query.weight[own] = 0
        attention.key.weight[own] = 0
        for place, angle in enumerate(turned.tolist()):
            sine, cosine = math.sin(angle), math.cos(angle)
            pair = slice(2 * place, 2 * place + 2)
            rows = slice(own.start + 2 * place, own.start + 2 * place + 2)
            turn = torch.tensor([[cosine, sine], [-sine, cosine]])
            attention.query.weight[rows, pair] = turn
            attention.key.weight[rows, pair] = torch.eye(2)
        for weight in (attention.query.weight, attention.key.weight):
            weight[own] += 0.1 * config.initializer_range * torch.randn(size, config.hidden_size)


def pretrain(
    model: XmodForMaskedLM, sentences: dict[str, list[list[int]]], settings: Settings
) -> None:
    """Train every weight by masked language modelling."""
    # What the seed draws for a language must not depend on which others there are.
    streams = {
        language: batches(
            {language: sentences[language]},
            replace(settings, languages=(language,)),
            torch.Generator().manual_seed(settings.seed + index),
        )
        for index, language in enumerate(settings.languages)
    }
    masks = {
        language: torch.Generator().manual_seed(1_000 + settings.seed + index)
        for index, language in enumerate(settings.languages)
    }
    lang_ids = torch.arange(len(streams)).repeat_interleave(settings.blocks_per_language)
    optimizers = make_optimizers(model, settings)
    schedules = [LambdaLR(optimizer, lambda step: rate(step, settings)) for optimizer in optimizers]
    is_bf16 = choose_precision("auto", torch.device("cpu")).compute == torch.bfloat16
    route_languages(model)
    model.eval()
    started, losses = time.process_time(), []
    for step in range(1, settings.num_steps + 1):
        drawn = [
            mask_tokens(next(stream)[0], settings, masks[language])
            for language, stream in streams.items()
        ]
        input_ids, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=is_bf16),
            # In bf16 the fused attention takes more than twice as long as plain products.
            sdpa_kernel(SDPBackend.MATH if is_bf16 else SDPBackend.FLASH_ATTENTION),
        ):
            hidden = model.roberta(input_ids, lang_ids=lang_ids).last_hidden_state
            chosen = labels != IGNORED
            logits = model.lm_head(hidden[chosen]).float()
        loss = functional.cross_entropy(logits, labels[chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if step % 100 == 0:
            mean, seconds = sum(losses[-100:]) / 100, time.process_time() - started
            print(
                f"step {step}/{settings.num_steps}  loss {mean:.3f}  {seconds:.0f} CPU s",
                flush=True,
            )


def make_optimizers(model: XmodForMaskedLM, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between the embedding and the output, AdamW for all else."""
    matrices = [
        values
        for name, values in model.named_parameters()
        if values.ndim == 2 and "embeddings" not in name and "decoder" not in name
    ]
    known = set(map(id, matrices))
    others = [values for values in model.parameters() if id(values) not in known]
    decay = settings.weight_decay
    return [
        torch.optim.Muon(
            matrices,
            lr=settings.learning_rate,
            weight_decay=decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=decay),
    ]


def rate(step: int, settings: Settings) -> float:
    """The share of the learning rate at a step: a linear rise, then a linear fall to zero."""
    warmup = WARMUP * settings.num_steps
    return min((step + 1) / warmup, (settings.num_steps - step) / (settings.num_steps - warmup))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="a checkpoint with XLM-R's layout"
    )
    parser.add_argument("--text", nargs=2, action="append", required=True, metavar=("CODE", "FILE"))
    parser.add_argument(
        "--whole-text", nargs=2, action="append", default=[], metavar=("CODE", "FILE")
    )
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--length", type=int, default=64, help="tokens of a block, at most 512")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    texts, whole_texts = (
        {code: Path(path) for code, path in pairs} for pairs in (given.text, given.whole_text)
    )
    make_base(
        given.output,
        given.tokenizer,
        texts,
        whole_texts,
        width=given.width,
        length=given.length,
        steps=given.steps,
        seed=given.seed,
    )


if __name__ == "__main__":
    main()
