"""How the variance of a camera's noise grows with the signal, from ordinary pictures: a straight line, without dark frames.

From several pictures of one scene: changes from one to the next are noise. From single pictures: a filter that planes pass
as 0 (Immerkaer, "Fast noise variance estimation", Comput. Vis. Image Underst. 64, 1996), in the patches that seem flat to
other filters, which noise reaches nearly independently; a low quantile of their variances, as what texture is left only adds.

The line is `variance = gain * raw + rest`. It says all that training needs (`stabilise.py`); the offset and the read
noise, which only dark frames tell apart, are in the rest together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from noiseworth.errors import UserError
from noiseworth.noise.camera import GROUPS, Measured, measured_without
from noiseworth.noise.sensors import PoissonGaussianNoise

Array = NDArray[np.float64]

_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6.0
# What of a picture's detail they see, noise adds to nearly independently of what the kernel above sees.
_SMOOTH, _SLOPE, _BEND = np.array([1.0, 2, 1]), np.array([-1.0, 0, 1]), np.array([1.0, -2, 1])
_OTHERS = [np.outer(a, b) for one in (_SLOPE, _BEND) for a, b in ((_SMOOTH, one), (one, _SMOOTH))]
_SIDE = 6  # of a patch of the filter's output
_FLATTEST = 0.05  # share of the patches of a brightness that seem flattest, or so many that there are enough
_ENOUGH = 40  # patches of a brightness
_QUANTILE = 0.25  # of the patches' variances
_BINS = 12  # of brightness
_FEWEST = 20  # patches or places in a bin
_CURVED = 0.15  # relative departure of the standard deviation from the line, beyond which it is none
_WIDEST = 2.0  # either way, the factor to within which the gain must be known


@dataclass(frozen=True)
class Line:
    """A camera's noise without its offset.

    Attributes:
        gain: raw units for each electron.
        model: the noise model; its offset and read noise are such that the variance is right, and not each for itself.
        signals: (3,) raw values: dark, middle and bright ones of the pictures.
        sigma: the noise at each.
        curved: the median relative departure of measured deviations from the line.
    """

    gain: Measured
    model: PoissonGaussianNoise
    signals: Array
    sigma: tuple[Measured, Measured, Measured]
    curved: float


def measure_scenes(stacks: Sequence[Array]) -> Line:
    """From scenes that were taken several times.

    Args:
        stacks: for each scene, (N, H, W) raw pictures of it, two or more, in which nothing moves.

    Raises:
        UserError: a scene was taken once, the pictures are saturated or too alike in brightness, or noise does not follow a line.
    """
    rows = []
    for number, frames in enumerate(stacks):
        if frames.ndim != 3 or len(frames) < 2:
            raise UserError(
                f"scene {number + 1}: was taken once; two pictures or more of the same scene are needed"
            )
        light = frames.mean((1, 2))
        steady = frames * (light.mean() / light)[:, None, None] if (light > 0).all() else frames
        mean, variance = steady.mean(0), steady.var(0, ddof=1)
        # A pixel is put into a bin by its neighbours: its own mean and variance go together.
        around = (9 * uniform_filter(mean, 3) - mean) / 8
        moves = uniform_filter(variance, 5) > 0
        ends = _saturated(frames)
        inside = moves & ((frames > ends[0]) & (frames < ends[1])).all(0)
        y, x = np.nonzero(inside)
        place = (y * 4 // mean.shape[0]) * 4 + x * 4 // mean.shape[1]
        rows.append(np.stack([around[inside], mean[inside], variance[inside], place]))
    by, mean, variance, place = np.concatenate(rows, axis=1)
    return _fit(by, mean, variance, place.astype(np.int64), lambda v: float(v.mean()), "scenes")


def measure_singles(images: Array) -> Line:
    """From single pictures (N, H, W), raw values, of ordinary scenes with flat parts of several brightnesses.

    Raises:
        UserError: there are too few patches, they are too alike in brightness, or noise does not follow a line.
    """
    if images.ndim != 3 or min(images.shape[1:]) < 4 * _SIDE:
        raise UserError(f"pictures of at least {4 * _SIDE}x{4 * _SIDE} pixels are needed, of one channel")
    ends = _saturated(images)
    rows = [_patches(image, ends) for image in images]
    group = groups_of([len(r) for r in rows])
    by, texture, variance = np.concatenate(rows).T

    def fit(share: float) -> Line:
        kept, factor = _flattest(by, texture, share), _low_quantile(share)

        def low(variances: Array) -> float:
            return float(np.quantile(variances, _QUANTILE)) / factor

        return _fit(by[kept], by[kept], variance[kept], group[kept], low, "pictures")

    share = float(np.clip(_ENOUGH * _BINS / max(len(by), 1), _FLATTEST, 0.3))
    line, other = fit(share), fit(min(3 * share, 1.0))
    # What less flat patches say differs by the texture in them; as much may be left in the flattest.
    gain = _wider(line.gain, other.gain)
    dark, middle, bright = (_wider(*pair) for pair in zip(line.sigma, other.sigma, strict=True))
    return replace(line, gain=gain, sigma=(dark, middle, bright))


def groups_of(counts: Sequence[int]) -> NDArray[np.int64]:
    """Which group each of the patches of pictures belongs to: one for each picture or, of few pictures, by place."""
    picture = np.repeat(np.arange(len(counts)), counts)
    return (picture if len(counts) >= GROUPS else np.arange(len(picture))) % GROUPS


def _wider(number: Measured, other: Measured) -> Measured:
    """With the interval that the departure of another measurement of it adds to."""
    off = number.value - other.value
    low, high = (math.hypot(number.value - number.low, off), math.hypot(number.high - number.value, off))
    return Measured(number.value, number.value - low, number.value + high)


def _saturated(images: Array) -> tuple[float, float]:
    """The lowest and the highest value where many pixels have them; else infinities."""
    low, high = float(images.min()), float(images.max())
    few = max(4, 0.001 * images.size)
    return (
        low if (images == low).sum() > few else -math.inf,
        high if (images == high).sum() > few else math.inf,
    )


def _patches(image: Array, ends: tuple[float, float]) -> Array:
    """(K, 3): brightness, texture at a coarser scale, and variance of the filter's output, of each patch that is whole."""
    from scipy.signal import convolve2d

    response = convolve2d(image, _KERNEL, mode="valid")
    texture = sum(convolve2d(image, other, mode="valid") ** 2 for other in _OTHERS)
    inside = ((image > ends[0]) & (image < ends[1]))[1:-1, 1:-1]
    height, width = (n // _SIDE * _SIDE for n in response.shape)

    def blocks(a: Array) -> Array:
        return (
            a[:height, :width]
            .reshape(height // _SIDE, _SIDE, width // _SIDE, _SIDE)
            .transpose(0, 2, 1, 3)
            .reshape(-1, _SIDE**2)
        )

    whole = blocks(inside.astype(np.float64)).min(1) > 0
    columns = (
        blocks(image[1:-1, 1:-1]).mean(1),
        blocks(texture).mean(1),
        np.square(blocks(response)).mean(1),
    )
    kept: Array = np.stack(columns, 1)[whole]
    return kept


def _flattest(brightness: Array, texture: Array, share: float) -> NDArray[np.int64]:
    """The patches with the least texture among those of like brightness."""
    order = np.argsort(brightness, kind="stable")
    kept = [
        b[np.argsort(texture[b], kind="stable")[: max(int(len(b) * share), 1)]]
        for b in np.array_split(order, _BINS)
    ]
    return np.concatenate(kept)


def _low_quantile(share: float) -> float:
    """The quantile of the chosen patches' variances where there is white noise of variance 1 alone."""
    rng = np.random.default_rng(0)
    rows = [
        _patches(rng.standard_normal((26 * _SIDE + 2, 26 * _SIDE + 2)), (-math.inf, math.inf))
        for _ in range(40)
    ]
    by, texture, variance = np.concatenate(rows).T
    return float(np.quantile(variance[_flattest(by, texture, share)], _QUANTILE))


def _fit(
    by: Array,
    mean: Array,
    variance: Array,
    group: NDArray[np.int64],
    middle: Callable[[Array], float],
    what: str,
) -> Line:
    """The line through the variances of bins of like brightness, with intervals by leaving out groups."""
    if len(by) < _FEWEST * _BINS // 2:
        raise UserError(
            f"{what}: too few flat, unsaturated places to say what the noise is; take more {what}, or larger ones"
        )
    edges = np.quantile(by, np.linspace(0, 1, _BINS + 1)[1:-1])
    bins = np.searchsorted(edges, by)

    def points(rows: NDArray[np.bool_]) -> tuple[Array, Array]:
        each = [rows & (bins == b) for b in range(_BINS)]
        found = [(mean[own].mean(), middle(variance[own])) for own in each if own.sum() > 3]
        x, v = np.array(found).T
        return x, v

    def line(rows: NDArray[np.bool_]) -> Array:
        x, v = points(rows)
        weight = 1 / np.maximum(v, 1e-12 + 0.05 * v.mean())
        for _ in range(20):  # what texture is left only adds: bins above the line count less
            gain, rest = np.polyfit(x, v, 1, w=weight)
            level = np.maximum(gain * x + rest, 0.02 * v.mean())
            weight = 1 / level / (1 + np.clip(v / level - 1, 0, 1) / 0.05)
        return np.array([gain, rest])

    everything = np.ones(len(by), bool)
    signals = np.quantile(mean, [0.05, 0.5, 0.95])
    whole = line(everything)
    without = np.array([line(group != g) for g in np.unique(group)])
    if signals[2] - signals[0] <= 0:
        raise UserError(f"{what}: all are of one brightness; take some with dark and bright parts")
    gain = measured_without(whole[0], without[:, 0])
    if not 0 < gain.low <= gain.high <= _WIDEST**2 * gain.low:
        raise UserError(
            f"{what}: cannot say how noise grows with brightness (gain {gain.value:.3g}, between {gain.low:.3g} and {gain.high:.3g});"
            f" take more {what}, with darker and brighter parts, or dark frames and flats; if it does not grow, it is white:"
            " `noiseworth noise estimate`"
        )
    variances = [whole[0] * s + whole[1] for s in signals]
    if min(variances) <= 0:
        raise UserError(
            f"{what}: noise seems to vanish in the dark, as where values were cut off there; take raw files"
        )
    x, v = points(everything)
    curved = float(np.median(np.abs(np.sqrt(v / np.maximum(whole[0] * x + whole[1], 1e-12)) - 1)))
    if curved > _CURVED:
        raise UserError(
            f"{what}: noise does not grow in a straight line with brightness (off by {curved:.0%}), as after gamma or JPEG; take raw"
            " files"
        )
    sigma = [
        measured_without(math.sqrt(s), np.sqrt(np.maximum(without @ np.array([signal, 1.0]), 0)))
        for s, signal in zip(variances, signals, strict=True)
    ]
    gain_value, rest = float(whole[0]), float(whole[1])
    model = PoissonGaussianNoise(gain_value, max(-rest / gain_value, 0.0), math.sqrt(max(rest, 0.0)))
    return Line(gain, model, signals, (sigma[0], sigma[1], sigma[2]), curved)
