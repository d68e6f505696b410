"""The worth of noisy images at a mix, by a law: of all of them together, and of the next one."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import FEWEST

Array = NDArray[np.float64]


def marginal_worth(law: Law, clean: float, noisy: float, column: int) -> float:
    """Worth of the next noisy image at a mix, in clean images: the ratio of the derivatives of the quality.

    Args:
        law: a fitted law.
        clean, noisy: numbers of images of the mix.
        column: index of the noise level.
    """
    # The quality E + sum A n_k^-alpha has the slopes -alpha A n_k^(-alpha - 1) in the effective numbers n_k.
    _, terms = law.terms()
    rates = np.array([r[column] for _, _, r in terms])
    amplitudes, exponents = (np.array([term[k] for term in terms]) for k in (0, 1))
    counts = np.maximum((clean + noisy * rates) / law.unit, FEWEST)
    slopes = np.log(amplitudes * exponents) - (exponents + 1) * np.log(counts)
    weights = np.exp(slopes - slopes.max())  # in logarithms, so that no slope is too great or too small
    return float(weights @ rates / weights.sum())


def mixes(law: Law, clean: Array, noisy: Array, column: int) -> Observations:
    """N models with numbers (N,) of clean images and of noisy ones of noise level `column`; quality 1."""
    counts = np.zeros((len(clean), len(law.sigmas)))
    counts[:, column] = noisy
    return Observations(clean, counts, law.sigmas, np.ones(len(clean)))


def average_price(law: Law, clean: float, noisy: float, column: int) -> float:
    """Average price at a mix: `noisy / m`, where `m` more clean images replace the noisy ones.

    A model with `clean + m` clean images has the same predicted quality as the mix.

    Args:
        law: a fitted law.
        clean, noisy: numbers of images of the mix.
        column: index of the noise level.
    """
    target = float(law.predict(mixes(law, np.array([clean]), np.array([noisy]), column))[0])
    low = 0.0
    high = noisy  # no rate exceeds 1
    for _ in range(60):
        middle = (low + high) / 2
        if float(law.predict(mixes(law, np.array([clean + middle]), np.zeros(1), column))[0]) > target:
            low = middle
        else:
            high = middle
    return noisy / high
