"""How many noisy samples a few clean ones save, in telling two atoms apart.

Ten million samples of noise sigma, to which a few of noise 1 are added: how many more of noise sigma would have done the same?
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.experiments.theory.separation import RADIUS, SEPARATIONS, SHAPES, probabilities
from noiseworth.experiments.theory.simulate import group_weights, hermite_sums, line_errors
from noiseworth.experiments.theory.study import (
    Cell,
    Found,
    Study,
    bootstrap,
    crossing,
    repeats,
    worst,
)
from noiseworth.records import Number, Panel, Series

Array = NDArray[np.float64]

NOISY = 10_000_000
SIGMAS = (1.5, 2.0, 3.0)
ADDED = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # clean samples, times NOISY sigma^-6: 1 should do as much as all the noisy ones
GROWN = (1, 2, 4, 8, 16, 32)  # noisy samples alone, times NOISY


def _run(counts: list[int], sigmas: list[float], number: int, rng: np.random.Generator) -> dict[str, Array]:
    groups = [(hermite_sums(n, probabilities(2), number, 3, rng), s) for n, s in zip(counts, sigmas, strict=True)]
    atoms = SEPARATIONS[:, None] * SHAPES[2]
    return {"errors": line_errors(groups, group_weights(counts, sigmas, 6), atoms, probabilities(2), RADIUS)}


def _clean(sigma: float, times: float) -> int:
    return round(NOISY * sigma**-6 * times)


def _cells(effort: float) -> list[Cell]:
    number = repeats(2000, effort)
    cells = []
    for s in SIGMAS:
        cells += [Cell(f"s{s:g}-grown{g}", partial(_run, [NOISY * g], [s], number), number * 5e-4) for g in GROWN]
        for a in ADDED:
            clean = _clean(s, a)
            cost = number * (1e-3 + min(clean, 1_000_000) * 1.5e-8)
            cells.append(Cell(f"s{s:g}-added{a:g}", partial(_run, [clean, NOISY], [1.0, s], number), cost))
    return cells


def _summarise(found: Mapping[str, Found]) -> tuple[list[Number], list[Panel]]:
    numbers, series = [], []
    for s in SIGMAS:
        grown = np.array([float(NOISY * g) for g in GROWN])
        clean = np.array([float(_clean(s, a)) for a in ADDED])
        cells = [found[f"s{s:g}-grown{g}"]["errors"] for g in GROWN] + [found[f"s{s:g}-added{a:g}"]["errors"] for a in ADDED]

        def saved(sample: list[Array], grown: Array = grown, clean: Array = clean) -> Array:
            errors = np.array([float(worst(e)) for e in sample])
            needed = [crossing(grown, errors[: len(GROWN)], e) for e in errors[len(GROWN) :]]
            return (np.array(needed) - NOISY) / clean

        value, low, high = bootstrap(saved, cells)
        share = (clean / NOISY).tolist()
        series += [
            Series(f"σ = {s:g}", share, value.tolist(), low.tolist(), high.tolist()),
            Series(f"σ^6 = {s**6:.3g}", share, [s**6] * len(share), guide=True),
        ]
        at = ADDED.index(4.0)
        what = f"noisy samples (sigma {s:g}) saved by one of noise 1, where {share[at]:.2%} are added"
        numbers.append(Number(f"saved_{s:g}", what, float(value[at]), float(low[at]), float(high[at]), s**6, "samples"))
    panel = Panel(
        "few-clean",
        "How many noisy samples a clean one saves",
        "To ten million noisy samples a few cleaner ones are added; the noisy samples that would have done the same, per added one."
        " One sample of noise 1 saves σ^6 of noise σ: 729 at σ = 3, so that 0.14% of cleaner samples count as much as all the others.",
        "cleaner samples added, as a share of the noisy ones",
        "noisy samples saved by each",
        series,
    )
    return numbers, [panel]


STUDY = Study(
    "few_clean", "What a few clean samples save", "Ten million noisy samples of two atoms, and a few cleaner ones.", _cells, _summarise
)
