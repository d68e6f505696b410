"""The best purchase for a budget: the mix of clean and noisy images with the best predicted quality.

A law holds only for data like those that it was fitted to. The share of clean images is therefore kept at or
above the least observed share: training on noisy images alone follows no such law (arXiv 2411.02780, table
3). A prediction for more or fewer images than in any observed model is marked. How the best purchase is found:
`noiseworth.laws.purchase`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.design import next_runs
from noiseworth.laws.fit import refits
from noiseworth.laws.law import Law
from noiseworth.laws.marginal import marginal_worth, mixes
from noiseworth.laws.observations import Observations
from noiseworth.laws.purchase import Offer, best_purchase
from noiseworth.records import BudgetRecord, NextRecord, PurchaseRecord

Array = NDArray[np.float64]

_NEXT = 1000  # number of further images that are compared


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
    least = least_clean_share(observations, column)
    offer = Offer(budget, market.clean_price, market.noisy_price, least, have_clean, have_noisy)
    best = best_purchase(law, column, offer)
    if best is None:
        raise UserError(f"--budget {budget:g}: {_why_not(offer)}: give a larger budget")
    bought = np.array([(offer.most_clean, 0.0), best])
    clean, noisy = bought.T + np.array([[have_clean], [have_noisy]])
    both = mixes(law, clean, noisy, column)
    quality = law.predict(both)
    draws = np.stack([other.predict(both) for other in refits(law, observations)])
    purchases = [_purchase(bought[k], quality[k], draws[:, k]) for k in (0, 1)]
    have = (have_clean, have_noisy) if have_clean + have_noisy else best
    return BudgetRecord(
        law=law.name,
        sigma=market.sigma,
        budget=budget,
        clean_price=market.clean_price,
        noisy_price=market.noisy_price,
        all_clean=purchases[0],
        best=purchases[1],
        better_with=float(np.mean(draws[:, 1] < draws[:, 0])),
        flip_ratio=1 / marginal_worth(law, float(clean[0]), float(noisy[0]), column),
        least_clean_share=least,
        following=_following(law, offer, *have, column),
        next_runs=next_runs(law, observations, column, float(clean[0]), float(noisy[0])),
        beyond=_beyond(observations, float(clean[1] + noisy[1])),
    )


def _why_not(offer: Offer) -> str:
    """Why even a purchase of clean images alone is not allowed."""
    if offer.have_clean + offer.most_clean == 0:
        return "it buys no clean image, and no model without clean images was observed"
    return (
        f"if it buys clean images alone, they are less than {offer.least_clean_share:.0%} of all images; no"
        " model like that was observed"
    )


def _beyond(observations: Observations, total: float) -> Literal["more", "fewer"] | None:
    """Whether a model with `total` images has more or fewer images than every observed model."""
    observed = observations.n_clean + observations.n_noisy.sum(axis=1)
    if total > 1.01 * observed.max():
        return "more"
    if total < 0.99 * observed.min():
        return "fewer"
    return None


def _following(law: Law, offer: Offer, clean: float, noisy: float, column: int) -> NextRecord:
    """Predicted quality with `_NEXT` more clean or noisy images, and which of the two to buy.

    The choice is by the marginal worth per price, because the two purchases cost different amounts. Where so
    many more noisy images would leave too small a share of clean ones, it is clean.
    """
    counts = np.array([[clean, noisy], [clean + _NEXT, noisy], [clean, noisy + _NEXT]])
    quality, more_clean, more_noisy = (
        float(q) for q in law.predict(mixes(law, counts[:, 0], counts[:, 1], column))
    )
    pays = marginal_worth(law, clean, noisy, column) / offer.noisy_price > 1 / offer.clean_price
    allowed = bool(noisy + _NEXT <= offer.allowed_noisy(clean))
    best: Literal["noisy", "clean"] = "noisy" if pays and allowed else "clean"
    return NextRecord(_NEXT, int(clean), int(noisy), quality, more_clean, more_noisy, best)


def least_clean_share(observations: Observations, column: int) -> float:
    """Least share of clean images in the observed models with noisy images of noise level `column`."""
    noisy = observations.n_noisy[:, column]
    rows = noisy > 0
    return float(
        (observations.n_clean[rows] / (observations.n_clean + observations.n_noisy.sum(axis=1))[rows]).min()
    )


def _purchase(bought: Array, quality: float, draws: Array) -> PurchaseRecord:
    clean, noisy = bought
    low, high = np.quantile(draws, [0.025, 0.975])
    return PurchaseRecord(int(clean), int(noisy), float(quality), float(low), float(high))
