"""Noise that depends on the signal: of cameras, which count electrons, and of the magnitude of a complex signal, as in MRI. In raw
units, what the camera or the scanner wrote."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import i0e, i1e, pdtr, pdtrik

from noiseworth.noise.base import Array, require_noise, require_size, standard_normal
from noiseworth.rng import Stream, uniform


class PoissonGaussianNoise:
    """A camera's noise: `raw = offset + gain * Poisson((signal - offset) / gain) + read_noise * normal`.

    The variance of a pixel is `gain * (signal - offset) + read_noise^2`: a straight line of the mean, which is how
    both are measured (Janesick, "Photon transfer", 2007).

    Args:
        gain: raw units for each electron; (H, W) or (C, H, W) where pixels differ, as in sCMOS cameras.
        offset: raw value without light; a number or a map.
        read_noise: standard deviation without light, in raw units; a number or a map.

    Raises:
        UserError: a gain is not above 0, or a read noise is negative.
    """

    name: ClassVar[str] = "camera noise"

    def __init__(self, gain: ArrayLike, offset: ArrayLike = 0.0, read_noise: ArrayLike = 0.0) -> None:
        self.gain, self.offset, self.read_noise = (
            np.asarray(value, np.float64) for value in (gain, offset, read_noise)
        )
        is_gain = bool((np.isfinite(self.gain) & (self.gain > 0)).all())
        require_noise(is_gain, f"gain {self.gain.min():g}", "above 0: raw units for each electron")
        require_noise(
            bool((self.read_noise >= 0).all()), f"read noise {self.read_noise.min():g}", "0 or more"
        )

    def variance(self, signal: Array) -> Array:
        """`gain * (signal - offset) + read_noise^2`."""
        for what, value in (("gain", self.gain), ("offset", self.offset), ("read noise", self.read_noise)):
            require_size(what, value, np.shape(signal))
        return self.gain * np.maximum(signal - self.offset, 0) + np.broadcast_to(
            self.read_noise**2, np.shape(signal)
        )

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`; a signal below the offset counts as no light. Unrounded and unclipped."""
        self.variance(signal)  # checks the shapes
        electrons = np.maximum(signal - self.offset, 0) / self.gain
        u = uniform(seed, Stream.ELECTRONS, torch.from_numpy(np.asarray(ids)), signal[0].size)
        counts = poisson(u.numpy().reshape(signal.shape), electrons)
        return self.offset + self.gain * counts + self.read_noise * standard_normal(seed, ids, signal.shape)

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        gain, read, offset = (float(np.median(v)) for v in (self.gain, self.read_noise, self.offset))
        maps = [w for w in ("gain", "offset", "read_noise") if np.ndim(getattr(self, w))]
        return (
            f"camera noise: gain {gain:.4g} raw units an electron, offset {offset:.4g}, read noise {read:.4g} raw units"
            f" ({read / gain:.3g} electrons)" + (f"; maps of {', '.join(maps)}" if maps else "")
        ).replace("read_noise", "read noise")

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`."""
        values = {name: getattr(self, name).tolist() for name in ("gain", "offset", "read_noise")}
        return {"kind": "poisson-gaussian", **values}


@dataclass(frozen=True)
class RicianNoise:
    """Noise of the magnitude of a complex signal, as MRI has it: `|signal + sigma (normal + i normal)|`.

    Nearly Gaussian above 3 sigma; without signal it is Rayleigh's, of mean `sigma sqrt(pi / 2)`
    (Gudbjartsson and Patz, Magn. Reson. Med. 34, 1995).

    Args:
        sigma: standard deviation of each of the two parts, in raw units.
    """

    name: ClassVar[str] = "Rician noise"

    sigma: float

    def __post_init__(self) -> None:
        require_noise(self.sigma > 0, f"sigma {self.sigma:g}", "above 0")

    def mean(self, signal: Array) -> Array:
        """What a pixel's magnitude is on average: above the signal, most where there is little of it."""
        half = np.asarray(signal, np.float64) ** 2 / (4 * self.sigma**2)  # Laguerre's L_1/2(-2 half)
        laguerre = (1 + 2 * half) * i0e(half) + 2 * half * i1e(half)
        mean: Array = self.sigma * math.sqrt(math.pi / 2) * laguerre
        return mean

    def variance(self, signal: Array) -> Array:
        """The variance of the magnitude: `sigma^2` for much signal, `(2 - pi / 2) sigma^2` for none."""
        signal = np.asarray(signal, np.float64)
        exact = 2 * self.sigma**2 + signal**2 - self.mean(signal) ** 2
        # Far above the noise the difference above is one of large numbers.
        return np.where(np.abs(signal) > 1e3 * self.sigma, self.sigma**2, exact)

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`."""
        two = standard_normal(seed, ids, (len(signal), 2, *signal.shape[1:]))
        return np.hypot(signal + self.sigma * two[:, 0], self.sigma * two[:, 1])

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        return f"Rician noise (the magnitude of a complex signal), sigma {self.sigma:.4g} in raw units"

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`."""
        return {"kind": "rician", "sigma": self.sigma}


def poisson(u: Array, mean: Array) -> Array:
    """Poisson numbers of the given means, from uniform numbers in (0, 1) of the same shape: the smallest k of which `P(K <= k) >= u`."""
    mean = np.broadcast_to(mean, u.shape)
    # The inverse of the continuous function that agrees with the distribution at integers is off by rounding alone.
    guess = np.maximum(np.nan_to_num(np.ceil(pdtrik(u, np.maximum(mean, 1e-300)))), 0)
    guess = np.where(pdtr(guess, mean) < u, guess + 1, guess)
    low = (guess > 0) & (pdtr(np.maximum(guess - 1, 0), mean) >= u)
    counts: Array = np.where(mean > 0, guess - low, 0.0)
    return counts
