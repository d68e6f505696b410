"""What a study is, and how its numbers come out of repetitions: worst cases, slopes, bootstrap intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.records import Number, Panel, Series
from noiseworth.theory.bounds import Samples, lower_bound

Array = NDArray[np.float64]
Found = Mapping[str, Array]


@dataclass(frozen=True)
class Cell:
    """One piece of a study, which can be done or not: `run` measures it with a generator of its own. `cost` is in rough seconds."""

    key: str
    run: Callable[[np.random.Generator], dict[str, Array]]
    cost: float = 1.0


@dataclass(frozen=True)
class Study:
    """`cells(effort)` lists what to measure; `summarise` turns what was found, by key of the cell, into numbers and figures."""

    name: str
    title: str
    lead: str
    cells: Callable[[float], list[Cell]]
    summarise: Callable[[Mapping[str, Found]], tuple[list[Number], list[Panel]]]


def repeats(number: int, effort: float, least: int = 4) -> int:
    """Repetitions at this effort."""
    return max(least, round(number * effort))


def worst(errors: Array) -> Array:
    """The mean error at the worst separation: errors (repetitions, separations) -> a scalar, as an array."""
    return np.asarray(errors.mean(axis=0).max())


def bootstrap(
    statistic: Callable[[list[Array]], float | Array], samples: list[Array], resamples: int = 200
) -> tuple[Array, Array, Array]:
    """A statistic of several samples, with its 95% interval by the bootstrap.

    Args:
        statistic: takes the samples, each an array whose first axis is repetitions.
        samples: what was measured.
        resamples: of the bootstrap.

    Returns:
        Value, low and high, of the statistic's shape.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        drawn.append(statistic([s[rng.integers(len(s), size=len(s))] for s in samples]))
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    return np.asarray(statistic(samples)), low, high


def with_interval(key: str, what: str, found: tuple[Array, Array, Array], expected: float | None = None, unit: str = "") -> Number:
    """A number with its interval, as `bootstrap` gives them."""
    value, low, high = (float(f) for f in found)
    return Number(key, what, value, low, high, expected, unit)


def split_last(found: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """All but the last entries of a value and its interval, and the last."""
    value, low, high = found
    return (value[:-1], low[:-1], high[:-1]), (value[-1], low[-1], high[-1])


def curve(label: str, x: Array, cells: list[Array], statistic: Callable[[Array], float | Array] = worst) -> Series:
    """A statistic of each cell, by default the worst error, with intervals."""
    parts = [bootstrap(lambda samples: statistic(samples[0]), [cell], 100) for cell in cells]
    y, low, high = (np.array(column).tolist() for column in zip(*parts, strict=True))
    return Series(label, np.asarray(x).tolist(), y, low, high)


def exchange_rates(sizes: Array, errors: Array, at: int, sigmas: tuple[float, ...]) -> Array:
    """Samples of the first noise that one sample of each noise is worth, at the error of `sizes[0, at]` samples of the first.

    Args:
        sizes, errors: (sigmas, sizes).
        at: which size.
        sigmas: the noises.

    Returns:
        The rates, and in the last place their slope against sigma.
    """
    rates = np.array([sizes[0, at] / crossing(n, e, float(errors[0, at])) for n, e in zip(sizes, errors, strict=True)])
    return np.append(rates, slope(np.array(sigmas), rates))


def slope(x: Array, y: Array) -> float:
    """The exponent of a power law through points: least squares in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def crossing(n: Array, errors: Array, level: float) -> float:
    """The number of samples at which an error reaches a level, by a power law through the four points nearest to it.

    At most ten times beyond the range of n.
    """
    near = np.argsort(np.abs(np.log(errors / level)))[:4]
    fitted = np.polyval(np.polyfit(np.log(errors[near]), np.log(n[near]), 1), np.log(level))
    return float(np.exp(np.clip(fitted, np.log(n.min() / 10), np.log(n.max() * 10))))


def against_lower_bound(errors: list[float], samples: list[Samples], k: int, d: int) -> list[Number]:
    """The least and the greatest ratio of errors to the shape of the lower bound (Theorem 4.4, constants 1, delta = 1/e)."""
    ratios = [error / lower_bound(s, k, d) for error, s in zip(errors, samples, strict=True)]
    place = f"k = {k}, d = {d}, {len(ratios)} settings"
    return [
        Number(f"k{k}_d{d}_least", f"least error over the lower bound's shape ({place})", min(ratios)),
        Number(f"k{k}_d{d}_most", f"greatest error over the lower bound's shape ({place})", max(ratios)),
    ]
