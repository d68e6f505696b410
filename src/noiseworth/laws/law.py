"""Scaling laws with exchange rates between noisy and clean images.

    one currency     quality = E + A n_eff^-alpha,                n_eff = n_clean + sum_s n_s r(s)
    a curve          the same with r(s) = 1 / (1 + (s / s_0)^q), so that it holds at levels that were not observed, too
    two currencies   quality = E + A n_1^-alpha + B n_2^-beta,    n_i = n_clean + sum_s n_s r_i(s)
                                                                  r_i(s) = 1 / (1 + (s / s_i)^q_i)
    levels           quality = E + A mean_t 1 / (1 + (n_t / n_0)^alpha),
                                                                  n_t = n_clean + sum_s n_s r(s / t)
                                                                  r(x) = 1 / (1 + (x / k)^q)

The theory of mixtures suggests two currencies (docs/theory.md): noise costs little worth for coarse
structure, and much for fine detail. The law of levels has a currency for each level `t` that a denoiser is asked at (those of the
denoising risk): images of noise `s` teach it what lies above their own noise, and little below, however many they are; so it holds
without clean images, too, where quality stops to fall with their number. Where they teach nothing, the loss is bounded: by A.

Numbers of images are in units of the greatest n_clean (of a curve and of levels: of all images). Positive parameters are kept as their
logarithms, the rates of one currency as their logits. A curve and levels need no clean images: these are images of s = 0, and what noisy
ones are worth follows from those of other levels.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import CURVE, LEVELS, log_quality, log_slopes_of, logistic, quality_of, rates_of

Array = NDArray[np.float64]

# Of the laws that hold between the observed noise levels, for people.
WORDS = {
    CURVE: "one currency: the worth of an image is a curve of its noise",
    "two": "two currencies: coarse structure and fine detail",
    LEVELS: "the law of levels: an image teaches what lies above its own noise",
}


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        name: "one" or "two", the number of currencies; "curve"; or "levels".
        sigmas: (S,) its noise levels.
        unit: unit of numbers of images.
        parameters: (P,) transformed parameters.
        covariance: (P, P) of the parameters, from the curvature at the optimum.
        freedom: number of observations less the number of parameters, at least 1.
        scale: typical residual of the logarithm of the quality.
        aicc: Akaike's information criterion, corrected for few observations; lower is better.
    """

    name: str
    sigmas: tuple[float, ...]
    unit: float
    parameters: Array
    covariance: Array
    freedom: int
    scale: float
    aicc: float

    def column(self, sigma: float) -> int:
        """Index of a noise level.

        Raises:
            UserError: the law has no such noise level.
        """
        if sigma not in self.sigmas:
            levels = ", ".join(f"{s:g}" for s in self.sigmas)
            raise UserError(f"--sigma {sigma:g}: the law was fitted to noise {levels}; choose one of these")
        return self.sigmas.index(sigma)

    def predict(self, observations: Observations) -> Array:
        """Predicted quality (N,) of models with these numbers of images, at the law's noise levels."""
        return np.exp(log_quality(self.name, self.parameters, observations, self.unit))

    def rates(self) -> Array:
        """`r(s)` at the law's noise levels: (S,) for one currency, (2, S) for two, (T, S) for levels."""
        return rates_of(self.name, self.parameters, self.sigmas)

    def at(self, sigmas: tuple[float, ...]) -> "Law":
        """The same law at other noise levels; not for one currency with a rate for each level."""
        if self.name == "one":
            raise ValueError("has rates of its own levels alone")
        return replace(self, sigmas=sigmas)

    def quality_of(self, worth: Array) -> Array:
        """Predicted quality (...) of images that are worth (K, ...) clean ones in each of the law's K currencies."""
        return quality_of(self.name, self.parameters, worth / self.unit)

    def marginal(self, worth: Array, rates: Array) -> Array:
        """What one more image (N,) of these rates (K, N) is worth in clean ones beside images worth (K,): by what they improve."""
        slopes = log_slopes_of(self.name, self.parameters, worth / self.unit)
        slopes = np.exp(slopes - slopes.max())  # no slope is too great or too small
        return np.asarray(slopes @ rates / slopes.sum())

    def terms(self) -> tuple[float, list[tuple[float, float, Array]]]:
        """The floor E, and (A, alpha, rates) of each currency: quality = E + sum A (images / unit)^-alpha; not for levels."""
        if self.name == LEVELS:
            raise ValueError("is no sum of powers")
        p = self.parameters
        rates = np.atleast_2d(self.rates())
        pairs = [(1, 2), (3, 4)][: len(rates)]
        return float(np.exp(p[0])), [
            (float(np.exp(p[a])), float(np.exp(p[b])), rates[k]) for k, (a, b) in enumerate(pairs)
        ]

    def quantile(self) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 0.975))

    def _interval(self, index: int) -> Array:
        """95% interval of a transformed parameter, by Student's t distribution."""
        half = self.quantile() * float(np.sqrt(self.covariance[index, index]))
        return np.array([self.parameters[index] - half, self.parameters[index] + half])

    def rate_intervals(self) -> Array:
        """95% intervals (S, 2) of the rates of a law of one currency, or of a curve."""
        if self.name not in ("one", CURVE):
            raise ValueError("has several rates at a noise level")
        if self.name == CURVE:
            # Of the logit q (ln s_0 - ln s), to first order in both parameters, whose errors go together.
            q = np.exp(self.parameters[4])
            logit = q * (self.parameters[3] - np.log(self.sigmas))
            slopes = np.stack([np.full(len(self.sigmas), q), logit], axis=1)
            variance = np.einsum("sp,pr,sr->s", slopes, self.covariance[3:, 3:], slopes)
            half = self.quantile() * np.sqrt(variance)
            return logistic(np.stack([logit - half, logit + half], axis=1))
        return np.stack([logistic(self._interval(3 + s)) for s in range(len(self.sigmas))])

    def exponent(self) -> tuple[float, float, float]:
        """alpha of a law of one currency, and the ends of its 95% interval."""
        low, high = np.exp(self._interval(2))
        return float(np.exp(self.parameters[2])), float(low), float(high)
