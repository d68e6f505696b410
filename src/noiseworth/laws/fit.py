"""Scaling laws with exchange rates between noisy and clean images, and their robust fit to log quality.

    one currency     quality = E + A n_eff^-alpha,                n_eff = n_clean + sum_s n_s r(s)
    a curve          the same with r(s) = 1 / (1 + (s / s_0)^q), so that it holds at levels that were not observed, too
    two currencies   quality = E + A n_1^-alpha + B n_2^-beta,    n_i = n_clean + sum_s n_s r_i(s)
                                                                  r_i(s) = 1 / (1 + (s / s_i)^q_i)

The theory of mixtures suggests two currencies (docs/theory.md): noise costs little worth for coarse
structure, and much for fine detail. Numbers of images are in units of the greatest n_clean. Positive
parameters are fitted by their logarithms, the rates of one currency by their logits. A curve needs no clean images: these are images
of s = 0, and what noisy ones are worth follows from those of other levels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.identifiability import check_curve, check_design, require_curve
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import log_quality, log_quality_slopes, logistic, rates_of
from noiseworth.laws.starts import CURVE, starts_of

Array = NDArray[np.float64]

LAWS = ("one", "two")
_SOFT = 3.0  # residuals beyond this many typical residuals get less weight
_ROUGH = 0.02  # typical residual at the start
# Weight of a prior at the start, in units of residuals; it matters where the data do not determine a
# parameter.
_PRIOR = 0.006
_NORMAL = 1.96  # half the width of a normal 95% interval
_VAGUE = 1.0  # standard error of ln alpha above which a fit is refused


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        name: "one" or "two", the number of currencies; or "curve".
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
        """`r(s)` at the law's noise levels: (S,) for one currency, (2, S) for two."""
        return rates_of(self.name, self.parameters, self.sigmas)

    def at(self, sigmas: tuple[float, ...]) -> "Law":
        """The same law at other noise levels; not for one currency with a rate for each level."""
        if self.name == "one":
            raise ValueError("has rates of its own levels alone")
        return replace(self, sigmas=sigmas)

    def terms(self) -> tuple[float, list[tuple[float, float, Array]]]:
        """The floor E, and (A, alpha, rates) of each currency: quality = E + sum A (images / unit)^-alpha."""
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
        """95% intervals (S, 2) of the rates of a law of one currency."""
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


def fit_law(observations: Observations, name: str = "one", *, check: bool = True) -> Law:
    """Fit a law to trained models.

    Args:
        observations: trained models.
        name: "one" or "two", the number of currencies; or "curve".
        check: refuse observations that do not determine the law. Without it, a weak prior determines the
            rest.

    Raises:
        UserError: an unknown law; too few observations, or numbers of images that do not determine the law
            (the message names the missing runs); or qualities that hardly differ.
    """
    if name not in (*LAWS, CURVE):
        raise UserError(f"--law {name}: must be one of {', '.join(LAWS)}")
    o = observations
    unit = float((o.n_clean + o.n_noisy.sum(axis=1)).max() if name == CURVE else o.n_clean.max())
    starts = starts_of(name, o)
    if check:
        (check_curve if name == CURVE else check_design)(o, len(starts[0]))
        if name == "two":
            fit_law(o, "one")  # where the simpler law is not determined, this one is not either
    target = np.log(o.quality)
    scale = _ROUGH
    best = min((_solve(name, o, unit, target, start, start, scale) for start in starts), key=lambda r: r[1])
    for _ in range(3):  # typical residual and fit in turn
        residual = log_quality(name, best[0], o, unit) - target
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
        best = _solve(name, o, unit, target, best[0], best[2], scale)
    parameters = best[0]
    residual = log_quality(name, parameters, o, unit) - target
    slopes = log_quality_slopes(name, parameters, o, unit)
    weight = 1 / np.sqrt(1 + (residual / (_SOFT * scale)) ** 2)
    freedom = max(len(o) - len(parameters), 1)
    variance = float((weight * residual**2).sum() / freedom)
    # Of a robust fit: the mean square of what residuals weigh, over the squared mean of its slope, which is the cube of the weight
    # (Huber, Robust Statistics, 1981, section 7.6).
    of_fit = float(np.sum((weight * residual) ** 2) / freedom / np.mean(weight**3) ** 2)
    information = slopes.T @ slopes / max(of_fit, 1e-12)
    covariance = np.linalg.pinv(information, hermitian=True)
    if check and name != "two" and covariance[2, 2] > _VAGUE**2:
        spread = float(np.ptp(np.log(o.quality)))
        scatter = float(np.sqrt(variance))
        raise UserError(
            f"the qualities differ by {spread:.1%} in all, with a scatter of {scatter:.1%}, too little to"
            " fit a law: train longer, or on numbers of images farther apart, or with more seeds"
        )
    if check and name == CURVE:
        require_curve(o, float(covariance[3, 3]), float(covariance[4, 4]))
    count = len(o)
    size = len(parameters) + 1
    correction = 2 * size * (size + 1) / max(count - size - 1, 1)
    aicc = count * np.log(max(float((weight * residual**2).mean()), 1e-12)) + 2 * size + correction
    return Law(
        name,
        o.sigmas,
        unit,
        parameters,
        np.asarray(covariance, dtype=np.float64),
        freedom,
        float(np.sqrt(variance)),
        float(aicc),
    )


