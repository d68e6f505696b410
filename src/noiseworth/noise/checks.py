"""Is the noise what training takes it for? White, Gaussian, independent of the signal, of mean zero, whole, and of the declared level.

All is read from what holds least picture: the last principal components of patches. What clean images of the same
kind have there is taken off: of independent sums, variances and fourth cumulants add. Each check is a number with
a standard error over images, and fires where the number is larger than what matters and cannot be chance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.noise.components import Components
from noiseworth.noise.moments import Moments, moments_of

Array = NDArray[np.float64]

_HIDDEN = 0.5  # of the noise's variance: components with more picture than that say nothing of noise
_QUIET = 0.2  # likewise, for fourth moments, in which pictures weigh more
_FEWEST = 50  # images of a kind
_SURE = 3.0  # standard errors


@dataclass(frozen=True)
class Check:
    """One question on the noise.

    Attributes:
        name: what was asked, such as "white".
        effect: the number; 0 where all is well.
        error: its standard error.
        matters: the size from which it matters.
        words: the number in plain words.
        remedy: what to do if it fires.
    """

    name: str
    effect: float
    error: float
    matters: float
    words: str
    remedy: str

    @property
    def fires(self) -> bool:
        """Whether the noise is not what it should be: the effect matters, and is no chance."""
        return abs(self.effect) > self.matters and abs(self.effect) > _SURE * self.error

    @property
    def is_blind(self) -> bool:
        """Whether an effect that matters could be overlooked: there are too few images, or too much picture."""
        return not self.fires and _SURE * self.error > 2 * self.matters


def check_noise(
    components: Components, noisy: Tensor, sigma: Array, clean: Tensor, clipped: float
) -> list[Check]:
    """Check the noise of images (N, C, H, W) that are said to have noise `sigma` (N,) against clean ones of the same kind.

    Args:
        components: of clean images of the same kind that are not among `clean`.
        clipped: share of the noisy pixels at the ends of the range.

    Raises:
        ValueError: there are fewer than 50 images of either kind, or the picture hides the noise everywhere.
    """
    if min(len(noisy), len(clean)) < _FEWEST:
        raise ValueError(
            f"{len(noisy)} noisy and {len(clean)} clean images are too few; {_FEWEST} of each are needed"
        )
    last, quiet = without_picture(components, clean, sigma)
    mine, theirs = moments_of(components, noisy, last), moments_of(components, clean, last)
    s2 = sigma**2
    mixing = components.filters[:last].double().pow(4).flatten(1).sum(1).numpy()
    return [
        _level(mine, theirs, last, s2),
        _white(mine, theirs, last, s2),
        _rows(mine, theirs, s2, (noisy.shape[2], noisy.shape[3])),
        _gaussian(mine, theirs, quiet, s2, mixing[:quiet]),
        _additive(mine, theirs, s2),
        _unbiased(mine, theirs, s2),
        _whole(clipped, len(noisy)),
    ]


def without_picture(components: Components, clean: Tensor, sigma: Array) -> tuple[int, int]:
    """How many components, the first ones, hold less picture than noise, and how many hold so little that it does not matter.

    Raises:
        ValueError: there are fewer than two.
    """
    picture = moments_of(components, clean, 1).second.mean(0)
    typical = float(np.mean(sigma**2))
    is_open = picture < _HIDDEN * typical
    last = int(np.argmin(is_open)) if not is_open.all() else len(is_open)
    if last < 2:
        raise ValueError("the pictures hide the noise: its level is below their finest detail")
    return last, max(int((picture[:last] < _QUIET * typical).sum()), 2)


def _jackknife(
    statistic: Callable[[NDArray[np.int64], NDArray[np.int64]], float], noisy: int, clean: int
) -> tuple[float, float]:
    """A statistic of rows of noisy and of clean images, and its standard error, by leaving out one of 40 groups of either at a time."""
    all_noisy, all_clean = np.arange(noisy), np.arange(clean)
    whole = statistic(all_noisy, all_clean)
    variance = 0.0
    for count, which in ((noisy, 0), (clean, 1)):
        groups = min(40, count)
        values = []
        for group in range(groups):
            kept = np.flatnonzero(np.arange(count) % groups != group)
            values.append(statistic(kept, all_clean) if which == 0 else statistic(all_noisy, kept))
        variance += (groups - 1) * float(np.var(values))
    return whole, math.sqrt(variance)


def _level(mine: Moments, theirs: Moments, last: int, s2: Array) -> Check:
    noisy, clean = mine.second[:, :last].mean(1), theirs.second[:, :last].mean(1)

    def log_ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        return 0.5 * math.log(max(float(noisy[a].mean() - clean[b].mean()), 1e-12) / float(s2[a].mean()))

    effect, error = _jackknife(log_ratio, len(noisy), len(clean))
    return Check(
        "the declared level", effect, error, 0.05,
        f"the noise is {math.exp(effect):.3f} times what is declared (to within {1.96 * error:.1%})",
        "measure it: noiseworth noise estimate DATA OUT --again",
    )  # fmt: skip


def _white(mine: Moments, theirs: Moments, last: int, s2: Array) -> Check:
    """The components that are nearest to pictures against the farthest: noise that is smooth has more in the former."""
    half = last // 2

    def log_ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        noise = mine.second[a].mean(0) - theirs.second[b].mean(0)
        fine, coarse = max(float(noise[:half].mean()), 1e-12), max(float(noise[half:last].mean()), 1e-12)
        return math.log(coarse / fine)

    effect, error = _jackknife(log_ratio, len(mine.second), len(theirs.second))
    kind = "smooth" if effect > 0 else "sharp"
    return Check(
        "white", effect, error, 0.1,
        f"coarse components have {math.exp(effect):.2f} times the noise of fine ones" + (f": it is {kind}" if abs(effect) > 0.1 else ""),
        "the pixels' noise goes together (a filter, demosaicking, resizing, JPEG): use images from before it, or say how (pack --noise)",
    )  # fmt: skip


def _rows(mine: Moments, theirs: Moments, s2: Array, size: tuple[int, int]) -> Check:
    """Differences of neighbouring rows' (columns') means: white noise has `2 s^2 / width` there."""
    effects = []
    for axis, count in ((0, size[1]), (1, size[0])):

        def extra(a: NDArray[np.int64], b: NDArray[np.int64], axis: int = axis, count: int = count) -> float:
            noise = float(mine.rows[a, axis].mean() - theirs.rows[b, axis].mean())
            return (noise / 2 - float(s2[a].mean()) / count) / float(s2[a].mean())

        effects.append(_jackknife(extra, len(mine.rows), len(theirs.rows)))
    number = int(np.argmax([effect / max(error, 1e-12) for effect, error in effects]))
    effect, error = effects[number]
    return Check(
        "free of stripes", effect, error, 0.05,
        f"{('rows', 'columns')[number]} have noise of their own: {max(effect, 0.0):.1%} of the variance",
        "take off each row's (column's) offset, from dark columns or a dark frame, before packing",
    )  # fmt: skip


def _gaussian(mine: Moments, theirs: Moments, quiet: int, s2: Array, mixing: Array) -> Check:
    """Excess kurtosis of a pixel's noise: that of a component is smaller, by the sum of the fourth powers of its weights."""

    def kurtosis(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        clean2, clean4 = theirs.second[b, :quiet].mean(0), theirs.fourth[b, :quiet].mean(0)
        second, fourth = mine.second[a, :quiet].mean(0), mine.fourth[a, :quiet].mean(0)
        # Given the level of an image the noise's fourth moment is (3 + k) s^4; levels differ, pictures are independent of them.
        noise2 = second - clean2
        noise4 = fourth - clean4 - 6 * clean2 * noise2
        spread = float(np.mean(s2[a] ** 2) / np.mean(s2[a]) ** 2)
        return float(((noise4 / (spread * noise2**2) - 3) / mixing).mean())

    effect, error = _jackknife(kurtosis, len(mine.second), len(theirs.second))
    tails = "more" if effect > 0 else "less"
    return Check(
        "Gaussian", effect, error, 0.5,
        f"excess kurtosis {effect:.2f}" + (f": outliers are {tails} frequent than in Gaussian noise" if abs(effect) > 0.5 else ""),
        "look for hot pixels, cosmic rays or a non-linear step (gamma, compression), and take them out before packing",
    )  # fmt: skip


def _additive(mine: Moments, theirs: Moments, s2: Array) -> Check:
    """Noise where patches are bright against where they are dark."""

    def log_ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        noise = mine.by_brightness[a].mean(0) - theirs.by_brightness[b].mean(0)
        return 0.5 * math.log(max(float(noise[1]), 1e-12) / max(float(noise[0]), 1e-12))

    effect, error = _jackknife(log_ratio, len(mine.second), len(theirs.second))
    return Check(
        "independent of the signal", effect, error, 0.1,
        f"bright parts have {math.exp(effect):.2f} times the noise of dark ones",
        "shot noise: measure the camera (noiseworth noise calibrate), pack with --noise, then noiseworth noise stabilise",
    )  # fmt: skip


def _unbiased(mine: Moments, theirs: Moments, s2: Array) -> Check:
    def shift(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        return float(mine.mean[a].mean() - theirs.mean[b].mean()) / math.sqrt(float(s2[a].mean()))

    effect, error = _jackknife(shift, len(mine.mean), len(theirs.mean))
    return Check(
        "of mean zero", effect, error, 0.1,
        f"noisy images are {abs(effect):.2f} sigma {'brighter' if effect > 0 else 'darker'} than clean ones (to within {1.96 * error:.2f})",
        "take off the dark level of the noisy images, or scale both kinds alike, before packing",
    )  # fmt: skip


def _whole(clipped: float, count: int) -> Check:
    return Check(
        "whole", clipped, 0.0, 0.002,
        f"{clipped:.1%} of the pixels lie at the ends of the range, where noise was cut off",
        "store noisy images in a type that holds negative and larger values (16 bits with an offset, or float)",
    )  # fmt: skip
