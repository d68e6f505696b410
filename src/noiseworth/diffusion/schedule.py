"""Levels of the sampler, chosen for the data at hand.

Heun's method is exact where the path of an image is straight, at levels far above and far below the scales of
the data; its error is made in between. Those scales are in the posterior variance that training measures:
data with Gaussian coefficients of variances `lambda_j` and weights `p_j` have

    v(sigma) = sum_j p_j lambda_j sigma^2 / (lambda_j + sigma^2)

so that `p_j` are fitted to `v` (non-negative least squares). For such coefficients the error of a step is
known in closed form: over one from `a` to `b` the exact path is multiplied by `sqrt((l + b^2) / (l + a^2))`.
The levels are those for which the sum of all steps' errors is smallest: that of the start, of each step, and
of the last one, which returns the denoiser's estimate. A shortest path through a grid finds them. Errors of
one sign do not cancel in the sum, so that levels do not rest on a cancellation.

The start is corrected: noise of `sigma_max` alone lacks the data's own mean and variance. With two more
calls of the denoiser, `x + 3/4 D(x) + 1/4 D(-x)`, which adds `mu + x w / 2` for Gaussian data of mean `mu`
and `w = l / (l + sigma^2)`, the start may be a few times the scale of the data, in place of 80. One Heun step
less makes up for the two calls.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.errors import UserError

Array = NDArray[np.float64]

_LOWEST, _HIGHEST, _NODES = 1e-3, 300.0, 260  # levels to choose among
_SCALES = np.geomspace(1e-6, 1e4, 80)  # variances of coefficients
_RIDGE = 0.01
_LEAST = 0.003  # of the largest share; smaller ones are left out
_GRID = PosteriorVariance(torch.ones(1)).grid.numpy()
# Errors count by lambda^_POWER: 1 would count pixels' squared errors, which fine detail hardly adds to; 0 would
# count every coefficient alike, also those that are hardly there.
_POWER = 0.75
FEWEST = 2  # steps


def levels_for(v: PosteriorVariance, steps: int, trained_from: float = 0.0) -> Tensor:
    """The levels of a sampler whose start is corrected.

    Args:
        v: posterior variance of the data, from training.
        steps: as many calls of the denoiser as EDM's sampler makes in so many steps, `2 steps - 1`.
        trained_from: no level is lower.

    Returns:
        (steps,) levels, float64, falling, the last one 0.

    Raises:
        UserError: fewer than 2 steps, or the model was trained at no level to start from.
    """
    if steps < FEWEST:
        raise UserError(f"--steps {steps}: at least {FEWEST}")
    if trained_from >= _HIGHEST / 2:
        raise UserError(f"the model was trained at no level below {trained_from:.4g}: it cannot be sampled")
    # Where v is the bound of Gaussian coefficients, but for its rounding, the bound says more.
    is_bound = v.value >= v.bound * 2**-0.0626
    at = torch.where(is_bound, v.bound, v.value).numpy()
    return torch.tensor(_levels(at.tobytes(), steps, trained_from), dtype=torch.float64)


@lru_cache(maxsize=64)
def _levels(v: bytes, steps: int, trained_from: float) -> tuple[float, ...]:
    weights, scales = _coefficients(np.frombuffer(v, dtype=np.float64))
    nodes = np.geomspace(_HIGHEST, _LOWEST, _NODES)
    if trained_from > _LOWEST:
        nodes = np.append(nodes[nodes > trained_from], trained_from)
    start, step, last = _errors(nodes, weights, scales)
    cost, came_from = start, []
    for _ in range(steps - 2):
        through = cost[:, None] + step
        best = through.argmin(axis=0)
        came_from.append(best)
        cost = through[best, np.arange(len(nodes))]
    at = int((cost + last).argmin())
    path = [at]
    for best in reversed(came_from):
        at = int(best[at])
        path.append(at)
    return (*(float(nodes[i]) for i in reversed(path)), 0.0)


def _coefficients(v: Array) -> tuple[Array, Array]:
    """Weights and variances (J,) of Gaussian coefficients whose posterior variance on the grid is that of the data."""
    from scipy.optimize import nnls

    square = _GRID[:, None] ** 2
    of_each = _SCALES * square / (_SCALES + square) / v[:, None]
    most = of_each.max(axis=0)
    # A little of a ridge, in units of the largest share of v that a scale has at any level: v is measured, and its
    # errors must not look like scales that are not there.
    rows = np.concatenate([of_each / most, _RIDGE * np.eye(len(_SCALES))])
    shares = nnls(rows, np.concatenate([np.ones(len(v)), np.zeros(len(_SCALES))]))[0]
    kept = shares > _LEAST * shares.max()
    weights = (shares / most)[kept] * _SCALES[kept] ** _POWER
    return weights / weights.sum(), _SCALES[kept]


def _errors(nodes: Array, weights: Array, scales: Array) -> tuple[Array, Array, Array]:
    """Relative errors, root mean square over coefficients: of a corrected start at a level (K,), of a step from one level to a lower one
    (K, K), infinite to a higher one; and of the last step from a level to 0 (K,)."""
    square = nodes[:, None] ** 2
    exact = np.sqrt(scales + square)  # of the path, up to a factor
    rate = nodes[:, None] / (scales + square)  # dx / dsigma = rate x
    share = scales / (scales + square)
    start = nodes[:, None] * (1 + share / 2) / exact - 1
    last = share * exact / np.sqrt(scales) - 1
    width = nodes[None] - nodes[:, None]
    step = np.full(width.shape, np.inf)
    for i in range(len(nodes) - 1):  # row by row: all at once would take much memory
        h = width[i, i + 1 :, None]
        factor = 1 + h / 2 * (rate[i] + rate[i + 1 :] * (1 + h * rate[i]))
        step[i, i + 1 :] = _norm(factor * exact[i] / exact[i + 1 :] - 1, weights)
    return _norm(start, weights), step, _norm(last, weights)


def _norm(error: Array, weights: Array) -> Array:
    norm: Array = np.sqrt((error**2 * weights).sum(axis=-1))
    return norm
