"""What a fit of a law, and a plan by it, say."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PriceRecord:
    """What an image of noise `sigma` is worth, three ways.

    `rate` is its worth in clean images in the one-currency law, with a 95% interval, and `price = 1 / rate`. `least` and `most` bound
    the price by inequalities between pairs of models (null: no bound). `coarse` and `fine` are its worth in each of two currencies.
    """

    sigma: float
    rate: float
    rate_low: float
    rate_high: float
    price: float
    least: float
    most: float | None
    coarse: float | None
    fine: float | None


@dataclass(frozen=True)
class LawRecord:
    """What `noiseworth fit` found. The exponent is that of the one-currency law, with its 95% interval; of the two laws `better` has
    the lower AICc. Held-out errors are relative, over 20 random splits that fit 70%; null where a law could not be fitted."""

    source: str
    n_observations: int
    exponent: float
    exponent_low: float
    exponent_high: float
    floor: float
    typical_residual: float
    prices: list[PriceRecord]
    better: str
    aicc: dict[str, float]
    held_out_median: dict[str, float]
    held_out_p90: dict[str, float]


@dataclass(frozen=True)
class PurchaseRecord:
    """Images to buy, and the predicted quality with the 95% interval of the law's uncertainty."""

    n_clean: int
    n_noisy: int
    quality: float
    low: float
    high: float


@dataclass(frozen=True)
class BudgetRecord:
    """What `noiseworth plan` found. `better_with` is the probability, under the law's uncertainty, that the best mix beats all clean.

    While a clean image costs less than `flip_ratio` noisy ones, clean images alone are best. Purchases keep to at least
    `least_clean_share` of clean images, the least that was observed; `beyond` says that the prediction is for "more" images than any
    observed model had, or for "fewer".
    """

    law: str
    sigma: float
    budget: float
    clean_price: float
    noisy_price: float
    all_clean: PurchaseRecord
    best: PurchaseRecord
    better_with: float
    flip_ratio: float
    least_clean_share: float
    beyond: Literal["more", "fewer"] | None
