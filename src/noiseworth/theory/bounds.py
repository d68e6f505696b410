"""How fast a mixture can be learned from samples of mixed noise: bounds, effective sample sizes, exchange rates.

"How much is a noisy image worth?" (arXiv 2411.02780), section 4: k atoms in a ball of R^d, sigma_i >= 1 (in units of the ball's
radius), error in W1, probability 1 - delta. Two sums decide:

    S4 = sum_i sigma_i^-4          for finding the subspace
    SL = sum_i sigma_i^-(4k-2)     for telling the components apart

The theorems hold up to constants, which are arguments here, 1 unless said otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """`counts[g]` samples of noise `sigmas[g]`, for each group g."""

    counts: Sequence[float]
    sigmas: Sequence[float]

    def __post_init__(self) -> None:
        if (
            not self.counts
            or len(self.counts) != len(self.sigmas)
            or min(self.counts) < 0
            or min(self.sigmas) <= 0
            or sum(self.counts) <= 0
        ):
            raise ValueError("need as many counts (0 or more, some above 0) as sigmas (above 0)")

    @property
    def n(self) -> float:
        """The number of samples."""
        return sum(self.counts)

    def power_sum(self, power: float) -> float:
        """`sum_i sigma_i^-power`."""
        return float(sum(n * s**-power for n, s in zip(self.counts, self.sigmas, strict=True)))

    @property
    def subspace(self) -> float:
        """S4: the effective number of samples of noise 1 for finding the subspace."""
        return self.power_sum(4)

    def separation(self, k: int) -> float:
        """SL: the effective number of samples of noise 1 for telling k components apart."""
        return self.power_sum(4 * k - 2)

    @classmethod
    def mixed(cls, n: float, p: float, sigma: float) -> "Samples":
        """A share p at noise 1, the rest at `sigma` (Corollary 4.3)."""
        return cls([n * p, n * (1 - p)], [1.0, sigma])


def upper_bound(
    samples: Samples, k: int, d: int, delta: float = math.exp(-1), c_subspace: float = 1.0, c_separation: float = 1.0
) -> float:
    """Theorem 4.2: `c_subspace k ((d + log 1/delta) / S4)^(1/4) + c_separation k^3 ((k log k + log 1/delta) / SL)^(1/(4k-2))`."""
    confidence = math.log(1 / delta)
    subspace = c_subspace * k * math.pow((d + confidence) / samples.subspace, 1 / 4)
    separation = c_separation * k**3 * math.pow((k * math.log(k) + confidence) / samples.separation(k), 1 / (4 * k - 2))
    return subspace + separation


def lower_bound(
    samples: Samples, k: int, d: int, delta: float = math.exp(-1), c_subspace: float = 1.0, c_separation: float = 1.0
) -> float:
    """Theorem 4.4: the greater of `c_subspace ((d + log 1/delta) / S4)^(1/4)` and `c_separation / k (SL / log 1/delta)^(-1/(4k-2))`.

    On the line there is no subspace to find, and the second stands alone.
    """
    confidence = math.log(1 / delta)
    separation = c_separation / k * math.pow(samples.separation(k) / confidence, -1 / (4 * k - 2))
    if d == 1:
        return separation
    return max(c_subspace * math.pow((d + confidence) / samples.subspace, 1 / 4), separation)


def exchange_rate(sigma: float, k: int, limit: str) -> float:
    """What one sample of noise `sigma` is worth in samples of noise 1, where the `limit` is "subspace" or "separation".

    `sigma^-4`, or `sigma^-(4k-2)`: exponentially worse in k.

    Raises:
        ValueError: another limit.
    """
    powers = {"subspace": 4, "separation": 4 * k - 2}
    if limit not in powers:
        raise ValueError(f"limit {limit!r}: must be one of {sorted(powers)}")
    return float(sigma ** -powers[limit])


def uniform_weights_factor(samples: Samples, power: int) -> float:
    """By how much equal weights make the error greater than weights `~ sigma_i^-power`: `(mean(sigma^power) S_power / n)^(1/power)`.

    The variance of a mean with weights a_i is `sum_i a_i^2 sigma_i^power`; the error is its power 1/power (power 4 for the subspace,
    4k-2 for the separation).
    """
    mean = sum(n * s**power for n, s in zip(samples.counts, samples.sigmas, strict=True)) / samples.n
    return math.pow(mean * samples.power_sum(power) / samples.n, 1 / power)
