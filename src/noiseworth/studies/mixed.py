"""Samples of two noise levels: does the effective number of samples predict the error? What do weights gain?

Corollary 4.3 of arXiv 2411.02780: with a share p of the samples at noise 1 and the rest at noise sigma, the
effective numbers are `SL = n (p + (1-p) sigma^-(4k-2))` for separating atoms and
`S4 = n (p + (1-p) sigma^-4)` for the subspace. The errors over a grid of p and sigma should then lie on one
curve. Equal weights should give an error that is greater by a known factor
(`theory.bounds.uniform_weights_factor`).
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.studies.separation import RADIUS, SEPARATIONS, SHAPES, probabilities
from noiseworth.studies.simulate import group_weights, hermite_sums, line_errors
from noiseworth.studies.study import Cell, CellResult, Study, bootstrap, repeats, worst
from noiseworth.studies.subspace import STEPS, errors_in_space
from noiseworth.theory.bounds import Samples, uniform_weights_factor

Array = NDArray[np.float64]

SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
LINE_SIGMAS = (1.5, 2.0, 3.0)
LINE_SAMPLES = 1_000_000
SPACE_SIGMAS = (1.25, 1.5, 2.0)
SPACE_SAMPLES = 102_400
DIMENSION = 100


def _grid(sigmas: tuple[float, ...]) -> list[tuple[float, float]]:
    """Every pair (share of noise 1, sigma); a share of 1 is there once, as no sample has another noise."""
    return [(p, s) for s in sigmas for p in SHARES if p < 1] + [(1.0, 1.0)]


def _groups(n: int, p: float, sigma: float) -> tuple[list[int], list[float]]:
    first = round(n * p)
    groups = [(count, s) for count, s in ((first, 1.0), (n - first, sigma)) if count]
    return [count for count, _ in groups], [s for _, s in groups]


def _line(p: float, sigma: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    counts, sigmas = _groups(LINE_SAMPLES, p, sigma)
    groups = [
        (hermite_sums(n, probabilities(2), number, 3, rng), s) for n, s in zip(counts, sigmas, strict=True)
    ]
    atoms = SEPARATIONS[:, None] * SHAPES[2]
    each = [
        line_errors(groups, group_weights(counts, sigmas, power), atoms, probabilities(2), RADIUS)
        for power in (6, 0)
    ]
    return {"errors": np.stack(each, axis=1)}


def _space(p: float, sigma: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    counts, sigmas = _groups(SPACE_SAMPLES, p, sigma)
    samples = Samples.mixed(SPACE_SAMPLES, p, sigma)
    expected = (DIMENSION / samples.subspace) ** 0.25
    each = []
    for power, factor in ((4.0, 1.0), (0.0, uniform_weights_factor(samples, 4))):
        each.append(errors_in_space(DIMENSION, counts, sigmas, factor * expected * STEPS, number, rng, power))
    return {"errors": np.stack(each, axis=1)}


def _cells(effort: float) -> list[Cell]:
    line, space = repeats(1000, effort), repeats(60, effort)
    cells = [
        Cell(f"line-p{p:g}-s{s:g}", partial(_line, p, s, line), line * 0.015) for p, s in _grid(LINE_SIGMAS)
    ]
    return cells + [
        Cell(f"space-p{p:g}-s{s:g}", partial(_space, p, s, space), space * 0.03)
        for p, s in _grid(SPACE_SIGMAS)
    ]


def _both(sample: list[Array]) -> Array:
    """The worst error with weights by the noise, the worst error with equal weights, and their ratio."""
    best, equal = float(worst(sample[0][:, 0])), float(worst(sample[0][:, 1]))
    return np.array([best, equal, equal / best])


def _collapse(results: Mapping[str, CellResult], where: str) -> tuple[list[Number], list[Panel]]:
    line = where == "line"
    power, n = (6, LINE_SAMPLES) if line else (4, SPACE_SAMPLES)
    rows: list[tuple[float, float]] = []
    curves = []
    factors = []
    sigmas = LINE_SIGMAS if line else SPACE_SIGMAS
    for sigma in sigmas:
        points = []
        for p in SHARES:
            key = f"{where}-p{p:g}-s{sigma:g}" if p < 1 else f"{where}-p1-s1"
            value, low, high = bootstrap(_both, [results[key]["errors"]], 100)
            samples = Samples.mixed(n, p, sigma)
            effective = samples.power_sum(power)
            points.append((effective, value[0], low[0], high[0]))
            if p < 1 or sigma == sigmas[0]:  # for p = 1, all sigmas share one cell
                rows.append((effective, float(value[0])))
            if 0 < p < 1:
                factors.append((uniform_weights_factor(samples, power), value[2], low[2], high[2]))
        x, y, low, high = (column.tolist() for column in np.array(points).T)
        curves.append(Series(f"σ = {sigma:g}", x, y, low, high))
    effective_n, error = np.array(rows).T
    residual = np.log(error) + np.log(effective_n) / power
    centre = residual.mean()
    ends = np.array([effective_n.min(), effective_n.max()])
    guide = np.exp(centre) * ends ** (-1 / power)
    curves.append(Series(f"(effective n)^(-1/{power})", ends.tolist(), guide.tolist(), guide=True))
    predicted, measured, lower, upper = np.array(factors).T
    words = "telling apart" if line else "the subspace"
    numbers = [
        Number(
            f"{where}_scatter",
            f"largest distance from one curve, {words}",
            float(np.expm1(np.abs(residual - centre).max())),
            expected=0.0,
        ),
        Number(
            f"{where}_spread",
            f"standard deviation about one curve, {words}",
            float(residual.std()),
            expected=0.0,
        ),
        Number(
            f"{where}_weights",
            f"gain over equal weights against the predicted gain, {words}: largest relative difference",
            float(np.abs(measured / predicted - 1).max()),
            expected=0.0,
        ),
        Number(
            f"{where}_most",
            f"greatest gain over equal weights, {words} (predicted {predicted.max():.2f})",
            float(measured.max()),
        ),
        Number(
            f"{where}_least",
            f"least gain over equal weights where a tenth or more is predicted, {words}",
            float(measured[predicted >= 1.1].min()),
            expected=float(predicted[predicted >= 1.1].min()),
        ),
    ]
    title = "Telling apart" if line else "The subspace"
    letter = "SL" if line else "S4"
    panels = [
        Panel(
            f"mixed-{where}",
            f"{title}: mixed samples on one curve",
            f"Error against the predicted effective number of samples, {letter} = Σ σ_i^-{power}. Each"
            " colour is a noise level; its points are shares of cleaner samples from none to all. The"
            " points lie on one line, so that the error depends on this sum alone.",
            f"effective number of samples {letter}",
            "error (W1)",
            curves,
        ),
        Panel(
            f"weights-{where}",
            f"{title}: what the weights gain",
            f"Error with equal weights over the error with weights σ^-{power}: measured against predicted.",
            "predicted factor",
            "measured factor",
            [
                Series(
                    "p from 0.01 to 0.3",
                    predicted.tolist(),
                    measured.tolist(),
                    lower.tolist(),
                    upper.tolist(),
                ),
                Series("equal", [1.0, float(predicted.max())], [1.0, float(predicted.max())], guide=True),
            ],
        ),
    ]
    return numbers, panels


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    first, second = _collapse(results, "line"), _collapse(results, "space")
    return first[0] + second[0], first[1] + second[1]


STUDY = Study(
    "mixed",
    "Samples of mixed noise",
    "A share of the samples has noise 1, the rest more: two atoms on the line, and two atoms in 100"
    " dimensions.",
    _cells,
    _summarise,
)
