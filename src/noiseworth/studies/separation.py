"""Separating 2 or 3 merging atoms on the line: error against n, and the exchange rate against sigma.

Theorem 4.2 of arXiv 2411.02780 gives an error of `n^(-1/(4k-2))` and an exchange rate of `sigma^-(4k-2)`.
These are minimax rates, so that the study measures, for each n, the error at the worst distance of the atoms.
The more samples, the smaller the worst distance.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.studies.simulate import SAMPLED, hermite_sums, line_errors
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

Array = NDArray[np.float64]

RADIUS = 2.0  # of the ball that the estimator is given; the true atoms lie within 1
SEPARATIONS = np.geomspace(0.02, 1.0, 36)
SHAPES = {2: np.array([-1.0, 1.0]), 3: np.array([-1.0, 0.0, 1.0])}
SIGMAS = {2: (1.0, 1.25, 1.5, 2.0, 2.5, 3.0), 3: (1.0, 1.1, 1.25, 1.5, 1.75, 2.0)}
SIZES = {
    2: [round(10 ** (e / 2)) for e in range(6, 17)],
    3: [round(10 ** (e / 2)) for e in range(8, 13)] + [10**e for e in range(7, 15)],
}
REPEATS = {2: 800, 3: 400}
# Exchange rates are measured at the error of this many samples of noise 1.
REFERENCE = {2: 10**5, 3: 10**10}
_AGREE = 10**5  # number of samples at which the two ways to draw sums are compared


def probabilities(k: int) -> Array:
    """Equal weights of k atoms, (k,)."""
    return np.full(k, 1 / k)


def errors_on_line(
    k: int,
    n: int,
    sigmas: tuple[float, ...],
    number: int,
    rng: np.random.Generator,
    limit: bool | None = None,
) -> Array:
    """W1 error of the estimate from n samples of one noise level: (repetitions, sigmas, separations).

    All sigmas and separations use the same draws. `limit` is that of `hermite_sums`.
    """
    sums = hermite_sums(n, probabilities(k), number, 2 * k - 1, rng, limit=limit)
    atoms = SEPARATIONS[:, None] * SHAPES[k]
    each = [line_errors([(sums, sigma)], [1 / n], atoms, probabilities(k), RADIUS) for sigma in sigmas]
    return np.stack(each, axis=1)


def _run(k: int, n: int, number: int, limit: bool | None, rng: np.random.Generator) -> dict[str, Array]:
    return {"errors": errors_on_line(k, n, SIGMAS[k], number, rng, limit)}


def _cells(effort: float) -> list[Cell]:
    cells = []
    for k, sizes in SIZES.items():
        number = repeats(REPEATS[k], effort)
        for n in sizes:
            cost = number * (0.045 if k == 3 else 0.01) + (n * number * 1.5e-8 if n <= SAMPLED else 0)
            cells.append(Cell(f"k{k}-n{n}", partial(_run, k, n, number, None), cost))
        cells.append(Cell(f"k{k}-limit", partial(_run, k, _AGREE, number, True), cost))
    return cells


def _free(errors: Array) -> bool:
    """Whether the worst separation is within the grid. At the end of the grid the ball limits the error."""
    return int(errors.mean(axis=0).argmax()) < len(SEPARATIONS) - 1


def _rate(n: Array, cells: list[Array]) -> tuple[Array, Array, Array]:
    return bootstrap(lambda sample: slope(n, np.array([worst(e) for e in sample])), [e[:, 0] for e in cells])


def _exchange(
    n: Array, cells: list[Array], reference: int, sigmas: tuple[float, ...]
) -> tuple[Array, Array, Array]:
    """Worth of one sample of each noise in samples of noise 1, at equal error; then its slope in sigma."""
    at = int(np.flatnonzero(n == reference)[0])

    def statistic(sample: list[Array]) -> Array:
        errors = np.array([[worst(e[:, s]) for e in sample] for s in range(len(sigmas))])
        return exchange_rates(np.broadcast_to(n, errors.shape), errors, at, sigmas)

    return bootstrap(statistic, cells)


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    numbers = []
    panels = []
    exchange = []
    for k in SIZES:
        power = 4 * k - 2
        n = np.array(SIZES[k], dtype=np.float64)
        cells = [results[f"k{k}-n{m}"]["errors"] for m in SIZES[k]]
        drawn = (n <= SAMPLED) & np.array([_free(e[:, 0]) for e in cells])
        for key, chosen, words in (
            ("sampled", drawn, f"samples drawn one by one, n = {n[drawn][0]:.0e} to {n[drawn][-1]:.0e}"),
            (
                "rate",
                n > SAMPLED,
                f"n = {n[n > SAMPLED][0]:.0e} to {n[-1]:.0e}, sums drawn from their normal limit",
            ),
        ):
            rate = _rate(n[chosen], [e for e, c in zip(cells, chosen, strict=True) if c])
            numbers.append(
                with_interval(
                    f"k{k}_{key}", f"slope of the error against n, k = {k} ({words})", rate, -1 / power
                )
            )
        (value, low, high), last = split_last(_exchange(n, cells, REFERENCE[k], SIGMAS[k]))
        at = f"at the error of {REFERENCE[k]:.0e} samples of noise 1"
        what = f"slope of the exchange rate against sigma, k = {k} ({at})"
        numbers.append(with_interval(f"k{k}_exchange", what, last, -power))
        exchange += [
            Series(f"k = {k}", list(SIGMAS[k]), value.tolist(), low.tolist(), high.tolist()),
            Series(f"σ^-{power}", list(SIGMAS[k]), [s**-power for s in SIGMAS[k]], guide=True),
        ]
        if k == 3:
            practical = n[n <= 10**7]
            _, last = split_last(_exchange(practical, cells[: len(practical)], 10**5, SIGMAS[k][:4]))
            at = "at the error of 1e5 samples: atoms that have not merged yet"
            what = f"slope of the exchange rate against sigma, k = 3, {at}"
            numbers.append(with_interval("k3_practical", what, last, -power))
        numbers.append(_agreement(results, k))
        settings = [
            (float(worst(e[:, i])), Samples([m], [s]))
            for m, e in zip(n, cells, strict=True)
            for i, s in enumerate(SIGMAS[k])
        ]
        numbers += against_lower_bound([e for e, _ in settings], [s for _, s in settings], k, 1)
        panels.append(_curves(k, n, cells))
    panels.append(
        Panel(
            "exchange",
            "What a noisy sample is worth",
            "How many samples of noise 1 one sample of noise σ replaces, when the task is to separate"
            " atoms. Points are measured, dashed lines are the power of the theorem. With three atoms the"
            " worth falls far faster than with two. Twice the noise is the same problem at twice the scale,"
            " so that these slopes follow from the slope of the error against n.",
            "noise σ",
            "worth in samples of noise 1",
            exchange,
        )
    )
    return numbers, panels


def _agreement(results: Mapping[str, CellResult], k: int) -> Number:
    """Largest difference, in standard errors, between the mean errors of the two ways to draw sums."""
    one, other = results[f"k{k}-n{_AGREE}"]["errors"], results[f"k{k}-limit"]["errors"]
    difference = one.mean(axis=0) - other.mean(axis=0)
    error = np.sqrt(one.var(axis=0) / len(one) + other.var(axis=0) / len(other))
    # Neighbouring separations share their draws, so that only about twelve of the differences are
    # independent.
    value = float(np.abs(difference / error).max())
    what = (
        f"drawing one by one against the normal limit at n = 1e5, k = {k}: largest difference of mean errors"
    )
    return Number(f"k{k}_limit", what, value, unit="standard errors")


def _curves(k: int, n: Array, cells: list[Array]) -> Panel:
    series = [curve(f"σ = {SIGMAS[k][s]:g}", n, [e[:, s] for e in cells]) for s in (0, 3, 5)]
    power = 4 * k - 2
    middle = len(n) // 2
    guide = worst(cells[middle][:, 0]) * (n / n[middle]) ** (-1 / power)
    series.append(Series(f"n^(-1/{power})", n.tolist(), guide.tolist(), guide=True))
    few = {2: "two", 3: "three"}[k]
    return Panel(
        f"separation-{k}",
        f"Telling {few} atoms apart",
        f"Error (W1) at the worst separation against the number of samples. It falls only as the {power}th"
        f" root of n: to halve it takes {2**power:,} times as many samples. Beyond a million samples, their"
        " sums are drawn from the normal limit.",
        "samples n",
        "error (W1)",
        series,
    )


STUDY = Study(
    "separation",
    "Telling components apart",
    "Two or three atoms on the line, at the separation that is worst for each number of samples.",
    _cells,
    _summarise,
)
