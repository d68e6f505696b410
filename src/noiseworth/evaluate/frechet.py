"""The Frechet distance between Gaussians fitted to two sets of features (Heusel et al., arXiv 1706.08500, equation 6).

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2))

Called FID only where the features are Inception's, which is nowhere in this module. Sums are float64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """`mean` (F,) and `covariance` (F, F), with divisor n - 1, of `count` feature vectors."""

    mean: Array
    covariance: Array
    count: int


def moments(features: NDArray[np.floating]) -> Moments:
    """Moments of features (N, F).

    Raises:
        UserError: fewer than two samples, or features that are not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise UserError(f"a Frechet distance needs at least 2 feature vectors (N, F), got shape {features.shape}")
    values = features.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(f"features of {len(bad)} of {len(values)} images are NaN or infinite (first: image {bad[0]})")
    mean = values.mean(axis=0)
    centred = values - mean
    return Moments(mean, centred.T @ centred / (len(values) - 1), len(values))


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared distance d^2, as the field reports it; 0 or more.

    Uses symmetric square roots alone, which are stable where a covariance is singular.

    Raises:
        UserError: the features have different dimensions.
    """
    if a.mean.shape != b.mean.shape:
        raise UserError(f"features of dimension {len(a.mean)} cannot be compared with features of dimension {len(b.mean)}")
    root = _root(a.covariance)
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(np.clip(cross, 0, None)).sum()
    return max(float(np.sum((a.mean - b.mean) ** 2) + trace), 0.0)


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    scaled: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return scaled
