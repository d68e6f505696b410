"""The kernel distance between two sets of features (KID where they are Inception's; Binkowski et al., arXiv 1801.01401).

MMD^2 with k(x, y) = (x.y / F + 1)^3, unbiased: its mean is 0 where the two come from the same law, and it can be negative.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.evaluate.checks import check_features

Array = NDArray[np.float64]

_BLOCKS = 20
_ROWS = 2048


@dataclass(frozen=True)
class KernelEstimate:
    """The distance, and its 95% interval."""

    distance: float
    low: float
    high: float


def kernel_distance(x: NDArray[np.floating], y: NDArray[np.floating], *, subset_size: int = 10_000, seed: int = 0) -> KernelEstimate:
    """Unbiased squared distance of features (N, F) and (M, F).

    Args:
        subset_size: most samples of each kind that are compared with each other at once; of more, disjoint subsets are averaged,
            and the cost grows linearly.
        seed: of the random order in which subsets are taken.

    Returns:
        The estimate; its interval is Student's, over 20 disjoint blocks.

    Raises:
        UserError: fewer than 2 samples, different dimensions, or values that are not finite.
    """
    check_features(x, y, least=2)
    rng = np.random.default_rng(seed)
    a, b = (features[rng.permutation(len(features))].astype(np.float64) for features in (x, y))
    pieces = -(-max(len(a), len(b)) // subset_size)
    pieces = min(pieces, len(a) // 2, len(b) // 2)
    distance = float(np.mean([_unbiased(p, q) for p, q in zip(np.array_split(a, pieces), np.array_split(b, pieces), strict=True)]))
    blocks = min(_BLOCKS, len(a) // 2, len(b) // 2)
    if blocks < 2:
        return KernelEstimate(distance, float("-inf"), float("inf"))
    each = [_unbiased(p, q) for p, q in zip(np.array_split(a, blocks), np.array_split(b, blocks), strict=True)]
    from scipy.stats import t

    half = float(t.ppf(0.975, blocks - 1)) * float(np.std(each, ddof=1)) / blocks**0.5
    return KernelEstimate(distance, distance - half, distance + half)


def _unbiased(x: Array, y: Array) -> float:
    n, m = len(x), len(y)
    own = (_sum(x, x) - _diagonal(x)) / (n * (n - 1)) + (_sum(y, y) - _diagonal(y)) / (m * (m - 1))
    return own - 2 * _sum(x, y) / (n * m)


def _sum(x: Array, y: Array) -> float:
    """Sum of the kernel over all pairs, a few rows at a time."""
    total = 0.0
    for start in range(0, len(x), _ROWS):
        k = x[start : start + _ROWS] @ y.T
        k /= x.shape[1]
        k += 1
        total += float(np.einsum("ij,ij,ij->", k, k, k))
    return total


def _diagonal(x: Array) -> float:
    return float((((x * x).sum(axis=1) / x.shape[1] + 1) ** 3).sum())
