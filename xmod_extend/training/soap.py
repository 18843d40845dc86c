"""One-sided SOAP: Adam along the directions that the hidden states of the frozen body share.

    K  matrices of one shape: one a layer, stacked
    M  bottleneck size
    N  hidden size
    G  gradient of a matrix, (M, N)
    V  eigenvectors of the running mean of G^T G, (N, N)

        G' = G V                       the gradient in the basis
        W -= lr * adam(G') V^T         Adam's step there, brought back

All hidden states share a few strong directions, and Adam, which scales each weight on its own,
spends its steps on those. Along the eigenvectors each direction has a coordinate, and so a step
size, of its own. A whole model's matrices are too many and too large for this; an adapter has two
small ones a layer, and the frozen body costs the same whatever moves the adapter. A basis for the
bottleneck's side as well doubles the work and was measured to change nothing.

Adam's two means live in the basis, so that a step costs one projection and one way back. When the
basis turns, the mean of the gradients is turned with it; the mean of their squares, which cannot
be, is only put into the new order of the directions.

Source: Vyas et al. 2024 (arXiv 2409.11321), algorithm 3, with the basis refreshed by one step of
orthogonal iteration (algorithm 4). There the first gradient decides the first basis; here it is the
first ten, until which the step is Adam's: one gradient leaves most directions to rounding.

A step's two projections may be multiplied in bf16. The gradient has been rounded to bf16 before,
where the body computes in bf16, and rounding the basis errs by as much again; what is added up, and
everything that is kept from step to step, stays in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

PRECONDITION_FREQUENCY = 30
"""Steps between two refreshes of the basis."""
GRAM_EVERY = 5
"""Steps between two gradients that are added to the mean of G^T G, once there is a basis."""
GRAM_DECAY = 0.95
"""A step, of that mean."""

CPU_PIECE_BYTES = 1 << 21
"""Bytes of the gradient that a processor works through at once: the temporary results for
all twelve layers of xmod-base would take 0.1 GB and be no faster."""

State = dict[str, torch.Tensor]


class Soap:
    """One-sided SOAP for stacks of matrices, and AdamW for stacks of vectors.

    Args:
        parameters: Each (K, M, N) or (K, N, M), whichever of the two sides is the longer one
            getting the basis; or (K, M), a stack of vectors. They are changed in place.
        betas: Decay of the mean of the gradients, and of their squares in the basis.
        weight_decay: Decoupled, as in AdamW.
        num_adam_steps: Steps before the first basis; until then, matrices move as under AdamW.
        projects_in: The dtype of the two products of a step with the basis.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        num_adam_steps: int,
        projects_in: torch.dtype = torch.float32,
    ) -> None:
        self._num_adam_steps, self._projects_in = num_adam_steps, projects_in
        self._parameters = [_lay_wide(parameter) for parameter in parameters]
        self._beta1, self._beta2 = betas
        self._eps, self._weight_decay = eps, weight_decay
        self.num_steps = 0
        self.states: list[State] = [_first_state(parameter) for parameter in self._parameters]
        """For each parameter `exp_avg` and `exp_avg_sq`, for matrices also `gram` and `basis`,
        (K, N, N)."""

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], lr: float) -> None:
        """Move each parameter by its gradient, (K, M, N) or (K, M) as it is.

        Nothing waits for the device but the first basis.
        """
        self.num_steps += 1
        for parameter, gradient, state in zip(
            self._parameters, gradients, self.states, strict=True
        ):
            if "gram" in state and self.num_steps == self._num_adam_steps:
                state["basis"] = torch.empty_like(state["gram"])
            wide = _lay_wide(gradient)
            for piece in _pieces(wide):
                pieces = {name: values[piece] for name, values in state.items()}
                self._move(parameter[piece], wide[piece], pieces, lr)

    def _move(
        self, parameter: torch.Tensor, gradient: torch.Tensor, state: State, lr: float
    ) -> None:
        has_basis = "basis" in state and self.num_steps > self._num_adam_steps
        basis = state["basis"].to(self._projects_in) if has_basis else None
        update = self._adam(self._project(gradient, basis), state)
        parameter.mul_(1 - lr * self._weight_decay)
        parameter.add_(self._project(update, None if basis is None else basis.mT), alpha=-lr)
        if "gram" in state:
            self._follow(gradient, state, has_basis)

    def _project(self, values: torch.Tensor, basis: torch.Tensor | None) -> torch.Tensor:
        return values if basis is None else (values.to(basis.dtype) @ basis).to(values.dtype)

    def _adam(self, gradient: torch.Tensor, state: State) -> torch.Tensor:
        """Return Adam's step for a gradient, both in the basis."""
        exp_avg = state["exp_avg"].lerp_(gradient, 1 - self._beta1)
        exp_avg_sq = state["exp_avg_sq"].mul_(self._beta2)
        exp_avg_sq.addcmul_(gradient, gradient, value=1 - self._beta2)
        update = exp_avg / (1 - self._beta1**self.num_steps)
        spread = exp_avg_sq / (1 - self._beta2**self.num_steps)
        return update.div_(spread.sqrt_().add_(self._eps))

    def _follow(self, gradient: torch.Tensor, state: State, has_basis: bool) -> None:
        """Keep the statistics of the gradients, and now and then turn the basis to them."""
        every = GRAM_EVERY if has_basis else 1
        if self.num_steps % every == 0:
            decay = GRAM_DECAY**every
            state["gram"].baddbmm_(gradient.mT, gradient, beta=decay, alpha=1 - decay)
        if self.num_steps == self._num_adam_steps:
            _choose_basis(state)
        elif has_basis and self.num_steps % PRECONDITION_FREQUENCY == 0:
            _refresh_basis(state)


