"""The best exposures for a budget: of one length, or a mix of two.

An image of exposure `t` costs `t + overhead`, has noise `s(t)`, and is worth `r(s(t))` clean ones. With one currency and as many objects
as one likes, the best is one exposure, that of the greatest `r(s(t)) / (t + overhead)`: both the worth and the cost of a mix are sums.
Two pay where objects are scarce (each is exposed once, so that the rest of the budget lengthens some of the exposures), and by a law of
two currencies, of which one asks for many images and the other for good ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.fit import Law, refits
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import FEWEST
from noiseworth.records import ExposureChoice, ExposureRecord, TakenRecord

Array = NDArray[np.float64]

_EXPOSURES = 60  # that are compared
_SPLITS = np.linspace(0, 1, 51)  # shares of the budget that the shorter of two exposures takes
_PAYS = 1e-3  # relative, by which a mix of two must be better than one exposure to be told
_FLAT = 1.01
REFITS = 200


@dataclass(frozen=True)
class _Taken:
    """Numbers (2,) of images of two exposures (2,)."""

    exposures: Array
    counts: Array


def plan_exposures(
    law: Law,
    observations: Observations,
    instrument: Instrument,
    budget: float,
    *,
    beyond: bool = False,
    others: list[Law] | None = None,
) -> ExposureRecord:
    """The best exposures.

    Args:
        law: of two currencies, or a curve; fitted to `observations`.
        observations: trained models.
        instrument: what there is to expose with.
        budget: in the instrument's unit.
        beyond: also where the instrument's noise lies beyond that of the observed models.
        others: laws that are as likely, for the intervals; by default fits to resampled residuals.

    Raises:
        UserError: the budget buys no image, or the noise lies beyond the observed models' and `beyond` is not set.
    """
    exposures = instrument.exposures(_EXPOSURES)
    remarks = beyond_levels(observations, instrument, allowed=beyond)
    market = _Market(instrument, budget, exposures)
    if not market.most.any():
        least = float(instrument.cost_of(exposures[:1])[0])
        raise UserError(
            f"--budget {budget:g}: buys no image; one of the shortest exposure costs {least:g} {instrument.unit}"
        )
    others = others or refits(law, observations, REFITS, student=True)
    single_quality = market.qualities_of_one(law)
    single = market.one(int(single_quality.argmin()))
    two = market.best_of_two(law)
    is_better = two is not None and market.quality(law, two) < (1 - _PAYS) * market.quality(law, single)
    best = two if two is not None and is_better else single
    paid = np.flatnonzero(market.most)
    longest, shortest = market.one(int(paid[-1])), market.one(int(paid[0]))
    flat = exposures[single_quality <= _FLAT * single_quality.min()]
    total = best.counts.sum()
    observed = observations.n_clean + observations.n_noisy.sum(axis=1)
    if not observed.min() <= total <= observed.max():
        remarks.append(
            f"{total:,.0f} images; the observed models have {observed.min():,.0f} to {observed.max():,.0f}"
        )
    choice, ratio = market.choice, market.ratio
    return ExposureRecord(
        unit=instrument.unit,
        budget=budget,
        best=choice(law, others, best),
        single=choice(law, others, single),
        longest=choice(law, others, longest),
        shortest=choice(law, others, shortest),
        over_longest=ratio(law, others, longest, best),
        over_shortest=ratio(law, others, shortest, best),
        flat=(float(flat.min()), float(flat.max())),
        price=market.price(law, others, single),
        beyond=remarks,
    )


def beyond_levels(o: Observations, instrument: Instrument, *, allowed: bool) -> list[str]:
    """What to say of noise of the instrument that lies beyond that of the observed models; nothing if none does.

    Raises:
        UserError: some does, and it is not `allowed`.
    """
    exposures = instrument.exposures(_EXPOSURES)
    levels = instrument.sigma_of(exposures)
    least = 0.0 if (o.n_clean > 0).any() else min(o.sigmas)
    most = max(o.sigmas)
    is_inside = levels.max() <= 1.001 * most and levels.min() >= 0.999 * least
    if is_inside:
        return []
    words = (
        f"exposures of {exposures[0]:g} to {exposures[-1]:g} {instrument.unit} leave noise {levels.max():.3g} to {levels.min():.3g}, and"
        f" the observed models have noise {least:g} to {most:g}"
    )
    if not allowed:
        raise UserError(
            f"{words}: train models on such noise, name other exposures (least, most), or take the law beyond them (--beyond)"
        )
    return [words]


class _Market:
    """What an instrument and a budget can buy."""

    def __init__(self, instrument: Instrument, budget: float, exposures: Array) -> None:
        self.instrument, self.budget, self.exposures = instrument, budget, exposures
        self.costs = instrument.cost_of(exposures)
        self.objects = np.inf if instrument.objects is None else float(instrument.objects)
        self.most = np.minimum(np.floor(budget / self.costs * (1 + 1e-12)), self.objects)

    def rates(self, law: Law, exposures: Array) -> Array:
        """Worth (K, N) of images of these exposures in each currency."""
        return np.atleast_2d(law.at(tuple(self.instrument.sigma_of(exposures).tolist())).rates())

    def quality_of(self, law: Law, worth: Array) -> Array:
        """Predicted quality (...) of images of so much worth (K, ...) in all."""
        floor, terms = law.terms()
        whole = np.full(worth.shape[1:], floor)
        for (amplitude, exponent, _), total in zip(terms, worth, strict=True):
            whole = whole + amplitude * np.maximum(total / law.unit, FEWEST) ** -exponent
        return whole

    def quality(self, law: Law, taken: _Taken) -> float:
        """Predicted quality of a choice."""
        return float(self.quality_of(law, self.rates(law, taken.exposures) @ taken.counts))

    def qualities_of_one(self, law: Law) -> Array:
        """Predicted quality (N,) of as many images of each exposure as can be had."""
        return np.where(
            self.most > 0, self.quality_of(law, self.rates(law, self.exposures) * self.most), np.inf
        )

    def one(self, index: int) -> _Taken:
        """As many images of one exposure as can be had."""
        return _Taken(self.exposures[[index]], self.most[[index]])

    def best_of_two(self, law: Law) -> _Taken | None:
        """The best mix of two exposures, whole images; None if there is none."""
        rates = self.rates(law, self.exposures)
        best, found = np.inf, None
        for short in range(len(self.exposures) - 1):
            for long in range(short + 1, len(self.exposures)):
                counts = self._splits(short, long)
                if not counts.shape[1]:
                    continue
                quality = self.quality_of(law, rates[:, [short, long]] @ counts)
                at = int(quality.argmin())
                if quality[at] < best:
                    best = float(quality[at])
                    found = _Taken(self.exposures[[short, long]], counts[:, at])
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

    def choice(self, law: Law, others: list[Law], taken: _Taken) -> ExposureChoice:
        """A choice as a record."""
        qualities = np.array([self.quality(other, taken) for other in others])
        low, high = np.quantile(qualities, [0.025, 0.975])
        sigmas, rates = self.instrument.sigma_of(taken.exposures), self.rates(law, taken.exposures)
        images = [
            TakenRecord(float(t), int(n), float(s), float(r))
            for t, n, s, r in zip(taken.exposures, taken.counts, sigmas, rates.max(0), strict=True)
        ]
        cost = float(self.instrument.cost_of(taken.exposures) @ taken.counts)
        return ExposureChoice(images, cost, self.quality(law, taken), float(low), float(high))

    def ratio(self, law: Law, others: list[Law], worse: _Taken, better: _Taken) -> tuple[float, float, float]:
        """Quality of one choice over that of another, and the ends of its 95% interval."""
        ratios = [self.quality(one, worse) / self.quality(one, better) for one in [law, *others]]
        low, high = np.quantile(ratios[1:], [0.025, 0.975])
        return ratios[0], float(low), float(high)

    def price(self, law: Law, others: list[Law], taken: _Taken) -> tuple[float, float, float]:
        """What images of the first exposure cost that are worth one clean image, and the ends of its 95% interval."""
        cost = float(self.instrument.cost_of(taken.exposures)[0])
        prices = [cost / float(self.rates(one, taken.exposures).max(0)[0]) for one in [law, *others]]
        low, high = np.quantile(prices[1:], [0.025, 0.975])
        return prices[0], float(low), float(high)
