"""Alternatives to the method of moments: maximum likelihood by EM, and nonparametric on the line.

Both maximise `sum_i log sum_j w_j N(x_i; mu_j, sigma_i^2 I)`. The likelihood weights samples by itself.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.theory.estimator import AtomicDistribution
from noiseworth.theory.subspace import chunks

Array = NDArray[np.float64]
Floats = NDArray[np.floating]  # samples, of any floating dtype


@dataclass(frozen=True)
class LikelihoodFit:
    """A maximum likelihood estimate.

    Attributes:
        distribution: the estimate of the mixing distribution D.
        log_likelihood: mean over the samples, in nats, without the terms that do not depend on D.
        iterations: number of iterations.
        converged: whether the tolerance was reached.
    """

    distribution: AtomicDistribution
    log_likelihood: float
    iterations: int
    converged: bool


def fit_em(
    x: Floats,
    sigma: Array,
    k: int,
    *,
    starts: int = 5,
    tolerance: float = 1e-6,
    most_iterations: int = 1000,
    seed: int = 0,
) -> LikelihoodFit:
    """Expectation-maximisation (EM) for k atoms, with noise of known, mixed variance.

    (Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977.)

    Args:
        x: (n, d) samples.
        sigma: (n,) their noise, positive.
        k: number of atoms.
        starts: number of starts; the first from the centres of k-means, the others from random samples,
            spread as in k-means++. The fit with the highest likelihood is returned.
        tolerance: stop when the mean log-likelihood grows by no more than this in one iteration.
        most_iterations: greatest number of iterations of each start.
        seed: seed of the starts.

    Raises:
        UserError: a sample without noise; its likelihood is unbounded.
    """
    _need_noise(sigma)
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    fits = []
    for start in range(starts):
        atoms = _spread(x, k, rng)
        if start == 0:
            # The warning is of an empty cluster. It keeps its centre, which is a valid start.
            with warnings.catch_warnings(action="ignore"):
                atoms = kmeans2(np.asarray(x, dtype=np.float64), atoms, minit="matrix", iter=20)[0]
        distribution = AtomicDistribution(atoms, np.full(k, 1 / k))
        following, likelihood = _em_step(x, sigma, distribution)
        iterations = 0
        gain = np.inf
        while gain > tolerance and iterations < most_iterations:
            distribution = following
            previous = likelihood
            iterations += 1
            following, likelihood = _em_step(x, sigma, distribution)
            gain = likelihood - previous
        fits.append(LikelihoodFit(distribution, likelihood, iterations, gain <= tolerance))
    return max(fits, key=lambda fit: fit.log_likelihood)


def _need_noise(sigma: Array) -> None:
    if not (sigma > 0).all():
        index = int(np.flatnonzero(~(sigma > 0))[0])
        raise UserError(
            f"sigma[{index}] is {sigma[index]:g}: the likelihood needs noise above 0; "
            "use `estimate` for samples without noise"
        )


def _spread(x: Floats, k: int, rng: np.random.Generator) -> Array:
    """k of the samples, (k, d), drawn as k-means++ draws its centres."""
    atoms = [x[rng.integers(len(x))]]
    for _ in range(k - 1):
        distance = np.min([((x - a) ** 2).sum(axis=1) for a in atoms], axis=0)
        total = distance.sum()
        probabilities = distance / total if total > 0 else None  # the total is 0 where all samples are equal
        atoms.append(x[rng.choice(len(x), p=probabilities)])
    return np.array(atoms, dtype=np.float64)


def _em_step(x: Floats, sigma: Array, distribution: AtomicDistribution) -> tuple[AtomicDistribution, float]:
    """The distribution after one iteration, and the mean log-likelihood of the given one."""
    mass = np.zeros(len(distribution.weights))
    weight = np.zeros(len(distribution.weights))
    weighted_sum = np.zeros_like(distribution.atoms)
    total = 0.0
    for part in chunks(x):
        share, likelihood = _posterior(x[part], sigma[part], distribution)
        total += float(likelihood.sum())
        precision = share / sigma[part, None] ** 2
        mass += share.sum(axis=0)
        weighted_sum += precision.T @ x[part]
        weight += precision.sum(axis=0)
    means = weighted_sum / np.maximum(weight, 1e-300)[:, None]
    atoms = np.where(weight[:, None] > 0, means, distribution.atoms)
    return AtomicDistribution(atoms, mass / len(x)), total / len(x)


def _posterior(x: Floats, sigma: Array, distribution: AtomicDistribution) -> tuple[Array, Array]:
    """Probability of each atom given each sample, (n, k), and the log-likelihood of each sample, (n,).

    The log-likelihood is without `|x_i|^2 / 2 sigma_i^2` and the normalisation, which do not depend on D.
    """
    atoms = distribution.atoms
    score = (x @ atoms.T - (atoms**2).sum(axis=1) / 2) / sigma[:, None] ** 2
    with np.errstate(divide="ignore"):
        score = score + np.log(distribution.weights)
    peak = score.max(axis=1, keepdims=True)
    share = np.exp(score - peak)
    total = share.sum(axis=1, keepdims=True)
    return share / total, (peak + np.log(total))[:, 0]


def fit_npmle(
    x: Array,
    sigma: Array,
    radius: float,
    *,
    grid: int = 200,
    tolerance: float = 1e-5,
    most_iterations: int = 100,
) -> LikelihoodFit:
    """Nonparametric maximum likelihood on the line (Kiefer and Wolfowitz, 1956).

    The estimate is the weights of a fixed grid of atoms on [-radius, radius], computed by the constrained
    Newton method (Wang, "On fast computation of the non-parametric maximum likelihood estimate of a mixing
    distribution", 2007). It stops when the mean log-likelihood is within `tolerance` of its maximum over the
    grid, by the duality gap `max_j mean_i L_ij / f_i - 1` (Lindsay, 1983).

    Args:
        x: (n,) samples.
        sigma: (n,) their noise, positive.
        radius: the atoms lie on [-radius, radius].
        grid: number of atoms of the grid.
        tolerance: of the mean log-likelihood, in nats.
        most_iterations: greatest number of iterations.

    Raises:
        UserError: a sample without noise; its likelihood is unbounded.
    """
    _need_noise(sigma)
    from scipy.optimize import nnls

    atoms = np.linspace(-radius, radius, grid)
    score = (x[:, None] * atoms - atoms**2 / 2) / sigma[:, None] ** 2
    peak = score.max(axis=1, keepdims=True)
    likelihood = np.exp(score - peak)
    weights = np.full(grid, 1 / grid)
    value, iterations = float(np.log(likelihood @ weights).mean()), 0
    while True:
        ratio = likelihood / (likelihood @ weights)[:, None]
        mean = ratio.mean(axis=0)
        gap = float(mean.max() - 1)
        if gap <= tolerance or iterations == most_iterations:
            break
        iterations += 1
        # The quadratic approximation of the log-likelihood at the present weights is |ratio w - 2|^2. It is
        # minimised over w >= 0 with sum 1; the last row of the system, with a large factor, fixes the sum.
        q, r = np.linalg.qr(ratio)
        heavy = 100.0 * np.sqrt(len(x))
        system = np.vstack([r, np.full(grid, heavy)])
        minimiser, _ = nnls(system, np.append(2 * q.sum(axis=0), heavy), maxiter=100 * grid)
        step = minimiser / minimiser.sum() - weights
        shares = 0.5 ** np.arange(30)
        rising = (
            (share, v)
            for share in shares
            if (v := float(np.log(likelihood @ (weights + share * step)).mean())) > value
        )
        share, value = next(rising, (0.0, value))
        if share == 0:  # no step raises the likelihood beyond rounding
            break
        weights = np.maximum(weights + share * step, 0)
        weights = weights / weights.sum()
    return LikelihoodFit(
        AtomicDistribution(atoms[:, None], weights), value + float(peak.mean()), iterations, gap <= tolerance
    )
