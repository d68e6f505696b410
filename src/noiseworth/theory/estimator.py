"""Estimate a mixing distribution D of k atoms from samples with noise of mixed, known variance.

    x_i = u_i + sigma_i z_i,   u_i ~ D = sum_j w_j delta_{mu_j}

The procedure is that of "How much is a noisy image worth?" (arXiv 2411.02780, section 4), after Wu and Yang
(arXiv 1807.07237) on the line and Doss, Wu, Yang and Zhou (arXiv 2002.05818) in R^d:

1. Half of the samples give the affine subspace of the atoms. The other half are projected onto it.
2. Along each of a net of directions, a one-dimensional distribution is estimated from unbiased moments.
3. Candidates are products of the atoms along axes. The best candidate is the one whose projections differ
   least from the one-dimensional distributions.

We add a last step: steps 2 and 3 are done for several sets of axes, the atoms and weights of each best
candidate are fitted to the moments along all directions, and the best fit is kept.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.theory.moments import denoised_moments, inverse_power_weights, moment_noise, weighted_moments
from noiseworth.theory.subspace import chunks, find_subspace, weighted_mean
from noiseworth.theory.wasserstein import w1, w1_on_line

Array = NDArray[np.float64]
Floats = NDArray[np.floating]  # samples, of any floating dtype

MOST_ATOMS = 4
_NET = {2: 24, 3: 60}  # number of directions, over half a circle and half a sphere
# Of the estimated radius. One that is too small moves atoms: of 40 random laws it made 3 estimates over four times as
# wrong as the true radius did (tests/test_estimator.py). One that is somewhat too large costs nothing.
_ROOM = 1.5
_FRAMES = 6  # number of sets of axes; the atoms along the axes of a set make candidates


@dataclass(frozen=True)
class AtomicDistribution:
    """A distribution on k points: `atoms` (k, d), with `weights` (k,) that sum to 1."""

    atoms: Array
    weights: Array

    def w1(self, other: "AtomicDistribution") -> float:
        """The Wasserstein distance W1 to another distribution.

        Raises:
            ValueError: the dimensions differ.
            ImportError: d > 1 and POT, of the extra `theory`, is not installed.
        """
        return w1(self.atoms, self.weights, other.atoms, other.weights)


def estimate(
    x: Floats,
    sigma: Array,
    k: int,
    *,
    radius: float | None = None,
    floor: float | None = None,
    weighting: bool = True,
    buckets: int = 1,
    seed: int = 0,
) -> AtomicDistribution:
    """Estimate the mixing distribution D of k atoms.

    Args:
        x: (n, d) samples, or (n,) on the line; any floating dtype, also memory-mapped.
        sigma: (n,) standard deviation of each sample's noise per coordinate, 0 or more.
        k: number of atoms, 1 to 4.
        radius: the atoms lie within this distance of their mean. By default it is estimated from the
            projected samples: 1.5 times what `farthest` says.
        floor: in the weights, noise below this counts as this much. The weights of the theory are for noise
            above the scale of D (sigma_i >= 1 in a unit ball). Below it, all samples carry about the same
            information. By default the scale of D, estimated by `signal_scale`.
        weighting: False gives every sample equal weight.
        buckets: estimate on this many buckets of equal total weight, and return the estimate with the
            smallest median W1 to the others. A few bad buckets then do no harm: about 8 log(1/delta) buckets
            for probability 1 - delta.
        seed: seed of the two halves, the buckets and the axes.

    Returns:
        The estimate, with k atoms in R^d.

    Raises:
        UserError: shapes that do not match, numbers that are not finite, negative noise, k out of range, or
            too few samples.
        ImportError: more than one bucket in R^d, d > 1, and POT, of the extra `theory`, is not installed.
    """
    x, sigma = _checked(x, sigma, k, buckets, radius, floor)
    rng = np.random.default_rng(seed)
    if buckets > 1:
        parts = _buckets(sigma, buckets, rng)
        estimates = [_estimate(x[part], sigma[part], k, radius, floor, weighting, rng) for part in parts]
        distances = np.array([[a.w1(b) for b in estimates] for a in estimates])
        return estimates[int(np.median(distances, axis=1).argmin())]
    return _estimate(x, sigma, k, radius, floor, weighting, rng)


def _checked(
    x: Floats, sigma: Array, k: int, buckets: int, radius: float | None, floor: float | None
) -> tuple[Floats, Array]:
    x = np.asarray(x)
    x = x[:, None] if x.ndim == 1 else x
    sigma = np.asarray(sigma, dtype=np.float64)
    if x.ndim != 2 or not x.size or sigma.shape != x.shape[:1]:
        raise UserError(
            f"samples must have shape (n, d) or (n,) and their noise (n,), not {x.shape} and {sigma.shape}"
        )
    least_floor = 0.0 if (sigma == 0).any() else -1e-300  # without noise of 0, a floor of 0 is allowed
    for name, value, least in (("radius", radius, 0.0), ("floor", floor, least_floor)):
        if value is not None and not (np.isfinite(value) and value > least):
            raise UserError(f"{name} = {value:g}: must be a finite number above 0")
    if not 1 <= k <= MOST_ATOMS:
        raise UserError(f"k = {k}: must be 1 to {MOST_ATOMS} atoms")
    if buckets < 1:
        raise UserError(f"buckets = {buckets}: must be 1 or more")
    if len(x) < 4 * k * buckets:
        need = 4 * k * buckets
        raise UserError(
            f"{len(x)} samples are too few for {k} atoms in {buckets} bucket(s): give {need} or more"
        )
    wrong = np.flatnonzero(~(np.isfinite(sigma) & (sigma >= 0)))
    if len(wrong):
        raise UserError(f"sigma[{wrong[0]}] is {sigma[wrong[0]]:g}: noise must be finite and 0 or more")
    for part in chunks(x):
        wrong = np.flatnonzero(~np.isfinite(x[part]).all(axis=1))
        if len(wrong):
            raise UserError(f"x[{part.start + wrong[0]}] is not finite: remove the sample")
    return x, sigma


def _buckets(sigma: Array, count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows of each bucket: dealt out in order of noise, ties at random, so that total weights are equal."""
    order = np.lexsort((rng.random(len(sigma)), sigma))
    return [order[i::count] for i in range(count)]


