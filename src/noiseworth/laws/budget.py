"""What to buy with a budget: the mix of clean and noisy images whose predicted quality is best.

A law knows only what it was fitted to. Purchases are therefore kept to shares of clean images that were observed, and a prediction for
more images than any model saw, or fewer, says so. All-noisy training in particular is a different world (arXiv 2411.02780, table 3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.design import next_runs
from noiseworth.laws.fit import Law, refits
from noiseworth.laws.marginal import marginal_worth, mixes
from noiseworth.laws.observations import Observations
from noiseworth.records import BudgetRecord, NextRecord, PurchaseRecord

Array = NDArray[np.float64]

_NEXT = 1000  # images
_SHARES = 401  # of the budget that goes into noisy images


@dataclass(frozen=True)
class Market:
    """Prices in any one currency: what a clean image costs, and what a noisy one of noise `sigma` costs."""

    clean_price: float
    noisy_price: float
    sigma: float

    def __post_init__(self) -> None:
        if not (0 < self.clean_price < np.inf and 0 < self.noisy_price < np.inf):
            raise UserError("prices must be finite and above 0")


def plan_purchase(
    law: Law, observations: Observations, market: Market, budget: float, have_clean: float = 0.0, have_noisy: float = 0.0
) -> BudgetRecord:
    """The best purchase, its predicted quality, and the ratio of prices at which the answer would change.

    Args:
        law: fitted to `observations`.
        observations: they say which shares of clean images are known territory.
        market: prices, and the noise that is for sale; the law must know it.
        budget: to spend, in the prices' currency.
        have_clean, have_noisy: images that are there already (the noisy ones of the same noise).

    Raises:
        UserError: a noise level that the law does not know, a budget that buys nothing, or one that leads out of what was observed.
    """
    if market.sigma not in law.sigmas:
        raise UserError(f"noise {market.sigma:g}: the law knows {', '.join(f'{s:g}' for s in law.sigmas)}")
    if not 0 < budget < np.inf or have_clean < 0 or have_noisy < 0:
        raise UserError("the budget must be finite and above 0, and what is there already 0 or more")
    column = law.sigmas.index(market.sigma)
    share = np.linspace(0, 1, _SHARES)
    clean = have_clean + budget * (1 - share) / market.clean_price
    noisy = have_noisy + budget * share / market.noisy_price
    least = least_clean_share(observations, column)
    allowed = clean >= least * (clean + noisy) * (1 - 1e-9)
    if not allowed.any():
        raise UserError(f"even all clean, fewer than {least:.0%} of the images would be: no model like that was observed; buy more")
    quality = np.where(allowed, law.predict(mixes(law, clean, noisy, column)), np.inf)
    best = int(quality.argmin())
    both = mixes(law, clean[[0, best]], noisy[[0, best]], column)
    draws = np.stack([other.predict(both) for other in refits(law, observations)])
    purchases = [_purchase(i, clean, noisy, quality, draws[:, d], have_clean, have_noisy) for d, i in enumerate((0, best))]
    have = (have_clean, have_noisy) if have_clean + have_noisy else (float(clean[best]), float(noisy[best]))
    seen = observations.n_clean + observations.n_noisy.sum(axis=1)
    total = float(clean[best] + noisy[best])
    return BudgetRecord(
        law=law.name,
        sigma=market.sigma,
        budget=budget,
        clean_price=market.clean_price,
        noisy_price=market.noisy_price,
        all_clean=purchases[0],
        best=purchases[1],
        better_with=float(np.mean(draws[:, 1] < draws[:, 0])) if best else 0.0,
        flip_ratio=1 / marginal_worth(law, float(clean[0]), float(noisy[0]), column),
        least_clean_share=least,
        following=_following(law, market, *have, column),
        next_runs=next_runs(law, observations, column, float(clean[0]), float(noisy[0])),
        beyond="more" if total > 1.01 * seen.max() else "fewer" if total < 0.99 * seen.min() else None,
    )


def _following(law: Law, market: Market, clean: float, noisy: float, column: int) -> NextRecord:
    """The next images from a mix. Which is best is decided at the margin: of unequal purchases the smaller would seem the better."""
    counts = np.array([[clean, noisy], [clean + _NEXT, noisy], [clean, noisy + _NEXT]])
    here, more_clean, more_noisy = (float(q) for q in law.predict(mixes(law, counts[:, 0], counts[:, 1], column)))
    pays = marginal_worth(law, clean, noisy, column) / market.noisy_price > 1 / market.clean_price
    return NextRecord(_NEXT, int(clean), int(noisy), here, more_clean, more_noisy, "noisy" if pays else "clean")


def least_clean_share(observations: Observations, column: int) -> float:
    """The least share of clean images in any observed model with noisy images of that noise."""
    noisy = observations.n_noisy[:, column]
    rows = noisy > 0
    return float((observations.n_clean[rows] / (observations.n_clean + observations.n_noisy.sum(axis=1))[rows]).min())


def _purchase(
    index: int, clean: Array, noisy: Array, quality: Array, draws: Array, have_clean: float, have_noisy: float
) -> PurchaseRecord:
    low, high = np.quantile(draws, [0.025, 0.975])
    n_clean, n_noisy = float(clean[index] - have_clean), float(noisy[index] - have_noisy)
    return PurchaseRecord(int(n_clean), int(n_noisy), float(quality[index]), float(low), float(high))
