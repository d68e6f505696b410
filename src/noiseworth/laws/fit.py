"""Laws with exchange rates, fitted robustly in the logarithm of the quality.

    one currency     quality = E + A n_eff^-alpha,                   n_eff = n_clean + sum_s n_s r(s)
    two currencies   quality = E + A n_1^-alpha + B n_2^-beta,       n_i = n_clean + sum_s n_s r_i(s),  r_i(s) = 1 / (1 + (s / s_i)^q_i)

The second is what the theory of mixtures suggests (docs/theory.md): global structure forgives noise, fine detail does not. Numbers of
images count in units of the greatest n_clean. Parameters are positive and fitted by their logarithms, rates below 1 by their logits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.observations import Observations

Array = NDArray[np.float64]

LAWS = ("one", "two")
_SOFT = 3.0  # residuals beyond this many typical ones count less
_ROUGH = 0.02  # typical residual to begin with
# Pulls weakly towards the start, in units of residuals: it decides where the data do not, and is nothing where they do.
_PRIOR = 0.006
_VAGUE = 1.0  # standard error of ln alpha beyond which a law says nothing


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        name: "one" or "two" currencies.
        sigmas: noise levels that it knows.
        unit: images that count as 1.
        parameters: transformed parameters, and their covariance, from the curvature at the optimum.
        freedom: observations beyond the number of parameters.
        scale: typical residual of log quality.
        aicc: Akaike's criterion with its correction for few observations; lower is better.
    """

    name: str
    sigmas: tuple[float, ...]
    unit: float
    parameters: Array
    covariance: Array
    freedom: int
    scale: float
    aicc: float

    def predict(self, observations: Observations) -> Array:
        """Quality (N,) of models with these numbers of images; their noise levels must be the law's."""
        return np.exp(_log_quality(self.name, self.parameters, observations, self.unit))

    def rates(self) -> Array:
        """`r(s)` at the law's noise levels: (S,) for one currency, (2, S) for two."""
        return _rates(self.name, self.parameters, self.sigmas)

    def terms(self) -> tuple[float, list[tuple[float, float, Array]]]:
        """The floor E, and for each currency (A, alpha, rates): quality = E + sum A (images / unit)^-alpha."""
        p, rates = self.parameters, np.atleast_2d(self.rates())
        pairs = [(1, 2), (3, 4)][: len(rates)]
        return float(np.exp(p[0])), [(float(np.exp(p[a])), float(np.exp(p[b])), rates[k]) for k, (a, b) in enumerate(pairs)]

    def _interval(self, index: int) -> Array:
        """95% interval of a transformed parameter, by Student's law."""
        from scipy.stats import t

        half = float(t.ppf(0.975, self.freedom)) * float(np.sqrt(self.covariance[index, index]))
        return np.array([self.parameters[index] - half, self.parameters[index] + half])

    def rate_intervals(self) -> Array:
        """95% intervals of the rates of one currency, (S, 2)."""
        return np.stack([_logistic(self._interval(3 + s)) for s in range(len(self.sigmas))])

    def exponent(self) -> tuple[float, float, float]:
        """alpha of one currency, and its 95% interval."""
        low, high = np.exp(self._interval(2))
        return float(np.exp(self.parameters[2])), float(low), float(high)


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _rates(name: str, parameters: Array, sigmas: tuple[float, ...]) -> Array:
    if name == "one":
        return _logistic(parameters[3 : 3 + len(sigmas)])
    s, at, power = np.array(sigmas), np.exp(parameters[[5, 7]])[:, None], np.exp(parameters[[6, 8]])[:, None]
    return np.asarray(1 / (1 + (s / at) ** power))


def _log_quality(name: str, parameters: Array, o: Observations, unit: float) -> Array:
    clean, noisy, rates = o.n_clean / unit, o.n_noisy / unit, _rates(name, parameters, o.sigmas)
    # A few images at least: a law of powers has no value at none.
    count = np.maximum(clean[..., None] + noisy @ np.atleast_2d(rates).T, 1e-6)
    E, A, alpha = np.exp(parameters[:3])
    quality = E + A * count[:, 0] ** -alpha
    if name == "two":
        B, beta = np.exp(parameters[3:5])
        quality = quality + B * count[:, 1] ** -beta
    return np.asarray(np.log(quality))


def _starts(name: str, o: Observations) -> list[Array]:
    least = np.log(0.9 * o.quality.min())
    if name == "one":
        rates = np.linspace(2.0, 0.0, len(o.sigmas)) if len(o.sigmas) > 1 else np.ones(len(o.sigmas))
        return [np.concatenate([[least, np.log(0.2 * o.quality.min()), np.log(a)], rates]) for a in (0.7, 1.5, 3.0)]
    middle = float(np.median(o.sigmas))
    return [
        np.log([np.exp(least), 0.1 * o.quality.min(), a, 0.02 * o.quality.min(), b, 3 * middle, 1.0, middle, 1.0])
        for a, b in ((0.7, 2.0), (2.0, 4.0))
    ]


