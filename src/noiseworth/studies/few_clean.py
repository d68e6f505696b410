"""How many noisy samples one clean sample saves in separating two atoms.

A few samples of noise 1 ("clean") are added to ten million samples of noise sigma. How many more samples of
noise sigma would give the same error?
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.studies.separation import RADIUS, SEPARATIONS, SHAPES, probabilities
from noiseworth.studies.simulate import group_weights, hermite_sums, line_errors
from noiseworth.studies.study import (
    Cell,
    CellResult,
    Study,
    bootstrap,
    crossing,
    repeats,
    worst,
)

Array = NDArray[np.float64]

NOISY = 10_000_000
SIGMAS = (1.5, 2.0, 3.0)
# Clean samples, in units of NOISY sigma^-6. One unit should be worth as much as all the noisy samples.
ADDED = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
GROWN = (1, 2, 4, 8, 16, 32)  # noisy samples alone, in units of NOISY


def _run(counts: list[int], sigmas: list[float], number: int, rng: np.random.Generator) -> dict[str, Array]:
    groups = [
        (hermite_sums(n, probabilities(2), number, 3, rng), s) for n, s in zip(counts, sigmas, strict=True)
    ]
    atoms = SEPARATIONS[:, None] * SHAPES[2]
    return {"errors": line_errors(groups, group_weights(counts, sigmas, 6), atoms, probabilities(2), RADIUS)}


def _clean(sigma: float, times: float) -> int:
    return round(NOISY * sigma**-6 * times)


def _cells(effort: float) -> list[Cell]:
    number = repeats(2000, effort)
    cells = []
    for s in SIGMAS:
        cells += [
            Cell(f"s{s:g}-grown{g}", partial(_run, [NOISY * g], [s], number), number * 5e-4) for g in GROWN
        ]
        for a in ADDED:
            clean = _clean(s, a)
            cost = number * (1e-3 + min(clean, 1_000_000) * 1.5e-8)
            cells.append(Cell(f"s{s:g}-added{a:g}", partial(_run, [clean, NOISY], [1.0, s], number), cost))
    return cells


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    numbers = []
    series = []
    for s in SIGMAS:
        grown = np.array([float(NOISY * g) for g in GROWN])
        clean = np.array([float(_clean(s, a)) for a in ADDED])
        cells = [results[f"s{s:g}-grown{g}"]["errors"] for g in GROWN] + [
            results[f"s{s:g}-added{a:g}"]["errors"] for a in ADDED
        ]

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
        numbers.append(
            Number(f"saved_{s:g}", what, float(value[at]), float(low[at]), float(high[at]), s**6, "samples")
        )
    panel = Panel(
        "few-clean",
        "How many noisy samples a clean one saves",
        "A few samples of noise 1 are added to ten million samples of noise σ. The figure shows how many"
        " more samples of noise σ would give the same error, per added sample. One sample of noise 1 saves"
        " σ^6 samples of noise σ. At σ = 3 these are 729, so that 0.14% of cleaner samples count as much as"
        " all the others.",
        "cleaner samples added, as a share of the noisy ones",
        "noisy samples saved by each",
        series,
    )
    return numbers, [panel]


STUDY = Study(
    "few_clean",
    "What a few clean samples save",
    "Ten million noisy samples of two atoms, and a few cleaner ones.",
    _cells,
    _summarise,
)
