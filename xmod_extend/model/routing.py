"""A batch's languages, decided once a forward pass, and only their adapters run.

    B  sequences in a batch
    T  tokens in a sequence
    D  hidden size
    C  choices of a question, in multiple choice

Upstream runs every adapter in every layer on the rows that a boolean mask selects. That costs time
with each language that is not in the batch, fails under autocast, where an adapter's output has
another dtype than the hidden states, and skips the adapter where an id means nothing. Here the rows
of each language are found before the first layer. A batch of one language is not taken apart.

What is changed is one loaded model: the class of its layers' `XmodOutput`, and two hooks. The
model's own class, weights and names stay upstream's, so it is saved as any other, and copied and
pickled with its routing.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers.models.xmod.modeling_xmod import (
    XmodForMultipleChoice,
    XmodModel,
    XmodOutput,
)

from xmod_extend.arguments import shown
from xmod_extend.errors import LanguageError, UsageError
from xmod_extend.model.selection import unknown_language

if TYPE_CHECKING:
    from transformers.models.xmod.modeling_xmod import XmodPreTrainedModel

ROW_IDS = "row_lang_ids"
"""An argument of `XmodModel` that `XmodForMultipleChoice` hands on, where it would multiply
`lang_ids`."""


@dataclass(frozen=True, eq=False)
class Route:
    """The rows of a batch and the adapters that they run through.

    Attributes:
        languages: The ids that are in the batch, ascending.
        rows: For each of them, which rows are its own. Empty if there is one language.
        places: Where in the joined results of the adapters each row is found.
        is_by_token: Whether a row is one of B * T tokens, or one of B sequences.
    """

    languages: tuple[int, ...]
    rows: tuple[torch.Tensor, ...] = ()
    places: torch.Tensor | None = None
    is_by_token: bool = False

    @staticmethod
    def of(lang_ids: torch.Tensor) -> Route:
        """Return the route of ids that are known to be valid: (B,) or (B, T)."""
        flat = lang_ids.reshape(-1)
        languages = tuple(sorted(set(flat.tolist())))
        if len(languages) == 1:
            return Route(languages)
        rows = tuple((flat == language).nonzero().view(-1) for language in languages)
        return Route(languages, rows, torch.cat(rows).argsort(), lang_ids.ndim == 2)


class RoutedOutput(XmodOutput):
    """Upstream's output block with the adapters of the languages in the batch alone."""

    def lang_adapter(self, lang_ids: Route | torch.Tensor, hidden_states: torch.Tensor) -> Any:
        """Normalise as upstream does, and add what the adapters make of (B, T, D)."""
        # Whoever calls a layer by itself has tensors.
        route = lang_ids if isinstance(lang_ids, Route) else Route.of(lang_ids)
        residual = hidden_states
        own_layer_norm: nn.LayerNorm | None = self.adapter_layer_norm
        if own_layer_norm is not None:
            hidden_states = own_layer_norm(hidden_states)
        elif self.adapter_reuse_layer_norm:
            hidden_states = self.LayerNorm(hidden_states)
        if self.ln_before_adapter:
            residual = hidden_states
        # Under autocast the sum has the wider of the two dtypes.
        return self.dropout(self._adapt(route, hidden_states)) + residual

    def _adapt(self, route: Route, hidden_states: torch.Tensor) -> torch.Tensor:
        adapters = list(self.adapter_modules.values())
        if route.places is None:
            (language,) = route.languages
            return cast(torch.Tensor, adapters[language](hidden_states))
        rows = hidden_states.flatten(0, 1) if route.is_by_token else hidden_states
        adapted = [
            adapters[language](rows.index_select(0, own))
            for language, own in zip(route.languages, route.rows, strict=True)
        ]
        return torch.cat(adapted).index_select(0, route.places).view(hidden_states.shape)


def route_languages(model: XmodPreTrainedModel) -> None:
    """Have a model run only the languages in its batch, named by `lang_ids` or by `langs`.

    `lang_ids` may be (B,), or (B, T) with a language for each token. `langs` is one code for the
    whole batch or a list of B codes. Neither is needed if the model has one language, or a default.
    """
    body = cast(XmodModel, model.base_model)
    for layer in body.encoder.layer:
        layer.output.__class__ = RoutedOutput
    model.register_forward_pre_hook(_name_languages, with_kwargs=True)
    body.register_forward_pre_hook(_find_route, with_kwargs=True)


