"""Bounds on the error of estimating a mixture from samples of mixed noise; exchange rates.

"How much is a noisy image worth?" (arXiv 2411.02780), section 4: k atoms in a ball of R^d, noise sigma_i >= 1
in units of the ball's radius, error in the Wasserstein distance W1, probability 1 - delta. The bounds depend
on the samples through two sums, the effective sample sizes:

    S4 = sum_i sigma_i^-4          for estimating the subspace of the atoms
    SL = sum_i sigma_i^-(4k-2)     for separating the atoms within it

The theorems hold up to constants. The constants are arguments, 1 by default.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Samples in groups: `counts[g]` samples of noise `sigmas[g]`, the standard deviation per coordinate.

    Raises:
        ValueError: lengths that differ, a count below 0, no samples at all, or noise that is not above 0.
    """

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
            raise ValueError("counts (0 or more, one above 0) and sigmas (above 0) must have the same length")

    @property
    def n(self) -> float:
        """The number of samples."""
        return sum(self.counts)

    def power_sum(self, power: float) -> float:
        """`sum_i sigma_i^-power`."""
        return float(sum(n * s**-power for n, s in zip(self.counts, self.sigmas, strict=True)))

    @property
    def subspace(self) -> float:
        """S4: the effective number of samples of noise 1 for estimating the subspace."""
        return self.power_sum(4)

    def separation(self, k: int) -> float:
        """SL: the effective number of samples of noise 1 for separating k atoms."""
        return self.power_sum(4 * k - 2)

    @classmethod
    def mixed(cls, n: float, p: float, sigma: float) -> "Samples":
        """`n` samples: a share `p` of noise 1, the rest of noise `sigma` (Corollary 4.3)."""
        return cls([n * p, n * (1 - p)], [1.0, sigma])


def upper_bound(
    samples: Samples,
    k: int,
    d: int,
    delta: float = math.exp(-1),
    c_subspace: float = 1.0,
    c_separation: float = 1.0,
) -> float:
    """Upper bound on W1 for k atoms in R^d, which holds with probability 1 - delta (Theorem 4.2).

    c_subspace k ((d + log 1/delta) / S4)^(1/4)
    + c_separation k^3 ((k log k + log 1/delta) / SL)^(1/(4k-2))
    """
    confidence = math.log(1 / delta)
    subspace = c_subspace * k * math.pow((d + confidence) / samples.subspace, 1 / 4)
    separation = (
        c_separation
        * k**3
        * math.pow((k * math.log(k) + confidence) / samples.separation(k), 1 / (4 * k - 2))
    )
    return subspace + separation


def lower_bound(
    samples: Samples,
    k: int,
    d: int,
    delta: float = math.exp(-1),
    c_subspace: float = 1.0,
    c_separation: float = 1.0,
) -> float:
    """Lower bound on W1 for k atoms in R^d (Theorem 4.4): the greater of two terms.

        c_subspace ((d + log 1/delta) / S4)^(1/4)  and  c_separation / k (SL / log 1/delta)^(-1/(4k-2))

    For d = 1 there is no subspace to estimate, and the bound is the second term.
    """
    confidence = math.log(1 / delta)
    separation = c_separation / k * math.pow(samples.separation(k) / confidence, -1 / (4 * k - 2))
    if d == 1:
        return separation
    return max(c_subspace * math.pow((d + confidence) / samples.subspace, 1 / 4), separation)


def exchange_rate(sigma: float, k: int, limit: str) -> float:
    """Worth of one sample of noise `sigma` in samples of noise 1: `sigma^-4` or `sigma^-(4k-2)`.

    Args:
        sigma: noise, in units of the radius of the ball of the atoms.
        k: number of atoms.
        limit: the term of the bounds that limits the error: "subspace" (`sigma^-4`) or "separation"
            (`sigma^-(4k-2)`).

    Raises:
        ValueError: another limit.
    """
    powers = {"subspace": 4, "separation": 4 * k - 2}
    if limit not in powers:
        raise ValueError(f"limit {limit!r}: must be one of {sorted(powers)}")
    return float(sigma ** -powers[limit])


def uniform_weights_factor(samples: Samples, power: int) -> float:
    """Error with equal weights over that with weights `~ sigma_i^-power`.

        (mean(sigma^power) S_power / n)^(1/power),   S_power = sum_i sigma_i^-power

    The variance of a weighted moment is `sum_i a_i^2 sigma_i^power`, and the error is this variance to the
    power 1/power. The power is 4 for the subspace, and 4k-2 for the separation.
    """
    mean = sum(n * s**power for n, s in zip(samples.counts, samples.sigmas, strict=True)) / samples.n
    return math.pow(mean * samples.power_sum(power) / samples.n, 1 / power)
