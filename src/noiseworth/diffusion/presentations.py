"""Presentations `c` and information `c / (1 + c)`, by `depth = ln(lambda w)` (see `pair_sampler`)."""

import torch
from torch import Tensor

# Grid of the greatest depth at a level; coarse at small depths, where everything is proportional to it.
DEPTHS = torch.cat(
    [torch.logspace(-6, -1, 12, dtype=torch.float64)[:-1], torch.logspace(-1, 2, 38, dtype=torch.float64)]
)


def presentations_at(depth: Tensor) -> Tensor:
    """`c` at depths of 0 or more; any shape."""
    return torch.expm1(depth / 2)


def information_at(depth: Tensor) -> Tensor:
    """`c / (1 + c)` at depths of 0 or more; any shape."""
    return -torch.expm1(-depth / 2)


def interpolate(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """`y(at)` (K,) of functions (K, G) given at rising `x`, linear between, constant beyond."""
    right = torch.searchsorted(x.contiguous(), at[:, None].contiguous()).clamp(1, x.shape[1] - 1)
    x0, x1 = x.gather(1, right - 1)[:, 0], x.gather(1, right)[:, 0]
    y0, y1 = y.gather(1, right - 1)[:, 0], y.gather(1, right)[:, 0]
    clipped = torch.minimum(torch.maximum(at, x0), x1)
    return y0 + (y1 - y0) * (clipped - x0) / (x1 - x0)
