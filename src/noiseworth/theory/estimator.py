"""Estimate a mixture of k point masses from samples with noise of mixed, known variance.

    x_i = u_i + sigma_i z_i,   u_i ~ D = sum_j w_j delta_{mu_j}

The procedure of "How much is a noisy image worth?" (arXiv 2411.02780, section 4), after Wu and Yang (arXiv 1807.07237) on the line
and Doss, Wu, Yang and Zhou (arXiv 2002.05818) in R^d: half of the samples find the affine subspace of the atoms, the other half are
projected onto it; along each of a net of directions a one-dimensional law is estimated from unbiased moments; candidates are
products of the atoms along axes; the one whose projections differ least from the one-dimensional laws wins. We add a last step: this is
done for several sets of axes, each winner's atoms and weights are fitted to the moments along all directions, and the best fit is kept.
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
_NET = {2: 24, 3: 60}  # directions over half a circle, half a sphere
_FRAMES = 6  # sets of axes whose atoms make candidates


@dataclass(frozen=True)
class AtomicLaw:
    """`atoms` (k, d) with `weights` (k,) that sum to 1."""

    atoms: Array
    weights: Array

    def w1(self, other: "AtomicLaw") -> float:
        """The Wasserstein distance to another law; needs POT (extra `theory`) when d > 1."""
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
) -> AtomicLaw:
    """The mixing law D of k atoms.

    Args:
        x: (n, d) samples, or (n,) on the line; any floating dtype, also memory-mapped.
        sigma: (n,) standard deviation of each sample's noise per coordinate, 0 or more.
        k: number of atoms, 1 to 4.
        radius: the atoms lie within this distance of their mean; by default that of the farthest projected sample.
        floor: noise below this counts as this much in the weights. The theory's weights are for noise that exceeds the
            scale of D (sigma_i >= 1 in a unit ball); below, all samples say about the same. By default that scale, estimated.
        weighting: False gives every sample equal weight.
        buckets: estimate on this many buckets of equal total weight, and return the estimate with the smallest median distance to
            all: a few bad buckets do no harm (about 8 log(1/delta) buckets for probability 1 - delta).
        seed: decides the two halves, the buckets and the axes.

    Raises:
        UserError: shapes that do not match, numbers that are not finite, negative noise, k out of range, or too few samples.
    """
    x, sigma = _checked(x, sigma, k, buckets, radius, floor)
    rng = np.random.default_rng(seed)
    if buckets > 1:
        parts = _buckets(sigma, buckets, rng)
        laws = [_estimate(x[part], sigma[part], k, radius, floor, weighting, rng) for part in parts]
        distances = np.array([[a.w1(b) for b in laws] for a in laws])
        return laws[int(np.median(distances, axis=1).argmin())]
    return _estimate(x, sigma, k, radius, floor, weighting, rng)


def _checked(x: Floats, sigma: Array, k: int, buckets: int, radius: float | None, floor: float | None) -> tuple[Floats, Array]:
    x = np.asarray(x)
    x = x[:, None] if x.ndim == 1 else x
    sigma = np.asarray(sigma, dtype=np.float64)
    if x.ndim != 2 or not x.size or sigma.shape != x.shape[:1]:
        raise UserError(f"samples must have shape (n, d) or (n,) and their noise (n,), not {x.shape} and {sigma.shape}")
    for name, value, least in (("radius", radius, 0.0), ("floor", floor, 0.0 if (sigma == 0).any() else -1e-300)):
        if value is not None and not (np.isfinite(value) and value > least):
            raise UserError(f"{name} = {value:g}: must be a finite number above 0")
    if not 1 <= k <= MOST_ATOMS:
        raise UserError(f"k = {k}: this estimator is for 1 to {MOST_ATOMS} atoms")
    if buckets < 1 or len(x) < 4 * k * buckets:
        raise UserError(f"{len(x)} samples are too few for {k} atoms in {buckets} bucket(s): {4 * k * max(buckets, 1)} at least")
    wrong = np.flatnonzero(~(np.isfinite(sigma) & (sigma >= 0)))
    if len(wrong):
        raise UserError(f"sigma[{wrong[0]}] is {sigma[wrong[0]]:g}: noise must be finite and 0 or more")
    for part in chunks(x):
        wrong = np.flatnonzero(~np.isfinite(x[part]).all(axis=1))
        if len(wrong):
            raise UserError(f"x[{part.start + wrong[0]}] is not finite")
    return x, sigma


def _buckets(sigma: Array, count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Dealing out the samples in order of their noise gives every bucket the same mix, and so equal weight; ties at random."""
    order = np.lexsort((rng.random(len(sigma)), sigma))
    return [order[i::count] for i in range(count)]