def fit_law(observations: Observations, name: str = "one", *, check: bool = True) -> Law:
    """Fit a law.

    Args:
        observations: trained models.
        name: "one" or "two" currencies.
        check: refuse a design that does not determine the law. Without, a weak prior decides what the data do not.

    Raises:
        UserError: an unknown law, too few observations, a design that does not determine the law (what is missing is named), or
            qualities that hardly differ.
    """
    if name not in LAWS:
        raise UserError(f"law {name!r}: must be one of {', '.join(LAWS)}")
    o, unit = observations, float(observations.n_clean.max())
    starts = _starts(name, o)
    if check:
        if len(o) < len(starts[0]) + 2:
            raise UserError(f"{len(o)} observations cannot determine {len(starts[0])} parameters; {len(starts[0]) + 2} at least")
        _check_design(o)
        if name == "two":
            fit_law(o, "one")  # where the simpler law cannot be told, neither can this one
    target, scale = np.log(o.quality), _ROUGH
    best = min((_solve(name, o, unit, target, start, start, scale) for start in starts), key=lambda r: r[1])
    for _ in range(3):  # the typical residual is found along the way
        residual = _log_quality(name, best[0], o, unit) - target
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
        best = _solve(name, o, unit, target, best[0], best[2], scale)
    parameters = best[0]
    residual = _log_quality(name, parameters, o, unit) - target
    slopes = jacobian(lambda p: _log_quality(name, p, o, unit), parameters)
    weight = 1 / np.sqrt(1 + (residual / (_SOFT * scale)) ** 2)
    freedom = max(len(o) - len(parameters), 1)
    variance = float((weight * residual**2).sum() / freedom)
    information = slopes.T @ (weight[:, None] * slopes) / max(variance, 1e-12)
    covariance = np.linalg.pinv(information, hermitian=True)
    if check and name == "one" and covariance[2, 2] > _VAGUE**2:
        spread, scatter = float(np.ptp(np.log(o.quality))), float(np.sqrt(variance))
        raise UserError(
            f"the qualities differ by {spread:.1%} in all, with a scatter of {scatter:.1%}, too little to tell a law: train longer, "
            "or on numbers of images farther apart, or with more seeds"
        )
    count, size = len(o), len(parameters) + 1
    correction = 2 * size * (size + 1) / max(count - size - 1, 1)
    aicc = count * np.log(max(float((weight * residual**2).mean()), 1e-12)) + 2 * size + correction
    return Law(
        name, o.sigmas, unit, parameters, np.asarray(covariance, dtype=np.float64), freedom, float(np.sqrt(variance)), float(aicc)
    )


def refits(law: Law, observations: Observations, count: int = 100, seed: int = 0) -> list[Law]:
    """The law fitted again to qualities with resampled residuals (the bootstrap): what else it could have been.

    Curvature says less where a law is hardly determined, as that of two currencies often is.
    """
    rng = np.random.default_rng(seed)
    centre = _log_quality(law.name, law.parameters, observations, law.unit)
    residual = np.log(observations.quality) - centre
    residual = (residual - residual.mean()) * np.sqrt(len(residual) / law.freedom)
    found = []
    for _ in range(count):
        target = centre + rng.choice(residual, len(residual))
        start = law.parameters
        found.append(replace(law, parameters=_solve(law.name, observations, law.unit, target, start, start, law.scale)[0]))
    return found


def prediction_interval(law: Law, observations: Observations, models: Observations, coverage: float = 0.9) -> Array:
    """Where the quality of models that are yet to be trained would be measured, (N, 2): the law's own uncertainty and the scatter of
    single trainings, both by the bootstrap.

    Args:
        law: fitted to `observations`.
        models: numbers of images; their quality is not looked at.
        coverage: share of such intervals that should hold.
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
            value = np.nan_to_num(_log_quality(name, p, o, unit), posinf=1e3) - target
        return np.concatenate([value, _PRIOR * (p - centre)])

    bounds = (centre - 12, centre + 12)
    fit = least_squares(residuals, start, loss="soft_l1", f_scale=_SOFT * scale, bounds=bounds)
    return fit.x, float(fit.cost), centre


def jacobian(function: Callable[[Array], Array], at: Array, step: float = 1e-5) -> Array:
    """Derivatives (N, P) of a function of parameters (P,) with N values."""
    return np.stack([(function(at + e) - function(at - e)) / (2 * step) for e in step * np.eye(len(at))], axis=1)


def _check_design(o: Observations) -> None:
    """Refuse a design that cannot tell the law's parts from each other, and say which runs would."""
    alone = o.n_noisy.sum(axis=1) == 0
    sizes = len(np.unique(o.n_clean[alone]))
    if sizes < 3:
        raise UserError(
            f"{sizes} numbers of clean images alone cannot tell the floor from the exponent: add runs with clean images alone, "
            f"of {3 - sizes} other number(s) or more, far apart"
        )
    for column, sigma in enumerate(o.sigmas):
        rows = (o.n_noisy[:, column] > 0) & (o.n_clean > 0)
        if len(np.unique(o.n_clean[rows] + 1j * o.n_noisy[rows, column])) < 2:
            raise UserError(
                f"one mix with noise {sigma:g} is too little: add runs with another number of clean images beside such noisy ones"
            )


def held_out_errors(observations: Observations, name: str, splits: int = 20, share: float = 0.7, seed: int = 0) -> Array:
    """Relative errors `|predicted / measured - 1|` of the mixes left out, over random splits; all splits count, also those whose
    design hardly determines the law."""
    rng, errors = np.random.default_rng(seed), []
    number = observations.mixes()  # repeats of a mix are left out together: one of them would tell the others
    kept = round(share * (number.max() + 1))
    for _ in range(splits):
        order = rng.permutation(number.max() + 1)
        inside = np.isin(number, order[:kept])
        rest = observations.take(~inside)
        law = fit_law(observations.take(inside), name, check=False)
        errors.append(np.abs(law.predict(rest) / rest.quality - 1))
    return np.concatenate(errors)
