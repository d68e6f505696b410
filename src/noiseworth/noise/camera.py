"""A camera's gain, offset and read noise, from frames that it takes of darkness and of even light.

The variance of a pixel in time grows with its mean in a straight line, `variance = gain (mean - offset) + read_noise^2`
(photon transfer: Janesick, 2007), whatever the pattern that is fixed in the pixels, since only changes from frame to
frame count. Intervals are from leaving out some frames at a time: frames are independent, where pixels of one may go together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from noiseworth.errors import UserError
from noiseworth.noise.sensors import PoissonGaussianNoise

Array = NDArray[np.float64]

_FEWEST = 3  # frames of a kind
_GROUPS = 16  # of frames, that are left out in turn
_SMALLEST = 16  # pixels along a side
_MAPS_FROM = 50  # frames of a kind, from which pixels are told from each other
_HOT = 8.0  # robust standard deviations of a dark pixel's mean or variance
_SATURATED = 0.001  # share of the pixels at the highest value, from which a level says nothing
_STRIPES = 4.0  # standard errors
_LEAST_LIGHT = 0.05  # of the read variance, that the shot noise of the brightest level must add


@dataclass(frozen=True)
class Measured:
    """A number, and the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Camera:
    """What frames say of a camera.

    Attributes:
        gain: raw units for each electron.
        offset: raw value without light.
        read_noise: standard deviation without light, in raw units (root mean square over pixels).
        stripes: noise that rows or columns have in common, as a share of the dark frames' variance; 0 where there is none that is
            sure.
        hot: (H, W) pixels that are far noisier or brighter in the dark than others.
        model: the noise model, with a map for each pixel where there are frames enough.
    """

    gain: Measured
    offset: Measured
    read_noise: Measured
    stripes: float
    hot: NDArray[np.bool_]
    model: PoissonGaussianNoise


def measure_camera(dark: Array, flats: Sequence[Array]) -> Camera:
    """Measure a camera.

    Args:
        dark: (N, H, W) raw frames without light, three or more.
        flats: for each level of even, constant light (N, H, W) raw frames, three or more.

    Raises:
        UserError: there are too few frames, sizes differ, all levels are saturated, or the light adds no noise that could be seen.
    """
    for words, frames in (("dark frames", dark), *((f"flat {i + 1}", f) for i, f in enumerate(flats))):
        if frames.ndim != 3 or len(frames) < _FEWEST:
            raise UserError(f"{words}: {_FEWEST} frames or more are needed, of one size")
        if frames.shape[1:] != dark.shape[1:]:
            raise UserError(
                f"{words}: {frames.shape[2]}x{frames.shape[1]} pixels, and the dark frames have others"
            )
        if min(frames.shape[1:]) < _SMALLEST:
            raise UserError(f"{words}: frames of at least {_SMALLEST}x{_SMALLEST} pixels are needed")
    top = max(float(f.max()) for f in flats) if flats else 0.0
    usable = [f for f in flats if _share_at(f, top) < _SATURATED]
    if not usable:
        raise UserError("flats: every level is saturated, or there is none; take some with less light")
    offset, variance = dark.mean(0), dark.var(0, ddof=1)
    hot = _is_far(offset) | _is_far(np.log(np.maximum(variance, 1e-12)))
    extra = [float((f.var(0, ddof=1) - variance)[~hot].mean()) for f in usable]
    if max(extra) < _LEAST_LIGHT * float(variance[~hot].mean()):
        raise UserError("flats: light adds no noise that could be seen; take flats with more light")
    above, below = _slope(dark, usable, hot)
    whole = _numbers(dark, usable, hot)
    groups = min(_GROUPS, len(dark), *(len(f) for f in usable))
    without = np.array(
        [
            _numbers(_leave_out(dark, g, groups), [_leave_out(f, g, groups) for f in usable], hot)
            for g in range(groups)
        ]
    )
    gain, level, read_noise = (_measured(*pair) for pair in zip(whole, without.T, strict=True))
    model = _model(
        (gain, level, read_noise), above, below, offset, variance, len(dark), min(len(f) for f in usable)
    )
    return Camera(gain, level, read_noise, _stripes(dark, hot), hot, model)


