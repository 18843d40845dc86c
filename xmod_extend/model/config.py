"""config.json: read as it is, and refused if it is not one that a language can be added to.

Nothing here imports torch, so that looking at a config is instant.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.model.tensors import (
    DamagedFileError,
    cannot_be_read,
    is_name,
    refuse_lfs_pointer,
)

CONFIG_NAME = "config.json"
PACK_CONFIG_NAME = "adapter_config.json"
PACK_HINT = "If it is a language pack, install it into its base with `xmod-extend install`."

MAX_JSON_BYTES = 16 * 1024 * 1024
"""A hundred times the index of xmod-large-prenorm: a longer file would only fill the memory."""
MOST_LABELS = 10_000
"""transformers writes a name for each label whenever it copies a config."""
CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Codes become names of modules and of files."""
_NAMES_OF_CODE = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
)
"""Fields that may name a repository, whose compiled code transformers downloads and runs."""

UPSTREAM_PAD_ID = 1
"""The padding's id where config.json has none, in transformers as in XLM-R."""


def list_folder(path: Path, *, limit: int = 6) -> str:
    """Return the names of some files in a folder, for an error message."""
    names = sorted(entry.name for entry in path.iterdir())
    return listed(names, most=limit) if names else "nothing"


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json, and check that it is an X-MOD's.

    Raises:
        ModelError: The folder or its config is missing or broken, or is of another model.
    """
    file = path / CONFIG_NAME
    try:
        if not path.is_dir():
            what = "is a file, not a folder" if path.exists() else "does not exist"
            raise ModelError(f"{path} {what}.", hint="Give the folder that holds config.json.")
        if file.is_dir():
            raise ModelError(
                f"{file} is a folder, not a file.", hint="Give the folder that holds config.json."
            )
        if not file.is_file():
            hint = "Give the folder of a checkpoint, as `save_pretrained` writes it."
            if (path / PACK_CONFIG_NAME).is_file():
                hint = PACK_HINT
            raise ModelError(f"{path} has no config.json; it holds {list_folder(path)}.", hint=hint)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path and its permissions."
        ) from error
    return check_config(read_json_object(file), path.name or str(path))


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Raises:
        ModelError: It does not, or cannot be read.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_JSON_BYTES + 1)
        refuse_lfs_pointer(file, raw)
    except OSError as error:
        raise cannot_be_read(file, error) from error
    if len(raw) > MAX_JSON_BYTES:
        raise ModelError(
            f"{file.name} has more than {MAX_JSON_BYTES // 1024**2} MB, which no such file has.",
            hint=f"Look at {file}.",
        )
    return parse_json_object(raw, file)


def parse_json_object(raw: bytes, file: Path) -> dict[str, Any]:
    """Return the JSON object that bytes of a file spell; numbers that are not finite are no JSON.

    Raises:
        ModelError: They do not spell one.
    """
    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{file.name} {_json_fault(error)}.", file) from error
    if not isinstance(content, dict):
        raise ModelError(f"{file.name} does not hold a JSON object.", hint=f"Look at {file}.")
    return content


class _NotFiniteError(ValueError):
    """A number that JSON has no spelling for."""


def _refuse_constant(spelled: str) -> float:
    raise _NotFiniteError(spelled)


def _json_fault(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "is nested deeper than any config or index is"
    if isinstance(error, _NotFiniteError):
        return f"is not JSON: it has the number {error}"
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} in line {error.lineno}".removesuffix(" at")
    if isinstance(error, UnicodeDecodeError):
        return "is not JSON: it is not UTF-8"
    return f"has a number of more than {sys.get_int_max_str_digits():,} digits"


def check_config(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Refuse the config of another model, and languages that are listed wrongly.

    Raises:
        ModelError: The model is not an X-MOD, or `languages` is not a list of distinct codes.
    """
    model_type = config.get("model_type")
    if model_type != "xmod":
        named = (
            model_type
            if isinstance(model_type, str) and is_name(model_type)
            else "model of another kind"
        )
        kind = f"is a {named}, not" if model_type else "has no `model_type`, so it is not"
        raise ModelError(
            f"{name} {kind} an X-MOD.", hint="Give an X-MOD, such as facebook/xmod-base."
        )
    counts = Counter(config_languages(config))
    duplicates = sorted(code for code, count in counts.items() if count > 1)
    if duplicates:
        raise ModelError(
            f"{name} lists {listed(duplicates)} twice in `languages`, which shifts the ids "
            "of the languages after it.",
            hint="Remove the duplicate from config.json.",
        )
    _check_harmless(config, name)
    return config


