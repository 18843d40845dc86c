"""Guesses at what was meant by an option that does not exist."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from xmod_extend.jobs.options import ALIASES
from xmod_extend.options import flag

OTHER_NAMES = {
    "--language": "--lang",
    "--lang-code": "--lang",
    "--code": "--lang",
    "--data": "--corpus",
    "--text": "--corpus",
    "--input": "--corpus",
    "--file": "--corpus",
    "--train": "--corpus",
    "--dataset": "--corpus",
    "--dataset-name": "--corpus",
    "--eval-file": "--held-out",
    "--dev": "--held-out",
    "--test": "--held-out",
    "--model": "--base",
    "--checkpoint": "--base",
    "--model-name": "--base",
    "--out": "--output",
    "--output-folder": "--output",
    "--save-dir": "--output",
    "--epoch": "--epochs",
    "--num-epochs": "--epochs",
    "--steps": "--max-steps",
    "--num-steps": "--max-steps",
    "--max-train-steps": "--max-steps",
    "--max-len": "--max-length",
    "--seq-len": "--max-length",
    "--block-size": "--max-length",
    "--mask-probability": "--mlm-probability",
    "--random-seed": "--seed",
    "--donor": "--init",
    "--overwrite": "--force",
    "--overwrite-output-dir": "--force",
    "--resume-from-checkpoint": "--resume",
    "--dry-run": "--plan",
    "--text-column": "--text-field",
    "--column": "--text-field",
    "--encoding": "--encoding-errors",
    "--bf16": "--precision",
    "--fp16": "--precision",
    "--fp32": "--precision",
    "--dtype": "--precision",
    "--workers": "--jobs",
    "--processes": "--jobs",
    "--silent": "--quiet",
}
"""Names that other tools have for an option."""

_ALIASES = {flag(alias): flag(name) for alias, name in ALIASES.items()}
"""Names that `add` understands, and other commands do not."""

NO_OPTION = {
    ("--device", "--gpu", "--cuda", "--no-cuda", "--use-cpu", "--cpu"): (
        "There is no option for it: a GPU is used where there is one, and the environment variable "
        "CUDA_VISIBLE_DEVICES says which; empty, it keeps training on the processor."
    ),
    ("--verbose", "-v", "--debug"): (
        "There is no option for it: set XMOD_EXTEND_DEBUG=1 to see where an error happened."
    ),
    ("--num-threads", "--threads", "--num-workers"): (
        "There is no option for it: set OMP_NUM_THREADS to the number of threads."
    ),
}
"""Options of other tools that have no counterpart here, and what to do instead."""


def hint_for_option(name: str, known: Sequence[str]) -> str | None:
    """Return what to write instead of an option that does not exist.

    Args:
        name: As it was typed, with its dashes.
        known: The options that the command has.
    """
    spelled = name.lower().replace("_", "-")
    for names, hint in NO_OPTION.items():
        if spelled in names:
            return hint
    meant = OTHER_NAMES.get(spelled) or _ALIASES.get(spelled)
    if meant not in known:
        near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.7)
        meant = near[0] if near else None
    return f"Did you mean {meant}?" if meant else None


def paths_behind_corpus(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the first `--corpus` that several words follow, as it was typed, and these words.

    A shell puts the names of files in the place of a pattern without quotes.
    """
    for position, option in enumerate(arguments):
        if option.replace("_", "-") in ("--corpus", "--train-file"):
            rest = list(arguments[position + 1 :])
            end = next((n for n, word in enumerate(rest) if word.startswith("-")), len(rest))
            if end > 1:
                return option, rest[:end]
    return "", []


def with_quoted_pattern(arguments: Sequence[str], option: str, paths: Sequence[str]) -> str:
    """Return the command with one pattern in the place of several paths, or each path with its
    option."""
    start = next(
        n for n in range(len(arguments)) if list(arguments[n : n + len(paths)]) == list(paths)
    )
    pattern = _pattern_of(paths)
    repeated = shlex.join([word for path in paths for word in (option, path)][1:])
    before = shlex.join(["xmod-extend", *arguments[:start]])
    after = shlex.join(arguments[start + len(paths) :])
    middle = f"'{pattern}'" if pattern is not None else repeated
    return f"{before} {middle} {after}".rstrip()


def _pattern_of(paths: Sequence[str]) -> str | None:
    """Return `folder/*.txt` for files of one folder and suffix, if no others would match it."""
    files = [Path(path) for path in paths]
    folders, suffixes = {file.parent for file in files}, {file.suffix for file in files}
    if len(folders) != 1 or len(suffixes) != 1 or "" in suffixes:
        return None
    (folder,), (suffix,) = folders, suffixes
    try:
        matching = [file for file in folder.iterdir() if fnmatch(file.name, f"[!.]*{suffix}")]
    except OSError:
        return None
    pattern = str(folder / f"*{suffix}")
    # In a name, these would mean something else in a pattern or between quotes.
    is_plain = not set("'?[") & set(pattern) and pattern.count("*") == 1
    return pattern if len(matching) == len(files) and is_plain else None


def explain(error: Any, arguments: Sequence[str]) -> tuple[str, str]:
    """Return what was wrong with a command line, and what to do about it.

    Args:
        error: The command line library's own, of any of its classes: they have moved before.
        arguments: What was typed behind the program's name.
    """
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "xmod-extend"
    reason = " ".join(error.format_message().split())
    hint = f"`{command} --help` lists what there is."
    name = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and name and context:
        known = [option for parameter in context.command.params for option in parameter.opts]
        return f"No such option: {name}", hint_for_option(name, known) or hint
    option, paths = paths_behind_corpus(arguments)
    if "extra argument" in reason and paths:
        more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
        return (
            f"{option} takes one path or pattern, and {len(paths)} words follow it: {paths[0]}, "
            f"{paths[1]}{more}.",
            "Quote a pattern, so that the shell does not put the names in its place: "
            f"`{with_quoted_pattern(arguments, option, paths)}`.",
        )
    return reason, hint
