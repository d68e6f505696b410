"""Estimating the subspace in d dimensions: error against d/n, and the exchange rate against sigma.

Two atoms `+-eps v` in R^d. The direction v has to be estimated first, so that for large d Theorem 4.2 of
arXiv 2411.02780 gives an error of `(d/n)^(1/4)` and an exchange rate of `sigma^-4`. Every repetition runs the
whole procedure: two halves, second moment, top eigenvector, moments on the line. In place of the samples,
their sums are drawn from the exact distribution.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from noiseworth.records import Number, Panel, Series
from noiseworth.studies.simulate import SecondMoment, group_noise, group_weights, hermite_sums, moment_sums
from noiseworth.studies.study import (
    Cell,
    CellResult,
    Study,
    against_lower_bound,
    bootstrap,
    curve,
    exchange_rates,
    repeats,
    slope,
    split_last,
    with_interval,
    worst,
)
from noiseworth.theory.bounds import Samples
from noiseworth.theory.moments import denoised_moments
from noiseworth.theory.subspace import top_eigenvectors
from noiseworth.theory.wasserstein import w1

Array = NDArray[np.float64]

RADIUS = 4.0
SIGMAS = (1.0, 1.25, 1.5, 1.75, 2.0)
# n / d over sigma^4, below about n = 40 d^3, beyond which separation limits the error and not the subspace.
# More dimensions need more samples for each dimension.
RATIOS = {10: (16, 32, 64, 128, 256), 100: (64, 128, 256, 512, 1024), 1000: (256, 512, 1024, 2048, 4096)}
BEYOND = (4096, 8192, 16384, 32768, 65536)  # beyond that limit, for d = 10
STEPS = np.geomspace(0.7, 3.2, 12)  # separations, in units of the expected error
_HALF = np.full(2, 0.5)


def errors_in_space(
    d: int,
    sizes: list[int],
    sigmas: list[float],
    separations: Array,
    number: int,
    rng: np.random.Generator,
    power: float = 4,
) -> Array:
    """W1 errors of the estimate of two atoms in R^d: (repetitions, separations).

    Args:
        d: number of dimensions.
        sizes: numbers of samples of each group.
        sigmas: noise of each group.
        separations: half distances eps of the atoms.
        number: number of repetitions.
        rng: random generator of the draws.
        power: the weights of the second moment are `~ sigma^-power`.
    """
    halves = [n // 2 for n in sizes]
    errors = np.empty((number, len(separations)))
    mean_weights = group_weights(halves, sigmas, 2)
    subspace_weights = group_weights(halves, sigmas, power)
    moment_weights = group_weights(halves, sigmas, 6)
    noise = group_noise([float(n) for n in halves], sigmas, moment_weights, 3)
    sums = [hermite_sums(n, _HALF, number, 3, rng) for n in halves]
    for r in range(number):
        moments = [SecondMoment(n, d, sigma, rng) for n, sigma in zip(halves, sigmas, strict=True)]
        for e, eps in enumerate(separations):
            groups = [m.sums(float(eps)) for m in moments]
            centre = sum(a * first for a, (_, first) in zip(mean_weights, groups, strict=True))
            second = sum(a * s for a, (s, _) in zip(subspace_weights, groups, strict=True))
            first = sum(a * f for a, (_, f) in zip(subspace_weights, groups, strict=True))
            centred = second - np.outer(centre, first) - np.outer(first, centre) + np.outer(centre, centre)
            direction = _top(centred)
            atoms = np.array([-eps, eps]) * direction[0] - centre @ direction
            parts = [
                a * moment_sums(s[r : r + 1], atoms, sigma)
                for a, s, sigma in zip(moment_weights, sums, sigmas, strict=True)
            ]
            centres, mass = denoised_moments(np.sum(parts, axis=0)[0], noise, RADIUS)
            truth = np.zeros((2, d))
            truth[:, 0] = -eps, eps
            errors[r, e] = w1(centre + centres[:, None] * direction, mass, truth, _HALF)
    return errors


def _top(matrix: Array) -> Array:
    """The top eigenvector (d,), by the faster of two solvers."""
    d = len(matrix)
    if d > 200:
        return top_eigenvectors(partial(np.matmul, matrix), d, 1)[1][:, 0]
    return np.asarray(eigh(matrix, subset_by_index=[d - 1, d - 1])[1][:, 0])


def _run(d: int, n: int, sigma: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    separations = sigma * (d / n) ** 0.25 * STEPS
    return {"errors": errors_in_space(d, [n], [sigma], separations, number, rng)}


def _key(d: int, sigma: float, ratio: int) -> str:
    return f"d{d}-s{sigma:g}-r{ratio}"


def _size(d: int, sigma: float, ratio: int) -> int:
    return round(d * ratio * sigma**4)


def _cells(effort: float) -> list[Cell]:
    number = {10: repeats(400, effort), 100: repeats(120, effort), 1000: repeats(16, effort)}
    cost = {10: 0.01, 100: 0.013, 1000: 0.75}
    return [
        Cell(_key(d, s, q), partial(_run, d, _size(d, s, q), s, number[d]), cost[d] * number[d])
        for d, ratios in [*RATIOS.items(), (10, BEYOND)]
        for s in SIGMAS
        for q in ratios
    ]


def _exchange(
    results: Mapping[str, CellResult], d: int, ratios: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Worth of one sample of each noise in samples of noise 1, at equal error; then its slope in sigma."""
    sizes = np.array([[_size(d, s, q) for q in ratios] for s in SIGMAS], dtype=np.float64)

    def rates(sample: list[Array]) -> Array:
        errors = np.array([worst(e) for e in sample]).reshape(len(SIGMAS), len(ratios))
        return exchange_rates(sizes, errors, len(ratios) // 2, SIGMAS)

    return bootstrap(rates, [results[_key(d, s, q)]["errors"] for s in SIGMAS for q in ratios])


def _rate(n: Array, cells: list[Array]) -> float:
    return slope(n, np.array([worst(e) for e in cells]))


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    numbers = []
    curves = []
    exchange = []
    pooled = []
    for d in RATIOS:
        cells = [results[_key(d, 1.0, q)]["errors"] for q in RATIOS[d]]
        sizes = np.array([_size(d, 1.0, q) for q in RATIOS[d]], dtype=np.float64)
        rate = bootstrap(partial(_rate, sizes), cells)
        (value, low, high), last = split_last(_exchange(results, d, RATIOS[d]))
        numbers += [
            with_interval(f"d{d}_rate", f"slope of the error against n, d = {d}", rate, -0.25),
            with_interval(f"d{d}_exchange", f"slope of the exchange rate against sigma, d = {d}", last, -4.0),
        ]
        settings = [
            (results[_key(d, s, q)]["errors"], Samples([_size(d, s, q)], [s]))
            for s in SIGMAS
            for q in RATIOS[d]
        ]
        numbers += against_lower_bound([float(worst(e)) for e, _ in settings], [s for _, s in settings], 2, d)
        exchange.append(Series(f"d = {d}", list(SIGMAS), value.tolist(), low.tolist(), high.tolist()))
        curves.append(curve(f"d = {d}", sizes / d, cells))
        pooled += [(n, d, y) for n, y in zip(sizes, curves[-1].y, strict=True)]
    n, d, error = np.log(np.array(pooled)).T
    by_n, by_d = np.linalg.lstsq(np.stack([n, d, np.ones_like(n)], axis=1), error, rcond=None)[0][:2]
    numbers += [
        Number(
            "joint_n",
            "exponent of the error in n, all d together, n and d fitted at once",
            float(by_n),
            expected=-0.25,
        ),
        Number(
            "joint_d",
            "exponent of the error in d, all d together, n and d fitted at once",
            float(by_d),
            expected=0.25,
        ),
        Number(
            "pooled_rate",
            "exponent of the error in d/n alone, all d on one line",
            slope(np.exp(d - n), np.exp(error)),
            expected=0.25,
        ),
    ]
    setting = f"d = 10, n/d about {BEYOND[2]:,}: telling apart takes over, towards -6"
    what = f"slope of the exchange rate against sigma, {setting}"
    numbers.append(with_interval("d10_beyond", what, split_last(_exchange(results, 10, BEYOND))[1]))
    ratios = np.array([RATIOS[10][0], RATIOS[1000][-1]], dtype=np.float64)
    curves.append(Series("(d/n)^(1/4)", ratios.tolist(), (ratios**-0.25).tolist(), guide=True))
    exchange.append(Series("σ^-4", list(SIGMAS), [s**-4 for s in SIGMAS], guide=True))
    return numbers, [
        Panel(
            "subspace",
            "Finding the direction",
            "Error (W1) against samples per dimension. The errors for 10, 100 and 1,000 dimensions lie"
            " nearly on one curve, (d/n)^(1/4), so that the error depends on the ratio of dimensions to"
            " samples. For 10 dimensions it is a little higher.",
            "samples per dimension n/d",
            "error (W1)",
            curves,
        ),
        Panel(
            "subspace-exchange",
            "What a noisy sample is worth for the direction",
            "How many samples of noise 1 one sample of noise σ replaces, when the task is to find the"
            " direction in which the atoms differ. The worth falls more slowly with σ than for separating"
            " atoms.",
            "noise σ",
            "worth in samples of noise 1",
            exchange,
        ),
    ]


STUDY = Study(
    "subspace",
    "Finding the subspace",
    "Two atoms on either side of the origin, along an unknown direction of a space of 10, 100 or 1,000"
    " dimensions.",
    _cells,
    _summarise,
)
