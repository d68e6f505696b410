"""What a fit of a law, and a plan by it, say."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class PriceRecord:
    """What an image of noise `sigma` is worth, three ways.

    `rate` is its worth in clean images in the one-currency law, with a 95% interval, and `price = 1 / rate`.
    `least` and `most` bound the price by inequalities between pairs of models (null: no bound). `coarse` and
    `fine` are its worth in each of two currencies.
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
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PurchaseRecord:
    """Images to buy, and the predicted quality with the 95% interval of the law's uncertainty."""

    n_clean: int
    n_noisy: int
    quality: float
    low: float
    high: float


@dataclass(frozen=True)
class NextRecord:
    """The next `count` images from a mix that is there: its quality, that with as many more clean or noisy ones, and which of the two
    improves it more for the same money: clean ones where so many noisy ones would leave too small a share of them."""

    count: int
    n_clean: int
    n_noisy: int
    quality: float
    more_clean: float
    more_noisy: float
    best: Literal["clean", "noisy"]


@dataclass(frozen=True)
class SuggestedRun:
    """A training that would narrow an answer; with it and those before it, the answer's interval shrinks to `narrower` of its width."""

    n_clean: int
    n_noisy: int
    narrower: float


@dataclass(frozen=True)
class QuoteRecord:
    """What `noiseworth price` found: noisy images of `sigma` for one clean image, at a mix, with 95% intervals.

    `average` is over all noisy images of the mix, `marginal` of the next one. `least` and `most` bound it by
    inequalities between models (null: no bound). `predicted` is what one training on such a mix says of
    itself, without a sweep, from `predicted_low` if imputed images are worth clean ones to `predicted_high` if
    they are worth nothing (null: unknown, or never). `remarks` say where these disagree, and why.
    """

    law: str
    sigma: float
    n_clean: int
    n_noisy: int
    average: float
    average_low: float
    average_high: float
    marginal: float
    marginal_low: float
    marginal_high: float
    least: float
    most: float | None
    predicted: float | None
    predicted_by: str | None
    predicted_low: float | None = None
    predicted_high: float | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BudgetRecord:
    """What `noiseworth plan` found. `better_with` is the probability, under the law's uncertainty, that the best mix beats all clean.

    While a clean image costs less than `flip_ratio` noisy ones, clean images alone are best, but for noisy
    ones that use up what whole clean images leave over. Purchases keep to at least `least_clean_share` of
    clean images, the least that was observed; `beyond` says that the prediction is for "more" images than any
    observed model had, or for "fewer". `next_runs` would narrow `flip_ratio` most.
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
    following: NextRecord
    next_runs: list[SuggestedRun]
    beyond: Literal["more", "fewer"] | None
