"""Loading a base or an output with plain transformers, as its users will.

This package computes with parts of upstream's model, and so could train what nobody can load: a
config that asks for a library that is not installed, or describes a model that cannot run. Models
are loaded here as a user loads them, but without the memory that the weights take.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmod_extend.errors import ModelError
from xmod_extend.hub.client import first_line
from xmod_extend.model.config import longest_input
from xmod_extend.model.validation import expected_shapes
from xmod_extend.tokens.tokenizer import as_utf8, find_tokenizer_files

if TYPE_CHECKING:
    from transformers import XmodConfig

TRIAL_TOKENS = 8
TRIAL_ROWS = 64
"""The vocabulary's size in the trial, unless the padding's id is larger."""
LARGEST_TRIAL = 50_000_000
"""The most parameters of a trial; a layer of xmod-large-prenorm has 14 million. A larger config
contradicts its weights, which is found when they are opened."""
COMPARE_HINT = "Compare it with the config.json of facebook/xmod-base."


def make_xmod_config(
    config: Mapping[str, Any], *, languages: Sequence[str] | None = None
) -> XmodConfig:
    """Return transformers' config for a config.json, optionally with other languages.

    A `default_language` that is not among the languages is dropped.

    Raises:
        ModelError: transformers refuses a value.
    """
    from transformers import XmodConfig

    values = dict(config)
    if languages is not None:
        values["languages"] = list(languages)
        if values.get("default_language") not in languages:
            values["default_language"] = None
    try:
        with quiet_transformers():
            xmod_config: XmodConfig = XmodConfig.from_dict(values)
    except Exception as error:  # transformers' validation has error classes of many libraries
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # Where a field may have one of several types, a sentence about each follows.
        reason = lines[-1].split(". Errors:")[0].strip().rstrip(".")[:200]
        raise ModelError(
            f"config.json has a value that transformers refuses: {reason}.", hint=COMPARE_HINT
        ) from error
    return xmod_config


def check_usable(config: Mapping[str, Any]) -> None:
    """Load and run a model of one layer, whose weights are zeros, as config.json describes it.

    Raises:
        ModelError: transformers cannot build, load or run a model of this config; the hint names
            the field if a single one is the cause.
    """
    try:
        error = _run_trial(*_trial_model(config))
    except ModelError as refused:
        raise ModelError(refused.message, hint=_hint_at_field(config) or refused.hint) from refused
    if error is not None:
        raise ModelError(
            f"config.json describes a model that plain transformers cannot use: {_reason(error)}.",
            hint=_hint_at_field(config) or COMPARE_HINT,
        ) from error


def _hint_at_field(config: Mapping[str, Any]) -> str | None:
    """Return a hint that names the field without which the model can be used, if there is one."""
    causes = [field for field in config if _works_without(config, field)]
    if len(causes) != 1:
        return None
    return f"The cause is {causes[0]}: correct it, remove it, or install what it asks for."


def _trial_model(config: Mapping[str, Any]) -> tuple[XmodConfig, dict[str, tuple[int, ...]]]:
    small = dict(config) | {"num_hidden_layers": 1}
    rows, padding = small.get("vocab_size"), small.get("pad_token_id", 1)
    if isinstance(rows, int) and isinstance(padding, int):
        small["vocab_size"] = min(rows, max(TRIAL_ROWS, padding + 1))
    xmod_config = make_xmod_config(small, languages=["one"])
    return xmod_config, expected_shapes(xmod_config)


def _run_trial(config: XmodConfig, shapes: Mapping[str, tuple[int, ...]]) -> Exception | None:
    """Return the error that transformers raises while it loads and runs the trial model, if any."""
    import torch
    from transformers import XmodForMaskedLM

    if sum(torch.Size(shape).numel() for shape in shapes.values()) > LARGEST_TRIAL:
        return None
    zeros = {name: torch.zeros(shape) for name, shape in shapes.items()}
    length = min(TRIAL_TOKENS, longest_input(config.to_dict()) or 1)
    try:
        # The caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=[]), quiet_transformers(), torch.inference_mode():
            model: Any = XmodForMaskedLM.from_pretrained(None, config=config, state_dict=zeros)
            ids = torch.zeros(1, length, dtype=torch.long)
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            model(**inputs, lang_ids=torch.zeros(1, dtype=torch.long), return_dict=True)
    except Exception as error:  # whatever an absurd value leads to
        return error
    return None


def _works_without(config: Mapping[str, Any], field: str) -> bool:
    try:
        others = {name: value for name, value in config.items() if name != field}
        return _run_trial(*_trial_model(others)) is None
    except ModelError:
        return False


def loading_faults(folder: Path, *, with_tokenizer: bool = True) -> list[str]:
    """Load a finished folder by `AutoModelForMaskedLM` and `AutoTokenizer`, as its users will.

    The weights are not read, only found: other checks compare them byte for byte.

    Args:
        with_tokenizer: A tokenizer of xmod-base's size takes 0.8 GB while it is loaded, which is in
            vain for files that are those of a checkpoint in use.

    Returns:
        One sentence for each thing that does not load; empty if all does.
    """
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    faults = []
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers(), as_utf8(folder) as path:
        try:
            _, info = AutoModelForMaskedLM.from_pretrained(
                path, device_map="meta", output_loading_info=True, **local
            )
        except Exception as error:
            faults.append(f"AutoModelForMaskedLM cannot load it: {_reason(error)}.")
        else:
            mismatched = {name for name, *_ in info["mismatched_keys"]}
            absent = sorted(info["missing_keys"] | mismatched)
            if absent:
                faults.append(
                    f"AutoModelForMaskedLM does not find {absent[0]} in it, and fills it with "
                    f"random numbers ({len(absent)} such in all)."
                )
        if with_tokenizer and find_tokenizer_files(folder):
            try:
                AutoTokenizer.from_pretrained(path, **local)
            except Exception as error:
                faults.append(f"AutoTokenizer cannot load it: {_reason(error)}.")
    return faults


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' log lines, reports and progress bars inside the block."""
    from huggingface_hub import utils as hub
    from transformers.utils import logging as transformers_logging

    bars: Any = transformers_logging
    verbosity = transformers_logging.get_verbosity()
    has_bars = bars.is_progress_bar_enabled()
    hub_has_none = hub.are_progress_bars_disabled()  # type: ignore[attr-defined]
    transformers_logging.set_verbosity(logging.CRITICAL)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bars:
            with warnings.catch_warnings():
                # It warns where an environment variable keeps the Hub's bars off.
                warnings.simplefilter("ignore")
                bars.enable_progress_bar()
            if hub_has_none:
                hub.disable_progress_bars()  # type: ignore[attr-defined]


def _reason(error: Exception) -> str:
    return first_line(error)[:200] if str(error).strip() else type(error).__name__