def _check_harmless(config: Mapping[str, Any], name: str) -> None:
    """Refuse what would make transformers run code of others, or work without an end."""
    for field in _NAMES_OF_CODE:
        value = config.get(field)
        named = value.values() if isinstance(value, dict) else [value]
        if any(isinstance(one, str) and "/" in one for one in named):
            raise ModelError(
                f"{name} asks for code from elsewhere in its config.json ({field}), and none is "
                "run.",
                hint=f"Remove {field} from config.json; no X-MOD needs it.",
            )
    num_labels = config.get("num_labels")
    if isinstance(num_labels, int) and num_labels > MOST_LABELS:
        raise ModelError(
            f"config.json's num_labels is {num_labels:,}, and no task has more than "
            f"{MOST_LABELS:,}.",
            hint="Correct it, or remove it: a masked language model has no labels.",
        )


def listed(names: Sequence[str], *, most: int = 6) -> str:
    """Return the first of many names for a sentence, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def check_extendable(config: dict[str, Any], name: str) -> None:
    """Refuse the config of an X-MOD that no language can be added to.

    Raises:
        ModelError: It describes no masked language model, a quantised one, or one that cannot
            compute.
    """
    if config.get("tie_word_embeddings") is False:
        raise ModelError(
            f"{name} has an untied LM head (`tie_word_embeddings` is false).",
            hint="Only X-MODs whose LM head shares the word embeddings can be extended.",
        )
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise ModelError(
            f"{name} is configured as a decoder, not as a masked language model.",
            hint="Set `is_decoder` and `add_cross_attention` to false in config.json.",
        )
    check_loadable(config, name)


def check_loadable(config: dict[str, Any], name: str) -> None:
    """Refuse the config of an X-MOD, of whatever task, whose weights cannot be used as they are.

    Raises:
        ModelError: It names another file of weights, quantises them, or has a value that nothing
            can be computed with.
    """
    if config.get("transformers_weights"):
        raise ModelError(
            f"{name} names its weights file itself (`transformers_weights`).",
            hint="Give the file one of the standard names and remove the entry from config.json.",
        )
    if config.get("quantization_config") is not None:
        raise ModelError(
            f"{name} is to be quantised when it is loaded (`quantization_config`), so what is "
            "trained and verified would not be what its users get.",
            hint="Use the checkpoint from before it was quantised, or remove the entry from "
            "config.json if its weights are plain.",
        )
    _check_padding(config)
    for field, (largest, released) in _RANGES.items():
        value = config.get(field)
        if isinstance(value, int | float) and not 0 <= value <= largest:
            raise ModelError(
                f"config.json's {field} is {value}, which is not from 0 to {largest}.",
                hint=f"It is {released} in the released X-MODs.",
            )


_RANGES = {
    "hidden_dropout_prob": (1, 0.1),
    "attention_probs_dropout_prob": (1, 0.1),
    "layer_norm_eps": (1, 1e-5),
    "initializer_range": (100, 0.02),
}
"""Field -> largest value that can be computed with, and the value in the released X-MODs."""


def _check_padding(config: dict[str, Any]) -> None:
    """Refuse a padding id that is no token: all positions are counted from it."""
    padding, rows = config.get("pad_token_id", UPSTREAM_PAD_ID), config.get("vocab_size")
    is_id = isinstance(padding, int) and not isinstance(padding, bool)
    if not is_id or padding < 0 or (isinstance(rows, int) and 0 < rows <= padding):
        raise ModelError(
            f"config.json's pad_token_id is {json.dumps(padding)[:60]}, which is not the id of "
            "a token; X-MOD counts its positions from it.",
            hint="It is 1 in the released X-MODs.",
        )


def longest_input(config: Mapping[str, Any]) -> int | None:
    """Return the most tokens that a model reads at a time, or None if its config does not say.

    The positions up to the padding's are never used.
    """
    positions, padding = config.get("max_position_embeddings"), config.get("pad_token_id")
    if not isinstance(positions, int):
        return None
    return positions - 1 - (padding if isinstance(padding, int) else UPSTREAM_PAD_ID)


def config_languages(config: dict[str, Any]) -> list[str]:
    """Return `languages`, where a position is an id; upstream's default if the field is absent."""
    languages = config.get("languages", ["en_XX"])
    if not isinstance(languages, list) or not all(isinstance(code, str) for code in languages):
        raise ModelError(
            "config.json's `languages` is not a list of language codes.",
            hint='It should read like ["en_XX", "id_ID"].',
        )
    odd = next((code for code in languages if not CODE.fullmatch(code)), None)
    if odd is not None:
        raise ModelError(
            f"config.json's `languages` has {shown(odd)}, which is no code of a language.",
            hint="A code has letters, digits, underscores and hyphens, such as en_XX.",
        )
    return languages
