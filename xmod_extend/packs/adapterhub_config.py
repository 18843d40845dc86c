"""What AdapterHub's library says of a bottleneck, and whether it is one of X-MOD's.

Its general bottleneck can sit in several places and be joined to the layer in several ways. One of
these is X-MOD's, and only that one is written, and read:

    hidden = layer norm (output of the layer + its input)     `original_ln_before`
    hidden + up(activation(down(hidden)))                     X-MOD with `ln_before_adapter`
    or, around the layer norm, `post_add`                     X-MOD without it

Source: `BnConfig`, `Adapter.pre_forward` and `XmodOutputWithAdapters` of adapters 1.3.0, and the
converter of its authors, utils/convert_xmod_checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xmod_extend.arguments import shown
from xmod_extend.errors import ModelError
from xmod_extend.packs.shape import AdapterShape

LIBRARY_VERSION = "adapters.1.3.0"
"""The version whose form is written, as the library spells it."""

_OLD_ACTIVATIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
"""What the library takes an activation for where the config is of no version."""

_LEFT_AS_THEY_ARE: dict[str, Any] = {
    "mh_adapter": False,
    "output_adapter": True,
    "cross_adapter": False,
    "original_ln_after": False,
    "ln_before": False,
    "ln_after": False,
    "init_weights": "bert",
    "init_weights_seed": None,
    "is_parallel": False,
    "scaling": 1.0,
    "use_gating": False,
    "adapter_residual_before_ln": False,
    "inv_adapter": None,
    "inv_adapter_reduction_factor": None,
    "leave_out": [],
    "dropout": 0.0,
    "phm_layer": False,
    "phm_dim": 4,
    "factorized_phm_W": True,
    "shared_W_phm": False,
    "shared_phm_rule": True,
    "factorized_phm_rule": False,
    "phm_c_init": "normal",
    "phm_init_range": 0.0001,
    "learn_phm": True,
    "hypercomplex_nonlinearity": "glorot-uniform",
    "phm_rank": 1,
    "phm_bias": True,
    "stochastic_depth": 0.0,
}
"""Fields of the library's config, with the values that all of X-MOD's adapters have."""

_MEANT_IF_ABSENT: dict[str, Any] = {"original_ln_before": False, "original_ln_after": True} | {
    "residual_before_ln": True
}
"""The library's own values, where they are not X-MOD's, of fields that a config leaves out."""

_DECIDING = (
    *("mh_adapter", "output_adapter", "cross_adapter", "is_parallel", "scaling", "use_gating"),
    *("ln_before", "ln_after", "phm_layer", "original_ln_before", "original_ln_after"),
    "residual_before_ln",
)
"""Fields that decide what is computed, beside those with a sentence of their own. The rest say how
weights are drawn, or act in training alone."""


def bottleneck_config(shape: AdapterShape, name: str) -> dict[str, Any]:
    """Return the library's config of X-MOD's adapters.

    Raises:
        ModelError: The library has no such bottleneck.
    """
    if not (shape.adapter_layer_norm or shape.adapter_reuse_layer_norm):
        raise ModelError(
            f"{name} has no layer norm before its language adapters, and adapters 1.3.0 computes "
            "no X-MOD without one.",
            hint="One of `adapter_layer_norm` and `adapter_reuse_layer_norm` must be true.",
        )
    return {
        **_LEFT_AS_THEY_ARE,
        "original_ln_before": True,
        "residual_before_ln": False if shape.ln_before_adapter else "post_add",
        "non_linearity": shape.hidden_act,
        "reduction_factor": shape.adapter_reduction_factor,
    }


def check_bottleneck(values: Mapping[str, Any], shape: AdapterShape, name: str) -> None:
    """Refuse an adapter that is another one than X-MOD's of this shape.

    Args:
        values: The content of adapter_config.json.
        name: What sentences call the adapter.

    Raises:
        ModelError: It is; the message names the first difference.
    """
    model_type, config = values.get("model_type"), values.get("config")
    if model_type != "xmod":
        raise ModelError(
            f"{name} is an adapter for another model than X-MOD: its `model_type` is "
            f"{shown(model_type)}.",
            hint="Give an adapter that was made for an X-MOD, such as AdapterHub/xmod-base.",
        )
    if not isinstance(config, Mapping):
        raise ModelError(
            f"{name} does not say what kind of adapter it is: its `config` is {shown(config)}.",
            hint="Save it again with `save_adapter` of adapters 1.3.0.",
        )
    difference = _difference(_meaning(values, config), shape)
    if difference is None and values.get("hidden_size", shape.hidden_size) != shape.hidden_size:
        difference = (
            f"is for a hidden size of {shown(values['hidden_size'])}, and the model has "
            f"{shape.hidden_size}"
        )
    if difference is not None:
        raise ModelError(
            f"{name} {difference}.",
            hint="Only an adapter that computes what X-MOD's own do can become a language of it.",
        )


def _meaning(values: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with what the library takes for absent and old values."""
    meant = _LEFT_AS_THEY_ARE | _MEANT_IF_ABSENT | dict(config)
    activation = meant.get("non_linearity")
    if "version" not in values and isinstance(activation, str):
        meant["non_linearity"] = _OLD_ACTIVATIONS.get(activation, activation)
    return meant


def _difference(config: Mapping[str, Any], shape: AdapterShape) -> str | None:
    """Return what is not X-MOD's of this shape, as the end of a sentence."""
    architecture = config.get("architecture")
    if architecture is not None:
        return f"is of the kind {shown(architecture)}, and X-MOD's adapters are bottlenecks"
    invertible = config["inv_adapter"] or config.get("invertible_adapter")
    if invertible:
        return f"has an invertible part ({shown(invertible)}), for which X-MOD has no place"
    if config["leave_out"]:
        return f"leaves out layers ({shown(config['leave_out'])}), and X-MOD has an adapter in each"
    factor, activation = config.get("reduction_factor"), config.get("non_linearity")
    if isinstance(factor, bool) or factor != shape.adapter_reduction_factor:
        return (
            f"has the reduction factor {shown(factor)}, and the model has "
            f"{shape.adapter_reduction_factor}"
        )
    if not isinstance(activation, str) or activation.lower() != shape.hidden_act:
        return f"computes with {shown(activation)}, and the model with {shape.hidden_act!r}"
    expected = bottleneck_config(shape, "The model")
    for field in _DECIDING:
        if config.get(field) != expected[field]:
            return (
                f"has {field} = {shown(config.get(field))}, and X-MOD's adapters have "
                f"{expected[field]!r}"
            )
    return None
