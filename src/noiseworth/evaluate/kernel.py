"""The kernel distance between two sets of features (Binkowski et al., arXiv 1801.01401).

MMD^2 with k(x, y) = (x.y / F + 1)^3, called KID if the features are Inception's. It is unbiased: its mean is 0
if both sets come from the same distribution, and it can be negative.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.evaluate.intervals import half_width, jackknife_variance
from noiseworth.evaluate.validation import check_features

Array = NDArray[np.float64]

_BLOCKS = 20
_ROWS = 2048


@dataclass(frozen=True)
class KernelEstimate:
    """The distance, and its 95% interval."""

    distance: float
    low: float
    high: float


def kernel_distance(
    x: NDArray[np.floating], y: NDArray[np.floating], *, subset_size: int = 10_000, seed: int = 0
) -> KernelEstimate:
    """Unbiased squared distance of features (N, F) and (M, F).

    Args:
        subset_size: the largest number of samples of each kind that are compared at once; a larger set is
            cut into pieces, over which the distance is averaged, so that the cost grows linearly.
        seed: of the random order in which the sets are cut.

    Returns:
        The estimate, and its interval by the jackknife over 20 blocks. If one set has fewer pieces than the
        other, they are used repeatedly, and the number of independent estimates is theirs.

    Raises:
        UserError: fewer than 4 samples, different dimensions, or values that are not finite.
    """
    check_features(x, y, least=4)
    rng = np.random.default_rng(seed)
    a, b = (np.array_split(rng.permutation(len(f)), -(-len(f) // subset_size)) for f in (x, y))
    rounds = max(len(a), len(b))
    estimates = [_with_variance(x[a[r % len(a)]], y[b[r % len(b)]]) for r in range(rounds)]
    distance = float(np.mean([value for value, _ in estimates]))
    blocks = min(_BLOCKS, len(x) // 2, len(y) // 2)
    variance = float(np.mean([variance for _, variance in estimates])) / min(len(a), len(b))
    half = half_width(variance, blocks - 1)
    return KernelEstimate(distance, distance - half, distance + half)


def _with_variance(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[float, float]:
    """The unbiased distance over all pairs, and its variance by the jackknife over blocks of both sets."""
    count = min(_BLOCKS, len(x) // 2, len(y) // 2)
    p, q = (f.astype(np.float64, copy=False) for f in (x, y))
    starts = [np.arange(count) * len(f) // count for f in (p, q)]
    n, m = (np.diff(s, append=len(f)).astype(np.float64) for s, f in zip(starts, (p, q), strict=True))
    within = [_block_sums(f, f, s, s) for f, s in zip((p, q), starts, strict=True)]
    diagonal = [
        np.add.reduceat(((f * f).sum(axis=1) / f.shape[1] + 1) ** 3, s)
        for f, s in zip((p, q), starts, strict=True)
    ]
    between = _block_sums(p, q, *starts)

    def distance(kept: NDArray[np.bool_]) -> float:
        own = 0.0
        for sums, on, size in zip(within, diagonal, (n[kept].sum(), m[kept].sum()), strict=True):
            own += (sums[np.ix_(kept, kept)].sum() - on[kept].sum()) / (size * (size - 1))
        return float(own - 2 * between[np.ix_(kept, kept)].sum() / (n[kept].sum() * m[kept].sum()))

    without = np.array([distance(np.arange(count) != block) for block in range(count)])
    return distance(np.ones(count, dtype=bool)), jackknife_variance(without)


def _block_sums(x: Array, y: Array, of_x: NDArray[np.int64], of_y: NDArray[np.int64]) -> Array:
    """Sums of the kernel over all pairs of a block of `x` and one of `y`.

    `of_x` and `of_y` are the first rows of the blocks.
    """
    by_row = np.empty((len(x), len(of_y)))
    for start in range(0, len(x), _ROWS):
        k = x[start : start + _ROWS] @ y.T
        k /= x.shape[1]
        k += 1
        np.multiply(k * k, k, out=k)
        by_row[start : start + len(k)] = np.add.reduceat(k, of_y, axis=1)
    sums: Array = np.add.reduceat(by_row, of_x, axis=0)
    return sums
