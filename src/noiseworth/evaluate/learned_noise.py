"""Has a model learned the noise of its images? The noise in pictures that it makes, against that in real ones.

The mask [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] takes the smooth part of an image away and multiplies white
noise by 6 (Immerkaer, Computer Vision and Image Understanding 64, 1996). What detail is left of clean images
adds to the variance in real and in generated ones, so the difference of their variances is that of the noise
that was learned, provided that the two have the same detail otherwise: a model that blurs, or that prefers
some kinds of images, changes it too, and values that were clipped hold less noise than was learned.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError


@dataclass(frozen=True)
class LearnedNoise:
    """Standard deviation of the noise beyond that of real images, in model units, and its 95% interval. Negative where there is less
    fine detail than in real images: minus the root of the variance that is missing."""

    value: float
    low: float
    high: float


def learned_noise(generated: NDArray[np.float32], real: NDArray[np.float32]) -> LearnedNoise:
    """Compare generated images (N, C, H, W) with real ones (M, C, H, W).

    Raises:
        UserError: fewer than 2 images, or images smaller than 3x3, which the mask does not fit.
    """
    if min(len(generated), len(real)) < 2:
        raise UserError(
            f"noise needs at least 2 images of each kind to be told, got {len(generated)} and {len(real)}"
        )
    x, y = _fine_variance(generated), _fine_variance(real)
    apart, error = float(x.mean() - y.mean()), float(np.sqrt(x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y)))
    value, low, high = (
        float(np.sign(v) * np.sqrt(abs(v))) for v in (apart, apart - 1.96 * error, apart + 1.96 * error)
    )
    return LearnedNoise(value, low, high)


def _fine_variance(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each image (N,)."""
    if min(images.shape[2:]) < 3:
        raise UserError(
            f"noise in images of {images.shape[3]}x{images.shape[2]} cannot be told: at least 3x3"
        )
    x = images.astype(np.float64)
    rows = x[:, :, :-2] - 2 * x[:, :, 1:-1] + x[:, :, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    return np.asarray((both**2).reshape(len(x), -1).mean(axis=1) / 36)
