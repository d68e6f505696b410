"""Everything that observations say about prices, in one record."""

from contextlib import suppress

import numpy as np

from noiseworth.errors import UserError
from noiseworth.laws.fit import LAWS, Law, fit_law, held_out_errors
from noiseworth.laws.inequalities import price_intervals
from noiseworth.laws.observations import Observations
from noiseworth.records import LawRecord, PriceRecord


def describe(observations: Observations, source: str) -> LawRecord:
    """Fit both laws, the second where there are enough observations, and bound the prices by inequalities.

    Raises:
        UserError: there are no noisy images, or the observations do not determine the one-currency law.
    """
    if not observations.sigmas:
        raise UserError(f"{source}: no model was trained on noisy images, so there is no price to find")
    laws: dict[str, Law] = {"one": fit_law(observations, "one")}
    with suppress(UserError):  # it has more parameters; where they cannot be determined the first law stands alone
        laws["two"] = fit_law(observations, "two")
    one, two = laws["one"], laws.get("two")
    errors = {name: held_out_errors(observations, name) for name in laws}
    exponent, low, high = one.exponent()
    prices = []
    for s, bounds in enumerate(price_intervals(observations)):
        rate, (rate_low, rate_high) = float(one.rates()[s]), one.rate_intervals()[s]
        both = sorted((float(r) for r in two.rates()[:, s]), reverse=True) if two else [None, None]
        prices.append(
            PriceRecord(
                bounds.sigma, rate, float(rate_low), float(rate_high), 1 / rate, bounds.low, bounds.high, coarse=both[0], fine=both[1]
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
    )
