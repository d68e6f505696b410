"""Moments against likelihood: EM with common settings, EM with patience, nonparametric maximum likelihood.

EM "with patience" has more starts, a smaller tolerance and more iterations (see METHODS).
Two or three atoms on the line, from merging to far apart; 100,000 samples, a fifth with noise 1 and the rest
with noise 2.
"""

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel
from noiseworth.studies.separation import SHAPES
from noiseworth.studies.study import (
    Cell,
    CellResult,
    Study,
    bootstrap,
    curve,
    repeats,
    with_interval,
)
from noiseworth.theory.estimator import AtomicDistribution, estimate, farthest
from noiseworth.theory.likelihood import fit_em, fit_npmle

Array = NDArray[np.float64]

SAMPLES = 100_000
# Unequal weights: EM starts from equal weights, so that equal ones would favour it.
WEIGHTS = {2: np.array([0.3, 0.7]), 3: np.array([0.5, 0.2, 0.3])}
GAPS = (0.2, 0.4, 0.8, 1.2, 2.4, 4.0, 8.0)  # between neighbouring atoms
BANDS = {"merging": GAPS[:4], "between": GAPS[4:6], "apart": GAPS[6:]}
METHODS = {
    "moments": "moments",
    "em_usual": "EM as usual (from k-means, tolerance 1e-3, 100 iterations)",
    "em_patient": "EM with patience (5 starts, tolerance 1e-6, 1,000 iterations)",
    "npmle": "nonparametric maximum likelihood (grid of 80)",
}


def _fits(k: int) -> dict[str, Callable[[Array, Array], AtomicDistribution]]:
    """The methods, as functions of samples and noise. "em_usual" has the default settings of scikit-learn's
    GaussianMixture. Every method gets the samples and their noise alone."""
    return {
        "moments": lambda x, s: estimate(x, s, k),
        "em_usual": lambda x, s: fit_em(x, s, k, starts=1, tolerance=1e-3, most_iterations=100).distribution,
        "em_patient": lambda x, s: fit_em(x, s, k).distribution,
        "npmle": lambda x, s: fit_npmle(x[:, 0], s, farthest(x, s), grid=80).distribution,
    }


def _run(k: int, gap: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    truth = AtomicDistribution(SHAPES[k][:, None] * gap * (0.5 if k == 2 else 1.0), WEIGHTS[k])
    errors = np.empty((number, len(METHODS)))
    seconds = np.empty((number, len(METHODS)))
    for r in range(number):
        sigma = np.where(rng.random(SAMPLES) < 0.2, 1.0, 2.0)
        x = truth.atoms[rng.choice(k, size=SAMPLES, p=WEIGHTS[k])] + sigma[:, None] * rng.standard_normal(
            (SAMPLES, 1)
        )
        for m, fit in enumerate(_fits(k).values()):
            began = perf_counter()
            distribution = fit(x, sigma)
            seconds[r, m] = perf_counter() - began
            errors[r, m] = distribution.w1(truth)
    return {"errors": errors, "seconds": seconds}


def _cells(effort: float) -> list[Cell]:
    number = repeats(6, effort, 2)
    return [
        Cell(f"k{k}-gap{gap:g}", partial(_run, k, gap, number), number * 7.0) for k in SHAPES for gap in GAPS
    ]


def _ratio(sample: list[Array], method: int) -> float:
    """Geometric mean, over the settings, of the ratio of a method's mean error to that of the moments."""
    return float(np.exp(np.mean([np.log(e[:, method].mean() / e[:, 0].mean()) for e in sample])))


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    numbers = []
    panels = []
    for m, (method, words) in enumerate(list(METHODS.items())[1:], 1):
        for band, gaps in BANDS.items():
            for key, values, of in (("errors", band, "error"), ("seconds", f"{band}_time", "time")):
                cells = [results[f"k{k}-gap{gap:g}"][key] for k in SHAPES for gap in gaps]
                where = " to ".join(f"{gap:g}" for gap in sorted({gaps[0], gaps[-1]}))
                what = f"{of} over that of the moments, gaps {where} ({band}): {words}"
                numbers.append(
                    with_interval(
                        f"{method}_{values}", what, bootstrap(partial(_ratio, method=m), cells), unit="ratio"
                    )
                )
    for k in SHAPES:
        series = []
        for m, words in enumerate(METHODS.values()):
            cells = [results[f"k{k}-gap{gap:g}"]["errors"][:, m] for gap in GAPS]
            series.append(curve(words.split(" (")[0], np.array(GAPS), cells, np.mean))
        few = {2: "two", 3: "three"}[k]
        panels.append(
            Panel(
                f"competitors-{k}",
                f"Moments and likelihood, {few} atoms",
                "Error against the gap between atoms. Where the atoms are far apart, EM has a smaller"
                " error than the moments. Where they merge, the likelihood is so flat that EM with the"
                " usual stopping rule stops far too early. With patience EM takes hundreds of times as long"
                " as the moments there, and its error is no smaller.",
                "gap between neighbouring atoms",
                "error (W1)",
                series,
            )
        )
    return numbers, panels


STUDY = Study(
    "competitors",
    "What moments buy, and what they do not",
    "100,000 samples on the line, a fifth with noise 1 and the rest with noise 2; atoms from merging to"
    " far apart.",
    _cells,
    _summarise,
)