def _slope(dark: Array, flats: Sequence[Array], hot: NDArray[np.bool_]) -> tuple[Array, Array]:
    """For each pixel (H, W), what the gain is the ratio of: variance against mean, each level by how well its variance is known."""
    offset, variance = dark.mean(0), dark.var(0, ddof=1)
    above, below = np.zeros_like(offset), np.zeros_like(offset)
    for frames in flats:
        own = frames.var(0, ddof=1)
        weight, mean = 1 / float(own[~hot].mean()) ** 2, frames.mean(0) - offset
        above += weight * (own - variance) * mean
        below += weight * mean**2
    return above, below


def _numbers(dark: Array, flats: Sequence[Array], hot: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Gain, offset and read noise of the pixels that are not hot."""
    above, below = _slope(dark, flats, hot)
    read_noise = math.sqrt(float(dark.var(0, ddof=1)[~hot].mean()))
    return float(above[~hot].sum() / below[~hot].sum()), float(dark.mean(0)[~hot].mean()), read_noise


def _leave_out(frames: Array, group: int, groups: int) -> Array:
    kept: Array = frames[np.arange(len(frames)) % groups != group]
    return kept


def _measured(whole: float, without: Array) -> Measured:
    """A number, with the interval that it has from those (G,) without a group of frames each (jackknife)."""
    count = len(without)
    error = math.sqrt((count - 1) / count * float(np.square(without - without.mean()).sum()))
    reach = float(student.ppf(0.975, count - 1)) * error
    return Measured(whole, whole - reach, whole + reach)


def _model(
    numbers: tuple[Measured, Measured, Measured],
    above: Array,
    below: Array,
    offset: Array,
    variance: Array,
    dark_frames: int,
    flat_frames: int,
) -> PoissonGaussianNoise:
    """With maps of what there are frames enough for; a pixel's gain is drawn to that of all by how badly it is known."""
    gain, level, read_noise = (number.value for number in numbers)
    if dark_frames < _MAPS_FROM:
        return PoissonGaussianNoise(gain, level, read_noise)
    if flat_frames < _MAPS_FROM:
        return PoissonGaussianNoise(gain, offset, np.sqrt(variance))
    own = above / below
    error = 2 / (flat_frames - 1) * gain**2  # variance of a pixel's gain from one level, by chance alone
    spread = max(float(np.var(own)) - error, 0.0)
    table = gain + spread / (spread + error) * (own - gain)
    return PoissonGaussianNoise(np.maximum(table, 0.1 * gain), offset, np.sqrt(variance))


def _stripes(dark: Array, hot: NDArray[np.bool_]) -> float:
    """The share of the variance that rows (columns) have in common, from differences of frames; 0 if it may be chance."""
    best = 0.0
    half = len(dark) // 2
    change = (dark[:half] - dark[half : 2 * half]) / math.sqrt(2)
    change = np.where(hot, 0.0, change - change[:, ~hot].mean(1)[:, None, None])
    variance = float((change[:, ~hot] ** 2).mean())
    if variance == 0:
        return 0.0
    for axis, length, count in ((2, change.shape[2], change.shape[1]), (1, change.shape[1], change.shape[2])):
        ratio = length * float(np.square(change.mean(axis)).mean()) / variance
        if ratio - 1 > _STRIPES * math.sqrt(2 / (half * count)):
            best = max(best, (ratio - 1) / length)
    return best


def _share_at(frames: Array, top: float) -> float:
    """The share of pixels at the highest value of all, where many are: of few, it is no end of a range."""
    return float((frames >= top).mean())


def _is_far(values: Array) -> NDArray[np.bool_]:
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    return np.abs(values - centre) > _HOT * max(float(spread), 1e-12)
