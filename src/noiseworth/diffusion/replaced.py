"""How many clean images would do what the noisy images of a training do: the price by a single training.

With `N(sigma)` effective images the error of a denoiser at a level exceeds the least possible one, `v(sigma)`, by a share that falls as
`1 / N`: the usual rate of what is estimated from samples. So the relative denoising risk, averaged over levels, exceeds its least value by

    excess = mean over ln sigma of  v(sigma) / sigma^2 / (N_0 + N(sigma)),       N(sigma) = sum_i w(sigma, s_i)

up to a constant, and `m` clean images replace a group if the excess is the same with them in its place. Neighbouring levels share what
they teach: `w` is averaged over ln sigma with a width of 0.4 (docs/theory.md). `N_0` bounds the excess where hardly an image teaches a
level; below about a hundred images networks of all kinds learn little (n_0 of the law of levels, docs/laws.md).
"""

import math

import torch
from torch import Tensor

_WIDTH = 0.4  # of what neighbouring levels share, in ln sigma
LOW, HIGH = 0.05, 5.0  # levels of the denoising risk
_LEVELS = 41
_BEYOND = 3 * _WIDTH  # so far beyond both ends worth is averaged
_HALVINGS = 60
_NOTHING = 1e-9  # worth that is 0 to rounding


def risk_levels() -> Tensor:
    """Levels (L,) at which worth is needed: those of the risk, and some beyond both ends."""
    ends = math.log(LOW) - _BEYOND, math.log(HIGH) + _BEYOND
    return torch.exp(torch.linspace(*ends, _LEVELS, dtype=torch.float64))


def shared(table: Tensor) -> Tensor:
    """What is taught at `risk_levels()`, (..., L), if neighbouring levels share it."""
    x = torch.log(risk_levels())
    weight = torch.exp(-0.5 * ((x[:, None] - x) / _WIDTH) ** 2)
    return table.to(torch.float64) @ (weight / weight.sum(1, keepdim=True)).T


def replaced_by(worth: Tensor, counts: Tensor, v: Tensor, fewest: float) -> Tensor:
    """Clean images that replace one image of each group, (G,), 0 to 1: the inverse of its price.

    Args:
        worth: (G, L) of one image of each group at `risk_levels()`.
        counts: (G,) numbers of images.
        v: (L,) `v(sigma)` at these levels.
        fewest: `N_0`, in images.
    """
    counts = counts.to(torch.float64)
    added = counts[:, None] * worth
    return replaced_and_loss(added, added.sum(0), counts, v, fewest)[0] / counts


def replaced_and_loss(
    added: Tensor, total: Tensor, counts: Tensor, v: Tensor, fewest: float
) -> tuple[Tensor, Tensor]:
    """Clean images that replace each group, and by how much the excess grows without it, relative; both (G,).

    Args:
        added: (G, L) effective images that each group adds to the others at `risk_levels()`.
        total: (L,) effective images of all.
        counts: (G,) images of each group: the most that are needed.
        v, fewest: as of `replaced_by`.
    """
    sigma = risk_levels()
    is_inside = (sigma >= LOW) & (sigma <= HIGH)
    left = (v.to(torch.float64) / sigma**2)[is_inside]
    whole = fewest + shared(total)[is_inside]
    others = whole - shared(added)[:, is_inside]
    excess = (left / whole).sum()
    low, high = torch.zeros(len(counts), dtype=torch.float64), counts.to(torch.float64)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_short = (left / (others + middle[:, None])).sum(1) > excess
        low, high = torch.where(is_short, middle, low), torch.where(is_short, high, middle)
    found = torch.where(high < _NOTHING * counts, torch.zeros_like(high), high)
    found = torch.where(counts - high < _NOTHING * counts, counts.to(torch.float64), found)
    return found, (left / others).sum(1) / excess - 1
