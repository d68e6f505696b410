"""Sufficient statistics of samples `x = eps u + sigma z`, drawn once for all eps and sigma.

On the line, moments of the samples depend only on the sums `H[c, l]` of the Hermite polynomials `He_l(z_i)`
over the samples of each atom c:

    gamma_{r, sigma}(eps u + sigma z) = sum_l C(r, l) (eps u)^(r-l) sigma^l He_l(z)

One draw is therefore used for all separations eps and noise levels sigma. These common random numbers make
ratios precise. In R^d, the second moment of n samples of pure noise has the Wishart distribution. It is drawn
exactly by the Bartlett decomposition, at a cost that does not grow with n.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noiseworth.theory.moments import denoised_moments, hermite_moments, moment_noise
from noiseworth.theory.wasserstein import w1_on_line

Array = NDArray[np.float64]

# Up to this many samples are drawn one by one; beyond, their sums are drawn from the normal limit.
SAMPLED = 1_000_000
_CHUNK = 1 << 20


def hermite_sums(
    n: int,
    probabilities: Array,
    repeats: int,
    order: int,
    rng: np.random.Generator,
    *,
    limit: bool | None = None,
) -> Array:
    """Sums of the Hermite polynomials `He_l(z_i)`, l = 0 .. order, over the samples of each atom.

    Args:
        n: number of samples.
        probabilities: (atoms,) weights of the atoms.
        repeats: number of independent repetitions.
        order: the highest l.
        rng: random generator of the draws.
        limit: whether to draw the sums from their normal limit in place of single samples; by default beyond
            SAMPLED. The limit has the exact means and covariances: the polynomials are orthogonal, with
            variance l!. In both cases the number of samples of each atom is drawn exactly.

    Returns:
        (repeats, atoms, order + 1); the sums for l = 0 are the numbers of samples.
    """
    counts = rng.multinomial(n, probabilities, size=repeats)
    if n > SAMPLED if limit is None else limit:
        deviation = np.sqrt([float(math.factorial(r)) for r in range(order + 1)])
        sums = np.sqrt(counts)[..., None] * deviation * rng.standard_normal((*counts.shape, order + 1))
        sums[..., 0] = counts
        return np.asarray(sums)
    sums = np.zeros((*counts.shape, order + 1))
    for index in np.ndindex(*counts.shape):
        count = int(counts[index])
        for start in range(0, count, _CHUNK):
            z = np.asarray(rng.standard_normal(min(_CHUNK, count - start)))
            sums[index] += hermite_moments(z, 1.0, order).sum(axis=1)
    return sums


def moment_sums(sums: Array, atoms: Array, sigma: float) -> Array:
    """`sum_i gamma_{r, sigma}(u_i + sigma z_i)`, r = 0 .. order, over all samples.

    Args:
        sums: (repeats, atoms, order + 1), of `hermite_sums`.
        atoms: (..., atoms) positions of the atoms.
        sigma: noise of the samples.

    Returns:
        (repeats, ..., order + 1).
    """
    order = sums.shape[-1] - 1
    total = np.zeros((len(sums), *atoms.shape[:-1], order + 1))
    for r in range(order + 1):
        for level in range(r + 1):
            factor = math.comb(r, level) * sigma**level * atoms ** (r - level)  # (..., atoms)
            total[..., r] += np.tensordot(sums[:, :, level], factor, axes=(1, -1))
    return total


def line_errors(
    groups: list[tuple[Array, float]],
    weights: list[float],
    atoms: Array,
    probabilities: Array,
    radius: float,
    scale: float = 0.0,
) -> Array:
    """W1 error of the estimate on the line, for every repetition and every set of atoms.

    Args:
        groups: sums (repeats, atoms, 2k) and noise of each group of samples.
        weights: weight of one sample of each group; the weights of all samples sum to 1.
        atoms: (..., k) true atoms.
        probabilities: (k,) true weights.
        radius: radius of the ball that the estimator is given.
        scale: scale of the mixing distribution; noise below it counts as this much (`floor` of `estimate`).

    Returns:
        (repeats, ...).
    """
    order = groups[0][0].shape[-1] - 1
    moments = sum(
        a * moment_sums(sums, atoms, sigma) for (sums, sigma), a in zip(groups, weights, strict=True)
    )
    sizes = [float(sums[0, :, 0].sum()) for sums, _ in groups]
    noise = group_noise(sizes, [max(sigma, scale) for _, sigma in groups], weights, order)
    centres, mass = denoised_moments(np.asarray(moments), noise, radius)
    return w1_on_line(centres, mass, atoms, probabilities)


def group_noise(
    sizes: Sequence[float], sigmas: Sequence[float], weights: Sequence[float], order: int
) -> Array:
    """`moment_noise` of groups of samples with the same noise and weight, (order + 1,)."""
    squares = [
        moment_noise(np.array([s]), np.array([a]), order) ** 2 * n
        for n, s, a in zip(sizes, sigmas, weights, strict=True)
    ]
    return np.asarray(np.sqrt(np.sum(squares, axis=0)))


def group_weights(sizes: Sequence[float], sigmas: Sequence[float], power: float) -> list[float]:
    """Weights `~ sigma^-power` of one sample of each group; the weights of all samples sum to 1."""
    raw = [s**-power for s in sigmas]
    total = sum(n * a for n, a in zip(sizes, raw, strict=True))
    return [a / total for a in raw]


class SecondMoment:
    """The second moment of n samples `eps u_i e_1 + sigma z_i` in R^d, for every eps.

    Each u_i is 1 or -1 with probability 1/2. Let c be the component of the noise along (u_1 .. u_n), and h
    the component along the part of (1 .. 1) that is orthogonal to it. Then `sum_i z_i z_i^T - c c^T - h h^T`
    has the Wishart distribution with n - 2 degrees of freedom, independent of c and h.

    Raises:
        ValueError: fewer than d + 2 samples.
    """

    def __init__(self, n: int, d: int, sigma: float, rng: np.random.Generator) -> None:
        if n < d + 2:
            raise ValueError(
                f"the Bartlett decomposition needs at least {d + 2} samples in {d} dimensions, not {n}"
            )
        self.n, self.d, self.sigma = n, d, sigma
        root = np.tril(rng.standard_normal((d, d)), -1)
        root[np.arange(d), np.arange(d)] = np.sqrt(rng.chisquare(n - 2 - np.arange(d)))
        self.along, across = rng.standard_normal((2, d))
        self.balance = (2 * rng.binomial(n, 0.5) - n) / n  # mean of u
        self.noise_mean = (self.balance * self.along + math.sqrt(1 - self.balance**2) * across) / math.sqrt(n)
        self.wishart = root @ root.T + np.outer(self.along, self.along) + np.outer(across, across)

    def sums(self, eps: float) -> tuple[Array, Array]:
        """`sum_i x_i x_i^T`, (d, d), and `sum_i x_i`, (d,)."""
        second = self.sigma**2 * self.wishart
        cross = eps * self.sigma * math.sqrt(self.n) * self.along
        second[0] += cross
        second[:, 0] += cross
        second[0, 0] += self.n * eps**2
        first = self.n * self.sigma * self.noise_mean
        first[0] += self.n * eps * self.balance
        return second, first
