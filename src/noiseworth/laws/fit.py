"""Robust fits of the scaling laws (`law.py`) to log quality, and their uncertainty."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.identifiability import check_curve, check_design, require_curve
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import CURVE, LEVELS, log_quality, log_quality_slopes
from noiseworth.laws.solve import SOFT, solve
from noiseworth.laws.starts import starts_of

Array = NDArray[np.float64]

LAWS = ("one", "two")
OF_NOISE = (CURVE, LEVELS, "two")  # that hold at noise between the observed levels
_CURVES = (CURVE, LEVELS)
_ROUGH = 0.02  # typical residual at the start
_NORMAL = 1.96  # half the width of a normal 95% interval
_VAGUE = 1.0  # standard error of ln alpha above which a fit is refused


def fit_law(observations: Observations, name: str = "one", *, check: bool = True) -> Law:
    """Fit a law to trained models.

    Args:
        observations: trained models.
        name: "one" or "two", the number of currencies; "curve"; or "levels".
        check: refuse observations that do not determine the law. Without it, a weak prior determines the
            rest.

    Raises:
        UserError: an unknown law; too few observations, or numbers of images that do not determine the law
            (the message names the missing runs); or qualities that hardly differ.
    """
    if name not in (*LAWS, *_CURVES):
        raise UserError(f"--law {name}: must be one of {', '.join((*LAWS, LEVELS))}")
    o = observations
    unit = float((o.n_clean + o.n_noisy.sum(axis=1)).max() if name in _CURVES else o.n_clean.max())
    starts = starts_of(name, o)
    if check:
        (check_curve if name in _CURVES else check_design)(o, len(starts[0]))
        if name == "two":
            fit_law(o, "one")  # where the simpler law is not determined, this one is not either
    target = np.log(o.quality)
    scale = _ROUGH
    best = min((solve(name, o, unit, target, start, start, scale) for start in starts), key=lambda r: r[1])
    for _ in range(3):  # typical residual and fit in turn
        residual = log_quality(name, best[0], o, unit) - target
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
        best = solve(name, o, unit, target, best[0], best[2], scale)
    parameters = best[0]
    residual = log_quality(name, parameters, o, unit) - target
    slopes = log_quality_slopes(name, parameters, o, unit)
    weight = 1 / np.sqrt(1 + (residual / (SOFT * scale)) ** 2)
    freedom = max(len(o) - len(parameters), 1)
    variance = float((weight * residual**2).sum() / freedom)
    # Of a robust fit: the mean square of what residuals weigh, over the squared mean of its slope, which is the cube of the weight
    # (Huber, Robust Statistics, 1981, section 7.6).
    of_fit = float(np.sum((weight * residual) ** 2) / freedom / np.mean(weight**3) ** 2)
    information = slopes.T @ slopes / max(of_fit, 1e-12)
    covariance = np.linalg.pinv(information, hermitian=True)
    if check and name in ("one", CURVE) and covariance[2, 2] > _VAGUE**2:
        spread = float(np.ptp(np.log(o.quality)))
        scatter = float(np.sqrt(variance))
        raise UserError(
            f"the qualities differ by {spread:.1%} in all, with a scatter of {scatter:.1%}, too little to"
            " fit a law: train longer, or on numbers of images farther apart, or with more seeds"
        )
    if check and name in _CURVES:
        # How sharply levels end what an image teaches (q) decides little, and is seldom known.
        require_curve(o, float(covariance[3, 3]), float(covariance[4, 4]) if name == CURVE else 0.0)
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


def fit_best(observations: Observations, names: tuple[str, ...], *, check: bool = True) -> Law:
    """The law of the least AICc, of those that the observations determine (without `check`: of all).

    Raises:
        UserError: they determine none; the message is that of the first.
    """
    laws, refused = [], []
    for name in names:
        try:
            laws.append(fit_law(observations, name, check=check))
        except UserError as error:
            refused.append(error)
    if not laws:
        raise refused[0]
    return min(laws, key=lambda law: law.aicc)


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
        solution = solve(law.name, observations, law.unit, target, start, start, law.scale)
        laws.append(replace(law, parameters=solution[0]))
    return laws


def prediction_interval(
    law: Law, observations: Observations, models: Observations, coverage: float = 0.9
) -> Array:
    """Prediction intervals (N, 2) of the measured quality of models that are not trained yet.

    By the jackknife+ (Barber, Candes, Ramdas, Tibshirani, Annals of Statistics, 2021): every mix is left out in turn, and what the law
    of the others is off by there, beside what it predicts for the new models, makes the intervals. So they hold where the law does
    not fit exactly, too, which residuals of the fit itself tell too little of.

    Args:
        law: fitted to `observations`.
        observations: trained models.
        models: numbers of images of N models; their quality is not used. A law that holds between the observed noise levels takes models
            of other levels.
        coverage: nominal share of the intervals that contain the measured quality.
    """
    target = np.log(observations.quality)
    number = observations.mixes()
    low, high = [], []
    for mix in range(number.max() + 1):
        out = number == mix
        start = law.parameters
        fitted = solve(law.name, observations.take(~out), law.unit, target[~out], start, start, law.scale)
        other = replace(law, parameters=fitted[0])
        off = np.abs(target[out] - np.log(other.predict(observations.take(out))))
        new = np.log((other if models.sigmas == law.sigmas else other.at(models.sigmas)).predict(models))
        low.append(new - off[:, None])
        high.append(new + off[:, None])
    # The ranks of the method, as shares of what there is.
    count = len(observations)
    least = min(max(np.floor((1 - coverage) * (count + 1)) - 1, 0) / max(count - 1, 1), 1)
    ends = [
        np.quantile(np.concatenate(low), least, axis=0, method="lower"),
        np.quantile(np.concatenate(high), 1 - least, axis=0, method="higher"),
    ]
    return np.asarray(np.exp(ends).T)


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
