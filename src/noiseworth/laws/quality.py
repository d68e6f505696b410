"""The formulas of the laws (see `law.py`) in transformed parameters, and their derivatives."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.observations import Observations

Array = NDArray[np.float64]

CURVE = "curve"  # the law of one currency in which worth is a curve of the noise
LEVELS = "levels"  # the law with a currency for each level that a denoiser is asked at
AT = np.geomspace(0.05, 5.0, 9)  # these levels, in model units: those of the denoising risk

FEWEST = 1e-6  # least effective number of images, in the law's unit: the power of 0 images is infinite


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    from scipy.special import expit

    return np.asarray(expit(x))


def rates_of(name: str, parameters: Array, sigmas: tuple[float, ...]) -> Array:
    """Worth of a noisy image in clean ones at each noise level: (S,) in one currency, (2, S) in two, (T, S) at levels."""
    if name == "one":
        return logistic(parameters[3 : 3 + len(sigmas)])
    if name == LEVELS:
        return logistic(np.exp(parameters[4]) * (parameters[3] + np.log(AT)[:, None] - np.log(sigmas)))
    if name == CURVE:
        return logistic(np.exp(parameters[4]) * (parameters[3] - np.log(sigmas)))
    scale = np.exp(parameters[[5, 7]])[:, None]  # s_i
    power = np.exp(parameters[[6, 8]])[:, None]  # q_i
    return np.asarray(1 / (1 + (np.array(sigmas) / scale) ** power))


def quality_of(name: str, parameters: Array, worth: Array) -> Array:
    """Quality (...) of images that are worth (K, ...) clean ones in each currency, in the law's unit."""
    E, A, alpha = np.exp(parameters[:3])
    count = np.maximum(worth, FEWEST)
    if name == LEVELS:
        return np.asarray(E + A * _ignorance(count, parameters).mean(axis=0))
    quality = E + A * count[0] ** -alpha
    if name == "two":
        B, beta = np.exp(parameters[3:5])
        quality = quality + B * count[1] ** -beta
    return np.asarray(quality)


def log_slopes_of(name: str, parameters: Array, worth: Array) -> Array:
    """Logarithm of what a little more worth in each currency (K,) takes off the quality, for images worth (K,) in the law's unit."""
    log_count = np.log(np.maximum(worth, FEWEST))
    alpha = np.exp(parameters[2])
    if name == LEVELS:
        # u (1 - u) of u = 1 / (1 + e^x) is e^-|x| / (1 + e^-|x|)^2, which does not overflow.
        x = np.abs(alpha * (log_count - parameters[5]))
        both = -x - 2 * np.log1p(np.exp(-x))
        return np.asarray(parameters[1] + parameters[2] + both - log_count - np.log(len(AT)))
    slopes = parameters[1] + parameters[2] - (alpha + 1) * log_count
    if name == "two":
        slopes[1] = parameters[3] + parameters[4] - (np.exp(parameters[4]) + 1) * log_count[1]
    return np.asarray(slopes)


def _ignorance(count: Array, parameters: Array) -> Array:
    """1 / (1 + (n / n_0)^alpha), of effective numbers of images of any shape."""
    return logistic(-np.exp(parameters[2]) * (np.log(count) - parameters[5]))


def log_quality(name: str, parameters: Array, o: Observations, unit: float) -> Array:
    """Logarithm of the predicted quality, (N,), by the formulas of `law.py`."""
    of_noise = np.atleast_2d(rates_of(name, parameters, o.sigmas))
    worth = o.n_clean / unit + of_noise @ (o.n_noisy / unit).T
    return np.asarray(np.log(quality_of(name, parameters, worth)))


def log_quality_slopes(name: str, parameters: Array, o: Observations, unit: float) -> Array:
    """Derivatives (N, P) of `log_quality` by the parameters."""
    of_noise = np.atleast_2d(rates_of(name, parameters, o.sigmas))
    noisy = o.n_noisy / unit
    whole = o.n_clean[..., None] / unit + noisy @ of_noise.T
    count, free = np.maximum(whole, FEWEST), whole > FEWEST
    if name == LEVELS:
        return _slopes_of_levels(parameters, noisy, of_noise, count, o.sigmas)
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
    elif name == CURVE:
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


def _slopes_of_levels(
    parameters: Array, noisy: Array, rates: Array, count: Array, sigmas: tuple[float, ...]
) -> Array:
    """Derivatives (N, 6) of the logarithm of the quality by the law of levels.

    Args:
        parameters: (6,).
        noisy: (N, S) numbers of noisy images.
        rates: (T, S).
        count: (N, T) effective numbers of images.
        sigmas: (S,).
    """
    E, A, alpha = np.exp(parameters[:3])
    unknown = _ignorance(count, parameters)
    changing = A * alpha * unknown * (1 - unknown)  # by -ln n_t
    slopes = np.zeros((len(count), 6))
    slopes[:, 0], slopes[:, 1] = E, A * unknown.mean(axis=1)
    slopes[:, 2] = -(changing * (np.log(count) - parameters[5])).mean(axis=1)
    slopes[:, 5] = changing.mean(axis=1)
    for t, level in enumerate(AT):
        at = np.array([parameters[3] + np.log(level), parameters[4]])
        by_rate = noisy @ _curve_slopes(rates[t], at, sigmas)
        slopes[:, 3:5] -= (changing[:, t] / count[:, t])[:, None] * by_rate / len(AT)
    quality = E + slopes[:, 1]
    return np.asarray(slopes / quality[:, None])
