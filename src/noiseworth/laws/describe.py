"""One record of what observations of trained models determine: laws, prices, and errors of prediction."""

from contextlib import suppress

import numpy as np

from noiseworth.errors import UserError
from noiseworth.laws.fit import LAWS, fit_law, held_out_errors
from noiseworth.laws.inequalities import price_intervals
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.remarks import floor_remark, inequality_remark
from noiseworth.records import LawRecord, PriceRecord


def describe(observations: Observations, source: str) -> LawRecord:
    """Fit both laws, and bound the prices by inequalities.

    The law of two currencies is left out where the observations do not determine it.

    Args:
        observations: trained models.
        source: where they come from, for messages and for the record.

    Raises:
        UserError: there are no noisy images, or the observations do not determine the law of one currency.
    """
    if not observations.sigmas:
        raise UserError(
            f"{source}: no model was trained on noisy images: add such models to measure their price"
        )
    laws: dict[str, Law] = {"one": fit_law(observations, "one")}
    with suppress(UserError):  # it has more parameters, which the observations may not determine
        laws["two"] = fit_law(observations, "two")
    one, two = laws["one"], laws.get("two")
    errors = {name: held_out_errors(observations, name) for name in laws}
    exponent, low, high = one.exponent()
    prices, remarks = [], [floor_remark(one, observations)]
    for s, bounds in enumerate(price_intervals(observations)):
        rate = float(one.rates()[s])
        rate_low, rate_high = one.rate_intervals()[s]
        if remark := inequality_remark(one, observations, bounds, 1 / float(rate_high), 1 / float(rate_low)):
            remarks.append(f"noise {bounds.sigma:g}: {remark}")
        both = sorted((float(r) for r in two.rates()[:, s]), reverse=True) if two else [None, None]
        prices.append(
            PriceRecord(
                bounds.sigma,
                rate,
                float(rate_low),
                float(rate_high),
                1 / rate,
                bounds.low,
                bounds.high,
                coarse=both[0],
                fine=both[1],
            )
        )
    return LawRecord(
        source=source,
        n_observations=len(observations),
        exponent=exponent,
        exponent_low=low,
        exponent_high=high,
        floor=float(np.exp(one.parameters[0])),
        typical_residual=one.scale,
        prices=prices,
        better=min((name for name in LAWS if name in laws), key=lambda name: laws[name].aicc),
        aicc={name: law.aicc for name, law in laws.items()},
        held_out_median={name: float(np.median(e)) for name, e in errors.items()},
        held_out_p90={name: float(np.quantile(e, 0.9)) for name, e in errors.items()},
        remarks=[remark for remark in remarks if remark],
    )
