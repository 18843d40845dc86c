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
orthogonal iteration (algorithm 4).
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
        is_matrix = gradient.ndim == 2
        if not state:
            state |= _first_state(gradient)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean: torch.Tensor = state["mean"]
        square: torch.Tensor = state["square"]
        mean.lerp_(gradient, 1 - beta1)
        in_basis = _into_basis(gradient, state) if is_matrix else gradient
        square.mul_(beta2).addcmul_(in_basis, in_basis, value=1 - beta2)
        update = _into_basis(mean, state) if is_matrix else mean.clone()
        update /= 1 - beta1 ** state["step"]
        update /= (square / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        if is_matrix:
            update = state["left_basis"] @ update @ state["right_basis"].T
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])
        if is_matrix:
            state["left_gram"].lerp_(gradient @ gradient.T, 1 - group["gram_beta"])
            state["right_gram"].lerp_(gradient.T @ gradient, 1 - group["gram_beta"])
            if state["step"] % group["refresh_every"] == 0:
                _refresh(state, "left", dim=0)
                _refresh(state, "right", dim=1)


def _first_state(gradient: torch.Tensor) -> State:
    state: State = {
        "step": 0,
        "mean": torch.zeros_like(gradient),
        "square": torch.zeros_like(gradient),
    }
    if gradient.ndim == 2:
        for side, gram in (("left", gradient @ gradient.T), ("right", gradient.T @ gradient)):
            # Once a run, so exactly: in fp32 a gradient of low rank can keep it from converging.
            vectors = torch.linalg.eigh(gram.cpu().double()).eigenvectors
            state[f"{side}_gram"] = gram
            # The largest first, as `_refresh` keeps them.
            state[f"{side}_basis"] = vectors.flip(1).to(gradient).contiguous()
    return state


def _into_basis(matrix: torch.Tensor, state: State) -> torch.Tensor:
    projected: torch.Tensor = state["left_basis"].T @ matrix @ state["right_basis"]
    return projected


def _refresh(state: State, side: str, *, dim: int) -> None:
    """Turns one basis towards the eigenvectors of its matrix as it is now.

    The squares are not turned with it: between two refreshes the basis hardly moves. They are only
    put in the new order, largest eigenvalue first, in which the orthogonalisation keeps the strong
    directions and changes the weak ones.
    """
    gram: torch.Tensor = state[f"{side}_gram"]
    basis: torch.Tensor = state[f"{side}_basis"]
    product = gram @ basis
    order = (basis * product).sum(dim=0).argsort(descending=True)
    state["square"] = state["square"].index_select(dim, order)
    product = product.index_select(1, order)
    # MPS has no QR decomposition.
    orthogonal = torch.linalg.qr(product.cpu() if product.device.type == "mps" else product).Q
    state[f"{side}_basis"] = orthogonal.to(product)