def _name_languages(
    model: XmodPreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn `langs` into `lang_ids`, and those of choices into one id a row."""
    args, kwargs, given = _by_name(model, args, kwargs)
    langs = kwargs.pop("langs", None)
    if langs is not None and given is not None:
        raise UsageError("Both langs and lang_ids were given.", hint="Leave one of them out.")
    inputs = _inputs(args, kwargs)
    if langs is not None and inputs is not None:
        given = _ids_of(langs, list(model.config.languages), inputs)
    if isinstance(model, XmodForMultipleChoice) and given is not None and inputs is not None:
        return args, kwargs | {ROW_IDS: _ids_of_choices(_as_ids(given, inputs), inputs)}
    return args, kwargs | {"lang_ids": given}


def _find_route(
    body: XmodModel, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Check `lang_ids` and put the route in its place."""
    args, kwargs, given = _by_name(body, args, kwargs)
    row_ids = kwargs.pop(ROW_IDS, None)
    given = given if row_ids is None else row_ids
    inputs = _inputs(args, kwargs)
    if inputs is None or isinstance(given, Route):
        # Without inputs upstream says what is missing.
        return args, kwargs | {"lang_ids": given}
    if kwargs.get("position_ids") is None and kwargs.get("past_key_values") is None:
        _check_length(body, inputs)
    languages = list(body.config.languages)
    if given is None:
        route = Route((_default_language(body, languages),))
    else:
        lang_ids = _as_ids(given, inputs)
        _check_ids(lang_ids, inputs, languages)
        route = Route.of(lang_ids)
    return args, kwargs | {"lang_ids": route}


def _check_length(body: XmodModel, inputs: torch.Tensor) -> None:
    """Refuse more tokens than there are positions, where upstream has an IndexError."""
    padding = cast(int, body.config.pad_token_id)
    longest, length = body.config.max_position_embeddings - 1 - padding, inputs.shape[1]
    if length > longest and not inputs.is_floating_point():
        # Padding takes no position.
        length = int((inputs != padding).sum(1).max())
    if length > longest:
        raise UsageError(
            f"A sequence has {length:,} tokens, and the model reads {longest:,}.",
            hint=f"Call the tokenizer with truncation=True, max_length={longest}.",
        )


def _by_name(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Return the arguments without `lang_ids`, and it apart; all but the first by their names."""
    if len(args) > 1:
        names = inspect.signature(module.forward).parameters
        kwargs = dict(zip(names, args, strict=False)) | kwargs
        args = ()
    others = {name: value for name, value in kwargs.items() if name != "lang_ids"}
    return args, others, kwargs.get("lang_ids")


def _inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """Return `input_ids` or `inputs_embeds`, whichever there is."""
    inputs = args[0] if args else kwargs.get("input_ids")
    inputs = kwargs.get("inputs_embeds") if inputs is None else inputs
    return inputs if isinstance(inputs, torch.Tensor) else None


def _ids_of(
    langs: str | Sequence[str], languages: Sequence[str], inputs: torch.Tensor
) -> torch.Tensor:
    """Return the id of each sequence's language, (B,)."""
    num_sequences = inputs.shape[0]
    codes = [langs] * num_sequences if isinstance(langs, str) else list(langs)
    if not all(isinstance(code, str) for code in codes):
        raise UsageError(
            f"langs is {shown(langs)}; it must be a code, or a list of a code for each sequence.",
            hint="Ids are given as lang_ids.",
        )
    if len(codes) != num_sequences:
        raise UsageError(
            f"langs names {len(codes)} languages for {num_sequences} sequences.",
            hint="Name one for each sequence, or a single code for all.",
        )
    for code in codes:
        if code not in languages:
            raise unknown_language(code, languages, "The model")
    return torch.tensor([languages.index(code) for code in codes], device=inputs.device)


def _as_ids(given: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Return `lang_ids` as a tensor of whole numbers where the inputs are."""
    try:
        lang_ids = torch.as_tensor(given, device=inputs.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _wrong_ids(f"is {shown(given)}") from error
    if lang_ids.is_floating_point() or lang_ids.is_complex() or lang_ids.dtype == torch.bool:
        raise _wrong_ids(f"is a tensor of {lang_ids.dtype}")
    return lang_ids


def _check_ids(lang_ids: torch.Tensor, inputs: torch.Tensor, languages: Sequence[str]) -> None:
    shape = tuple(lang_ids.shape)
    if shape not in (tuple(inputs.shape[:1]), tuple(inputs.shape[:2])):
        raise _wrong_ids(f"has the shape {shape} for inputs of the shape {tuple(inputs.shape[:2])}")
    wrong = lang_ids[(lang_ids < 0) | (lang_ids >= len(languages))]
    if wrong.numel():
        known = ", ".join(f"{number} {code}" for number, code in enumerate(languages[:4]))
        raise _wrong_ids(
            f"has the id {int(wrong[0])}, and the model has the ids 0 to {len(languages) - 1} "
            f"({known}{', ...' if len(languages) > 4 else ''})"
        )


def _wrong_ids(what: str) -> UsageError:
    return UsageError(
        f"lang_ids {what}.",
        hint="Give a whole number for each sequence, or codes as langs.",
    )


def _ids_of_choices(lang_ids: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return an id for each of B * C rows: the choices of a question have its language.

    Upstream repeats the ids in another order and too often, which works for one question alone.
    """
    num_questions, num_choices = inputs.shape[:2]
    shape = tuple(lang_ids.shape)
    if shape == (1,):
        return lang_ids.expand(num_questions * num_choices)
    if shape == (num_questions,):
        return lang_ids.repeat_interleave(num_choices)
    if shape[:2] != (num_questions, num_choices):
        raise _wrong_ids(f"has the shape {shape} for {num_questions} x {num_choices} choices")
    return lang_ids.flatten(0, 1)


def _default_language(body: XmodModel, languages: Sequence[str]) -> int:
    """Return the id of the language that is meant where none is named."""
    if len(languages) == 1:
        return 0
    default = body.config.default_language
    if default is None:
        raise LanguageError(
            f"The batch names no language, and the model has {len(languages)}.",
            hint=f'Name it, as in langs="{languages[0]}", or give lang_ids.',
        )
    if default not in languages:
        raise unknown_language(default, languages, "The model")
    return languages.index(default)
