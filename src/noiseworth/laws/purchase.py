"""The purchase with the best predicted quality, in whole images. `report/purchase.js` computes the same.

Let a budget `B` buy `c` clean images, and noisy ones with the rest. Every effective number of images

    n_k(c) = c_0 + c + r_k (n_0 + (B - p_clean c) / p_noisy)

is a straight line in `c`, and `A n_k^-alpha` falls and is convex in `n_k`. The quality, a sum of such terms,
is therefore convex in `c`, for any number of currencies and any prices. Its minimum is where the next noisy
image is worth its price, `marginal worth = p_noisy / p_clean`, or at an end: all clean, or as many noisy
images as are allowed. Halving an interval finds it however small the share of the budget is that matters.

Whole images: the numbers of clean images around that minimum are compared, each with as many noisy images as
the rest pays for and the least share of clean images allows. What is left over, too little for a clean image,
may thus buy noisy ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.law import Law
from noiseworth.laws.marginal import marginal_worth, mixes

Array = NDArray[np.float64]

_HALVINGS = 100  # of the interval that holds the best number of clean images
_AROUND = 500  # numbers of clean images that are compared, on either side
_ROUNDING = 1e-12  # relative; what computing in double precision leaves open
_TRIFLE = 1e-6  # of an image; more is never rounded up


@dataclass(frozen=True)
class Offer:
    """What can be bought, beside what is there.

    Attributes:
        budget: money to spend.
        clean_price, noisy_price: prices of one image, in the same currency.
        least_clean_share: of all images, those included that are there; above 0.
        have_clean, have_noisy: numbers of images that are there.
    """

    budget: float
    clean_price: float
    noisy_price: float
    least_clean_share: float
    have_clean: float = 0.0
    have_noisy: float = 0.0

    @property
    def most_clean(self) -> float:
        """The number of clean images that the whole budget buys."""
        return float(_whole(self.budget / self.clean_price))

    def most_noisy(self, clean: Array) -> Array:
        """Noisy images beside so many bought clean ones, by the money and by the least share of clean images.

        Negative where the noisy images that are there are too many already.
        """
        paid = _whole(np.maximum(self.budget - self.clean_price * clean, 0) / self.noisy_price)
        return np.minimum(paid, self.allowed_noisy(self.have_clean + clean) - self.have_noisy)

    def allowed_noisy(self, clean: Array | float) -> Array:
        """The greatest number of noisy images, in all, beside so many clean ones in all."""
        return _whole((1 / self.least_clean_share - 1) * clean)


def best_purchase(law: Law, column: int, offer: Offer) -> tuple[float, float] | None:
    """Numbers of clean and noisy images to buy, both whole; None if no purchase is allowed.

    Args:
        law: predicts the quality.
        column: index of the noise level of the noisy images.
        offer: what can be bought.
    """
    clean = np.array(sorted(range(-_AROUND, _AROUND + 1), key=abs)) + _whole(_balance(law, column, offer))
    clean = clean[(clean >= 0) & (clean <= offer.most_clean)]
    noisy = offer.most_noisy(clean)
    allowed = (noisy >= 0) & (offer.have_clean + clean > 0)
    if not allowed.any():
        return None
    clean, noisy = clean[allowed], noisy[allowed]
    quality = law.predict(mixes(law, offer.have_clean + clean, offer.have_noisy + noisy, column))
    # Of purchases that are equally good, to the precision of the computation, the one nearest to the minimum.
    best = int(np.flatnonzero(quality <= quality.min() * (1 + _ROUNDING))[0])
    return float(clean[best]), float(noisy[best])


def _balance(law: Law, column: int, offer: Offer) -> float:
    """The best number of clean images, were images divisible: from it on, noisy ones are worth their price."""
    o = offer
    ratio = o.clean_price / o.noisy_price
    noisy_per_clean = 1 / o.least_clean_share - 1
    # With fewer clean images, the least share of them forbids to spend the rest on noisy ones.
    low = max((o.budget / o.noisy_price - noisy_per_clean * o.have_clean + o.have_noisy), 0.0) / (
        noisy_per_clean + ratio
    )
    high = o.budget / o.clean_price
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        noisy = o.have_noisy + (o.budget - o.clean_price * middle) / o.noisy_price
        if marginal_worth(law, o.have_clean + middle, noisy, column) * ratio > 1:
            high = middle
        else:
            low = middle
    return low


def _whole(number: Array | float) -> Array:
    """Whole images in a number of images, which rounding may have left just below a whole one."""
    exact = np.asarray(number, dtype=np.float64)
    return np.floor(exact + np.minimum(_ROUNDING * exact, _TRIFLE))
