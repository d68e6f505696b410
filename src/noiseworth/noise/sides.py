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
    """Part images (N,) by the logarithm of their levels where the two sides are most alike within (Otsu, IEEE Trans. Syst. Man
    Cybern. 9, 1979)."""
    log = np.log(np.maximum(levels, np.max(levels) * 1e-6))
    threshold = _threshold(log)
    is_low = log < threshold
    fits = []
    for side in (log[is_low], log[~is_low]):
        centre = float(np.median(side))
        fits.append((centre, max(1.4826 * float(np.median(np.abs(side - centre))), 1e-3)))
    distance = (fits[1][0] - fits[0][0]) / (fits[0][1] + fits[1][1])
    share = np.clip(is_low.mean(), _LEAST, 1 - _LEAST)
    low, high = (np.log(w) + norm.logpdf(log, *fit) for w, fit in zip((share, 1 - share), fits, strict=True))
    odds = np.where(is_low, low - high, high - low)
    return Sides(is_low, 1 / (1 + np.exp(-np.clip(odds, -50, 50))), distance)


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
