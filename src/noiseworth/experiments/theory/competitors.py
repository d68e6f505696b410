"""Moments against likelihood: EM as it is commonly run, EM with patience, and nonparametric maximum likelihood.

Two or three atoms on the line at a distance from merging to far apart, 10,000 samples of which a fifth have noise 1 and the rest 2.
"""

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from noiseworth.experiments.theory.separation import SHAPES, probabilities
from noiseworth.experiments.theory.study import Cell, Found, Study, bootstrap, repeats
from noiseworth.records import Number, Panel, Series
from noiseworth.theory.estimator import AtomicLaw, estimate
from noiseworth.theory.likelihood import fit_em, fit_npmle

Array = NDArray[np.float64]

SAMPLES = 10_000
GAPS = (0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 4.0, 6.0, 10.0)  # between neighbouring atoms
MERGING, APART = GAPS[:4], GAPS[-2:]
METHODS = {
    "moments": "moments",
    "em_usual": "EM as usual (one start, tolerance 1e-3, 100 iterations)",
    "em_patient": "EM with patience (5 starts, tolerance 1e-6, 1,000 iterations)",
    "npmle": "nonparametric maximum likelihood",
}


def _fits(k: int) -> dict[str, Callable[[Array, Array], AtomicLaw]]:
    """The first EM has the defaults of scikit-learn's GaussianMixture."""
    return {
        "moments": lambda x, s: estimate(x, s, k),
        "em_usual": lambda x, s: fit_em(x, s, k, starts=1, tolerance=1e-3, most_iterations=100).law,
        "em_patient": lambda x, s: fit_em(x, s, k).law,
        "npmle": lambda x, s: fit_npmle(x[:, 0], s, float(np.abs(x).max()), grid=150).law,
    }


def _run(k: int, gap: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    truth = AtomicLaw(SHAPES[k][:, None] * gap * (0.5 if k == 2 else 1.0), probabilities(k))
    found = np.empty((2, number, len(METHODS)))
    for r in range(number):
        sigma = np.where(rng.random(SAMPLES) < 0.2, 1.0, 2.0)
        x = truth.atoms[rng.integers(k, size=SAMPLES)] + sigma[:, None] * rng.standard_normal((SAMPLES, 1))
        for m, fit in enumerate(_fits(k).values()):
            began = perf_counter()
            law = fit(x, sigma)
            found[1, r, m] = perf_counter() - began
            found[0, r, m] = law.w1(truth)
    return {"errors": found[0], "seconds": found[1]}


def _cells(effort: float) -> list[Cell]:
    number = repeats(30, effort)
    return [Cell(f"k{k}-gap{gap:g}", partial(_run, k, gap, number), number * 0.7) for k in SHAPES for gap in GAPS]


def _mean(sample: list[Array], method: int) -> float:
    return float(sample[0][:, method].mean())


def _ratio(sample: list[Array], method: int) -> float:
    """Geometric mean over the settings of the error over that of the moments."""
    return float(np.exp(np.mean([np.log(e[:, method].mean() / e[:, 0].mean()) for e in sample])))


def _summarise(found: Mapping[str, Found]) -> tuple[list[Number], list[Panel]]:
    numbers, panels = [], []
    for m, (method, words) in enumerate(list(METHODS.items())[1:], 1):
        for key, gaps, where in (("merging", MERGING, "merging"), ("apart", APART, "far apart")):
            cells = [found[f"k{k}-gap{gap:g}"]["errors"] for k in SHAPES for gap in gaps]
            value, low, high = bootstrap(partial(_ratio, method=m), cells)
            what = f"error over that of the moments, atoms {where} (gaps {gaps[0]:g} to {gaps[-1]:g}): {words}"
            numbers.append(Number(f"{method}_{key}", what, float(value), float(low), float(high), unit="ratio"))
        cells = [found[f"k{k}-gap{gap:g}"]["seconds"] for k in SHAPES for gap in MERGING]
        value, low, high = bootstrap(partial(_ratio, method=m), cells)
        what = f"time over that of the moments, atoms merging: {words}"
        numbers.append(Number(f"{method}_time", what, float(value), float(low), float(high), unit="ratio"))
    for k in SHAPES:
        series = []
        for m, words in enumerate(METHODS.values()):
            parts = [bootstrap(partial(_mean, method=m), [found[f"k{k}-gap{gap:g}"]["errors"]], 100) for gap in GAPS]
            value, low, high = (np.array(column) for column in zip(*parts, strict=True))
            series.append(Series(words.split(" (")[0], list(GAPS), value.tolist(), low.tolist(), high.tolist()))
        few = {2: "two", 3: "three"}[k]
        panels.append(
            Panel(
                f"competitors-{k}",
                f"Moments and likelihood, {few} atoms",
                "Error against the gap between atoms. Far apart, likelihood is better. Where atoms merge, its surface is so flat that"
                " EM stops where it began, unless it is given far more time than the moments need; then it is as good or better.",
                "gap between neighbouring atoms",
                "error (W1)",
                series,
            )
        )
    return numbers, panels


STUDY = Study(
    "competitors",
    "What moments buy, and what they do not",
    "10,000 samples on the line, a fifth with noise 1 and the rest with noise 2; atoms from merging to far apart.",
    _cells,
    _summarise,
)
