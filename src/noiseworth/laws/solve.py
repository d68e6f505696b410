"""The robust fit of a law's formula to log qualities."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import log_quality, log_quality_slopes

Array = NDArray[np.float64]

SOFT = 3.0  # residuals beyond this many typical residuals get less weight
# Weight of a prior at the start, in units of residuals; it matters where the data do not determine a
# parameter.
_PRIOR = 0.006
_POINT = 1e-7  # half the width that a fixed parameter keeps, as bounds must differ


def solve(
    name: str,
    o: Observations,
    unit: float,
    target: Array,
    start: Array,
    centre: Array,
    scale: float,
    *,
    fixed: int | None = None,
) -> tuple[Array, float, Array]:
    """Robust least squares from a start, one parameter `fixed` there: the parameters, the cost, and the centre of the weak prior."""
    from scipy.optimize import least_squares

    def residuals(p: Array) -> Array:
        with np.errstate(over="ignore"):
            value = np.nan_to_num(log_quality(name, p, o, unit), posinf=1e3) - target
        return np.concatenate([value, _PRIOR * (p - centre)])

    def slopes(p: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.nan_to_num(log_quality_slopes(name, p, o, unit), posinf=1e3, neginf=-1e3)
        return np.concatenate([value, _PRIOR * np.eye(len(p))])

    bounds = [centre - 12, centre + 12]
    if fixed is not None:
        for end, shift in zip(bounds, (-_POINT, _POINT), strict=True):
            end[fixed] = start[fixed] + shift
    fit = least_squares(residuals, start, slopes, loss="soft_l1", f_scale=SOFT * scale, bounds=bounds)
    return fit.x, float(fit.cost), centre
