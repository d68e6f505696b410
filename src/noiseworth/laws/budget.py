"""The best purchase for a budget: the mix of clean and noisy images with the best predicted quality.

A law holds only for data like those that it was fitted to. The share of clean images is therefore kept at or
above the least observed share: training on noisy images alone follows no such law (arXiv 2411.02780, table
3). A prediction for more or fewer images than in any observed model is marked.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.design import next_runs
from noiseworth.laws.fit import Law, refits
from noiseworth.laws.marginal import marginal_worth, mixes
from noiseworth.laws.observations import Observations
from noiseworth.records import BudgetRecord, NextRecord, PurchaseRecord

Array = NDArray[np.float64]

_NEXT = 1000  # number of further images that are compared
_SHARES = 401  # number of shares of the budget for noisy images that are compared


@dataclass(frozen=True)
class Market:
    """The price of a clean image, and the price of a noisy image of noise `sigma`, in one currency.

    Raises:
        UserError: a price that is not finite and above 0.
    """

    clean_price: float
    noisy_price: float
    sigma: float

    def __post_init__(self) -> None:
        if not (0 < self.clean_price < np.inf and 0 < self.noisy_price < np.inf):
            raise UserError("--clean-price, --noisy-price: prices must be finite and above 0")


def plan_purchase(
    law: Law,
    observations: Observations,
    market: Market,
    budget: float,
    have_clean: float = 0.0,
    have_noisy: float = 0.0,
) -> BudgetRecord:
    """The best purchase, its predicted quality, and the ratio of prices at which the answer changes.

    Args:
        law: fitted to `observations`.
        observations: trained models; they determine the least share of clean images.
        market: prices, and the noise of the noisy images, one of the law's noise levels.
        budget: money to spend, in the currency of the prices.
        have_clean, have_noisy: numbers of images that are there already; the noisy ones have the market's
            noise.

    Raises:
        UserError: a noise level that is not one of the law's, a budget that is not finite and above 0, or no
            purchase with an observed share of clean images.
    """
    column = law.column(market.sigma)
    if not 0 < budget < np.inf:
        raise UserError(f"--budget {budget:g}: must be finite and above 0")
    if have_clean < 0 or have_noisy < 0:
        raise UserError(f"--have-clean {have_clean:g}, --have-noisy {have_noisy:g}: must be 0 or more")
    share = np.linspace(0, 1, _SHARES)
    clean = have_clean + budget * (1 - share) / market.clean_price
    noisy = have_noisy + budget * share / market.noisy_price
    least = least_clean_share(observations, column)
    allowed = clean >= least * (clean + noisy) * (1 - 1e-9)
    if not allowed.any():
        raise UserError(
            f"--budget {budget:g}: if it buys clean images alone, they are less than {least:.0%} of all"
            " images; no model like that was observed: give a larger budget"
        )
    quality = np.where(allowed, law.predict(mixes(law, clean, noisy, column)), np.inf)
    best = int(quality.argmin())
    both = mixes(law, clean[[0, best]], noisy[[0, best]], column)
    draws = np.stack([other.predict(both) for other in refits(law, observations)])
    purchases = [
        _purchase(i, clean, noisy, quality, draws[:, d], have_clean, have_noisy)
        for d, i in enumerate((0, best))
    ]
    have = (have_clean, have_noisy) if have_clean + have_noisy else (float(clean[best]), float(noisy[best]))
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
        beyond=_beyond(observations, float(clean[best] + noisy[best])),
    )


def _beyond(observations: Observations, total: float) -> Literal["more", "fewer"] | None:
    """Whether a model with `total` images has more or fewer images than every observed model."""
    observed = observations.n_clean + observations.n_noisy.sum(axis=1)
    if total > 1.01 * observed.max():
        return "more"
    if total < 0.99 * observed.min():
        return "fewer"
    return None


def _following(law: Law, market: Market, clean: float, noisy: float, column: int) -> NextRecord:
    """Predicted quality with `_NEXT` more clean or noisy images, and which of the two to buy.

    The choice is by the marginal worth per price, because the two purchases cost different amounts.
    """
    counts = np.array([[clean, noisy], [clean + _NEXT, noisy], [clean, noisy + _NEXT]])
    quality, more_clean, more_noisy = (
        float(q) for q in law.predict(mixes(law, counts[:, 0], counts[:, 1], column))
    )
    pays = marginal_worth(law, clean, noisy, column) / market.noisy_price > 1 / market.clean_price
    return NextRecord(
        _NEXT, int(clean), int(noisy), quality, more_clean, more_noisy, "noisy" if pays else "clean"
    )


def least_clean_share(observations: Observations, column: int) -> float:
    """Least share of clean images in the observed models with noisy images of noise level `column`."""
    noisy = observations.n_noisy[:, column]
    rows = noisy > 0
    return float(
        (observations.n_clean[rows] / (observations.n_clean + observations.n_noisy.sum(axis=1))[rows]).min()
    )


def _purchase(
    index: int, clean: Array, noisy: Array, quality: Array, draws: Array, have_clean: float, have_noisy: float
) -> PurchaseRecord:
    low, high = np.quantile(draws, [0.025, 0.975])
    n_clean, n_noisy = float(clean[index] - have_clean), float(noisy[index] - have_noisy)
    return PurchaseRecord(int(n_clean), int(n_noisy), float(quality[index]), float(low), float(high))
