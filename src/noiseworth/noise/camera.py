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
GROUPS = 16  # of frames, pictures or places, that are left out in turn
_SMALLEST = 16  # pixels along a side
_MAPS_FROM = 50  # frames of a kind, from which pixels are told from each other
_HOT = 8.0  # robust standard deviations of a dark pixel's mean or variance
# Share and number of the pixels at the highest value, beyond which a level of light says nothing.
_SATURATED, _AT_TOP = 0.001, 4
_CLIPPED = 0.01  # share of the dark pixels at 0, from which their noise was cut off
_ROUNDING = 1 / 12  # variance that rounding to whole numbers adds
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
    if float((dark == 0).mean()) > _CLIPPED and float(dark.min()) == 0:
        raise UserError(
            f"dark frames: {float((dark == 0).mean()):.1%} of the pixels are 0, where noise was cut off; set the camera's offset"
            " (black level) higher"
        )
    top = max(float(f.max()) for f in flats) if flats else 0.0
    usable = [f for f in flats if not _is_saturated(f, top)]
    if not usable:
        raise UserError("flats: every level is saturated, or there is none; take some with less light")
    offset, variance = dark.mean(0), dark.var(0, ddof=1)
    # Of few frames of whole numbers, pixels that never change are no rarity: what is hot has more, not less.
    hot = _is_far(np.abs(offset - np.median(offset))) | _is_far(np.log(variance + _ROUNDING))
    usable = [_steady(f, offset, hot) for f in usable]
    extra = [float((f.var(0, ddof=1) - variance)[~hot].mean()) for f in usable]
    if max(extra) < _LEAST_LIGHT * float(variance[~hot].mean()):
        raise UserError("flats: light adds no noise that could be seen; take flats with more light")
    whole = _numbers(dark, usable, hot)
    groups = min(GROUPS, len(dark), *(len(f) for f in usable))
    without = np.array(
        [
            _numbers(_leave_out(dark, g, groups), [_leave_out(f, g, groups) for f in usable], hot)
            for g in range(groups)
        ]
    )
    gain, level, read_noise = (measured_without(*pair) for pair in zip(whole, without.T, strict=True))
    model = _model((gain, level, read_noise), dark, usable, hot)
    return Camera(gain, level, read_noise, _stripes(dark, hot), hot, model)


def _steady(frames: Array, offset: Array, hot: NDArray[np.bool_]) -> Array:
    """Flats (N, H, W) as they would be if the lamp did not flicker."""
    light = (frames - offset)[:, ~hot].mean(1)
    if (light <= 0).any():
        return frames
    steady: Array = offset + (frames - offset) * (light.mean() / light)[:, None, None]
    return steady


def _slope(dark: Array, flats: Sequence[Array], hot: NDArray[np.bool_]) -> tuple[Array, Array]:
    """For each pixel (H, W), what the gain is the ratio of: variance against light, each level by how well its variance is known.

    Both are multiplied by the light of the whole level, which has next to no error: the square of a pixel's own light
    has, and would make the gain too small where there is little light.
    """
    offset, variance = dark.mean(0), dark.var(0, ddof=1)
    above, below = np.zeros_like(offset), np.zeros_like(offset)
    for frames in flats:
        own, light = frames.var(0, ddof=1), frames.mean(0) - offset
        weight = float(light[~hot].mean()) / float(own[~hot].mean()) ** 2
        above += weight * (own - variance)
        below += weight * light
    return above, below


def _numbers(dark: Array, flats: Sequence[Array], hot: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Gain, offset and read noise of the pixels that are not hot."""
    above, below = _slope(dark, flats, hot)
    read_noise = math.sqrt(float(dark.var(0, ddof=1)[~hot].mean()))
    return float(above[~hot].sum() / below[~hot].sum()), float(dark.mean(0)[~hot].mean()), read_noise


def _leave_out(frames: Array, group: int, groups: int) -> Array:
    kept: Array = frames[np.arange(len(frames)) % groups != group]
    return kept


def measured_without(whole: float, without: Array) -> Measured:
    """A number, with the interval that it has from those (G,) without a group of frames, pictures or places each (jackknife)."""
    count = len(without)
    error = math.sqrt((count - 1) / count * float(np.square(without - without.mean()).sum()))
    reach = float(student.ppf(0.975, count - 1)) * error
    return Measured(whole, whole - reach, whole + reach)


def _model(
    numbers: tuple[Measured, Measured, Measured], dark: Array, flats: Sequence[Array], hot: NDArray[np.bool_]
) -> PoissonGaussianNoise:
    """With maps of what there are frames enough for; a pixel's gain is drawn to that of all by how badly it is known."""
    gain, level, read_noise = (number.value for number in numbers)
    if len(dark) < _MAPS_FROM:
        return PoissonGaussianNoise(gain, level, read_noise)
    offset, deviation = dark.mean(0), dark.std(0, ddof=1)
    if min(len(f) for f in flats) < _MAPS_FROM:
        return PoissonGaussianNoise(gain, offset, deviation)
    above, below = _slope(dark, flats, hot)
    own = np.divide(above, below, out=np.full_like(above, gain), where=below > 0)
    own[hot] = gain
    # The variance of a pixel's gain by chance: from the two halves of the frames, which share nothing but the pixel.
    halves = []
    for start in (0, 1):
        part = _slope(dark[start::2], [f[start::2] for f in flats], hot)
        halves.append(np.divide(*part, out=np.full_like(above, gain), where=part[1] > 0)[~hot])
    spread = float(np.cov(np.stack(halves))[0, 1])
    share = min(max(spread / max(float(np.var(own[~hot])), 1e-300), 0.0), 1.0)
    return PoissonGaussianNoise(np.maximum(gain + share * (own - gain), 0.1 * gain), offset, deviation)


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


def _is_saturated(frames: Array, top: float) -> bool:
    """Whether many pixels are at the highest value of all: of few, it is no end of a range."""
    count = int((frames >= top).sum())
    return count > max(_AT_TOP, _SATURATED * frames.size)


def _is_far(values: Array) -> NDArray[np.bool_]:
    """Which are far above the others."""
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    return values - centre > _HOT * max(float(spread), 1e-12)
