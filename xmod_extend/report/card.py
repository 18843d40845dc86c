"""The model card (README.md) of a checkpoint or a pack, made from run records alone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xmod_extend.evaluation.score import Score
from xmod_extend.report.record import EvaluationRecord, RunRecord, TrainingRecord, describe_epochs


@dataclass(frozen=True, kw_only=True)
class CardSubject:
    """What a card tells of."""

    what: Literal["checkpoint", "pack"]
    name: str
    """The folder's short name, which the card's code loads until a repository is known."""
    languages: tuple[str, ...]
    """All codes of the checkpoint in their order, or the pack's one."""
    described: tuple[str, ...]
    """Codes that the card tells of: those that were added, or the pack's."""
    records: Mapping[str, RunRecord]
    """Those of `described` that have a record."""
    base_name: str
    base_id: str | None
    """The base on the Hub; None of one that is not there."""
    base_revision: str | None
    license: str | None
    """As the publisher named it; None if nothing was said."""
    default_language: str | None = None


def model_card(subject: CardSubject) -> str:
    """Return the card in Markdown with the Hub's metadata; all its figures are from the records."""
    records = [subject.records[code] for code in subject.described if code in subject.records]
    sections = [_front_matter(subject), _introduction(subject, records), _usage(subject)]
    for record in records:
        if record.training is None or record.evaluation is None:
            continue
        heading = f": {record.language_name}" if len(records) > 1 else ""
        sections += [
            _results(record, record.evaluation, heading),
            _training(record, record.training, heading),
            _text(record, heading),
        ]
    if records:
        sections.append(_limits(records))
    return "\n".join(section.strip() + "\n" for section in sections)


def card_for_repository(card: str, name: str, repo_id: str) -> str:
    """Return a card whose code loads a repository of the Hub.

    Args:
        card: What `model_card` returned, or somebody's edition of it.
        name: The folder's name that it was made with.
        repo_id: The repository, as USER/NAME.
    """
    return card.replace(json.dumps(name), json.dumps(repo_id))


def _front_matter(subject: CardSubject) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: fill-mask", "language:"]
    # The Hub knows languages, not regions.
    # Quoted, for YAML takes `no` for false.
    lines += dict.fromkeys(f'- "{code.split("_")[0]}"' for code in subject.described)
    if subject.base_id is not None:
        lines += [f"base_model: {subject.base_id}"]
    if subject.license is not None:
        lines += [f"license: {json.dumps(subject.license)}"]
    lines += ["tags:", "- xmod", "- language-adapter", "- masked-lm", "---"]
    return "\n".join(lines)


def _introduction(subject: CardSubject, records: Sequence[RunRecord]) -> str:
    name = f"`{subject.base_name}`"
    if subject.base_id is not None:
        name = f"`{subject.base_id}` (commit `{(subject.base_revision or '')[:12]}`)"
    named = {record.language: record.language_name for record in records}
    names = [named.get(code, code) for code in subject.described]
    titles = [f"{name} (`{code}`)" for code, name in zip(subject.described, names, strict=True)]
    title = f"# {subject.base_name} with {_listed(titles)}\n\n"
    one = len(names) == 1
    return title + _paragraph(
        f"""
        This is {name}, an X-MOD, to which
        `xmod-extend` added {"a language adapter" if one else "language adapters"} for
        {_listed(names)}. Only
        {"that adapter was" if one else "those adapters were"} trained. Every weight of the base is
        the same, byte for byte, and the base's vocabulary was kept."""
    )


def _usage(subject: CardSubject) -> str:
    ids = _listed([f"`{code}` is {subject.languages.index(code)}" for code in subject.described])
    name = json.dumps(subject.name)
    return f"""
## Use

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

model = AutoModelForMaskedLM.from_pretrained({name})
tokenizer = AutoTokenizer.from_pretrained({name})
model.set_default_language("{subject.described[-1]}")
```

Or pass `lang_ids`: the id of a language is its position in `model.config.languages`;
{ids}.
"""


def _listed(names: Sequence[str]) -> str:
    """Return `A`, `A and B`, or `A, B and C`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _results(record: RunRecord, evaluation: EvaluationRecord, heading: str) -> str:
    before, after = evaluation.before, evaluation.after
    unigram = ""
    if evaluation.unigram is not None:
        unigram = (
            f"\n| none: token frequencies of the training text | {_figures(evaluation.unigram)} |"
        )
    explanation = f"""
        {evaluation.verdict} The intervals are paired bootstraps over {after.num_documents:,} lines;
        {after.num_scored_tokens:,} tokens were hidden, every one behind `<mask>`, and scored.
        Unknown tokens are never scored{_unknown_share(record)}, so that the score says nothing of
        the letters that the vocabulary lacks. Which training step to keep was chosen on a sample of
        the same held-out text. Signature:"""
    return f"""