def _estimate(
    x: Floats, sigma: Array, k: int, radius: float | None, floor: float | None, weighting: bool, rng: np.random.Generator
) -> AtomicLaw:
    d = x.shape[1]
    low = signal_scale(x, sigma) if floor is None else floor
    towards, spread, fine = (2, 4, 4 * k - 2) if weighting else (0, 0, 0)
    if k == 1:
        return AtomicLaw(weighted_mean(x, inverse_power_weights(sigma, towards, low))[None], np.ones(1))
    # The first half finds the subspace and the second the atoms in it, unless there is no subspace to find. Weights of 0 stand for the
    # half that does not take part: the samples may be a memory map, and are not copied.
    halves = d > k - 1
    first = np.isin(np.arange(len(x)), _buckets(sigma, 2, rng)[0]) if halves else np.ones(len(x), dtype=bool)
    second = ~first if halves else first
    centre = weighted_mean(x, _within(first, inverse_power_weights(sigma, towards, low)))
    space = find_subspace(x, sigma, min(k - 1, d), _within(first, inverse_power_weights(sigma, spread, low)), centre)
    points, sigma = space.project(x)[second], sigma[second]
    weights = inverse_power_weights(sigma, fine, low)
    reach = farthest(points, sigma) * (1 + 1e-6) if radius is None else radius
    if reach == 0:
        return AtomicLaw(np.tile(space.centre, (k, 1)), np.full(k, 1 / k))
    # Below the scale of D it is the samples' own scatter that makes the moments uncertain.
    noise = moment_noise(np.maximum(sigma, low), weights, 2 * k - 1)
    law = _low_dimensional(points, sigma, weights, noise, reach, rng)
    return AtomicLaw(space.lift(law.atoms), law.weights)


def _within(chosen: NDArray[np.bool_], weights: Array) -> Array:
    """The weights of the chosen samples, 0 for the others, summing to 1."""
    kept = np.where(chosen, weights, 0.0)
    return np.asarray(kept / kept.sum())


def farthest(points: Array, sigma: Array) -> float:
    """How far from 0 the atoms reach, from samples (n, q): the greatest `|x_i| - sigma_i (sqrt(2 log n) - 1)`, at least 0.

    Of n samples about an atom the farthest lies about `sigma sqrt(2 log n)` beyond it; one sigma is left as a margin.
    """
    beyond = np.sqrt(2 * np.log(len(points))) - 1
    return max(0.0, float((np.linalg.norm(points, axis=1) - sigma * beyond).max()))


def signal_scale(x: Floats, sigma: Array) -> float:
    """The scale of D, `sqrt(E |u - E u|^2)`, from samples (n, d) with noise: by weights that suit the scale, in a few rounds.

    At least a thousandth of the typical noise, where the samples show no scale.
    """
    typical = float(np.median(sigma)) or float(sigma.max()) or 1.0
    centre = weighted_mean(x, inverse_power_weights(sigma, 2, typical))
    square = np.concatenate([((x[part] - centre) ** 2).sum(axis=1) for part in chunks(x)]) - x.shape[1] * sigma**2
    scale = max(float(sigma.max()), 1e-300)
    for _ in range(8):
        estimate = float(np.sum(inverse_power_weights(sigma, 4, scale) * square))
        scale = max(np.sqrt(max(estimate, 0.0)), 1e-3 * typical)
    return float(scale)


