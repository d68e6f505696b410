"""Bounds on prices by inequalities between pairs of models (the argument of arXiv 2411.02780, section 3).

A model with c clean and n noisy images is compared with a model with m > c clean images alone. If the first
is better, its noisy images are worth at least m - c clean ones, so that the price (noisy images for one clean
image) is at most n / (m - c). If it is not better, the price is at least n / (m - c). All pairs together give
an interval, or a contradiction.
"""

from dataclasses import dataclass

import numpy as np

from noiseworth.laws.observations import Observations


@dataclass(frozen=True)
class PriceInterval:
    """Bounds on the price at noise `sigma`, in noisy images for one clean image.

    The price is at least `low` and at most `high` (None: no bound). The bounds contradict each other if low >
    high.
    """

    sigma: float
    low: float
    high: float | None

    @property
    def contradictory(self) -> bool:
        """Whether no price satisfies all the inequalities."""
        return self.high is not None and self.low > self.high


def price_intervals(observations: Observations, uncertainty: float | None = None) -> list[PriceInterval]:
    """Bounds on the price of each noise level.

    Repeats of a mix are averaged first: else the bounds, as extremes over all pairs, would depend on chance.

    Args:
        observations: trained models, some of them with clean images alone.
        uncertainty: relative; a pair whose qualities differ by no more is left out. By default it is twice
            the standard error of a difference, from the repeats. With 0, or without repeats, every pair
            counts, and a tie counts as "not better", as in the paper.
    """
    observations, scatter = observations.averaged()
    uncertainty = 2 * 2**0.5 * scatter if uncertainty is None else uncertainty
    alone = observations.n_noisy.sum(axis=1) == 0
    intervals = []
    for column, sigma in enumerate(observations.sigmas):
        low, high = 0.0, np.inf
        for i in np.flatnonzero(observations.n_noisy[:, column] > 0):
            noisy = float(observations.n_noisy[i, column])
            if noisy != observations.n_noisy[i].sum():
                continue  # a model with several noise levels gives no bound on one price
            for j in np.flatnonzero(alone & (observations.n_clean > observations.n_clean[i])):
                quality = float(observations.quality[i])
                other = float(observations.quality[j])
                if uncertainty > 0 and abs(quality / other - 1) <= uncertainty:
                    continue
                bound = noisy / float(observations.n_clean[j] - observations.n_clean[i])
                if quality < other:
                    high = min(high, bound)
                else:
                    low = max(low, bound)
        intervals.append(PriceInterval(sigma, low, float(high) if np.isfinite(high) else None))
    return intervals
