"""SOAP is Adam in a basis that it turns to the eigenvectors of the gradients."""

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


def test_between_two_refreshes_it_is_adam_in_the_turned_coordinates() -> None:
    random = torch.Generator().manual_seed(0)
    gradients = torch.randn(19, 4, 6, generator=random)
    parameter = nn.Parameter(torch.randn(4, 6, generator=random))
    optimizer = soap(parameter)
    for gradient in gradients[:10]:
        parameter.grad = gradient
        optimizer.step()
    state = optimizer.state[parameter]
    left, right = state["left_basis"], state["right_basis"]
    turned = nn.Parameter(left.T @ parameter.detach() @ right)
    theirs = torch.optim.AdamW([turned], lr=0.1, betas=BETAS, eps=1e-8, weight_decay=0.0)
    theirs.state[turned] = {
        "step": torch.tensor(10.0),
        "exp_avg": left.T @ state["mean"] @ right,
        "exp_avg_sq": state["square"].clone(),
    }
    for gradient in gradients[10:]:
        parameter.grad, turned.grad = gradient, left.T @ gradient @ right
        optimizer.step()
        theirs.step()
    torch.testing.assert_close(parameter.detach(), left @ turned.detach() @ right.T)


def test_the_bases_are_the_eigenvectors() -> None:
    random = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -2, 6)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=random)).Q
    gradients = torch.randn(STEPS, 8, 6, generator=random) * scales @ turn
    parameter = nn.Parameter(torch.zeros(8, 6))
    optimizer = soap(parameter)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    state = optimizer.state[parameter]
    for side, size in (("left", 8), ("right", 6)):
        basis = state[f"{side}_basis"]
        torch.testing.assert_close(basis.T @ basis, torch.eye(size), rtol=0, atol=1e-5)
    # The gradients were made with these as the right eigenvectors, the strongest first.
    alike = (turn * state["right_basis"].T).sum(dim=1).abs()
    assert float(alike.min()) > 0.9


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
