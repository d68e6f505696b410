"""Presentations of an image, and what they tell, by `depth = ln(lambda w)` (see `pair_sampler`).

A further presentation tells less than the one before: after `c` of them the next tells `(1 + 2 k c)^(-1 / k)` times as much as the
first. The exponent `k` says how fast that falls: 1/2 where an image is not known by heart, for which all `c` have told `c / (1 + c)`;
near 0 where it is, and what they tell falls exponentially.
"""

import torch
from torch import Tensor

UNKNOWN, BY_HEART = 0.5, 0.02  # the exponent k

# Grid of the greatest depth at a level; coarse at small depths, where everything is proportional to it. Where k is small, depths are large.
DEPTHS = torch.cat(
    [
        torch.logspace(-6, -1, 12, dtype=torch.float64)[:-1],
        torch.logspace(-1, 2, 38, dtype=torch.float64),
        torch.logspace(2, 3, 13, dtype=torch.float64)[1:],
    ]
)


def exponent(memorised: Tensor) -> Tensor:
    """`k` where a share of what an image shows is known by heart; any shape."""
    return UNKNOWN + (BY_HEART - UNKNOWN) * memorised


def presentations_at(depth: Tensor, k: Tensor | float = UNKNOWN) -> Tensor:
    """`c` at depths of 0 or more, at which the next presentation tells `exp(-depth)` times as much as the first; any shape."""
    return torch.expm1(k * depth) / (2 * k)


def information_at(depth: Tensor, k: Tensor | float = UNKNOWN) -> Tensor:
    """What `presentations_at` of that depth have told, in first presentations; any shape."""
    return -torch.expm1(-(1 - k) * depth) / (2 * (1 - k))


def told_by_each(depth: Tensor, k: Tensor | float = UNKNOWN) -> Tensor:
    """Information over presentations; its limit, 1, at depth 0: where a bound of worth was too high for all images."""
    tiny = torch.finfo(depth.dtype).tiny
    each = information_at(depth, k) / presentations_at(depth, k).clamp(min=tiny)
    return torch.where(depth > 0, each, torch.ones_like(each))


def interpolate(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """`y(at)` (K,) of functions (K, G) given at rising `x`, linear between, constant beyond."""
    right = torch.searchsorted(x.contiguous(), at[:, None].contiguous()).clamp(1, x.shape[1] - 1)
    x0, x1 = x.gather(1, right - 1)[:, 0], x.gather(1, right)[:, 0]
    y0, y1 = y.gather(1, right - 1)[:, 0], y.gather(1, right)[:, 0]
    clipped = torch.minimum(torch.maximum(at, x0), x1)
    return y0 + (y1 - y0) * (clipped - x0) / (x1 - x0)
