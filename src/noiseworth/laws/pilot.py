"""Which images to take first: a pilot in rounds, until another one costs more than it teaches.

The first round spreads over the exposures that can be had. Every later one lies where the laws that are as likely as the fitted one (the
bootstrap) have their best exposures. What is expected to be lost by a purchase is the mean over these laws of how much worse it is than
their own best purchase: the expected value of perfect information (Raiffa and Schlaifer, Applied Statistical Decision Theory, 1961).
As a loss is quadratic in what the law is off by, it falls as the inverse of the number of models. A round pays if this fall is greater than
what its images, which are not those that one would buy, cost in quality. They count in the final purchase.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.exposure import plan_exposures
from noiseworth.laws.exposure_market import ExposureMarket, Taken, together
from noiseworth.laws.fit import OF_NOISE, fit_best, refits
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import CURVE, LEVELS
from noiseworth.records import PilotImages, PilotRecord

Array = NDArray[np.float64]

_SHARE = 0.1  # of the budget, for a round
_FEWEST, _MOST = 200, 2000  # images of a round
_FIRST = 4  # exposures of the first round
_QUANTILES = (0.1, 0.5, 0.9)  # of the best exposures by the likely laws, for later rounds
_SUBSETS = (1, 3, 9)  # the images of an exposure, a third, a ninth: what models are trained on
_REFITS = 100
_ENOUGH = 0.005  # expected loss, relative, that no further round is taken for


def first_round(instrument: Instrument, budget: float) -> PilotRecord:
    """The images to take before anything is known: of exposures from the shortest to the longest, fewer of what costs more.

    Args:
        instrument: what there is to expose with.
        budget: in its unit.

    Raises:
        UserError: a pilot of the fewest images costs more than half of the budget, or there are too few objects.
    """
    exposures = _spread(instrument)
    round_ = _round(instrument, budget, Taken(), exposures)
    if round_ is None:
        costs = instrument.cost_of(exposures)
        cost = _FEWEST * float(np.sqrt(costs).sum() / (1 / np.sqrt(costs)).sum())
        raise UserError(
            f"a pilot of {_FEWEST} images costs {cost:,.0f} {instrument.unit} and takes {_FEWEST} objects, more than half of the budget,"
            f" {budget:,.0f}, or of the objects: name exposures that are nearer to each other (least, most)"
        )
    return _record(instrument, budget, Taken(), round_)


def next_round(observations: Observations, instrument: Instrument, budget: float, have: Taken) -> PilotRecord:
    """The images to take next, or none where another round does not pay.

    Where the models do not determine a law yet (`unsure`), a further round is like the first, with twice the share of the budget, and the
    plan is that of a law which a weak prior completes.

    Args:
        observations: models that were trained on the images so far.
        instrument: what there is to expose with.
        budget: what is left of it, in units.
        have: the images so far.

    Raises:
        UserError: as for `plan_exposures`.
    """
    unsure = None
    try:
        law = fit_best(observations, OF_NOISE)
    except UserError as error:
        unsure = str(error)
        law = fit_best(observations, (CURVE, LEVELS), check=False)
    others = refits(law, observations, _REFITS, student=True)
    plan = plan_exposures(law, observations, instrument, budget, have=have, others=others)
    market = ExposureMarket(instrument, budget, have)
    images = plan.best.images
    bought = Taken(np.array([i.exposure for i in images]), np.array([i.count for i in images], np.float64))
    regret, best = _expected_regret(market, others, bought)
    exposures = _spread(instrument) if unsure else _settable(instrument, np.quantile(best, _QUANTILES))
    round_ = _round(instrument, budget, have, exposures, 2 * _SHARE if unsure else _SHARE)
    if round_ is None:
        return replace(_record(instrument, budget, have, None), regret=regret, unsure=unsure, plan=plan)
    cost = float(instrument.cost_of(round_.exposures) @ round_.counts)
    after = regret * len(observations) / (len(observations) + len(_SUBSETS) * (len(exposures) + 1))
    # A round is at most half of what is left, so that the rest buys images.
    rest = ExposureMarket(instrument, budget - cost, together(have, round_))
    price = rest.quality(law, rest.best(law)) / plan.best.quality - 1
    pays = regret > _ENOUGH and regret - after > price
    record = _record(instrument, budget, have, round_ if pays else None)
    return replace(record, regret=regret, regret_after=after, price=price, unsure=unsure, plan=plan)


def _expected_regret(market: ExposureMarket, laws: list[Law], bought: Taken) -> tuple[float, Array]:
    """By how much a purchase is worse than the best one of a single exposure, on average over laws; and these exposures."""
    regrets, best = [], []
    for law in laws:
        qualities = market.qualities_of_one(law)
        best.append(market.exposures[qualities.argmin()])
        regrets.append(max(market.quality(law, bought) / float(qualities.min()) - 1, 0.0))
    return float(np.mean(regrets)), np.array(best)


def _spread(instrument: Instrument) -> Array:
    return _settable(instrument, np.geomspace(instrument.least, instrument.most, _FIRST))


def _settable(instrument: Instrument, exposures: Array) -> Array:
    """Exposures as people set them, of three digits or whole numbers; each once."""
    digits = [float(f"{t:.3g}") for t in np.clip(exposures, instrument.least, instrument.most)]
    rounded = np.rint(exposures) if instrument.kind == "averages" else np.array(digits)
    return np.unique(np.clip(rounded, instrument.least, instrument.most))


def _round(
    instrument: Instrument, budget: float, have: Taken, exposures: Array, share: float = _SHARE
) -> Taken | None:
    """Images of some exposures, for a share of the budget; None if they would take more than half of it, or of the objects.

    Of an exposure that costs more there are fewer, as the inverse root: what is learned from a number of images grows with its logarithm or
    its root, and what they cost with the number (Neyman's allocation).
    """
    costs = instrument.cost_of(exposures)
    parts = 1 / np.sqrt(costs)
    parts = parts / parts.sum()
    total = float(np.clip(share * budget / (parts @ costs), _FEWEST, _MOST))
    left = np.inf if instrument.objects is None else instrument.objects - float(have.counts.sum())
    counts = np.ceil(parts * min(total, max(share * left, _FEWEST)))
    if counts @ costs > budget / 2 or counts.sum() > left / 2:
        return None
    return Taken(exposures, counts)


def _record(instrument: Instrument, budget: float, have: Taken, round_: Taken | None) -> PilotRecord:
    taken = round_ or Taken()
    after = together(have, taken)
    images = [
        PilotImages(float(t), int(n), float(s))
        for t, n, s in zip(taken.exposures, taken.counts, instrument.sigma_of(taken.exposures), strict=True)
    ]
    return PilotRecord(
        unit=instrument.unit,
        budget=budget,
        take=images,
        cost=float(instrument.cost_of(taken.exposures) @ taken.counts),
        sigmas=instrument.sigma_of(after.exposures).tolist(),
        models=_models(after.counts),
    )


def _models(counts: Array) -> list[list[int]]:
    """Each exposure alone, and all together: all of the images, and parts of them."""
    alone = [counts * (np.arange(len(counts)) == k) for k in range(len(counts))]
    rows = [np.ceil(images / part) for part in _SUBSETS for images in [*alone, counts]]
    return [row.astype(int).tolist() for row in rows]
