"""Muon: each convolution moves along its orthogonalised momentum; everything else by Adam.

For a matrix of weights with momentum `M = U S V^T` the step is `U V^T` (Jordan et al., "Muon: an optimizer for
hidden layers in neural networks", 2024): every direction in which the gradients agree moves alike, however small its
singular value. `U V^T` comes from five Newton-Schulz steps `X <- a X + b X X^T X + c (X X^T)^2 X`, which take
singular values to between 0.7 and 1.2; its length `0.2 sqrt(max(rows, columns))` is that of a typical step of Adam
(Liu et al., arXiv 2502.16982). A convolution is the matrix (out, in x height x width). Linear layers
tell the network the level, as embeddings do, and go by Adam.

The steps are taken on `X X^T`, which is small, and for all matrices of as many rows at once:
`X_k = P_k X` with `P_(k+1) = (a + b G_k + c G_k^2) P_k` and `G_(k+1) = (a + b G_k + c G_k^2)^2 G_k`, `G_0 = X X^T`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

_A, _B, _C = 3.4445, -4.7750, 2.0315  # Jordan et al.: steepest at 0 of those that stay near 1
_STEPS = 5
_LENGTH = 0.2
_TINY = 1e-14  # squared norm, below which a momentum is nothing


class Muon(torch.optim.Optimizer):
    """Muon on convolutions; Adam, at a fifth of the rate, on linear layers, biases, gains, embeddings and what has one row or column.

    Args:
        module: its trainable parameters are optimised.
        lr: learning rate.
        momentum: of the matrices, with Nesterov's look ahead.
        betas: of Adam.
    """

    ADAM_SHARE = 0.2  # of the learning rate

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        matrices, rest = _split(module)
        defaults = {"lr": lr, "momentum": momentum, "betas": betas}
        super().__init__([{"params": group} for group in (matrices, rest)], defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there."""
        matrices, rest = self.param_groups
        self._step_matrices(matrices)
        self._step_rest(rest)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        gradients = [p.grad for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        steps = orthogonalised([m.reshape(len(m), -1) for m in ahead])
        lengths = [group["lr"] * _LENGTH * max(step.shape) ** 0.5 for step in steps]
        torch._foreach_mul_(steps, lengths)
        torch._foreach_sub_(parameters, [s.reshape(p.shape) for s, p in zip(steps, parameters, strict=True)])

    def _step_rest(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        for p in parameters:
            if "step" not in self.state[p]:
                zero = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p].update(step=zero, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        states = [self.state[p] for p in parameters]
        adam(
            parameters,
            [p.grad for p in parameters],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            [s["step"] for s in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"] * self.ADAM_SHARE,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """About `U V^T` of each matrix `U S V^T`; of a matrix of zeros, zeros."""
    flat = [m if m.shape[0] <= m.shape[1] else m.T for m in matrices]
    by_rows: dict[int, list[int]] = {}
    for number, m in enumerate(flat):
        by_rows.setdefault(len(m), []).append(number)
    result: list[Tensor] = list(matrices)
    for rows, numbers in by_rows.items():
        squares = torch.stack([flat[number] @ flat[number].T for number in numbers])
        norm = torch.diagonal(squares, dim1=1, dim2=2).sum(1).clamp(min=_TINY)[:, None, None]
        factors = _newton_schulz(squares / norm, rows) * norm.rsqrt()
        for factor, number in zip(factors, numbers, strict=True):
            step = factor @ flat[number]
            result[number] = step if flat[number] is matrices[number] else step.T
    return result


def _newton_schulz(g: Tensor, rows: int) -> Tensor:
    """`P` (N, rows, rows) such that `P X` is about orthogonal, for `g = X X^T` of norm at most 1."""
    a = _A * torch.eye(rows, dtype=g.dtype, device=g.device)
    p = None
    for number in range(_STEPS):
        q = torch.baddbmm(a + _B * g, g, g, alpha=_C)
        p = q if p is None else q @ p
        if number < _STEPS - 1:
            g = q @ g @ q
            g = (g + g.mT) / 2  # rounding would add up
    assert p is not None
    return p


def _split(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters that are convolutions, and the others."""

    def is_convolution(p: nn.Parameter) -> bool:
        return p.ndim > 2 and min(len(p), p[0].numel()) > 1

    trainable: list[nn.Parameter] = [p for p in module.parameters() if p.requires_grad]
    convolutions = [p for p in trainable if is_convolution(p)]
    return convolutions, [p for p in trainable if not is_convolution(p)]
