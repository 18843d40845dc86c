"""What a model and an adapter must have in common, so that the adapter fits.

The shared weights decide how well an adapter works in a model. These decide whether it can be put
there at all, and whether it computes what it computed where it was trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from xmod_extend.model.names import LAYER_PREFIX
from xmod_extend.model.upstream import make_xmod_config

LARGEST_SIZE = 1_000_000
"""No model has as many, so that no arithmetic with a pack's fields comes to anything absurd."""


@dataclass(frozen=True, kw_only=True)
class AdapterShape:
    """The fields of config.json that an adapter depends on, under upstream's names."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    adapter_reduction_factor: int
    hidden_act: str
    pre_norm: bool
    adapter_layer_norm: bool
    adapter_reuse_layer_norm: bool
    ln_before_adapter: bool
    layer_norm_eps: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return what a config.json says, with upstream's value where it says nothing.

        Raises:
            ModelError: transformers refuses a value of it.
        """
        meant = make_xmod_config(config, languages=["one"])
        return cls(**{field.name: getattr(meant, field.name) for field in dataclasses.fields(cls)})

    @property
    def bottleneck_size(self) -> int:
        """The units between the two layers of the adapter."""
        return self.hidden_size // self.adapter_reduction_factor

    def tensor_shapes(self, language: str) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of each tensor of a language, by layer."""
        wide, narrow = self.hidden_size, self.bottleneck_size
        parts = {
            "dense1.weight": (narrow, wide),
            "dense1.bias": (narrow,),
            "dense2.weight": (wide, narrow),
            "dense2.bias": (wide,),
        }
        return {
            f"{LAYER_PREFIX}{layer}.output.adapter_modules.{language}.{part}": shape
            for layer in range(self.num_hidden_layers)
            for part, shape in parts.items()
        }

    def difference(self, other: AdapterShape) -> str | None:
        """Return the first field in which two differ, as the end of a sentence."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs:
                return f"{field.name} is {_spelled(mine)}, and not {_spelled(theirs)}"
        return None


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