def refits(
    law: Law, observations: Observations, count: int = 100, seed: int = 0, *, student: bool = False
) -> list[Law]:
    """The law, fitted again to qualities with resampled residuals (the bootstrap).

    The spread of the refits is a better measure of uncertainty than the curvature where a law is hardly
    determined, as the law of two currencies often is.

    Args:
        law: fitted to `observations`.
        observations: trained models.
        count: number of refits.
        seed: seed of the resamples.
        student: widen the residuals as Student's t widens a normal interval: what few residuals say of the scatter is uncertain, too.
    """
    rng = np.random.default_rng(seed)
    centre = log_quality(law.name, law.parameters, observations, law.unit)
    residual = np.log(observations.quality) - centre
    residual = (residual - residual.mean()) * np.sqrt(len(residual) / law.freedom)
    residual = residual * (law.quantile() / _NORMAL if student else 1.0)
    laws = []
    for _ in range(count):
        target = centre + rng.choice(residual, len(residual))
        start = law.parameters
        solution = _solve(law.name, observations, law.unit, target, start, start, law.scale)
        laws.append(replace(law, parameters=solution[0]))
    return laws


def prediction_interval(
    law: Law, observations: Observations, models: Observations, coverage: float = 0.9
) -> Array:
    """Prediction intervals (N, 2) of the measured quality of models that are not trained yet.

    They contain the uncertainty of the law and the scatter of single trainings, both by the bootstrap.

    Args:
        law: fitted to `observations`.
        observations: trained models.
        models: numbers of images of N models; their quality is not used.
        coverage: nominal share of the intervals that contain the measured quality.
    """
    others = refits(law, observations, 200)
    centre = np.log(observations.quality) - np.log(law.predict(observations))
    scatter = (centre - centre.mean()) * np.sqrt(len(centre) / law.freedom)
    draws = np.stack([np.log(other.predict(models)) for other in others])
    draws = draws + np.random.default_rng(1).choice(scatter, draws.shape)
    tail = (1 - coverage) / 2
    return np.asarray(np.exp(np.quantile(draws, [tail, 1 - tail], axis=0)).T)


def _solve(
    name: str, o: Observations, unit: float, target: Array, start: Array, centre: Array, scale: float
) -> tuple[Array, float, Array]:
    """Robust least squares from a start: the parameters, the cost, and the centre of the weak prior."""
    from scipy.optimize import least_squares

    def residuals(p: Array) -> Array:
        with np.errstate(over="ignore"):
            value = np.nan_to_num(log_quality(name, p, o, unit), posinf=1e3) - target
        return np.concatenate([value, _PRIOR * (p - centre)])

    def slopes(p: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.nan_to_num(log_quality_slopes(name, p, o, unit), posinf=1e3, neginf=-1e3)
        return np.concatenate([value, _PRIOR * np.eye(len(p))])

    bounds = (centre - 12, centre + 12)
    fit = least_squares(residuals, start, slopes, loss="soft_l1", f_scale=_SOFT * scale, bounds=bounds)
    return fit.x, float(fit.cost), centre


def jacobian(function: Callable[[Array], Array], at: Array, step: float = 1e-5) -> Array:
    """Derivatives (N, P) of a function of parameters (P,) with N values."""
    return np.stack(
        [(function(at + e) - function(at - e)) / (2 * step) for e in step * np.eye(len(at))], axis=1
    )


def held_out_errors(
    observations: Observations, name: str, splits: int = 20, share: float = 0.7, seed: int = 0
) -> Array:
    """Relative errors `|predicted / measured - 1|` of held-out models, over all random splits.

    Args:
        observations: trained models.
        name: "one" or "two", the number of currencies.
        splits: number of random splits.
        share: share of the mixes that a law is fitted to; the others are held out.
        seed: seed of the splits.
    """
    rng = np.random.default_rng(seed)
    errors = []
    # Repeats of a mix are held out together, because they have almost the same quality.
    number = observations.mixes()
    kept = round(share * (number.max() + 1))
    for _ in range(splits):
        order = rng.permutation(number.max() + 1)
        inside = np.isin(number, order[:kept])
        rest = observations.take(~inside)
        law = fit_law(observations.take(inside), name, check=False)
        errors.append(np.abs(law.predict(rest) / rest.quality - 1))
    return np.concatenate(errors)
