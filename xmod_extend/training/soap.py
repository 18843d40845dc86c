"""SOAP: Adam in the eigenbasis of the gradient's own statistics, for the adapter's few matrices.

    G  gradient of one matrix, (M, N)
    L  running mean of G G^T, (M, M); U its eigenvectors
    R  running mean of G^T G, (N, N); V its eigenvectors

        G' = U^T G V                     the gradient in the basis
        W -= lr * U adam(G') V^T         Adam's step there, brought back

Every hidden state shares a few strong directions, and Adam, which scales each weight on its own,
spends its steps on those. In the eigenbasis each direction has a coordinate of its own, and so a
step size of its own. A model has too many and too large matrices for this to be free; an adapter
has two small ones a layer, and the frozen body costs the same whatever moves the adapter.

Source: Vyas et al. 2024 (arXiv 2409.11321), algorithm 3, with the basis refreshed by one step of
orthogonal iteration (algorithm 4). There the first gradient decides the first basis; here the
first basis comes with the first refresh, and until then the step is AdamW's: a single gradient has
a low rank, and leaves the rest of its basis to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn

State = dict[str, Any]


class Soap(torch.optim.Optimizer):
    """SOAP for matrices and AdamW for vectors.

    Args:
        lr: As for Adam: the step has the size that Adam's would have.
        betas: Decay of the mean of the gradients, and of their squares in the basis.
        weight_decay: Decoupled, as in AdamW.
        gram_beta: Decay of the means of G G^T and G^T G.
        refresh_every: Steps between refreshes of the basis.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        gram_beta: float = 0.95,
        refresh_every: int = 10,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "gram_beta": gram_beta,
            "refresh_every": refresh_every,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return None

    def _move(self, parameter: nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= _first_state(gradient)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean: torch.Tensor = state["mean"]
        square: torch.Tensor = state["square"]
        mean.lerp_(gradient, 1 - beta1)
        in_basis = _into_basis(gradient, state)
        square.mul_(beta2).addcmul_(in_basis, in_basis, value=1 - beta2)
        update = _into_basis(mean, state) / (1 - beta1 ** state["step"])
        update /= (square / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        if "left_basis" in state:
            update = state["left_basis"] @ update @ state["right_basis"].T
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])
        if gradient.ndim == 2:
            state["left_gram"].lerp_(gradient @ gradient.T, 1 - group["gram_beta"])
            state["right_gram"].lerp_(gradient.T @ gradient, 1 - group["gram_beta"])
            if state["step"] % group["refresh_every"] == 0:
                _refresh(state)


def _first_state(gradient: torch.Tensor) -> State:
    state: State = {
        "step": 0,
        "mean": torch.zeros_like(gradient),
        "square": torch.zeros_like(gradient),
    }
    if gradient.ndim == 2:
        state["left_gram"] = gradient.new_zeros(gradient.shape[0], gradient.shape[0])
        state["right_gram"] = gradient.new_zeros(gradient.shape[1], gradient.shape[1])
    return state


def _into_basis(tensor: torch.Tensor, state: State) -> torch.Tensor:
    if "left_basis" not in state:
        return tensor
    projected: torch.Tensor = state["left_basis"].T @ tensor @ state["right_basis"]
    return projected


def _refresh(state: State) -> None:
    """Turns both bases towards the eigenvectors as they are now, the largest first."""
    left, right = state["left_gram"], state["right_gram"]
    if "left_basis" not in state:
        state["left_basis"], state["right_basis"] = _eigenvectors(left), _eigenvectors(right)
        # What the squares would have been if the entries of the gradient were independent.
        state["square"] = _into_basis_squared(state)
        return
    # The squares are not turned with the basis, which hardly moves between two refreshes. They are
    # only put in the new order, in which the orthogonalisation keeps the strong directions.
    state["left_basis"], order = _orthogonal_iteration(left, state["left_basis"])
    state["square"] = state["square"].index_select(0, order)
    state["right_basis"], order = _orthogonal_iteration(right, state["right_basis"])
    state["square"] = state["square"].index_select(1, order)


def _into_basis_squared(state: State) -> torch.Tensor:
    turned: torch.Tensor = (
        state["left_basis"].square().T @ state["square"] @ state["right_basis"].square()
    )
    return turned


def _eigenvectors(gram: torch.Tensor) -> torch.Tensor:
    # Once a run, and so in the precision in which it always converges.
    vectors: torch.Tensor = torch.linalg.eigh(gram.cpu().double()).eigenvectors
    return vectors.flip(1).to(gram).contiguous()


def _orthogonal_iteration(
    gram: torch.Tensor, basis: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new basis, and where each of its vectors was in the old one."""
    product = gram @ basis
    order = (basis * product).sum(dim=0).argsort(descending=True)
    product = product.index_select(1, order)
    # MPS has no QR decomposition.
    orthogonal = torch.linalg.qr(product.cpu() if product.device.type == "mps" else product).Q
    return orthogonal.to(product), order
