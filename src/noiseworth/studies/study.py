"""A study as data, and the statistics of its repetitions: worst cases, slopes, bootstrap intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.theory.bounds import Samples, lower_bound

Array = NDArray[np.float64]
CellResult = Mapping[str, Array]  # what a cell measured: name -> array


@dataclass(frozen=True)
class Cell:
    """A part of a study that is measured and saved as a whole.

    Attributes:
        key: name of the cell, unique within the study; also the name of its file.
        run: measures the cell with a random generator of its own, and returns arrays by name.
        cost: approximate time in seconds, for the progress bar.
    """

    key: str
    run: Callable[[np.random.Generator], dict[str, Array]]
    cost: float = 1.0


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: name of the study and of its module.
        title: heading on the page.
        lead: first sentence on the page.
        cells: the cells to measure, at an effort.
        summarise: numbers and figures from what the cells measured, by key of the cell.
    """

    name: str
    title: str
    lead: str
    cells: Callable[[float], list[Cell]]
    summarise: Callable[[Mapping[str, CellResult]], tuple[list[Number], list[Panel]]]


def repeats(number: int, effort: float, least: int = 4) -> int:
    """Number of repetitions at an effort: `number * effort`, rounded, and at least `least`."""
    return max(least, round(number * effort))


def worst(errors: Array) -> Array:
    """Mean error at the worst separation: errors (repetitions, separations) -> a scalar, as an array."""
    return np.asarray(errors.mean(axis=0).max())


def bootstrap(
    statistic: Callable[[list[Array]], float | Array], samples: list[Array], resamples: int = 200
) -> tuple[Array, Array, Array]:
    """A statistic of several samples, with its 95% interval by the bootstrap over repetitions.

    Args:
        statistic: function of the samples.
        samples: arrays whose first axis is repetitions.
        resamples: number of resamples of the bootstrap.

    Returns:
        Value, low end and high end of the interval, each of the statistic's shape.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        drawn.append(statistic([s[rng.integers(len(s), size=len(s))] for s in samples]))
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    return np.asarray(statistic(samples)), low, high


def with_interval(
    key: str, what: str, estimate: tuple[Array, Array, Array], expected: float | None = None, unit: str = ""
) -> Number:
    """A record of a number with its interval, from the result of `bootstrap`."""
    value, low, high = (float(f) for f in estimate)
    return Number(key, what, value, low, high, expected, unit)


def split_last(
    estimate: tuple[Array, Array, Array],
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Split a value (k,) with its interval, from `bootstrap`, into the first k - 1 entries and the last."""
    value, low, high = estimate
    return (value[:-1], low[:-1], high[:-1]), (value[-1], low[-1], high[-1])


def curve(
    label: str, x: Array, cells: list[Array], statistic: Callable[[Array], float | Array] = worst
) -> Series:
    """A curve of a statistic of each cell, by default the worst error, with 95% intervals.

    Args:
        label: in the legend.
        x: one number for each cell.
        cells: measurements of each cell; the first axis is repetitions.
        statistic: function of the measurements of a cell.
    """
    parts = [bootstrap(lambda samples: statistic(samples[0]), [cell], 100) for cell in cells]
    y, low, high = (np.array(column).tolist() for column in zip(*parts, strict=True))
    return Series(label, np.asarray(x).tolist(), y, low, high)


def exchange_rates(sizes: Array, errors: Array, at: int, sigmas: tuple[float, ...]) -> Array:
    """Worth of one sample of each noise in samples of the first noise, at equal error.

    Args:
        sizes: (sigmas, sizes) numbers of samples.
        errors: (sigmas, sizes) errors of the estimate.
        at: index of a size; the worth is measured at the error of `sizes[0, at]` samples of the first noise.
        sigmas: the noise of each row.

    Returns:
        (sigmas + 1,): the rates, then their slope against sigma.
    """
    rates = np.array(
        [sizes[0, at] / crossing(n, e, float(errors[0, at])) for n, e in zip(sizes, errors, strict=True)]
    )
    return np.append(rates, slope(np.array(sigmas), rates))


def slope(x: Array, y: Array) -> float:
    """Exponent of a power of x that is fitted to y by least squares in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def crossing(n: Array, errors: Array, level: float) -> float:
    """Number of samples at which the error reaches a level: a power of n through the four nearest points.

    The result is kept to at most ten times beyond the range of n.
    """
    near = np.argsort(np.abs(np.log(errors / level)))[:4]
    fitted = np.polyval(np.polyfit(np.log(errors[near]), np.log(n[near]), 1), np.log(level))
    return float(np.exp(np.clip(fitted, np.log(n.min() / 10), np.log(n.max() * 10))))


def against_lower_bound(errors: list[float], samples: list[Samples], k: int, d: int) -> list[Number]:
    """Least and greatest ratio of the errors to the lower bound (Theorem 4.4, constants 1, delta = 1/e)."""
    ratios = [error / lower_bound(s, k, d) for error, s in zip(errors, samples, strict=True)]
    setting = f"k = {k}, d = {d}, {len(ratios)} settings"
    return [
        Number(f"k{k}_d{d}_least", f"least error over the lower bound's shape ({setting})", min(ratios)),
        Number(f"k{k}_d{d}_most", f"greatest error over the lower bound's shape ({setting})", max(ratios)),
    ]
