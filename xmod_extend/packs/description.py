"""adapter_config.json: what a pack says of itself, read as a stranger's.

    language            the code, and so the names of the tensors and of their file
    hidden_size, ...    the shape that a model must have: see `AdapterShape`
    dtype               of the tensors, as config.json spells it
    base_model          id on the Hub of the base that it was trained on, if it is known
    base_revision       commit of that base
    shared_sha256       fingerprint of the shared weights that it was trained against
    shared_parts        short fingerprints of their parts, by which a difference can be named
    tokenizer_sha256    the tokenizer that its text was read with
    license             the terms that its maker named, if any
    created_by          the program and its version

A value that is not what this version writes is refused, before anything is computed with it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmod_extend.errors import ModelError
from xmod_extend.model.config import CODE, PACK_CONFIG_NAME, read_json_object
from xmod_extend.model.tensors import TORCH_NAMES
from xmod_extend.model.validation import FLOATS, MOST_LAYERS
from xmod_extend.packs.fingerprint import PART, PART_DIGITS, Fingerprint
from xmod_extend.packs.shape import LARGEST_SIZE, AdapterShape

DESCRIPTION_NAME = PACK_CONFIG_NAME
FORMAT_VERSION = 1
MODEL_TYPE = "xmod"

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9._-]{1,95})?")
COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
LICENSE = re.compile(r"(other:)?[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_LABEL = re.compile(r"[\x20-\x7e]{1,100}")
_ACTIVATION = re.compile(r"[A-Za-z0-9_]{1,40}")
_DTYPES = tuple(TORCH_NAMES[name] for name in FLOATS)


@dataclass(frozen=True, kw_only=True)
class PackDescription:
    """What a pack says of itself; see the module."""

    language: str
    shape: AdapterShape
    dtype: str
    shared: Fingerprint
    base_model: str | None = None
    base_revision: str | None = None
    tokenizer_sha256: str | None = None
    license: str | None = None
    created_by: str = field(default="")

    @property
    def weights_name(self) -> str:
        """The name of the pack's file of weights."""
        return weights_name(self.language)

    @property
    def base(self) -> str:
        """The base, as a sentence calls it."""
        if self.base_model is None:
            return "a base that it does not name"
        at = f" at {self.base_revision[:12]}" if self.base_revision else ""
        return f"{self.base_model}{at}"

    def to_json(self) -> str:
        """Return the text of adapter_config.json."""
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "model_type": MODEL_TYPE,
            "language": self.language,
            **dataclasses.asdict(self.shape),
            "dtype": self.dtype,
            "base_model": self.base_model,
            "base_revision": self.base_revision,
            "shared_sha256": self.shared.sha256,
            "shared_parts": dict(self.shared.parts),
            "tokenizer_sha256": self.tokenizer_sha256,
            "license": self.license,
            "created_by": self.created_by,
        }
        return json.dumps(values, indent=2) + "\n"


def weights_name(language: str) -> str:
    """Return the name of a language's file of weights, in a pack as in a checkpoint."""
    return f"model-{language}.safetensors"


def read_description(file: Path) -> PackDescription:
    """Read adapter_config.json.

    Raises:
        ModelError: It is damaged, is no pack's, is of a later version, or has a value that no pack
            has.
    """
    values = read_json_object(file)
    version, model_type = values.get("format_version"), values.get("model_type")
    if model_type != MODEL_TYPE or "format_version" not in values:
        raise ModelError(
            f"{file.name} is not of a language pack: it has no `format_version` or another "
            "`model_type` than xmod.",
            hint="Give a folder that `xmod-extend pack` wrote.",
        )
    if type(version) is not int or version != FORMAT_VERSION:
        raise ModelError(
            f"{file.name} has another `format_version` than {FORMAT_VERSION}, the one that this "
            "version reads.",
            hint="Install the newest version of xmod-extend.",
        )
    return _Reader(file, values).description()


class _Reader:
    """Fields of a file, each refused if it is not what it must be."""

    def __init__(self, file: Path, values: Mapping[str, Any]) -> None:
        self._file = file
        self._values = values

    def description(self) -> PackDescription:
        return PackDescription(
            language=self._text("language", CODE),
            shape=self._shape(),
            dtype=self._choice("dtype", _DTYPES),
            shared=Fingerprint(sha256=self._text("shared_sha256", _SHA256), parts=self._parts()),
            base_model=self._optional("base_model", REPOSITORY),
            base_revision=self._optional("base_revision", COMMIT),
            tokenizer_sha256=self._optional("tokenizer_sha256", _SHA256),
            license=self._optional("license", LICENSE),
            created_by=self._text("created_by", _LABEL),
        )

    def _shape(self) -> AdapterShape:
        shape = AdapterShape(
            hidden_size=self._count("hidden_size", LARGEST_SIZE),
            num_hidden_layers=self._count("num_hidden_layers", MOST_LAYERS),
            num_attention_heads=self._count("num_attention_heads", LARGEST_SIZE),
            adapter_reduction_factor=self._count("adapter_reduction_factor", LARGEST_SIZE),
            hidden_act=self._text("hidden_act", _ACTIVATION),
            pre_norm=self._flag("pre_norm"),
            adapter_layer_norm=self._flag("adapter_layer_norm"),
            adapter_reuse_layer_norm=self._flag("adapter_reuse_layer_norm"),
            ln_before_adapter=self._flag("ln_before_adapter"),
            layer_norm_eps=self._share("layer_norm_eps"),
        )
        if shape.bottleneck_size < 1:
            raise self._wrong("adapter_reduction_factor", "at most as large as hidden_size")
        return shape

    def _parts(self) -> dict[str, str]:
        parts = self._values.get("shared_parts")
        if (
            not isinstance(parts, dict)
            or len(parts) > MOST_LAYERS + 10
            or not all(PART.fullmatch(name) for name in parts)
            or not all(
                isinstance(digits, str) and re.fullmatch(rf"[0-9a-f]{{{PART_DIGITS}}}", digits)
                for digits in parts.values()
            )
        ):
            raise self._wrong("shared_parts", "fingerprints by the names of parts")
        return parts

    def _text(self, name: str, form: re.Pattern[str]) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self._wrong(name, "a text of the right form")
        return value

    def _optional(self, name: str, form: re.Pattern[str]) -> str | None:
        return None if self._values.get(name) is None else self._text(name, form)

    def _choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or value not in choices:
            raise self._wrong(name, f"one of {', '.join(choices)}")
        return value

    def _count(self, name: str, most: int) -> int:
        value = self._values.get(name)
        if type(value) is not int or not 0 < value <= most:
            raise self._wrong(name, f"a whole number from 1 to {most:,}")
        return value

    def _flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def _share(self, name: str) -> float:
        value = self._values.get(name)
        # No comparison holds of what is not a number.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self._wrong(name, "a number from 0 to 1")
        return float(value)

    def _wrong(self, name: str, needed: str) -> ModelError:
        found = "is missing" if name not in self._values else "is something else"
        return ModelError(
            f"{self._file.name} must have {needed} as its {name}, which {found}.",
            hint=f"Look at {self._file}, or get the pack again from where it comes from.",
        )
