"""The model card (README.md) of an extended checkpoint, made from its run record alone."""

from __future__ import annotations

import textwrap

from xmod_extend.evaluation.perplexity import Score
from xmod_extend.report.record import EvaluationRecord, RunRecord, TrainingRecord


def model_card(record: RunRecord) -> str:
    """Markdown with the Hub's metadata block; every figure in it stands in the record."""
    assert record.training is not None and record.evaluation is not None
    parts = [
        _front_matter(record),
        _introduction(record),
        _usage(record),
        _results(record, record.evaluation),
        _training(record, record.training),
        _text(record),
        _limits(record),
    ]
    return "\n".join(part.strip() + "\n" for part in parts)


def _front_matter(record: RunRecord) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: fill-mask", "language:"]
    # The Hub knows languages, not regions.
    lines += [f"- {record.bcp47.split('-')[0]}"]
    if record.base.commit is not None:
        lines += [f"base_model: {record.base.source}"]
    lines += ["tags:", "- xmod", "- language-adapter", "- masked-lm", "---"]
    return "\n".join(lines)


def _introduction(record: RunRecord) -> str:
    base = f"`{record.base.name}`"
    if record.base.commit is not None:
        base = f"`{record.base.source}` (commit `{record.base.commit[:12]}`)"
    title = f"# {record.base.name} with {record.language_name} (`{record.language}`)\n\n"
    return title + _paragraph(
        f"""
        This is {base}, an X-MOD with {len(record.base.languages)} languages, to which
        `xmod-extend` added a language adapter for {record.language_name}. Only that adapter was
        trained. Every weight of the base is the same, byte for byte, and the base's vocabulary
        was kept."""
    )


def _usage(record: RunRecord) -> str:
    return f"""
## Use

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

model = AutoModelForMaskedLM.from_pretrained("PATH_OR_ID")
tokenizer = AutoTokenizer.from_pretrained("PATH_OR_ID")
model.set_default_language("{record.language}")
```

Or pass `lang_ids`: the id of a language is its position in `model.config.languages`;
`{record.language}` is {len(record.base.languages)}.
"""


def _results(record: RunRecord, evaluation: EvaluationRecord) -> str:
    before, after, gain = evaluation.before, evaluation.after, evaluation.improvement
    explanation = f"""
        {gain.ratio:.2f} times lower (95 % interval {gain.low:.2f} to {gain.high:.2f}, paired
        bootstrap over {after.num_documents:,} lines; {after.num_scored_tokens:,} masked tokens).
        Which training step to keep was chosen on a sample of the same held-out text. Signature:"""
    return f"""
## Results

Masked perplexity on held-out text, with the same masked tokens before and after:

| adapter | perplexity | bits per byte |
| --- | ---: | ---: |
| `{evaluation.best_existing}`, the best of the base | {_figures(before)} |
| `{record.language}`, added | {_figures(after)} |

{_paragraph(explanation)}

    {after.signature}
"""


def _paragraph(text: str) -> str:
    """Filled to 100 columns, whatever the figures' lengths."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False)


def _figures(measured: Score) -> str:
    return f"{measured.perplexity:.2f} | {measured.bits_per_byte:.3f}"


def _training(record: RunRecord, training: TrainingRecord) -> str:
    stopped = f"The run ended early: {training.stopped}." if training.stopped else ""
    return "## Training\n\n" + _paragraph(
        f"""
        Masked language modelling; {training.num_parameters:,} trainable parameters, started from
        `{training.init}`. {training.steps_done:,} steps of {training.batch_size} x
        {training.max_length} tokens ({training.num_epochs:.1f} epochs), of which step
        {training.best_step:,} was kept. SOAP (arXiv 2409.11321), peak learning rate
        {training.lr:g}, linear warm-up over {training.warmup_fraction:.0%} of the steps and linear
        decay, weight decay {training.weight_decay:g}, gradient norm clipped at
        {training.clip_norm:g}, {training.mlm_probability:.0%} of the tokens masked, dropout
        {"as in the base" if training.dropout else "off"}, {training.precision} on
        {training.device}, {training.seconds:,.0f} seconds, seed {record.options["seed"]}.
        {stopped}"""
    )


def _text(record: RunRecord) -> str:
    corpus = record.corpus
    fertility = f"{corpus.fertility:.2f}" if corpus.fertility is not None else "not measured"
    unknown = f"{corpus.unk_rate:.2%}" if corpus.unk_rate is not None else "not measured"
    return f"""
## Text

| | training | held-out |
| --- | ---: | ---: |
| lines | {corpus.train_lines:,} | {corpus.held_out_lines:,} |
| bytes | {corpus.train_bytes:,} | {corpus.held_out_bytes:,} |
| SHA-256 | `{corpus.train_sha256[:16]}` | `{corpus.held_out_sha256[:16]}` |

Tokens per word: {fertility}; unknown tokens: {unknown}. Where the text is from, and under which
licence, is for whoever publishes this to say here.
"""


def _limits(record: RunRecord) -> str:
    warnings = "".join(f"- {warning}\n" for warning in record.warnings)
    limits = f"""
        An adapter learns the language of its text, with that text's register, errors and opinions.
        The vocabulary is the base's: words of {record.language_name} are cut into more pieces than
        by a tokenizer of its own (the paper that introduced X-MOD also learns new embeddings; this
        does not)."""
    return f"""
## Limits

{_paragraph(limits)}

{warnings}
`run.json` beside this file is the full record of the run.
"""