def _low_dimensional(points: Array, sigma: Array, weights: Array, noise: Array, radius: float, rng: np.random.Generator) -> AtomicLaw:
    """k atoms in R^q, q <= 3, from samples (n, q); `noise` (2k,) is that of their moments."""
    q, k = points.shape[1], len(noise) // 2
    if q == 1:
        atoms, w = denoised_moments(weighted_moments(points[:, 0], sigma, weights, 2 * k - 1), noise, radius)
        return AtomicLaw(atoms[:, None], w)
    frames = np.linalg.qr(rng.standard_normal((_FRAMES, q, q)))[0]  # columns are axes
    net = np.concatenate([np.moveaxis(frames, 2, 1).reshape(-1, q), directions(q)])
    moments = weighted_moments(points, sigma, weights, 2 * k - 1, net)  # (m, 2k)
    atoms, w = denoised_moments(moments, noise, radius)  # (m, k)
    fits = []
    for f, frame in enumerate(frames):
        axes = slice(f * q, (f + 1) * q)
        coordinates, masses = _products(atoms[axes], w[axes])
        candidates: Array = coordinates @ frame.T
        distance = w1_on_line(np.moveaxis(candidates @ net.T, 2, 1), masses[:, None, :], atoms[None], w[None]).max(axis=1)
        least = int(distance.argmin())
        fits.append(_refine(candidates[least], masses[least], net, moments, noise, radius))
    return min(fits, key=lambda fit: fit[0])[1]


def _refine(atoms: Array, weights: Array, net: Array, moments: Array, noise: Array, radius: float) -> tuple[float, AtomicLaw]:
    """The law near a candidate whose moments along the net are nearest to the measured ones, in units of their noise.

    A candidate has each atom's coordinates from q directions alone; here all directions speak. Any k-atomic law whose moments are
    within their noise has the optimal rate (arXiv 1807.07237, proposition 1).
    """
    from scipy.optimize import least_squares

    k, q = atoms.shape
    orders = np.arange(1, 2 * k)
    unit = radius**orders  # the solver's tolerances are absolute: lengths count in units of the radius
    wanted, deviation = moments[:, 1:] / unit, noise[1:] / unit

    def unpack(parameters: Array) -> AtomicLaw:
        logits = parameters[k * q :]
        mass = np.exp(logits - logits.max())
        return AtomicLaw(parameters[: k * q].reshape(k, q), mass / mass.sum())

    def misfit(parameters: Array) -> Array:
        law = unpack(parameters)
        along = law.atoms @ net.T  # (k, m)
        implied = np.einsum("j,jmr->mr", law.weights, along[..., None] ** orders)
        return np.asarray(((implied - wanted) / deviation).ravel())

    start = np.concatenate([np.clip(atoms / radius, -1, 1).ravel(), np.log(np.maximum(weights, 1e-3))])
    limit = np.concatenate([np.full(k * q, 1 + 1e-9), np.full(k, 20.0)])
    fit = least_squares(misfit, start, bounds=(-limit, limit))
    law = unpack(fit.x)
    return float(fit.cost), AtomicLaw(law.atoms * radius, law.weights)


def _products(atoms: Array, weights: Array) -> tuple[Array, Array]:
    """Every law that uses each axis's atoms once: (q, k) atoms and weights -> (c, k, q) and (c, k).

    Along axes in general position the k atoms have k coordinates each, so a candidate is a matching of the axes' atoms: (k!)^(q-1) of
    them, of the k^q points of the product. Each atom's weight is the mean of its weights along the axes.
    """
    q, k = atoms.shape
    orders = [np.arange(k)[None], *[np.array(list(itertools.permutations(range(k))))] * (q - 1)]
    grids = np.meshgrid(*(np.arange(len(o)) for o in orders), indexing="ij")
    chosen = [order[grid.ravel()] for order, grid in zip(orders, grids, strict=True)]  # q of (c, k)
    placed = np.stack([atoms[axis][rows] for axis, rows in enumerate(chosen)], axis=-1)
    mass = np.stack([weights[axis][rows] for axis, rows in enumerate(chosen)]).mean(axis=0)
    return placed, mass


def directions(q: int) -> Array:
    """A net of unit vectors over half the circle (q = 2) or half the sphere (q = 3), evenly: (m, q)."""
    m = _NET[q]
    if q == 2:
        angle = np.pi * (np.arange(m) + 0.5) / m
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    height = (np.arange(m) + 0.5) / m  # Fibonacci's spiral
    turn = np.pi * (1 + 5**0.5) * np.arange(m)
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