def _estimate(
    x: Floats,
    sigma: Array,
    k: int,
    radius: float | None,
    floor: float | None,
    weighting: bool,
    rng: np.random.Generator,
) -> AtomicDistribution:
    d = x.shape[1]
    floor = signal_scale(x, sigma) if floor is None else floor
    mean_power, subspace_power, moment_power = (2, 4, 4 * k - 2) if weighting else (0, 0, 0)
    mean_weights = inverse_power_weights(sigma, mean_power, floor)
    if k == 1:
        return AtomicDistribution(weighted_mean(x, mean_weights)[None], np.ones(1))
    # The first half of the samples estimates the subspace, the second half the atoms in it. Where d <= k - 1
    # there is no subspace to estimate, and all samples do both. Samples outside the first half get weight 0
    # in place of a copy of the others, because `x` may be a memory map.
    halves = d > k - 1
    first = np.isin(np.arange(len(x)), _buckets(sigma, 2, rng)[0]) if halves else np.ones(len(x), dtype=bool)
    second = ~first if halves else first
    centre = weighted_mean(x, _within(first, mean_weights))
    subspace_weights = _within(first, inverse_power_weights(sigma, subspace_power, floor))
    space = find_subspace(x, sigma, min(k - 1, d), subspace_weights, centre)
    points = space.project(x)[second]
    sigma = sigma[second]
    weights = inverse_power_weights(sigma, moment_power, floor)
    reach = farthest(points, sigma) * _ROOM if radius is None else radius
    if reach == 0:
        return AtomicDistribution(np.tile(space.centre, (k, 1)), np.full(k, 1 / k))
    # Where the noise is below the scale of D, the moments vary by the scatter of the atoms instead.
    noise = moment_noise(np.maximum(sigma, floor), weights, 2 * k - 1)
    projected = _low_dimensional(points, sigma, weights, noise, reach, rng)
    return AtomicDistribution(space.lift(projected.atoms), projected.weights)


def _within(chosen: NDArray[np.bool_], weights: Array) -> Array:
    """The weights of the chosen samples, 0 for the others, summing to 1."""
    kept = np.where(chosen, weights, 0.0)
    return np.asarray(kept / kept.sum())


def farthest(points: Array, sigma: Array) -> float:
    """Estimate of the largest norm of an atom: `max_i |x_i| - sigma_i (sqrt(2 log n) - 1)`, at least 0.

    Of n samples of one atom, the farthest lies about `sigma sqrt(2 log n)` beyond it. The 1 is a margin.

    Args:
        points: (n, q) samples.
        sigma: (n,) their noise.
    """
    beyond = np.sqrt(2 * np.log(len(points))) - 1
    return max(0.0, float((np.linalg.norm(points, axis=1) - sigma * beyond).max()))


def signal_scale(x: Floats, sigma: Array) -> float:
    """Estimate of the scale of D, `sqrt(E |u - E u|^2)`; at least a thousandth of the median noise.

    The best weights depend on the scale, so that weights and scale are computed in turn, eight times.

    Args:
        x: (n, d) samples.
        sigma: (n,) their noise.
    """
    typical = float(np.median(sigma)) or float(sigma.max()) or 1.0
    centre = weighted_mean(x, inverse_power_weights(sigma, 2, typical))
    square = (
        np.concatenate([((x[part] - centre) ** 2).sum(axis=1) for part in chunks(x)]) - x.shape[1] * sigma**2
    )
    scale = max(float(sigma.max()), 1e-300)
    for _ in range(8):
        estimate = float(np.sum(inverse_power_weights(sigma, 4, scale) * square))
        scale = max(np.sqrt(max(estimate, 0.0)), 1e-3 * typical)
    return float(scale)


