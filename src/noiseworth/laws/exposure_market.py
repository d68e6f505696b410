"""What an instrument and a budget can buy beside the images that are there, and how good a law finds it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.records import ExposureChoice, TakenRecord

Array = NDArray[np.float64]

EXPOSURES = 60  # that are compared
_SPLITS = np.linspace(0, 1, 51)  # shares of the budget that the shorter of two exposures takes

_PAYS = 1e-3  # relative, by which a mix of two must be better than one exposure to be told


@dataclass(frozen=True)
class Taken:
    """Numbers (N,) of images of N exposures (N,)."""

    exposures: Array = field(default_factory=lambda: np.zeros(0))
    counts: Array = field(default_factory=lambda: np.zeros(0))


def together(a: Taken, b: Taken) -> Taken:
    """All images, by exposure."""
    exposures, index = np.unique(np.concatenate([a.exposures, b.exposures]), return_inverse=True)
    counts = np.bincount(index, np.concatenate([a.counts, b.counts]))
    return Taken(exposures, counts.astype(np.float64))


class ExposureMarket:
    """What an instrument and a budget can buy.

    Args:
        instrument: what there is to expose with.
        budget: in its unit.
        have: images that are there already; every quality is that of all images.
    """

    def __init__(self, instrument: Instrument, budget: float, have: Taken | None = None) -> None:
        self.have = have or Taken()
        self.instrument, self.budget = instrument, budget
        self.exposures = instrument.exposures(EXPOSURES)
        self.costs = instrument.cost_of(self.exposures)
        objects = np.inf if instrument.objects is None else float(instrument.objects)
        self.objects = max(objects - float(self.have.counts.sum()), 0.0)
        # How many images of each exposure can be had.
        self.most = np.minimum(np.floor(budget / self.costs * (1 + 1e-12)), self.objects)

    def rates(self, law: Law, exposures: Array) -> Array:
        """Worth (K, N) of images of these exposures in each currency."""
        return np.atleast_2d(law.at(tuple(self.instrument.sigma_of(exposures).tolist())).rates())

    def had(self, law: Law) -> Array:
        """What the images that are there are worth (K,)."""
        return np.asarray(self.rates(law, self.have.exposures) @ self.have.counts)

    def quality(self, law: Law, taken: Taken) -> float:
        """Predicted quality of a choice."""
        return float(law.quality_of(self.had(law) + self.rates(law, taken.exposures) @ taken.counts))

    def worths(self, law: Law, taken: Taken) -> Array:
        """What one more image of each of its exposures (2,) is worth in clean ones, beside a choice."""
        rates = self.rates(law, taken.exposures)
        return law.marginal(self.had(law) + rates @ taken.counts, rates)

    def qualities_of_one(self, law: Law) -> Array:
        """Predicted quality (N,) of as many images of each exposure as can be had."""
        worth = self.had(law)[:, None] + self.rates(law, self.exposures) * self.most
        return np.where(self.most > 0, law.quality_of(worth), np.inf)

    def one(self, index: int) -> Taken:
        """As many images of one exposure as can be had."""
        return Taken(self.exposures[[index]], self.most[[index]])

    def best(self, law: Law) -> Taken:
        """The best of one exposure, or a mix of two that is better by more than a trifle."""
        single = self.one(int(self.qualities_of_one(law).argmin()))
        two = self.best_of_two(law)
        pays = two is not None and self.quality(law, two) < (1 - _PAYS) * self.quality(law, single)
        return two if two is not None and pays else single

    def best_of_two(self, law: Law) -> Taken | None:
        """The best mix of two exposures, whole images; None if there is none."""
        rates, had = self.rates(law, self.exposures), self.had(law)[:, None]
        best, found = np.inf, None
        for short in range(len(self.exposures) - 1):
            for long in range(short + 1, len(self.exposures)):
                counts = self._splits(short, long)
                if not counts.shape[1]:
                    continue
                quality = law.quality_of(had + rates[:, [short, long]] @ counts)
                at = int(quality.argmin())
                if quality[at] < best:
                    best = float(quality[at])
                    found = Taken(self.exposures[[short, long]], counts[:, at])
        return found

    def _splits(self, short: int, long: int) -> Array:
        """Whole numbers (2, S) of images of two exposures that can be had together."""
        costs = self.costs[[short, long]]
        shares = _SPLITS
        if np.isfinite(self.objects) and costs[1] * self.objects > self.budget >= costs[0] * self.objects:
            # Every object once, and the whole budget spent.
            of_short = (costs[1] * self.objects - self.budget) / (costs[1] - costs[0])
            shares = np.append(shares, np.ceil(of_short) * costs[0] / self.budget)
        counts = np.floor(np.stack([shares, 1 - shares]) * self.budget / costs[:, None] * (1 + 1e-12))
        is_possible = (counts.sum(0) <= self.objects) & (counts > 0).all(0)
        return np.asarray(counts[:, is_possible])

    def choice(self, law: Law, others: list[Law], taken: Taken) -> ExposureChoice:
        """A choice as a record."""
        qualities = np.array([self.quality(other, taken) for other in others])
        low, high = np.quantile(qualities, [0.025, 0.975])
        sigmas, worths = self.instrument.sigma_of(taken.exposures), self.worths(law, taken)
        images = [
            TakenRecord(float(t), int(n), float(s), float(r))
            for t, n, s, r in zip(taken.exposures, taken.counts, sigmas, worths, strict=True)
        ]
        cost = float(self.instrument.cost_of(taken.exposures) @ taken.counts)
        return ExposureChoice(images, cost, self.quality(law, taken), float(low), float(high))

    def ratio(self, law: Law, others: list[Law], worse: Taken, better: Taken) -> tuple[float, float, float]:
        """Quality of one choice over that of another, and the ends of its 95% interval."""
        ratios = [self.quality(one, worse) / self.quality(one, better) for one in [law, *others]]
        low, high = np.quantile(ratios[1:], [0.025, 0.975])
        return ratios[0], float(low), float(high)

    def price(self, law: Law, others: list[Law], taken: Taken) -> tuple[float, float, float]:
        """What images of the first exposure cost that are worth one clean image, and the ends of its 95% interval."""
        cost = float(self.instrument.cost_of(taken.exposures)[0])
        prices = [cost / float(self.worths(one, taken)[0]) for one in [law, *others]]
        low, high = np.quantile(prices[1:], [0.025, 0.975])
        return prices[0], float(low), float(high)
