"""What images of one data set say of each other's noise: few instruments and settings make many images.

A small image alone says little of its noise: 64 pixels leave 9% at best, and where pictures hide most of them, 30%.
But the levels of many images are known to be distributed as all of them together say: that distribution is fitted by
maximum likelihood, with no shape assumed (Kiefer and Wolfowitz, Ann. Math. Stat. 27, 1956; by EM on a grid), and each
image's level is then its posterior under it (empirical Bayes; Jiang and Zhang, Ann. Stat. 37, 2009).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from noiseworth.noise.estimate import Estimate

_STEP = 0.01  # of the grid, in the logarithm
_MOST_POINTS = 1500
_FITTED = 4000  # images, of which the distribution is taken
_ITERATIONS = 400
_OTHERS = 1e-3  # of the distribution, that is spread evenly
# Errors that all images share, and that their number does not make smaller; at least, and of an image's own.
_SYSTEMATIC, _SHARED = 0.01, 0.4
_WIDEST = 4.0  # ratio of the ends of an image's own interval, beyond which it has no part in it
_REACH = 3.0  # errors, beyond the outermost images
_ENDS = (0.025, 0.975)

Array = NDArray[np.float64]


def pool(estimate: Estimate) -> Estimate:
    """The noise of images (N,), each with what the others say; the ends are those of the posterior's 95% interval.

    Args:
        estimate: of each image alone. One whose ends are more than a factor of 4 apart is kept as it is.
    """
    # Of an image that says next to nothing, what it says is no bell around its level.
    is_usable = (estimate.low > 0) & (estimate.high < _WIDEST * estimate.low)
    if is_usable.sum() < 2:
        return estimate
    centre = np.log(estimate.sigma[is_usable])
    error = (np.log(estimate.high[is_usable]) - np.log(estimate.low[is_usable])) / (2 * ndtri(_ENDS[1]))
    low, high = (centre - _REACH * error).min() - _STEP, (centre + _REACH * error).max() + _STEP
    grid = np.linspace(low, high, int(np.clip((high - low) / _STEP, 3, _MOST_POINTS)))
    error = np.maximum(error, grid[1] - grid[0])
    some = np.unique(np.linspace(0, len(centre) - 1, min(len(centre), _FITTED)).astype(int))
    weights = _distribution(_likelihood(grid, centre[some], error[some]))
    mean, ends = np.empty_like(centre), np.empty((2, len(centre)))
    for start in range(0, len(centre), _FITTED):
        part = slice(start, start + _FITTED)
        posterior = _likelihood(grid, centre[part], error[part]) * weights
        posterior /= posterior.sum(1, keepdims=True)
        mean[part] = posterior @ grid
        reached = posterior.cumsum(1)
        for end, quantile in enumerate(_ENDS):
            ends[end, part] = grid[np.minimum((reached < quantile).sum(1), len(grid) - 1)]
    margin = ndtri(_ENDS[1]) * np.maximum(_SYSTEMATIC, _SHARED * error)
    result = Estimate(*(np.array(a, np.float64) for a in (estimate.sigma, estimate.low, estimate.high)))
    result.sigma[is_usable] = np.exp(mean)
    result.low[is_usable] = np.exp(np.minimum(ends[0], mean) - margin)
    result.high[is_usable] = np.exp(np.maximum(ends[1], mean) + margin)
    return result


def _likelihood(grid: Array, centre: Array, error: Array) -> Array:
    """Of each level of the grid (N, G), up to a factor of each image."""
    likelihood: Array = np.exp(-0.5 * ((grid[None] - centre[:, None]) / error[:, None]) ** 2)
    return likelihood


def _distribution(likelihood: Array) -> Array:
    """The weights (G,) of the levels that make the images (N, G) most likely."""
    weights = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(_ITERATIONS):
        share = likelihood @ weights
        weights = weights * (likelihood.T @ (1 / np.maximum(share, 1e-300))) / len(likelihood)
    # An image that is like no other was perhaps not among those that were looked at.
    return (1 - _OTHERS) * weights + _OTHERS / len(weights)
