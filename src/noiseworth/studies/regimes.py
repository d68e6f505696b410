"""Error against n for the four regimes of `noiseworth demo`, for separation and for the subspace.

The regimes: all samples clean; a tenth of them, clean, alone; all noisy; a tenth clean and the rest noisy.
"Clean" is noise 1 in this study, "noisy" is noise 2. By the effective numbers of samples, the noisy nine
tenths are worth half of the clean tenth for the subspace (`S4`), and a seventh of it for separation (`SL`).
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import REGIMES, Number, Panel
from noiseworth.studies.separation import RADIUS, SEPARATIONS, SHAPES, probabilities
from noiseworth.studies.simulate import group_weights, hermite_sums, line_errors
from noiseworth.studies.study import (
    Cell,
    CellResult,
    Study,
    curve,
    repeats,
    slope,
)
from noiseworth.studies.subspace import STEPS, errors_in_space
from noiseworth.theory.bounds import Samples

Array = NDArray[np.float64]

SIGMA = 2.0  # of the noisy samples
CLEAN_SHARE = 0.1
DIMENSION = 100
LINE_SIZES = [10**e for e in range(4, 10)]
SPACE_SIZES = [128_000 * 4**e for e in range(4)]
LABELS = {
    "clean": "all clean",
    "clean_small": "a tenth, clean, alone",
    "noisy": "all noisy",
    "mixed": "a tenth clean, the rest noisy",
}


def groups(regime: str, n: int) -> tuple[list[int], list[float]]:
    """Numbers of samples of each noise level, and the noise levels."""
    few = round(n * CLEAN_SHARE)
    return {
        "clean": ([n], [1.0]),
        "clean_small": ([few], [1.0]),
        "noisy": ([n], [SIGMA]),
        "mixed": ([few, n - few], [1.0, SIGMA]),
    }[regime]


def _line(regime: str, n: int, number: int, rng: np.random.Generator) -> dict[str, Array]:
    counts, sigmas = groups(regime, n)
    sums = [
        (hermite_sums(m, probabilities(2), number, 3, rng), s) for m, s in zip(counts, sigmas, strict=True)
    ]
    atoms = SEPARATIONS[:, None] * SHAPES[2]
    return {"errors": line_errors(sums, group_weights(counts, sigmas, 6), atoms, probabilities(2), RADIUS)}


def _space(regime: str, n: int, number: int, rng: np.random.Generator) -> dict[str, Array]:
    counts, sigmas = groups(regime, n)
    separations = (DIMENSION / Samples(counts, sigmas).subspace) ** 0.25 * STEPS
    return {"errors": errors_in_space(DIMENSION, counts, sigmas, separations, number, rng)}


def _cells(effort: float) -> list[Cell]:
    line, space = repeats(400, effort), repeats(60, effort)
    return [
        *(
            Cell(f"line-{r}-n{n}", partial(_line, r, n, line), line * 0.005)
            for r in REGIMES
            for n in LINE_SIZES
        ),
        *(
            Cell(f"space-{r}-n{n}", partial(_space, r, n, space), space * 0.015)
            for r in REGIMES
            for n in SPACE_SIZES
        ),
    ]


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    numbers = []
    panels = []
    for task, sizes, power, words in (
        ("line", LINE_SIZES, 6, "Telling two points apart"),
        ("space", SPACE_SIZES, 4, f"Finding the direction, d = {DIMENSION}"),
    ):
        n = np.array(sizes, dtype=np.float64)
        series = []
        curves = {}
        for regime in REGIMES:
            series.append(
                curve(LABELS[regime], n, [results[f"{task}-{regime}-n{m}"]["errors"] for m in sizes])
            )
            curves[regime] = np.array(series[-1].y)
        for regime in REGIMES[1:]:
            expected = (Samples(*groups(regime, 10**6)).power_sum(power) / 10**6) ** (-1 / power)
            ratio = float(np.exp(np.mean(np.log(curves[regime] / curves["clean"]))))
            what = f"error over that of all clean, {LABELS[regime]}: {words.lower()}"
            numbers.append(Number(f"{task}_{regime}", what, ratio, expected=expected, unit="ratio"))
        numbers.append(
            Number(
                f"{task}_slope",
                f"slope of the error against n, mixed: {words.lower()}",
                slope(n, curves["mixed"]),
                expected=-1 / power,
            )
        )
        panels.append(
            Panel(
                f"regimes-{task}",
                words,
                f"Error against n for four mixes of clean (noise 1) and noisy (noise {SIGMA:g}) samples."
                " The curves are parallel: a mix is as good as all clean samples with n times a constant"
                " factor, which is the ratio of the effective numbers of samples.",
                "samples n",
                "error (W1)",
                series,
            )
        )
    return numbers, panels


STUDY = Study(
    "regimes",
    "Clean, noisy, mixed",
    "All samples clean; a tenth of them, clean, alone; all noisy; that tenth clean and the rest noisy.",
    _cells,
    _summarise,
)