def _pieces(stack: torch.Tensor) -> list[slice]:
    """Return what to work through at once: everything, but on a processor no more than
    `CPU_PIECE_BYTES` of the gradient, where there are several matrices."""
    size = len(stack)
    if stack.device.type == "cpu":
        size = max(1, CPU_PIECE_BYTES // stack[0].nbytes)
    return [slice(start, start + size) for start in range(0, len(stack), size)]


def _lay_wide(stack: torch.Tensor) -> torch.Tensor:
    """Return a view whose last dimension is the longer side of each matrix; vectors stay as they
    are."""
    return stack.mT if stack.ndim == 3 and stack.shape[1] > stack.shape[2] else stack


def _first_state(parameter: torch.Tensor) -> State:
    state = {
        name: torch.zeros(parameter.shape, device=parameter.device)
        for name in ("exp_avg", "exp_avg_sq")
    }
    if parameter.ndim == 3:
        count, _, length = parameter.shape
        state["gram"] = torch.zeros(count, length, length, device=parameter.device)
    return state


def _choose_basis(state: State) -> None:
    """Set the basis to the eigenvectors of each matrix's mean, as columns, the strongest first."""
    for gram, basis in zip(state["gram"], state["basis"], strict=True):
        # Once in a run, and so in the precision in which it always converges. MPS does not have it.
        # An NVIDIA GPU works it out itself: a busy host took a minute for what takes it a second.
        exact = gram.cpu().double() if gram.device.type == "mps" else gram.double()
        basis.copy_(torch.linalg.eigh(exact).eigenvectors.flip(1))
    state["exp_avg"].copy_(state["exp_avg"] @ state["basis"])
    # What the squares would have been if the entries of the gradient were independent.
    state["exp_avg_sq"].copy_(state["exp_avg_sq"] @ state["basis"].square())


def _refresh_basis(state: State) -> None:
    """Turn the basis towards the eigenvectors as they are now."""
    basis = state["basis"]
    product = state["gram"] @ basis
    order = (basis * product).sum(dim=1).argsort(dim=1, descending=True)[:, None, :]
    product = product.gather(2, order.expand_as(product))
    # MPS has no QR decomposition.
    movable = product.cpu() if product.device.type == "mps" else product
    turned = torch.linalg.qr(movable).Q.to(product)
    state["exp_avg"].copy_(state["exp_avg"] @ basis.mT @ turned)
    state["exp_avg_sq"].copy_(state["exp_avg_sq"].gather(2, order.expand_as(state["exp_avg_sq"])))
    basis.copy_(turned)
