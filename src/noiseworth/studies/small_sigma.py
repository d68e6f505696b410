"""Noise below the scale of the mixing distribution (sigma < 1): when do cleaner samples stop being better?

The theorems do not cover this case. Two atoms lie at a fixed distance. Where the noise is above the distance,
the exchange rate falls with the sixth power of the noise. Where it is well below, each sample shows its atom,
and only the number of samples matters.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.studies.separation import SHAPES, probabilities
from noiseworth.studies.simulate import SAMPLED, hermite_sums, line_errors
from noiseworth.studies.study import Cell, CellResult, Study, bootstrap, crossing, repeats, slope

Array = NDArray[np.float64]

RADIUS = 2.0
HALF = 1.0  # half the distance between the atoms; another distance is the same problem at another scale
SIGMAS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
LEVEL = 0.15  # the error to reach
SIZES = [round(10 ** (e / 4)) for e in range(5, 41)]


def _run(n: int, number: int, rng: np.random.Generator) -> dict[str, Array]:
    sums = hermite_sums(n, probabilities(2), number, 3, rng)
    each = [
        line_errors([(sums, s)], [1 / n], HALF * SHAPES[2], probabilities(2), RADIUS, scale=HALF)
        for s in SIGMAS
    ]
    return {"errors": np.stack(each, axis=1)}


def _cells(effort: float) -> list[Cell]:
    number = repeats(3000, effort, 20)
    return [
        Cell(f"n{n}", partial(_run, n, number), number * (5e-4 + (n * 1.2e-8 if n <= SAMPLED else 0)))
        for n in SIZES
    ]


def _worth(sample: list[Array]) -> Array:
    """Worth of one sample of each noise in samples of the least noise, then the slopes at both ends."""
    errors = np.array([e.mean(axis=0) for e in sample])
    n = np.array(SIZES, dtype=np.float64)
    needed = np.array([crossing(n, column, LEVEL) for column in errors.T])
    worth = needed[0] / needed
    sigma = np.array(SIGMAS)
    steep = sigma >= 2
    flat = sigma <= 0.2
    return np.append(worth, [slope(sigma[steep], worth[steep]), slope(sigma[flat], worth[flat])])


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    value, low, high = bootstrap(_worth, [results[f"n{n}"]["errors"] for n in SIZES], 100)
    ends = [2.0, SIGMAS[-1]]
    anchor = float(value[SIGMAS.index(ends[0])])
    series = [
        Series("measured", list(SIGMAS), value[:-2].tolist(), low[:-2].tolist(), high[:-2].tolist()),
        Series("slope -6", ends, [anchor * (s / ends[0]) ** -6 for s in ends], guide=True),
    ]
    steep = f"slope of worth against sigma, from {ends[0]:g} to {ends[1]:g} times half the distance"
    flat = "slope of worth against sigma, up to a fifth of half the distance"
    at = SIGMAS.index(0.5)
    return [
        Number("steep", steep, float(value[-2]), float(low[-2]), float(high[-2]), -6.0),
        Number("flat", flat, float(value[-1]), float(low[-1]), float(high[-1])),
        Number(
            "half",
            f"worth at noise {SIGMAS[at]:g} times half the distance",
            float(value[at]),
            float(low[at]),
            float(high[at]),
        ),
    ], [
        Panel(
            "small-sigma",
            "When cleaner stops being better",
            "Worth of a sample, relative to one almost without noise, for two atoms at a fixed distance."
            " Noise well below that distance reduces the worth little. Above it, the worth approaches the"
            " power σ^-6.",
            "noise over half the distance",
            "worth in samples without noise",
            series,
        )
    ]


STUDY = Study(
    "small_sigma",
    "Noise below the scale of the mixing distribution",
    "Two atoms at a fixed distance, noise from far below it to far above.",
    _cells,
    _summarise,
)
