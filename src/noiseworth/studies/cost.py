"""Time and memory of the estimator.

For n = 1,000,000 samples in d = 100 dimensions, k = 3; and growth of the time with n and with d.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.studies.study import Cell, CellResult, Study, slope
from noiseworth.theory.estimator import estimate

Array = NDArray[np.float64]

FULL = (1_000_000, 100)
SAMPLES = (125_000, 250_000, 500_000, 1_000_000, 2_000_000)
DIMENSIONS = (25, 50, 100, 200, 400, 800)
AT = (100, 125_000)  # d where n varies, and n where d varies


def _measure(n: int, d: int, seed: int) -> tuple[float, float]:
    """Seconds of the estimate, and the peak memory of this process in MiB, its samples included."""
    rng = np.random.default_rng(seed)
    atoms = 2 * rng.standard_normal((3, d)) / np.sqrt(d)
    x = np.empty((n, d))
    for start in range(0, n, 10_000):  # in parts, so that the memory is that of the samples
        part = x[start : start + 10_000]
        part[:] = rng.standard_normal(part.shape) + atoms[rng.integers(3, size=len(part))]
    began = perf_counter()
    estimate(x, np.ones(n), 3)
    seconds = perf_counter() - began
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _run(n: int, d: int, times: int, rng: np.random.Generator) -> dict[str, Array]:
    """Measure in a new process, so that the peak memory is that of the estimate."""
    measured = []
    for _ in range(times):
        command = [sys.executable, "-m", "noiseworth.studies.cost", str(n), str(d), str(rng.integers(2**31))]
        measured.append(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        )
    return {"seconds": np.array([s for s, _ in measured]), "mib": np.array([max(m for _, m in measured)])}


def _cells(effort: float) -> list[Cell]:
    times = 3 if effort >= 0.5 else 1
    sizes = [
        FULL,
        *((n, AT[0]) for n in SAMPLES if n != FULL[0]),
        *((AT[1], d) for d in DIMENSIONS if d != AT[0]),
    ]
    return [Cell(f"n{n}-d{d}", partial(_run, n, d, times), 1.5 + times * n * d * 4e-8) for n, d in sizes]


def _exponent(name: str, sizes: tuple[int, ...], seconds: Array) -> Number:
    value = slope(np.array(sizes, dtype=np.float64), seconds)
    return Number(
        f"{name}_exponent",
        f"exponent of the time in {name}, from {sizes[0]:,} to {sizes[-1]:,}",
        value,
        expected=1.0,
    )


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    full = results[f"n{FULL[0]}-d{FULL[1]}"]
    by_n = np.array([results[f"n{n}-d{AT[0]}"]["seconds"].min() for n in SAMPLES])
    by_d = np.array([results[f"n{AT[1]}-d{d}"]["seconds"].min() for d in DIMENSIONS])
    words = f"n = {FULL[0]:,}, d = {FULL[1]}, k = 3"
    numbers = [
        Number(
            "seconds",
            f"time of the estimate, slowest of {len(full['seconds'])}, {words}",
            float(full["seconds"].max()),
            unit="s",
        ),
        Number("memory", f"peak memory, {words}, samples included", float(full["mib"][0]), unit="MiB"),
        _exponent("n", SAMPLES[-3:], by_n[-3:]),
        _exponent("d", DIMENSIONS[-3:], by_d[-3:]),
    ]
    size_n = [float(n * AT[0]) for n in SAMPLES]
    size_d = [float(AT[1] * d) for d in DIMENSIONS]
    guide = [size_d[0], size_n[-1]]
    panel = Panel(
        "cost",
        "Time grows with the size of the data",
        "Seconds of one estimate of three atoms against the number of values n d, where n grows and where"
        " d grows. The dashed line is proportional to n d. At the left, a constant part of the time shows.",
        "values n d",
        "seconds",
        [
            Series(f"n grows, d = {AT[0]}", size_n, by_n.tolist()),
            Series(f"d grows, n = {AT[1]:,}", size_d, by_d.tolist()),
            Series("proportional", guide, [float(by_n[-1]) * g / size_n[-1] for g in guide], guide=True),
        ],
    )
    return numbers, [panel]


STUDY = Study(
    "cost",
    "What an estimate costs",
    "Three atoms in up to 800 dimensions, from up to two million samples.",
    _cells,
    _summarise,
)

if __name__ == "__main__":
    print(json.dumps(_measure(*(int(word) for word in sys.argv[1:4]))))
