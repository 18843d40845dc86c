"""The options of `transfer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xmod_extend.arguments import as_path_or_name, as_paths_or_names
from xmod_extend.errors import UsageError
from xmod_extend.options import OptionGroup, at_least, at_most, option, positive
from xmod_extend.text.labelled import Task

MOST_SEEDS = 100


@dataclass(frozen=True, kw_only=True)
class TaskOptions(OptionGroup):
    """The labelled text, and what is compared."""

    PANEL = "Task"

    train: str = option(
        "Labelled text in the source language: CoNLL-U, a word and its label a line, or a table "
        "(.tsv, .csv, .jsonl, .parquet); also compressed.",
        metavar="FILE",
        read=as_path_or_name,
    )
    test: str = option(
        "Labelled text in the target language.", metavar="FILE", read=as_path_or_name
    )
    dev: str | None = option(
        "Other labelled text in the source language, to see how well the task was learnt.",
        default=None,
        default_text="none",
        metavar="FILE",
        read=as_path_or_name,
    )
    task: Task | None = option(
        "What has labels: words (token), names and the like (span), sentences, or pairs of them.",
        default=None,
        default_text="by the form of the file",
    )
    text_field: str | None = option(
        "Field of a table with the text; of pairs two, with a comma between.",
        default=None,
        default_text="text, or premise,hypothesis",
        metavar="NAME",
    )
    label_field: str | None = option(
        "Field with the label; of CoNLL-U a column, such as XPOS.",
        default=None,
        default_text="label or category; UPOS",
        metavar="NAME",
    )
    merge: tuple[str, ...] = option(
        "Labels to score as one, such as NOUN,ADJ. May be given several times.",
        default=(),
        default_text="none",
        metavar="A,B",
        read=as_paths_or_names,
    )
    corpus: tuple[str, ...] = option(
        "Text that the target's adapter was trained on, to look for test sentences in it. May be "
        "given several times.",
        default=(),
        default_text="no check",
        metavar="PATH",
        read=as_paths_or_names,
    )


@dataclass(frozen=True, kw_only=True)
class FineTuningOptions(OptionGroup):
    """The way in which the task is learnt."""

    PANEL = "Training"

    seeds: int = option(
        "How many times to learn the task, with the seeds 0, 1, ...",
        default=3,
        metavar="N",
        rules=[at_least(1), at_most(MOST_SEEDS)],
    )
    full: bool = option(
        "Train all shared weights instead of LoRA; needs a checkpoint's space for --output.",
        default=False,
    )
    max_steps: int | None = option(
        "Optimiser steps.",
        default=None,
        default_text="by the size of the training text",
        rules=[at_least(1)],
    )
    batch_size: int = option("Sentences a step.", default=32, rules=[at_least(1), at_most(10_000)])
    lr: float | None = option(
        "Highest learning rate.",
        default=None,
        default_text="by the method and the width of the checkpoint",
        rules=[positive(10)],
    )
    lora_rank: int = option("Rank of LoRA.", default=8, rules=[at_least(1), at_most(1024)])
    max_length: int | None = option(
        "Tokens read at a time.",
        default=None,
        default_text="128, or what the checkpoint can read",
        rules=[at_least(8)],
    )


@dataclass(frozen=True, kw_only=True)
class TaskOutputOptions(OptionGroup):
    """Where what was learnt is saved."""

    PANEL = "Output"

    output: Path | None = option(
        "Folder for what was learnt with seed 0.",
        default=None,
        default_text="it is not saved",
        metavar="DIR",
    )
    force: bool = option("Replace the output folder if xmod-extend wrote it.", default=False)


@dataclass(frozen=True, kw_only=True)
class TransferOptions(TaskOutputOptions, FineTuningOptions, TaskOptions):
    """All options of `transfer` but the checkpoint and the two languages."""

    def merged(self) -> dict[str, str]:
        """Return the name under which each merged label is scored.

        Raises:
            UsageError: A group has one label, or a label is in two groups.
        """
        names: dict[str, str] = {}
        for group in self.merge:
            labels = [label.strip() for label in group.split(",") if label.strip()]
            if len(labels) < 2:
                raise UsageError(
                    f"--merge {group!r} names {len(labels)} labels; two at least are merged.",
                    hint="Write them with a comma between, such as --merge NOUN,ADJ.",
                )
            for label in labels:
                if label in names:
                    raise UsageError(
                        f"--merge has {label} twice.", hint="Name all labels of a group at once."
                    )
                names[label] = "+".join(labels)
        return names
