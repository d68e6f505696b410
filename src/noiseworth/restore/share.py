"""Data or belief: how much of what a restored image shows is in the noisy image itself.

Around each pixel, what the restored image `D` shows is looked for in the noisy image: the slope of `y` on `D`, with an
intercept, by least squares over a small window. It is 1 where the structure is in the data, and 0 where the model made it up.
The noise has left its trace in `D`; its share of the slope is taken off by Stein's lemma, `E[n D] = s^2 dD/dy`, so that the slope
is that of the clean image, which nobody has.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

_WINDOW = 2.5  # pixels, the standard deviation of the window: wider ones tell more surely, and less where
_UNSURE = 1 / 3  # standard error of a share, from which on 0 and 1 are too near each other to be told apart

Array = NDArray[np.float32]


def data_share(y: Array, mean: Array, variance: Array, s: float) -> tuple[Array, Array]:
    """The share, and its standard error from the noise, of one image.

    Args:
        y: (C, H, W) the noisy image; all in model units.
        mean, variance: (C, H, W) of the clean image, given it.
        s: its noise.

    Returns:
        (H, W) each, over all channels. The share scatters about 0 and 1 and is not clipped; it is NaN, and the error infinite, where
        the restored image shows no structure that noise would let anybody see. It is low by some hundredths where the estimate of a
        pixel goes by many pixels, since these move the mean of the window, too.
    """
    around, narrow = _around(_WINDOW), _around(_WINDOW / np.sqrt(2))
    level = around(mean)
    power = (around(mean**2) - level**2).sum(0)
    along = (around(mean * y) - level * around(y) - around(variance)).sum(0)
    # The square of a normal window is one that is narrower by root 2, of height 1 / (4 pi width^2).
    squares = (narrow(mean**2) - 2 * level * narrow(mean) + level**2).sum(0) / (4 * np.pi * _WINDOW**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        error, share = s * np.sqrt(np.maximum(squares, 0)) / power, along / power
    is_open = (power > 1e-12) & (error < _UNSURE)
    return (
        np.where(is_open, share, np.nan).astype(np.float32),
        np.where(is_open, error, np.inf).astype(np.float32),
    )


def _around(width: float) -> Callable[[Array], NDArray[np.float64]]:
    """Means over a normal window, of each channel."""
    return lambda values: gaussian_filter(values.astype(np.float64), (0, width, width), mode="nearest")
