"""The competitors of the moments: maximum likelihood by EM, and nonparametric maximum likelihood on the line.

Both maximise `sum_i log sum_j w_j N(x_i; mu_j, sigma_i^2 I)`. Likelihood weighs samples of mixed noise by itself.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.theory.estimator import AtomicLaw
from noiseworth.theory.subspace import chunks

Array = NDArray[np.float64]
Floats = NDArray[np.floating]  # samples, of any floating dtype


@dataclass(frozen=True)
class LikelihoodFit:
    """`law`; the mean log-likelihood of a sample, less a term without D; how many iterations it took, and whether it converged."""

    law: AtomicLaw
    log_likelihood: float
    iterations: int
    converged: bool


def fit_em(
    x: Floats, sigma: Array, k: int, *, starts: int = 5, tolerance: float = 1e-6, most_iterations: int = 1000, seed: int = 0
) -> LikelihoodFit:
    """Expectation-maximisation for k atoms under noise of known, mixed variance (Dempster, Laird and Rubin, 1977).

    Args:
        x: (n, d) samples.
        sigma: (n,) their noise, positive.
        k: number of atoms.
        starts: runs; the first from the centres of k-means, the others from random samples spread as in k-means++; the best likelihood
            wins.
        tolerance: gain in mean log-likelihood from one iteration to the next at which to stop.
        most_iterations: of each run.
        seed: of the starts.

    Raises:
        UserError: a sample without noise, whose likelihood has no bound.
    """
    _need_noise(sigma)
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    fits = []
    for start in range(starts):
        atoms = _spread(x, k, rng)
        if start == 0:
            with warnings.catch_warnings(action="ignore"):  # an empty cluster keeps its centre, which is as good a start as any
                atoms = kmeans2(np.asarray(x, dtype=np.float64), atoms, minit="matrix", iter=20)[0]
        law, iterations = AtomicLaw(atoms, np.full(k, 1 / k)), 0
        following, likelihood = _em_step(x, sigma, law)
        gain = np.inf
        while gain > tolerance and iterations < most_iterations:
            law, previous, iterations = following, likelihood, iterations + 1
            following, likelihood = _em_step(x, sigma, law)
            gain = likelihood - previous
        fits.append(LikelihoodFit(law, likelihood, iterations, gain <= tolerance))
    return max(fits, key=lambda fit: fit.log_likelihood)


def _need_noise(sigma: Array) -> None:
    if not (sigma > 0).all():
        index = int(np.flatnonzero(~(sigma > 0))[0])
        raise UserError(f"sigma[{index}] is {sigma[index]:g}: likelihood needs noise above 0; `estimate` takes samples without")


def _spread(x: Floats, k: int, rng: np.random.Generator) -> Array:
    atoms = [x[rng.integers(len(x))]]
    for _ in range(k - 1):
        distance = np.min([((x - a) ** 2).sum(axis=1) for a in atoms], axis=0)
        total = distance.sum()
        atoms.append(x[rng.choice(len(x), p=distance / total if total > 0 else None)])  # all samples may be one
    return np.array(atoms, dtype=np.float64)


def _em_step(x: Floats, sigma: Array, law: AtomicLaw) -> tuple[AtomicLaw, float]:
    """One iteration, and the mean log-likelihood of the law that went in."""
    mass, pull, weight, total = np.zeros(len(law.weights)), np.zeros_like(law.atoms), np.zeros(len(law.weights)), 0.0
    for part in chunks(x):
        share, likelihood = _posterior(x[part], sigma[part], law)
        total += float(likelihood.sum())
        precise = share / sigma[part, None] ** 2
        mass += share.sum(axis=0)
        pull += precise.T @ x[part]
        weight += precise.sum(axis=0)
    atoms = np.where(weight[:, None] > 0, pull / np.maximum(weight, 1e-300)[:, None], law.atoms)
    return AtomicLaw(atoms, mass / len(x)), total / len(x)


def _posterior(x: Floats, sigma: Array, law: AtomicLaw) -> tuple[Array, Array]:
    """The atoms' probabilities given each sample, (n, k), and each sample's log-likelihood, (n,), without `|x_i|^2 / 2 sigma_i^2`
    and the normalisation, which do not depend on D."""
    score = (x @ law.atoms.T - (law.atoms**2).sum(axis=1) / 2) / sigma[:, None] ** 2
    with np.errstate(divide="ignore"):
        score = score + np.log(law.weights)
    peak = score.max(axis=1, keepdims=True)
    share = np.exp(score - peak)
    total = share.sum(axis=1, keepdims=True)
    return share / total, (peak + np.log(total))[:, 0]


def fit_npmle(
    x: Array, sigma: Array, radius: float, *, grid: int = 200, tolerance: float = 1e-5, most_iterations: int = 100
) -> LikelihoodFit:
    """Nonparametric maximum likelihood on the line: the weights of a grid of atoms on [-radius, radius] (Kiefer and Wolfowitz, 1956).

    By the constrained Newton method (Wang, "On fast computation of the non-parametric maximum likelihood estimate of a mixing
    distribution", 2007). Stops when the mean log-likelihood is within `tolerance` of its maximum over the grid, by the duality gap
    `max_j mean_i L_ij / f_i - 1` (Lindsay, 1983).

    Args:
        x: (n,) samples.
        sigma: (n,) their noise, positive.
        radius: the atoms lie on [-radius, radius].
        grid: number of atoms.
        tolerance: see above.
        most_iterations: at most.

    Raises:
        UserError: a sample without noise, whose likelihood has no bound.
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
        # Nearest to |ratio w - 2| with w >= 0 and sum 1: the quadratic approximation of the log-likelihood at the present weights.
        q, r = np.linalg.qr(ratio)
        heavy = 100.0 * np.sqrt(len(x))
        wanted, _ = nnls(np.vstack([r, np.full(grid, heavy)]), np.append(2 * q.sum(axis=0), heavy), maxiter=100 * grid)
        step = wanted / wanted.sum() - weights
        shares = 0.5 ** np.arange(30)
        rising = ((share, v) for share in shares if (v := float(np.log(likelihood @ (weights + share * step)).mean())) > value)
        share, value = next(rising, (0.0, value))
        if share == 0:  # as high as rounding allows
            break
        weights = np.maximum(weights + share * step, 0)
        weights = weights / weights.sum()
    return LikelihoodFit(AtomicLaw(atoms[:, None], weights), value + float(peak.mean()), iterations, gap <= tolerance)
