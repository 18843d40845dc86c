"""SOAP is Adam where the basis is the coordinates' own, and does not care which basis it is."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from xmod_extend.training.soap import Soap

BETAS = (0.9, 0.98)
STEPS = 25
"""More than two refreshes of the basis."""


def soap(parameter: nn.Parameter, *, weight_decay: float = 0.0) -> Soap:
    return Soap([parameter], lr=0.1, betas=BETAS, eps=1e-8, weight_decay=weight_decay)


def follow(
    start: torch.Tensor,
    gradient_at: Callable[[torch.Tensor, int], torch.Tensor],
    make: Callable[[nn.Parameter], torch.optim.Optimizer],
) -> torch.Tensor:
    parameter = nn.Parameter(start.clone())
    optimizer = make(parameter)
    for step in range(STEPS):
        parameter.grad = gradient_at(parameter.detach(), step)
        optimizer.step()
    return parameter.detach()


def adamw(parameter: nn.Parameter) -> torch.optim.Optimizer:
    return torch.optim.AdamW([parameter], lr=0.1, betas=BETAS, eps=1e-8, weight_decay=0.5)


def test_a_vector_moves_as_under_adamw() -> None:
    target = torch.tensor([3.0, -2.0, 0.5])
    ours, theirs = (
        follow(torch.zeros(3), lambda at, step: at - target, make)
        for make in (lambda p: soap(p, weight_decay=0.5), adamw)
    )
    torch.testing.assert_close(ours, theirs)
    assert float(ours.abs().max()) > 0.5


def test_a_matrix_whose_basis_is_its_own_moves_as_under_adamw() -> None:
    # A diagonal gradient has the coordinate axes as its eigenvectors.
    target = torch.diag(torch.tensor([4.0, -2.0, 1.0]))
    ours, theirs = (
        follow(torch.zeros(3, 3), lambda at, step: at - target, make)
        for make in (lambda p: soap(p, weight_decay=0.5), adamw)
    )
    torch.testing.assert_close(ours, theirs)
    assert float(ours.abs().max()) > 0.5


def test_a_turned_problem_has_the_turned_solution() -> None:
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    # Square, so that the first gradient decides the whole of both bases.
    left, right = torch.linalg.qr(draw(5, 5)).Q, torch.linalg.qr(draw(5, 5)).Q
    target, noise, start = draw(5, 5), draw(STEPS, 5, 5), draw(5, 5)

    def gradient_at(at: torch.Tensor, step: int) -> torch.Tensor:
        return at - target + noise[step]

    def turned_gradient_at(at: torch.Tensor, step: int) -> torch.Tensor:
        return left @ gradient_at(left.T @ at @ right, step) @ right.T

    plain = follow(start, gradient_at, soap)
    turned = follow(left @ start @ right.T, turned_gradient_at, soap)
    torch.testing.assert_close(turned, left @ plain @ right.T, rtol=1e-6, atol=1e-6)
    # Adam's solution does depend on the axes: else this test could not fail.
    plain = follow(start, gradient_at, adamw)
    turned = follow(left @ start @ right.T, turned_gradient_at, adamw)
    assert float((turned - left @ plain @ right.T).abs().max()) > 0.01


def test_a_resumed_optimizer_goes_on_as_if_never_stopped() -> None:
    random = torch.Generator().manual_seed(0)
    gradients = torch.randn(STEPS, 4, 6, generator=random)
    parameter = nn.Parameter(torch.zeros(4, 6))
    optimizer = soap(parameter)
    for step, gradient in enumerate(gradients):
        if step == 13:
            saved = copy.deepcopy(optimizer.state_dict())
            optimizer = soap(parameter)
            optimizer.load_state_dict(saved)
        parameter.grad = gradient
        optimizer.step()
    whole = follow(torch.zeros(4, 6), lambda at, step: gradients[step], soap)
    assert torch.equal(parameter.detach(), whole)
