"""Prices at a mix: noisy images for one clean image, on average and at the margin, with intervals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.fit import refits
from noiseworth.laws.inequalities import price_intervals
from noiseworth.laws.law import Law
from noiseworth.laws.marginal import average_price, marginal_worth
from noiseworth.laws.observations import Observations, RunWorth
from noiseworth.laws.remarks import floor_remark, inequality_remark, prediction_remark
from noiseworth.records import QuoteRecord

Array = NDArray[np.float64]


def quote(
    law: Law,
    observations: Observations,
    sigma: float,
    n_clean: float | None = None,
    n_noisy: float | None = None,
    predicted: Sequence[RunWorth] = (),
) -> QuoteRecord:
    """Average and marginal price of images of noise `sigma` at a mix.

    Args:
        law: fitted to `observations`.
        observations: trained models.
        sigma: one of the law's noise levels.
        n_clean, n_noisy: the mix; by default that of the observed model with the most images of this noise.
        predicted: predictions of single runs (`predicted_worth`); the one nearest to the mix is quoted.

    Raises:
        UserError: a noise level that is not one of the law's, or a mix without clean or without noisy images.
    """
    column = law.column(sigma)
    most = int(observations.n_noisy[:, column].argmax())
    clean = float(observations.n_clean[most]) if n_clean is None else float(n_clean)
    noisy = float(observations.n_noisy[most, column]) if n_noisy is None else float(n_noisy)
    if not (0 < clean < np.inf and 0 < noisy < np.inf):
        raise UserError(
            f"--n-clean {clean:.0f} --n-noisy {noisy:.0f}: such a mix has no price; both must be above 0"
        )
    others = refits(law, observations)
    average = np.array([average_price(other, clean, noisy, column) for other in others])
    marginal = np.array([1 / marginal_worth(other, clean, noisy, column) for other in others])
    bounds = price_intervals(observations)[column]
    near = min(
        (run for run in predicted if run.sigma == sigma and run.worth > 0),
        key=lambda run: (_apart(run.n_clean, clean) + _apart(run.n_noisy, noisy), run.worth, run.trial),
        default=None,
    )
    a, m = (np.quantile(values, [0.025, 0.975]) for values in (average, marginal))
    at_floor = floor_remark(law, observations)
    remarks = [at_floor, inequality_remark(law, observations, bounds, float(a[0]), float(a[1]))]
    if near is not None and near.price_low is not None:
        ends = (near.price_low, near.price_high)
        remarks.append(prediction_remark(ends, float(a[0]), float(a[1]), at_floor is not None))
    return QuoteRecord(
        law=law.name,
        sigma=sigma,
        n_clean=int(clean),
        n_noisy=int(noisy),
        average=average_price(law, clean, noisy, column),
        average_low=float(a[0]),
        average_high=float(a[1]),
        marginal=1 / marginal_worth(law, clean, noisy, column),
        marginal_low=float(m[0]),
        marginal_high=float(m[1]),
        least=bounds.low,
        most=bounds.high,
        predicted=1 / near.worth if near else None,
        predicted_by=near.trial if near else None,
        predicted_low=near.price_low if near else None,
        predicted_high=near.price_high if near else None,
        remarks=[remark for remark in remarks if remark],
    )


def _apart(a: float, b: float) -> float:
    """Distance of two numbers of images, in logarithms."""
    return abs(float(np.log((a + 1) / (b + 1))))
