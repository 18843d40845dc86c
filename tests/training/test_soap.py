"""SOAP is Adam in a basis that it turns to the eigenvectors of the gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from xmod_extend.training.soap import PRECONDITION_FREQUENCY, Soap

BETAS = (0.9, 0.98)
FIRST_BASIS = 10
STEPS = 2 * PRECONDITION_FREQUENCY + 5


def soap(parameter: torch.Tensor, *, weight_decay: float = 0.0) -> Soap:
    return Soap(
        [parameter], betas=BETAS, eps=1e-8, weight_decay=weight_decay, num_adam_steps=FIRST_BASIS
    )


def follow_soap(
    start: torch.Tensor, gradient_at: Callable[[torch.Tensor, int], torch.Tensor]
) -> torch.Tensor:
    parameter = start.clone()
    optimizer = soap(parameter, weight_decay=0.5)
    for step in range(STEPS):
        optimizer.step([gradient_at(parameter, step)], 0.1)
    return parameter


def follow_adamw(
    start: torch.Tensor, gradient_at: Callable[[torch.Tensor, int], torch.Tensor]
) -> torch.Tensor:
    parameter = nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], lr=0.1, betas=BETAS, eps=1e-8, weight_decay=0.5)
    for step in range(STEPS):
        parameter.grad = gradient_at(parameter.detach(), step)
        optimizer.step()
    return parameter.detach()


def test_vectors_move_as_under_adamw() -> None:
    target = torch.tensor([[3.0, -2.0, 0.5], [1.0, 4.0, -1.0]])
    ours, theirs = (
        follow(torch.zeros(2, 3), lambda at, step: at - target)
        for follow in (follow_soap, follow_adamw)
    )
    torch.testing.assert_close(ours, theirs)
    assert float(ours.abs().max()) > 0.5


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 4, 3)])
def test_matrices_whose_basis_is_their_own_move_as_under_adamw(shape: tuple[int, ...]) -> None:
    # A diagonal gradient has the coordinate axes as its eigenvectors.
    target = torch.zeros(shape)
    for row, value in enumerate((4.0, -2.0, 1.0)):
        target[:, row, row] = value
    ours, theirs = (
        follow(torch.zeros(shape), lambda at, step: at - target)
        for follow in (follow_soap, follow_adamw)
    )
    torch.testing.assert_close(ours, theirs)
    assert float(ours.abs().max()) > 0.5


def test_between_two_refreshes_it_is_adam_in_the_turned_coordinates() -> None:
    random = torch.Generator().manual_seed(0)
    gradients = torch.randn(PRECONDITION_FREQUENCY - 1, 2, 4, 6, generator=random)
    parameter = torch.randn(2, 4, 6, generator=random)
    optimizer = soap(parameter)
    for gradient in gradients[:FIRST_BASIS]:
        optimizer.step([gradient], 0.1)
    (state,) = optimizer.states
    basis = state["basis"].clone()
    turned = nn.Parameter(parameter @ basis)
    theirs = torch.optim.AdamW([turned], lr=0.1, betas=BETAS, eps=1e-8, weight_decay=0.0)
    theirs.state[turned] = {
        "step": torch.tensor(float(FIRST_BASIS)),
        "exp_avg": state["exp_avg"].clone(),
        "exp_avg_sq": state["exp_avg_sq"].clone(),
    }
    for gradient in gradients[FIRST_BASIS:]:
        turned.grad = gradient @ basis
        optimizer.step([gradient], 0.1)
        theirs.step()
    torch.testing.assert_close(parameter, turned.detach() @ basis.mT)


def test_the_mean_of_the_gradients_survives_a_refresh() -> None:
    random = torch.Generator().manual_seed(0)
    parameter, mean = torch.zeros(1, 4, 6), torch.zeros(1, 4, 6)
    optimizer = soap(parameter)
    for gradient in torch.randn(STEPS, 1, 4, 6, generator=random):
        optimizer.step([gradient], 0.1)
        mean.lerp_(gradient, 1 - BETAS[0])
    (state,) = optimizer.states
    torch.testing.assert_close(state["exp_avg"] @ state["basis"].mT, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 12), (12, 8)])
def test_the_basis_of_the_longer_side_is_its_eigenvectors(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -2, 12)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=random)).Q
    gradients = torch.randn(STEPS, 1, 8, 12, generator=random) * scales @ turn
    optimizer = soap(torch.zeros(1, *shape))
    for gradient in gradients:
        optimizer.step([gradient.reshape(1, 8, 12) if shape == (8, 12) else gradient.mT], 0.1)
    basis = optimizer.states[0]["basis"][0]
    torch.testing.assert_close(basis.T @ basis, torch.eye(12), rtol=0, atol=1e-5)
    # The gradients were made with these as the right eigenvectors, the strongest first.
    alike = (turn * basis.T).sum(dim=1).abs()
    assert float(alike[:6].min()) > 0.9


def test_projections_in_bf16_move_it_nearly_as_far_and_keep_the_state_in_fp32() -> None:
    random = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(48, 48, generator=random)).Q
    gradients = torch.randn(STEPS, 2, 16, 48, generator=random) * torch.logspace(0, -2, 48) @ turn
    moved = []
    for dtype in (torch.float32, torch.bfloat16):
        parameter = torch.zeros(2, 16, 48)
        optimizer = Soap(
            [parameter],
            betas=BETAS,
            eps=1e-8,
            weight_decay=0.0,
            num_adam_steps=FIRST_BASIS,
            projects_in=dtype,
        )
        for gradient in gradients:
            optimizer.step([gradient.bfloat16().float()], 0.1)
        moved.append(parameter)
        assert {values.dtype for values in optimizer.states[0].values()} == {torch.float32}
    exact, rounded = moved
    assert not torch.equal(exact, rounded)
    assert float((rounded - exact).norm() / exact.norm()) < 0.02
