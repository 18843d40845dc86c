"""The trainable set: which tensors of a slice are trained, and where they are kept meanwhile.

A set is a few groups. The tensors of a group have one shape, one tensor a layer or a single one;
the optimiser moves them as one stack. All values lie in one flat tensor, group by group, and so do
their gradients: one tensor to sum over processes, to clip and to save.

    dense1.weight           layers 0 ... L-1     stack (L, D/r, D)
    dense1.bias             layers 0 ... L-1     stack (L, D/r)
    ...

A value's own name is its index and its group, `"3.dense1.weight"`, whatever language it is for; in
a checkpoint it has the parameter's name, which may hold a language's code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import XmodForMaskedLM

Tensors = dict[str, torch.Tensor]
"""Values of a trainable set by their own names, on the CPU."""


@dataclass(frozen=True)
class Group:
    """Tensors of one shape that the optimiser moves as a stack."""

    name: str
    parameters: Sequence[str]
    """Their names in the slice."""


class TrainableSet:
    """The tensors of a slice that are trained.

    Args:
        model: A one-language slice.
        groups: Which of its tensors; all others are frozen by `freeze_others`.
        initial: Returns the values that training starts from.
    """

    def __init__(
        self, model: XmodForMaskedLM, groups: Sequence[Group], initial: Callable[[], Tensors]
    ) -> None:
        self.groups = tuple(groups)
        self._model, self._initial = model, initial

    def __iter__(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield each value's own name and parameter, group by group."""
        for group in self.groups:
            for index, name in enumerate(group.parameters):
                yield f"{index}.{group.name}", self._model.get_parameter(name)

    @property
    def num_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for _, parameter in self)

    def freeze_others(self) -> None:
        """Freeze every other tensor of the slice.

        Which parameters train is asserted by name: a wrong set would change other languages, or
        train nothing, without any error.
        """
        self._model.requires_grad_(False)
        for _, parameter in self:
            parameter.requires_grad_(True)
        trained = {name for name, p in self._model.named_parameters() if p.requires_grad}
        expected = [name for group in self.groups for name in group.parameters]
        assert trained == set(expected) and len(expected) == len(trained), sorted(trained)

    def initialise(self) -> None:
        """Set the values that training starts from."""
        self.set_values(self._initial())

    @torch.no_grad()
    def set_values(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy values into the slice, in place."""
        for name, parameter in self:
            parameter.copy_(tensors[name])

    def get_values(self) -> Tensors:
        """Return a copy of the values."""
        return {name: parameter.detach().cpu().clone() for name, parameter in self}

    def named_for_checkpoint(self, tensors: Mapping[str, torch.Tensor]) -> Tensors:
        """Return the same values under the names that they have in a checkpoint."""
        return {
            name: tensors[f"{index}.{group.name}"]
            for group in self.groups
            for index, name in enumerate(group.parameters)
        }

    def move_into(self, values: torch.Tensor, gradients: torch.Tensor) -> None:
        """Make the parameters, and their gradients, views of flat tensors, (num_parameters,).

        `values` takes over what the parameters hold.
        """
        start = 0
        for _, parameter in self:
            own = slice(start, start + parameter.numel())
            view = values[own].view(parameter.shape)
            view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = gradients[own].view(parameter.shape)
            start = own.stop

    def stacks(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Return one view of a flat tensor for each group: (tensors, *their shape)."""
        shapes = [
            (len(group.parameters), *self._model.get_parameter(group.parameters[0]).shape)
            for group in self.groups
        ]
        pieces = torch.split(flat, [math.prod(shape) for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
