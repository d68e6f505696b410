"""Has a model learned the noise of its images? The noise in pictures that it makes, against that in real ones.

The mask [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] takes the smooth part of an image away and multiplies white noise by 6 (Immerkaer,
Computer Vision and Image Understanding 64, 1996). What detail is left of clean images adds to the variance in real and generated ones
alike, so the difference of their variances is that of the noise that was learned.
"""

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError


def leaked_noise(generated: NDArray[np.float32], real: NDArray[np.float32]) -> float:
    """Standard deviation of the noise in generated images (N, C, H, W) beyond that of real ones (M, C, H, W), in model units.

    Negative where they are smoother than real ones: minus the root of the variance that is missing.

    Raises:
        UserError: images smaller than 3x3, which the mask does not fit.
    """
    apart = _fine_variance(generated) - _fine_variance(real)
    return float(np.sign(apart) * np.sqrt(abs(apart)))


def _fine_variance(images: NDArray[np.float32]) -> float:
    if min(images.shape[2:]) < 3:
        raise UserError(f"noise in images of {images.shape[3]}x{images.shape[2]} cannot be told: at least 3x3")
    x = images.astype(np.float64)
    rows = x[:, :, :-2] - 2 * x[:, :, 1:-1] + x[:, :, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    return float((both**2).mean() / 36)
