"""95% intervals of estimates from few samples."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # scipy.stats takes most of a second to import

_LEVEL = 0.975


def half_width(variance: float, degrees: float) -> float:
    """Half the width of an interval by Student's distribution, for an estimate whose variance was measured.

    Args:
        variance: of the estimate.
        degrees: of freedom of that variance; infinite gives the normal distribution.
    """
    quantile = ndtri(_LEVEL) if math.isinf(degrees) else stdtrit(degrees, _LEVEL)
    return float(quantile) * math.sqrt(variance)


def jackknife_variance(without: NDArray[np.float64]) -> float:
    """Variance of an estimate, from its values (B,) without one of B blocks of samples each.

    A part of second order, all that is left where two distributions are the same, counts twice (Efron and
    Stein, Annals of Statistics 9, 1981).
    """
    blocks = len(without)
    return float((blocks - 1) / blocks * ((without - without.mean()) ** 2).sum())


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a share of which `hits` of `count` are seen (Journal of the ASA 22, 1927)."""
    z = float(ndtri(_LEVEL))
    share, square = hits / count, z * z / count
    centre = (share + square / 2) / (1 + square)
    half = z * (share * (1 - share) / count + square / (4 * count)) ** 0.5 / (1 + square)
    # At the ends rounding would leave a little.
    return centre - half if hits else 0.0, centre + half if hits < count else 1.0
