"""How far from the restored value the clean one can be: intervals that cover as often as they say.

A pixel's interval is its mean plus and minus a factor times its standard deviation. The factor is found on clean images that the
model has not seen, with noise added (split conformal prediction: Lei et al., J. Am. Stat. Assoc. 113, 2018). Where there are none,
it is found on images that the model itself draws given the noisy ones, and corrected by how much larger the error on the noisy
images is than the model says, which needs no clean image (`posterior.squared_error`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.diffusion.diagonal import DiagonalNoise
from noiseworth.diffusion.posterior import squared_error
from noiseworth.restore.restorer import Restorer
from noiseworth.rng import Stream, normal

Array = NDArray[np.float32]
Way = Literal["clean images", "the model's own images"]

SHARE = 0.9  # of the pixels that intervals cover
_FURTHEST = 2.0  # factor by which the error is believed to be off


@dataclass(frozen=True)
class Calibration:
    """How intervals are made.

    Attributes:
        factor: half the width of an interval, in standard deviations.
        way: what it was found on.
        count: number of these images (or tiles of them).
        error: root mean square error that is left, in model units.
        error_ratio: that of noisy images over the one that the model implies; None where it was not needed.
    """

    factor: float
    way: Way
    count: int
    error: float
    error_ratio: float | None


def on_clean(
    restorer: Restorer, clean: Array, s: NDArray[np.floating], ids: NDArray[np.int64], seed: int
) -> Calibration:
    """From clean images (N, C, H, W) of the model's size that it was not trained on, with noise `s` (N,) added."""
    found = restorer(_with_noise(clean, s, ids, seed), s, ids, maps=True)
    scores = np.abs(clean - found.mean) / found.std(s)
    # The smallest factor that covers as often in one more pixel.
    factor = float(np.quantile(scores, min(SHARE * (1 + 1 / scores.size), 1.0)))
    error = _root(float(np.mean((clean - found.mean) ** 2)))
    return Calibration(factor, "clean images", len(clean), error, None)


def without_clean(
    restorer: Restorer, noisy: Array, s: NDArray[np.floating], ids: NDArray[np.int64], seed: int
) -> Calibration:
    """From the noisy images (N, C, H, W) of the model's size alone."""
    found = restorer(noisy, s, ids, maps=True, draws=1)
    drawn = found.draws[0]
    again = _with_noise(drawn, s, ids, seed)
    of_drawn = restorer(again, s, ids, maps=True)
    scores = np.abs(drawn - of_drawn.mean) / of_drawn.std(s)
    levels = torch.from_numpy(np.asarray(s, np.float32))
    y, mean, variance = (torch.from_numpy(a) for a in (noisy, found.mean, found.variance))
    squared = squared_error(y, mean, variance, levels)
    error = _root(float(squared.mean()))
    ratio = error / _root(float(found.variance.mean()))
    expected = _root(float(np.mean((drawn - of_drawn.mean) ** 2)) / float(of_drawn.variance.mean()))
    correction = float(np.clip(ratio / expected, 1 / _FURTHEST, _FURTHEST))
    factor = float(np.quantile(scores, SHARE)) * correction
    return Calibration(factor, "the model's own images", len(noisy), error, ratio)


def _with_noise(images: Array, s: NDArray[np.floating], ids: NDArray[np.int64], seed: int) -> Array:
    noise = normal(seed, Stream.CHECK, torch.from_numpy(ids), images.shape[1:]).numpy()
    noisy: Array = (images + np.asarray(s, np.float32).reshape(-1, 1, 1, 1) * noise).astype(np.float32)
    return noisy


def _root(square: float) -> float:
    return float(np.sqrt(max(square, 1e-20)))


def of_other_noise(
    restorer: Restorer,
    images: Array,
    own: DiagonalNoise,
    s: NDArray[np.floating],
    ids: NDArray[np.int64],
    seed: int,
    clean: Array | None,
) -> Calibration:
    """The same for noise that is not white, or missing pixels: on clean images (N, C, H, W), or on images that are drawn given the noisy
    ones, with the noise `own` of these. How far the model is wrong on the noisy images themselves is not known there."""
    truth = restorer.given(images, own, ids, draws=1).draws[0] if clean is None else clean
    white = normal(seed, Stream.CHECK, torch.from_numpy(ids), images.shape[1:])
    is_measured = torch.isfinite(own.variance)
    noise = own.turned(torch.where(is_measured, own.variance, 0).sqrt() * white)
    again = truth + noise.numpy()
    # Coordinates that were not measured are pixels: noise of a spectrum leaves none out.
    again = np.where(is_measured.numpy(), again, np.nan).astype(np.float32)
    found = restorer.given(again, own, ids)
    scores = np.abs(truth - found.mean) / found.std(s)
    error = _root(float(np.mean((truth - found.mean) ** 2)))
    way: Way = "the model's own images" if clean is None else "clean images"
    return Calibration(float(np.quantile(scores, SHARE)), way, len(images), error, None)


def residual_correlation(
    restorer: Restorer, noisy: Array, s: NDArray[np.floating], ids: NDArray[np.int64], seed: int
) -> tuple[float, float, float]:
    """Correlation of what is taken off neighbouring pixels: that of noisy images (N, C, H, W); what it would be, had they white noise and
    were they like the model's own images; and the standard error of the difference."""
    found = restorer(noisy, s, ids, maps=False, draws=1)
    again = _with_noise(found.draws[0], s, ids, seed)
    both = [
        _correlations(noisy - found.mean),
        _correlations(again - restorer(again, s, ids, maps=False).mean),
    ]
    error = float(np.sqrt(sum(c.var() / len(c) for c in both)))
    return float(both[0].mean()), float(both[1].mean()), error


def _correlations(images: Array) -> NDArray[np.float64]:
    """(N,) of each image with itself, one pixel on, over rows and columns; their mean is 0."""
    wide = images.astype(np.float64)
    power = np.mean(wide**2, axis=(1, 2, 3))
    ways = wide[..., 1:, :] * wide[..., :-1, :], wide[..., 1:] * wide[..., :-1]
    mean: NDArray[np.float64] = sum(way.mean(axis=(1, 2, 3)) for way in ways) / 2 / np.maximum(power, 1e-20)
    return mean
