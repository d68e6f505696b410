"""The sliced Wasserstein distance: W2 between projections on random directions (Bonneel et al., 2015).

Unlike the Frechet distance it depends on more than means and covariances; unlike the kernel distance it needs
no choice of a kernel.
"""

import numpy as np
from numpy.typing import NDArray

from noiseworth.evaluate.validation import check_features

_DIRECTIONS = 500
_QUANTILES = 2000


def sliced_wasserstein(
    x: NDArray[np.floating], y: NDArray[np.floating], *, directions: int = _DIRECTIONS, seed: int = 0
) -> float:
    """Root of the mean squared W2 over random directions, between features (N, F) and (M, F).

    One-dimensional W2 is the root mean squared difference of the quantile functions. If the sets differ in
    size, these are compared at 2,000 quantiles.

    Raises:
        UserError: fewer than 2 samples, different dimensions, or values that are not finite.
    """
    check_features(x, y, least=2)
    rng = np.random.default_rng(seed)
    total, left = 0.0, directions
    while left:
        count = min(left, 64)
        u = rng.standard_normal((x.shape[1], count))
        u /= np.linalg.norm(u, axis=0)
        a, b = np.sort(x @ u, axis=0), np.sort(y @ u, axis=0)
        if len(a) != len(b):
            at = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
            a, b = np.quantile(a, at, axis=0), np.quantile(b, at, axis=0)
        total += float(((a - b) ** 2).mean(axis=0).sum())
        left -= count
    return float(np.sqrt(total / directions))
