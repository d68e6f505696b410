"""Making noise that depends on the signal Gaussian, of one level for all signals; and the way back.

A camera's counts go through the generalised Anscombe transform (Murtagh, Starck and Bijaoui, Astron. Astrophys. Suppl. 112,
1995); magnitudes of MRI through the integral of one over their standard deviation (the delta method; Foi, "Noise estimation
and removal in MR imaging: the variance-stabilization approach", ISBI 2011). The mean of a transformed noisy value is not
the transform of the clean one: `mean` is that mean, by quadrature, and `inverse` its inverse: the exact unbiased inverse
(Makitalo and Foi, "Optimal inversion of the generalized Anscombe transformation", IEEE Trans. Image Process. 22, 2013).
So clean images go through `mean`, noisy ones through `forward`, and the noise between has mean zero.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import pdtr
from scipy.stats import rice

from noiseworth.errors import UserError
from noiseworth.noise.base import Array, NoiseModel
from noiseworth.noise.sensors import PoissonGaussianNoise, RicianNoise

_MANY = 400.0  # electrons, from which the mean of the transform follows its expansion
_STRONG = 40.0  # sigma, the same for magnitudes
_NODES = 64  # of Gauss and Hermite


class Stabiliser:
    """A transform of raw values after which noise has a standard deviation of about 1.

    Args:
        model: of a camera without maps, or of a scanner.

    Attributes:
        zero: the raw value without signal.

    Raises:
        UserError: noise of this kind does not depend on the signal, or differs from pixel to pixel.
    """

    def __init__(self, model: NoiseModel) -> None:
        if isinstance(model, PoissonGaussianNoise):
            if any(np.ndim(value) for value in (model.gain, model.offset, model.read_noise)):
                raise UserError(
                    f"{model.describe()}: noise that differs from pixel to pixel cannot be made Gaussian by one transform; give"
                    " numbers in place of maps"
                )
            self.zero, self._unit = float(model.offset), float(model.gain)
            self._read = float(model.read_noise) / self._unit
        elif isinstance(model, RicianNoise):
            self.zero, self._unit, self._read = 0.0, model.sigma, 0.0
        else:
            raise UserError(
                f"{model.describe()}: does not depend on the signal; there is nothing to stabilise"
            )
        self.model = model
        self._is_camera = isinstance(model, PoissonGaussianNoise)
        self._top = _MANY if self._is_camera else _STRONG

    def forward(self, raw: Array) -> Array:
        """Noisy raw values, transformed."""
        x = (np.asarray(raw, np.float64) - self.zero) / self._unit
        return self._anscombe(x) if self._is_camera else self._magnitude(x)

    def mean(self, signal: Array) -> Array:
        """The mean of transformed noisy values, for clean raw values; a signal below none counts as none."""
        x = np.maximum((np.asarray(signal, np.float64) - self.zero) / self._unit, 0)
        # In the root of the signal the grid is even, and the mean nearly a straight line.
        near: Array = self._spline(np.sqrt(np.minimum(x, self._top)))
        return np.where(x <= self._top, near, self._beyond(np.maximum(x, 1.0)))

    def inverse(self, transformed: Array) -> Array:
        """Clean raw values whose transformed noisy values have these means; no signal below the mean of none."""
        z = np.asarray(transformed, np.float64)
        # The mean rises with the signal: Newton's steps from its inverse on the grid.
        signal = self.zero + self._unit * np.interp(z, self._table, self._grid)
        if self._is_camera:
            far = np.maximum((z / 2) ** 2 + 0.25 - 0.375 - self._read**2, 0)
        else:
            far = np.maximum(z + self._grid[-1] - self._table[-1], 0)
        signal = np.where(z > self._table[-1], self.zero + self._unit * far, signal)
        step = 1e-4 * self._unit
        for _ in range(3):
            at = np.maximum(signal, self.zero + step)
            slope = (self.mean(at + step) - self.mean(at - step)) / (2 * step)
            signal = np.where(
                z > self._table[0], np.maximum(at - (self.mean(at) - z) / slope, self.zero), self.zero
            )
        return signal

    def variance(self, signal: Array) -> Array:
        """The variance of transformed noisy values, for clean raw values: near 1, but for very little signal."""
        x = np.maximum((np.asarray(signal, np.float64) - self.zero) / self._unit, 0)
        return np.interp(x, self._grid, self._variances)

    def _anscombe(self, counts: Array) -> Array:
        transformed: Array = 2 * np.sqrt(np.maximum(counts + 0.375 + self._read**2, 0))
        return transformed

    def _magnitude(self, x: Array) -> Array:
        """The integral of 1 / standard deviation over the mean; a straight line below the mean of no signal."""
        means, integral = self._delta
        below = (x - means[0]) / self._sd_at_none
        inside = np.interp(x, means, integral)
        return np.where(x < means[0], below, np.where(x > means[-1], integral[-1] + x - means[-1], inside))

    @property
    def _sd_at_none(self) -> float:
        return float(np.sqrt(2 - np.pi / 2))

    @cached_property
    def _delta(self) -> tuple[Array, Array]:
        """For magnitudes of a signal from 0 up, at sigma 1: their means, and the integral over these."""
        unit = RicianNoise(1.0)
        signal = np.concatenate([np.linspace(0, 12, 4001), np.linspace(12.05, 60, 960)])
        means, deviations = unit.mean(signal), np.sqrt(unit.variance(signal))
        rate = 1 / deviations
        steps = np.diff(means) * (rate[1:] + rate[:-1]) / 2
        return means, np.concatenate([[0.0], np.cumsum(steps)])

    @cached_property
    def _grid(self) -> Array:
        """Signals in electrons, or in sigma; finer where there are few."""
        grid: Array = np.linspace(0, np.sqrt(self._top), 600) ** 2
        return grid

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        """Mean and variance of transformed values, for the signals of the grid, by quadrature."""
        if self._is_camera:
            return self._camera_moments()
        y = np.linspace(0, self._grid[-1] + 9, 20_001)
        values = self._magnitude(y)
        mean, variance = np.empty(len(self._grid)), np.empty(len(self._grid))
        for number, signal in enumerate(self._grid):
            near = np.abs(y - signal) < 9
            density = rice.pdf(y[near], signal)
            density /= density.sum()
            mean[number] = (density * values[near]).sum()
            variance[number] = (density * (values[near] - mean[number]) ** 2).sum()
        return mean, variance

    def _camera_moments(self) -> tuple[Array, Array]:
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        weights = weights / weights.sum()
        counts = np.arange(int(_MANY + 12 * np.sqrt(_MANY)) + 20)
        transformed = self._anscombe(counts[:, None] + self._read * nodes)
        first, second = transformed @ weights, transformed**2 @ weights
        below = pdtr(counts[None], np.maximum(self._grid, 1e-300)[:, None])
        share = np.diff(below, axis=1, prepend=0.0)
        share[self._grid == 0] = counts == 0
        mean: NDArray[np.float64] = share @ first
        return mean, share @ second - mean**2

    @property
    def _table(self) -> Array:
        return self._moments[0]

    @property
    def _variances(self) -> Array:
        return self._moments[1]

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(np.sqrt(self._grid), self._table)

    def _beyond(self, x: Array) -> Array:
        """The mean for much signal: Taylor's expansion around it."""
        if not self._is_camera:
            return x + float(self._table[-1] - self._grid[-1])
        top, spread = x + 0.375 + self._read**2, x + self._read**2
        mean: Array = 2 * np.sqrt(top) - spread / (4 * top**1.5) + x / (8 * top**2.5)
        mean -= 15 / 64 * (spread**2 + x / 3) / top**3.5
        return mean