## Results{heading}

Masked perplexity on held-out text, all of the same hidden tokens:

| adapter | perplexity | bits per byte |
| --- | ---: | ---: |
| `{evaluation.best_existing}`, the best of the base | {_figures(before)} |{unigram}
| `{record.language}`, added | {_figures(after)} |

{_paragraph(explanation)}

    {after.signature}
"""


def _unknown_share(record: RunRecord) -> str:
    held_out = record.corpus.held_out_coverage
    if held_out is None:
        return ""
    return f" ({held_out.unknown_characters:.2%} of the held-out characters are unknown)"


def _paragraph(text: str) -> str:
    """Return a text wrapped at 100 columns."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False)


def _figures(measured: Score) -> str:
    return f"{measured.perplexity:.2f} | {measured.bits_per_byte:.3f}"


def _training(record: RunRecord, training: TrainingRecord, heading: str) -> str:
    stopped = f"The run ended early: {training.stopped}." if training.stopped else ""
    return f"## Training{heading}\n\n" + _paragraph(
        f"""
        Masked language modelling; {training.num_parameters:,} trainable parameters, started from
        `{training.init}`. {training.steps_done:,} steps of {training.batch_size} x
        {training.max_length} tokens ({describe_epochs(training.num_epochs)}), of which step
        {training.best_step:,} was kept. SOAP (arXiv 2409.11321), peak learning rate
        {training.lr:g}, linear warm-up over {training.warmup_fraction:.0%} of the steps and linear
        decay, {_optimiser(training)}weight decay {training.weight_decay:g}, gradient norm clipped
        at {training.clip_norm:g}, {training.mlm_probability:.0%} of the tokens masked, dropout
        {"as in the base" if training.dropout else "off"}, {training.precision} on
        {training.device}, {training.seconds:,.0f} seconds, seed {record.options["seed"]}.
        {stopped}"""
    )


def _optimiser(training: TrainingRecord) -> str:
    if training.adam_beta1 is None:
        return ""
    return (
        f"betas {training.adam_beta1:g} and {training.adam_beta2:g}, epsilon "
        f"{training.adam_epsilon:g}, first basis after {training.num_adam_steps} steps, "
    )


def _text(record: RunRecord, heading: str) -> str:
    corpus = record.corpus
    coverage = ""
    if corpus.coverage is not None:
        coverage = (
            f"; unknown characters: {corpus.coverage.unknown_characters:.2%}, in "
            f"{corpus.coverage.words_hit:.1%} of the words"
        )
    fertility = f"{corpus.fertility:.2f}" if corpus.fertility is not None else "not measured"
    unknown = f"{corpus.unk_rate:.2%}" if corpus.unk_rate is not None else "not measured"
    # A stream is not counted, so its counts are not zero but unknown.
    lines = size = sha256 = "streamed"
    if corpus.train_lines:
        lines, size = f"{corpus.train_lines:,}", f"{corpus.train_bytes:,}"
        sha256 = f"`{corpus.train_sha256[:16]}`"
    figures = f"""
        Tokens per word: {fertility}; unknown tokens: {unknown}{coverage}. Where the text is from,
        and under which licence, is for whoever publishes this to say here."""
    return f"""
## Text{heading}

| | training | held-out |
| --- | ---: | ---: |
| lines | {lines} | {corpus.held_out_lines:,} |
| bytes | {size} | {corpus.held_out_bytes:,} |
| SHA-256 | {sha256} | `{corpus.held_out_sha256[:16]}` |

{_paragraph(figures)}
"""


def _limits(records: Sequence[RunRecord]) -> str:
    warnings = dict.fromkeys(
        f"- {record.language}: {warning}\n" if len(records) > 1 else f"- {warning}\n"
        for record in records
        for warning in record.warnings
    )
    limits = f"""
        An adapter learns the language of its text, with that text's register, errors and opinions.
        The vocabulary is the base's: words of
        {_listed([record.language_name for record in records])} are cut into more pieces than by a
        tokenizer of its own (the paper that introduced X-MOD also learns new embeddings; this does
        not)."""
    return f"""
## Limits

{_paragraph(limits)}

{"".join(warnings)}
[`report.html`](report.html) beside this file shows the result in a browser.
`run.json` is the full record of the run{_earlier(records)}.
"""


def _earlier(records: Sequence[RunRecord]) -> str:
    if len(records) == 1:
        return ""
    others = _listed([f"`run-{record.language}.json`" for record in records[:-1]])
    return f" that added {records[-1].language_name}; {others} of the others"
