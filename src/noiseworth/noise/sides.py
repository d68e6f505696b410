"""Two kinds of images, clean and noisy, told apart by how much noise each seems to have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

_LEAST = 0.02  # share of the images, that a side has at least
# Distance of the sides, over the sum of their spreads, from which they are two: a single bell, cut in the middle, has 1.2,
# whatever its width; an even distribution 1.35.
_PARTED = 1.6
_BINS = 512

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sides:
    """The two sides.

    Attributes:
        is_low: (N,) whether an image is on the lower side.
        confidence: (N,) the probability of the side that it was put on.
        distance: of the sides' medians over the sum of their spreads.
    """

    is_low: NDArray[np.bool_]
    confidence: Array
    distance: float

    @property
    def are_two(self) -> bool:
        """Whether there are two sides at all."""
        return self.distance > _PARTED


def part(levels: Array) -> Sides:
    """Part images (N,) by the logarithm of their levels: first where the sides are most alike within (Otsu, IEEE Trans. Syst. Man
    Cybern. 9, 1979), then each to the side whose normal distribution makes it likelier, since sides differ in width."""
    log = np.log(np.maximum(levels, np.max(levels) * 1e-6))
    is_low = log < _threshold(log)
    odds, distance = _odds(log, is_low)
    is_low = odds > 0
    odds = np.abs(odds)
    return Sides(is_low, 1 / (1 + np.exp(-np.minimum(odds, 50))), distance)


def _odds(log: Array, is_low: NDArray[np.bool_]) -> tuple[Array, float]:
    """Logarithm of the odds of the lower side (N,), and the distance of the two."""
    fits = []
    for side in (log[is_low], log[~is_low]):
        centre = float(np.median(side))
        fits.append((centre, max(1.4826 * float(np.median(np.abs(side - centre))), 1e-3)))
    (low, low_spread), (high, high_spread) = fits
    share = np.clip(is_low.mean(), _LEAST, 1 - _LEAST)
    odds = (
        np.log(share / (1 - share)) + norm.logpdf(log, low, low_spread) - norm.logpdf(log, high, high_spread)
    )
    # The wider distribution is the likelier one on the far side of the narrower, too.
    odds = np.where(log <= low, np.abs(odds), np.where(log >= high, -np.abs(odds), odds))
    return odds, (high - low) / (low_spread + high_spread)


def _threshold(log: Array) -> float:
    values = np.sort(log)
    n = len(values)
    first = max(int(_LEAST * n), 1)
    count = np.arange(1, n)
    total = values.cumsum()[:-1]
    mean_low, mean_high = total / count, (values.sum() - total) / (n - count)
    between = count * (n - count) * (mean_high - mean_low) ** 2
    at = first + int(np.argmax(between[first - 1 : n - first])) - 1
    return float((values[at] + values[at + 1]) / 2)
