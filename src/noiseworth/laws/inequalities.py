"""Prices by inequalities: the argument of arXiv 2411.02780 (section 3), made a rule.

A model trained on c clean and n noisy images is compared with models trained on clean images alone. If it is better than that of m
clean images, then its noisy images are worth at least m - c clean ones, so the price (noisy images for one clean) is at most
n / (m - c); if it is not better, the price is at least that. All pairs with m > c together give an interval, or a contradiction.
"""

from dataclasses import dataclass

import numpy as np

from noiseworth.laws.observations import Observations


@dataclass(frozen=True)
class PriceInterval:
    """Noisy images for one clean image at `sigma`: at least `low`, at most `high` (None: no bound). Contradictory if low > high."""

    sigma: float
    low: float
    high: float | None

    @property
    def contradictory(self) -> bool:
        """Whether no price satisfies all inequalities."""
        return self.high is not None and self.low > self.high


def price_intervals(observations: Observations, uncertainty: float | None = None) -> list[PriceInterval]:
    """An interval for each noise level. Repeats of a mix are averaged first: extremes over all pairs would be those of chance.

    Args:
        observations: some of them with clean images alone.
        uncertainty: relative; a pair whose qualities differ by no more says nothing. By default twice the standard error of a
            difference, by the repeats; without repeats, or with 0, every pair counts, and a tie says "not better", as in the paper.
    """
    observations, scatter = observations.averaged()
    uncertainty = 2 * 2**0.5 * scatter if uncertainty is None else uncertainty
    alone = observations.n_noisy.sum(axis=1) == 0
    found = []
    for column, sigma in enumerate(observations.sigmas):
        low, high = 0.0, np.inf
        for i in np.flatnonzero(observations.n_noisy[:, column] > 0):
            noisy = float(observations.n_noisy[i, column])
            if noisy != observations.n_noisy[i].sum():
                continue  # several noise levels in one model: no one price
            for j in np.flatnonzero(alone & (observations.n_clean > observations.n_clean[i])):
                quality, other = float(observations.quality[i]), float(observations.quality[j])
                if uncertainty > 0 and abs(quality / other - 1) <= uncertainty:
                    continue
                bound = noisy / float(observations.n_clean[j] - observations.n_clean[i])
                if quality < other:
                    high = min(high, bound)
                else:
                    low = max(low, bound)
        found.append(PriceInterval(sigma, low, float(high) if np.isfinite(high) else None))
    return found
