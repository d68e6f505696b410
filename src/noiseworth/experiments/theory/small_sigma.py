"""Noise below the scale of the law (sigma < 1), which the theorems leave out: when does cleaner stop being better?

Two atoms at a fixed distance. While the noise exceeds the distance, the exchange rate falls with the sixth power; once it is well
below, each sample shows its atom, and only the number of samples counts.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.experiments.theory.separation import SHAPES, probabilities
from noiseworth.experiments.theory.simulate import SAMPLED, hermite_sums, line_errors
from noiseworth.experiments.theory.study import Cell, Found, Study, bootstrap, repeats
from noiseworth.records import Number, Panel, Series

Array = NDArray[np.float64]

RADIUS = 2.0
SIGMAS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
HALVES = (0.25, 0.5, 1.0)  # half the distance between the atoms
LEVEL = 0.15  # the error to reach, as a share of that
SIZES = [round(10 ** (e / 4)) for e in range(5, 39)]


def _run(n: int, number: int, rng: np.random.Generator) -> dict[str, Array]:
    sums = hermite_sums(n, probabilities(2), number, 3, rng)
    atoms = np.array(HALVES)[:, None] * SHAPES[2]
    return {"errors": np.stack([line_errors([(sums, s)], [1 / n], atoms, probabilities(2), RADIUS) for s in SIGMAS], axis=1)}


def _cells(effort: float) -> list[Cell]:
    number = repeats(1500, effort, 20)
    return [Cell(f"n{n}", partial(_run, n, number), number * (1e-3 + (n * 1.5e-8 if n <= SAMPLED else 0))) for n in SIZES]


def _needed(sample: list[Array]) -> Array:
    """Samples that reach the level, (sigmas, halves)."""
    errors = np.array([e.mean(axis=0) for e in sample]) / np.array(HALVES)  # (sizes, sigmas, halves)
    needed = np.empty(errors.shape[1:])
    for place in np.ndindex(*needed.shape):
        below = int(np.flatnonzero(errors[:, *place] <= LEVEL)[0])
        low, high = max(below - 2, 0), below + 2
        line = np.polyfit(np.log(errors[low:high, *place]), np.log(SIZES[low:high]), 1)
        needed[place] = np.exp(np.polyval(line, np.log(LEVEL)))
    return needed


def _summarise(found: Mapping[str, Found]) -> tuple[list[Number], list[Panel]]:
    cells = [found[f"n{n}"]["errors"] for n in SIZES]
    needed, _, _ = bootstrap(_needed, cells, 1)
    numbers, series = [], []
    for h, half in enumerate(HALVES):
        worth = needed[0, h] / needed[:, h]
        series.append(Series(f"atoms {2 * half:g} apart", [s / half for s in SIGMAS], worth.tolist()))
        ratio = np.array(SIGMAS) / half
        steep, flat = ratio >= 1.9, ratio <= 0.25
        for key, chosen, words, expected in (
            ("steep", steep, "twice half the distance and more", -6.0),
            ("flat", flat, "a quarter and less", None),
        ):
            if chosen.sum() >= 2:
                value = float(np.polyfit(np.log(ratio[chosen]), np.log(worth[chosen]), 1)[0])
                what = f"slope of worth against sigma, atoms {2 * half:g} apart, sigma {words}"
                numbers.append(Number(f"{key}_{half:g}", what, value, expected=expected))
    line = np.array([1.0, 8.0])
    series.append(Series("slope -6", line.tolist(), (0.06 * line**-6).tolist(), guide=True))
    return numbers, [
        Panel(
            "small-sigma",
            "When cleaner stops being better",
            "Worth of a sample, relative to one almost without noise, for atoms at a fixed distance. Noise well below that distance"
            " costs little; above it, worth falls with the sixth power. Three distances fall on one curve: only the ratio matters.",
            "noise over half the distance, σ / ε",
            "worth in samples without noise",
            series,
        )
    ]


STUDY = Study(
    "small_sigma",
    "Noise below the scale of the law",
    "Two atoms at a fixed distance, noise from far below it to far above.",
    _cells,
    _summarise,
)
