"""Where the optimisation of a law starts, in transformed parameters (see `law.py`)."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import CURVE, LEVELS

Array = NDArray[np.float64]


def starts_of(name: str, o: Observations) -> list[Array]:
    """Starts of the optimisation, each (P,)."""
    least = np.log(0.9 * o.quality.min())
    if name == CURVE:
        noisy = np.array([s for s in o.sigmas if s > 0])
        middle = float(np.mean(np.log(noisy)))
        return [
            np.array([least, np.log(0.2 * o.quality.min()), np.log(a), at, np.log(2.0)])
            for a in (0.5, 1.5)
            for at in (middle - 1, middle + 1)
        ]
    if name == LEVELS:
        spread = np.log(max(np.ptp(o.quality), 1e-3 * o.quality.min()))
        return [
            np.array([least, spread, np.log(a), np.log(k), np.log(q), np.log(0.05)])
            for a in (0.7, 2.0)
            for k in (0.5, 2.0)
            for q in (2.0, 4.0)
        ]
    if name == "one":
        rates = np.linspace(2.0, 0.0, len(o.sigmas)) if len(o.sigmas) > 1 else np.ones(len(o.sigmas))
        return [
            np.concatenate([[least, np.log(0.2 * o.quality.min()), np.log(a)], rates])
            for a in (0.7, 1.5, 3.0)
        ]
    middle = float(np.median(o.sigmas))
    return [
        np.log(
            [np.exp(least), 0.1 * o.quality.min(), a, 0.02 * o.quality.min(), b, 3 * middle, 1.0, middle, 1.0]
        )
        for a, b in ((0.7, 2.0), (2.0, 4.0))
    ]
