"""What a law says of noisy images at a mix: all of them together, or the next one."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.fit import Law
from noiseworth.laws.observations import Observations

Array = NDArray[np.float64]


def marginal_worth(law: Law, clean: float, noisy: float, column: int) -> float:
    """How many clean images the next noisy one is worth, at this mix: the ratio of the derivatives of the quality."""
    step = 1e-4 * max(clean + noisy, 1.0)
    three = mixes(law, np.array([clean, clean + step, clean]), np.array([noisy, noisy, noisy + step]), column)
    here, more_clean, more_noisy = law.predict(three)
    return float((here - more_noisy) / (here - more_clean))


def mixes(law: Law, clean: Array, noisy: Array, column: int) -> Observations:
    """Models (N,) with these numbers of clean images, and of noisy ones of the law's noise level `column`; of no known quality."""
    counts = np.zeros((len(clean), len(law.sigmas)))
    counts[:, column] = noisy
    return Observations(clean, counts, law.sigmas, np.ones(len(clean)))


def average_price(law: Law, clean: float, noisy: float, column: int) -> float:
    """`noisy / m`, where `m` more clean images would do as much as all the noisy ones together."""
    target = float(law.predict(mixes(law, np.array([clean]), np.array([noisy]), column))[0])
    low, high = 0.0, noisy  # no rate exceeds 1
    for _ in range(60):
        middle = (low + high) / 2
        if float(law.predict(mixes(law, np.array([clean + middle]), np.zeros(1), column))[0]) > target:
            low = middle
        else:
            high = middle
    return noisy / high
