"""Intervals by the profile likelihood: how far a parameter can be moved until the best fit of all others is clearly worse.

For a robust fit the fall of the likelihood is that of the sum of losses over the mean square of their slopes, divided by the mean of their
curvatures (Heritier and Ronchetti, Journal of the American Statistical Association, 1994).
"""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import log_quality
from noiseworth.laws.solve import SOFT, solve

Array = NDArray[np.float64]

_WIDEST = 10.0  # of a parameter's logarithm: beyond it, an end is infinite
_STEPS = 40


def profile_interval(law: Law, observations: Observations, index: int) -> tuple[float, float]:
    """The 95% interval of a transformed parameter, by Student's t distribution; an end may be infinite.

    Args:
        law: fitted to `observations`.
        observations: trained models.
        index: of the parameter.
    """
    target = np.log(observations.quality)
    residual = log_quality(law.name, law.parameters, observations, law.unit) - target
    scale = _typical(residual)
    weight = 1 / np.sqrt(1 + (residual / (SOFT * scale)) ** 2)
    unit = float(np.sum((weight * residual) ** 2) / law.freedom / np.mean(weight**3))
    most = law.quantile() ** 2

    def best(value: float, start: Array) -> tuple[Array, float]:
        at = start.copy()
        at[index] = value
        found, cost, _ = solve(
            law.name, observations, law.unit, target, at, law.parameters, scale, fixed=index
        )
        return found, cost

    middle = float(law.parameters[index])
    _, least = best(middle, law.parameters)
    ends = []
    for side in (-1.0, 1.0):
        inner, outer, start = 0.0, max(float(np.sqrt(law.covariance[index, index])), 1e-6), law.parameters
        while outer < _WIDEST:
            start, cost = best(middle + side * outer, start)
            if 2 * (cost - least) / unit > most:
                break
            inner, outer = outer, 1.5 * outer
        if outer >= _WIDEST:
            ends.append(side * np.inf)
            continue
        for _ in range(_STEPS):
            half = (inner + outer) / 2
            _, cost = best(middle + side * half, start)
            inner, outer = (half, outer) if 2 * (cost - least) / unit <= most else (inner, half)
            if outer - inner < 1e-3 * outer:
                break
        ends.append(middle + side * outer)
    return ends[0], ends[1]


def _typical(residual: Array) -> float:
    """The typical residual that the fit's last step was weighted by."""
    return max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
