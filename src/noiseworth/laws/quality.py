"""The formulas of the laws (see `fit.py`) in transformed parameters, and their derivatives."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.observations import Observations

Array = NDArray[np.float64]

FEWEST = 1e-6  # least effective number of images, in the law's unit: the power of 0 images is infinite


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def rates_of(name: str, parameters: Array, sigmas: tuple[float, ...]) -> Array:
    """Worth of a noisy image in clean ones at each noise level: (S,) in one currency, (2, S) in two."""
    if name == "one":
        return logistic(parameters[3 : 3 + len(sigmas)])
    if name == "curve":
        return logistic(np.exp(parameters[4]) * (parameters[3] - np.log(sigmas)))
    scale = np.exp(parameters[[5, 7]])[:, None]  # s_i
    power = np.exp(parameters[[6, 8]])[:, None]  # q_i
    return np.asarray(1 / (1 + (np.array(sigmas) / scale) ** power))


def log_quality(name: str, parameters: Array, o: Observations, unit: float) -> Array:
    """Logarithm of the predicted quality, (N,), by the formulas of the module's docstring."""
    of_noise = np.atleast_2d(rates_of(name, parameters, o.sigmas))
    count = np.maximum(o.n_clean[..., None] / unit + o.n_noisy / unit @ of_noise.T, FEWEST)
    E, A, alpha = np.exp(parameters[:3])
    quality = E + A * count[:, 0] ** -alpha
    if name == "two":
        B, beta = np.exp(parameters[3:5])
        quality = quality + B * count[:, 1] ** -beta
    return np.asarray(np.log(quality))


def log_quality_slopes(name: str, parameters: Array, o: Observations, unit: float) -> Array:
    """Derivatives (N, P) of `log_quality` by the parameters."""
    of_noise = np.atleast_2d(rates_of(name, parameters, o.sigmas))
    noisy = o.n_noisy / unit
    whole = o.n_clean[..., None] / unit + noisy @ of_noise.T
    count, free = np.maximum(whole, FEWEST), whole > FEWEST
    E, A, alpha = np.exp(parameters[:3])
    term = A * count[:, 0] ** -alpha
    quality = E + term
    slopes = np.zeros((len(count), len(parameters)))
    slopes[:, 0], slopes[:, 1] = E, term
    slopes[:, 2] = -alpha * term * np.log(count[:, 0])
    by_count = [-alpha * term / count[:, 0] * free[:, 0]]
    if name == "one":
        rate = of_noise[0]
        slopes[:, 3:] = by_count[0][:, None] * noisy * rate * (1 - rate)
    elif name == "curve":
        slopes[:, 3:] = by_count[0][:, None] * (noisy @ _curve_slopes(of_noise[0], parameters[3:], o.sigmas))
    else:
        B, beta = np.exp(parameters[3:5])
        other = B * count[:, 1] ** -beta
        quality = quality + other
        slopes[:, 3], slopes[:, 4] = other, -beta * other * np.log(count[:, 1])
        by_count.append(-beta * other / count[:, 1] * free[:, 1])
        for i, at in enumerate((5, 7)):
            by_rate = noisy @ _curve_slopes(of_noise[i], parameters[at : at + 2], o.sigmas)
            slopes[:, at : at + 2] = by_count[i][:, None] * by_rate
    of_log: Array = slopes / quality[:, None]
    return of_log


def _curve_slopes(rate: Array, parameters: Array, sigmas: tuple[float, ...]) -> Array:
    """Derivatives (S, 2) of `1 / (1 + (s / s_0)^q)` by ln s_0 and ln q."""
    spread = rate * (1 - rate) * np.exp(parameters[1])
    return np.stack([spread, -spread * (np.log(sigmas) - parameters[0])], axis=1)