def _low_dimensional(
    points: Array, sigma: Array, weights: Array, noise: Array, radius: float, rng: np.random.Generator
) -> AtomicDistribution:
    """Estimate of k atoms in R^q, q <= 3, from samples (n, q) with moments of noise `noise` (2k,)."""
    q, k = points.shape[1], len(noise) // 2
    if q == 1:
        atoms, w = denoised_moments(weighted_moments(points[:, 0], sigma, weights, 2 * k - 1), noise, radius)
        return AtomicDistribution(atoms[:, None], w)
    frames = np.linalg.qr(rng.standard_normal((_FRAMES, q, q)))[0]  # columns are axes
    net = np.concatenate([np.moveaxis(frames, 2, 1).reshape(-1, q), directions(q)])
    moments = weighted_moments(points, sigma, weights, 2 * k - 1, net)  # (m, 2k)
    atoms, w = denoised_moments(moments, noise, radius)  # (m, k)
    fits = []
    for f, frame in enumerate(frames):
        axes = slice(f * q, (f + 1) * q)
        coordinates, masses = _products(atoms[axes], w[axes])
        candidates: Array = coordinates @ frame.T
        distance = w1_on_line(
            np.moveaxis(candidates @ net.T, 2, 1), masses[:, None, :], atoms[None], w[None]
        ).max(axis=1)
        least = int(distance.argmin())
        fits.append(_refine(candidates[least], masses[least], net, moments, noise, radius))
    return min(fits, key=lambda fit: fit[0])[1]


def _refine(
    atoms: Array, weights: Array, net: Array, moments: Array, noise: Array, radius: float
) -> tuple[float, AtomicDistribution]:
    """Fit the moments along the net by least squares, in units of their noise: (cost, estimate).

    A candidate has the coordinates of its atoms from q directions; the fit uses all directions. Any k-atomic
    distribution whose moments are within their noise has the optimal rate (arXiv 1807.07237, proposition 1).
    """
    from scipy.optimize import least_squares

    k, q = atoms.shape
    orders = np.arange(1, 2 * k)
    unit = radius**orders  # the solver's tolerances are absolute, so that lengths are in units of the radius
    target = moments[:, 1:] / unit
    deviation = noise[1:] / unit

    def unpack(parameters: Array) -> AtomicDistribution:
        logits = parameters[k * q :]
        mass = np.exp(logits - logits.max())
        return AtomicDistribution(parameters[: k * q].reshape(k, q), mass / mass.sum())

    def misfit(parameters: Array) -> Array:
        fitted = unpack(parameters)
        along = fitted.atoms @ net.T  # (k, m)
        implied = np.einsum("j,jmr->mr", fitted.weights, along[..., None] ** orders)
        return np.asarray(((implied - target) / deviation).ravel())

    start = np.concatenate([np.clip(atoms / radius, -1, 1).ravel(), np.log(np.maximum(weights, 1e-3))])
    limit = np.concatenate([np.full(k * q, 1 + 1e-9), np.full(k, 20.0)])
    fit = least_squares(misfit, start, bounds=(-limit, limit))
    best = unpack(fit.x)
    return float(fit.cost), AtomicDistribution(best.atoms * radius, best.weights)


def _products(atoms: Array, weights: Array) -> tuple[Array, Array]:
    """Every candidate that uses the atoms of each axis once: (q, k), (q, k) -> (c, k, q), (c, k).

    Along axes in general position the k atoms have k different coordinates, so that a candidate is one of the
    (k!)^(q-1) matchings of the atoms of the axes. The weight of an atom is the mean of its weights.
    """
    q, k = atoms.shape
    orders = [np.arange(k)[None], *[np.array(list(itertools.permutations(range(k))))] * (q - 1)]
    grids = np.meshgrid(*(np.arange(len(o)) for o in orders), indexing="ij")
    chosen = [order[grid.ravel()] for order, grid in zip(orders, grids, strict=True)]  # q of (c, k)
    coordinates = np.stack([atoms[axis][rows] for axis, rows in enumerate(chosen)], axis=-1)
    mass = np.stack([weights[axis][rows] for axis, rows in enumerate(chosen)]).mean(axis=0)
    return coordinates, mass


def directions(q: int) -> Array:
    """Unit vectors (m, q), spread evenly over half the circle (q = 2) or half the sphere (q = 3)."""
    m = _NET[q]
    if q == 2:
        angle = np.pi * (np.arange(m) + 0.5) / m
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    height = (np.arange(m) + 0.5) / m  # a Fibonacci spiral
    turn = np.pi * (1 + 5**0.5) * np.arange(m)
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
