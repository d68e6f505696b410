"""The best exposures for a budget: of one length, or a mix of two.

An image of exposure `t` costs `t + overhead`, has noise `s(t)`, and is worth `r(s(t))` clean ones. With one currency and as many objects
as one likes, the best is one exposure, that of the greatest `r(s(t)) / (t + overhead)`: both the worth and the cost of a mix are sums.
Two pay where objects are scarce (each is exposed once, so that the rest of the budget lengthens some of the exposures), and by laws of
several currencies: coarse structure asks for many images, and detail for good ones.
"""

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.exposure_market import EXPOSURES, ExposureMarket, Taken
from noiseworth.laws.fit import refits
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.records import ExposureRecord

Array = NDArray[np.float64]

_FLAT = 1.01
_NEAR = 1.02  # noise so little beyond the models' is not told
REFITS = 200


def plan_exposures(
    law: Law,
    observations: Observations,
    instrument: Instrument,
    budget: float,
    *,
    have: Taken | None = None,
    beyond: bool = False,
    others: list[Law] | None = None,
) -> ExposureRecord:
    """The best exposures.

    Args:
        law: of two currencies, of levels, or a curve; fitted to `observations`.
        observations: trained models.
        instrument: what there is to expose with.
        budget: in the instrument's unit.
        have: images that are there already.
        beyond: also where the instrument's noise lies beyond that of the observed models.
        others: laws that are as likely, for the intervals; by default fits to resampled residuals.

    Raises:
        UserError: the budget buys no image, or the noise lies beyond the observed models' and `beyond` is not set.
    """
    remarks = beyond_levels(observations, instrument, allowed=beyond)
    market = ExposureMarket(instrument, budget, have)
    if not market.most.any():
        if not market.objects:
            raise UserError(f"objects {instrument.objects:,}: all have been exposed; none is left to buy")
        raise UserError(
            f"--budget {budget:g}: buys no image; one of the shortest exposure costs {market.costs[0]:g} {instrument.unit}"
        )
    others = others or refits(law, observations, REFITS, student=True)
    single_quality = market.qualities_of_one(law)
    single = market.one(int(single_quality.argmin()))
    best = market.best(law)
    paid = np.flatnonzero(market.most)
    longest, shortest = market.one(int(paid[-1])), market.one(int(paid[0]))
    flat = market.exposures[single_quality <= _FLAT * single_quality.min()]
    total = best.counts.sum() + market.have.counts.sum()
    observed = observations.n_clean + observations.n_noisy.sum(axis=1)
    if not observed.min() <= total <= observed.max():
        remarks.append(
            f"{total:,.0f} images; the observed models have {observed.min():,.0f} to {observed.max():,.0f}"
        )
    choice, ratio = market.choice, market.ratio
    return ExposureRecord(
        law=law.name,
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
    exposures = instrument.exposures(EXPOSURES)
    levels = instrument.sigma_of(exposures)
    least = 0.0 if (o.n_clean > 0).any() else min(o.sigmas)
    most = max(o.sigmas)
    is_inside = levels.max() <= _NEAR * most and levels.min() >= least / _NEAR
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
