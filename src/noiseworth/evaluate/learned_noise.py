"""Has a model learned the noise of its images? Compares the noise in generated images with that in real ones.

The mask [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] removes the smooth part of an image and multiplies white noise
by 6 (Immerkaer, Computer Vision and Image Understanding 64, 1996). Fine detail remains, and adds to the
variance of real and of generated images alike, so the difference of the two variances is that of the learned
noise. This assumes equal detail in both: a model that blurs or that prefers some kinds of images changes the
result too, and clipping of values makes it smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.evaluate.intervals import half_width

FEWEST = 30  # images of each kind: the detail of images varies too much for fewer


@dataclass(frozen=True)
class LearnedNoise:
    """Standard deviation of the noise beyond that of real images, in model units, and its 95% interval.

    Negative if there is less fine detail than in real images: minus the root of the missing variance.
    """

    value: float
    low: float
    high: float


def learned_noise(generated: NDArray[np.float32], real: NDArray[np.float32]) -> LearnedNoise:
    """Compare generated images (N, C, H, W) with real ones (M, C, H, W).

    Raises:
        UserError: fewer than 30 images of a kind, or images smaller than 3x3, which the mask does not fit.
    """
    if min(len(generated), len(real)) < FEWEST:
        raise UserError(
            f"measuring noise needs at least {FEWEST} images of each kind, got {len(generated)} and {len(real)}"
        )
    x, y = _fine_variance(generated), _fine_variance(real)
    excess = float(x.mean() - y.mean())
    of_x, of_y = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    # Welch's degrees of freedom (Biometrika 34, 1947).
    spread = of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1)
    degrees = (of_x + of_y) ** 2 / spread if spread > 0 else np.inf
    half = half_width(of_x + of_y, degrees)
    value, low, high = (float(np.sign(v) * np.sqrt(abs(v))) for v in (excess, excess - half, excess + half))
    return LearnedNoise(value, low, high)


def learned_noise_if_told(
    generated: NDArray[np.float32], read_real: Callable[[], NDArray[np.float32]], n_real: int
) -> tuple[LearnedNoise | None, list[str]]:
    """`learned_noise` where images are large and many enough; else None, and what to say if they are too few.

    Args:
        generated: (N, C, H, W).
        read_real: reads the real images; called only if they are needed.
        n_real: their number.
    """
    if min(generated.shape[2:]) < 3:
        return None, []
    fewest = min(len(generated), n_real)
    if fewest < FEWEST:
        return None, [f"{fewest:,} images are too few to tell learned noise (at least {FEWEST} are needed)"]
    return learned_noise(generated, read_real()), []


def _fine_variance(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Variance (N,) of each image's noise and fine detail."""
    if min(images.shape[2:]) < 3:
        raise UserError(
            f"measuring noise needs images of at least 3x3, these are {images.shape[3]}x{images.shape[2]}"
        )
    x = images.astype(np.float64)
    rows = x[:, :, :-2] - 2 * x[:, :, 1:-1] + x[:, :, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    return np.asarray((both**2).reshape(len(x), -1).mean(axis=1) / 36)
