"""Models of noise. Each says how noise depends on the clean signal, and draws it.

Arrays are images (B, C, H, W) in the units that a model is for: *model units* for `GaussianNoise`,
`VariableNoise` and `CorrelatedNoise`, *raw units* (what the camera or the scanner wrote) for
`PoissonGaussianNoise` and `RicianNoise`. A draw is a function of (seed, the image's id) alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import i0e, i1e, pdtr, pdtrik

from noiseworth.errors import UserError
from noiseworth.rng import Stream, normal, uniform

Array = NDArray[np.float64]


class NoiseModel(Protocol):
    """What every model of noise can do."""

    def variance(self, signal: Array) -> Array:
        """The variance of each pixel's noise, of the shape of the clean signal."""
        ...

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """Noisy images (B, C, H, W) of clean ones; `ids` (B,) are their numbers."""
        ...

    def describe(self) -> str:
        """The model in a line."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists, from which `from_json` makes the model again."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    """White Gaussian noise, the same in every pixel.

    Args:
        sigma: standard deviation, in model units.
    """

    sigma: float

    def __post_init__(self) -> None:
        _require(self.sigma >= 0, f"sigma {self.sigma:g}", "0 or more")

    def variance(self, signal: Array) -> Array:
        """`sigma^2` in every pixel."""
        return np.full(np.shape(signal), self.sigma**2)

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`."""
        return signal + self.sigma * _normal(seed, ids, signal.shape)

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        return f"white Gaussian noise, sigma {self.sigma:.4g}"

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`."""
        return {"kind": "gaussian", "sigma": self.sigma}


class VariableNoise:
    """Gaussian noise, independent from pixel to pixel, with a variance for each.

    Args:
        variance_map: (H, W) or (C, H, W), in squared model units; infinite where a pixel is missing.

    Raises:
        UserError: a variance is negative or NaN.
    """

    def __init__(self, variance_map: ArrayLike) -> None:
        self.map: Array = np.asarray(variance_map, np.float64)
        if not (self.map >= 0).all():
            at = tuple(int(i) for i in np.argwhere(~(self.map >= 0))[0])
            raise UserError(
                f"variance map: {self.map[at]:g} at pixel {at}; a variance is 0 or more, and infinite where a pixel is missing"
            )

    def variance(self, signal: Array) -> Array:
        """The map, for each image."""
        _fits("variance map", self.map, np.shape(signal))
        return np.broadcast_to(self.map, np.shape(signal))

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`; a missing pixel is NaN."""
        deviation = np.sqrt(self.variance(signal))
        noise = np.where(np.isfinite(deviation), deviation, np.nan) * _normal(seed, ids, signal.shape)
        return signal + noise

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        finite = np.sqrt(self.map[np.isfinite(self.map)])
        missing = 1 - finite.size / self.map.size
        words = f"Gaussian noise of {finite.min():.4g} to {finite.max():.4g} a pixel" if finite.size else ""
        return words + (f", {missing:.1%} of the pixels missing" if missing else "")

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`; null where a pixel is missing."""
        table = self.map.astype(object)
        table[~np.isfinite(self.map)] = None
        return {"kind": "variable", "variance": table.tolist()}


class CorrelatedNoise:
    """Stationary Gaussian noise: neighbouring pixels go together, the same way everywhere (at the edges, around them).

    Args:
        spectrum: (H, W), the variance of each coefficient of the orthonormal Fourier transform, as
            `numpy.fft.fft2(noise, norm="ortho")` orders them; its mean is the variance of a pixel.

    Raises:
        UserError: a variance is negative, or the spectrum is not that of real noise: `S[-k] = S[k]`.
    """

    def __init__(self, spectrum: ArrayLike) -> None:
        self.spectrum: Array = np.asarray(spectrum, np.float64)
        _require(self.spectrum.ndim == 2, f"spectrum of shape {self.spectrum.shape}", "(height, width)")
        _require(
            bool((self.spectrum >= 0).all()), f"spectrum with {self.spectrum.min():g}", "0 or more everywhere"
        )
        turned = np.roll(self.spectrum[::-1, ::-1], (1, 1), (0, 1))
        is_real = np.allclose(turned, self.spectrum, rtol=1e-6, atol=1e-12 * self.spectrum.max())
        _require(is_real, "spectrum", "the same at opposite frequencies, as that of real noise is")

    def variance(self, signal: Array) -> Array:
        """The mean of the spectrum in every pixel."""
        _fits("spectrum", self.spectrum, np.shape(signal))
        return np.full(np.shape(signal), self.spectrum.mean())

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`; channels are independent."""
        _fits("spectrum", self.spectrum, signal.shape)
        white = np.fft.fft2(_normal(seed, ids, signal.shape))
        return signal + np.fft.ifft2(white * np.sqrt(self.spectrum)).real

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        neighbour = np.fft.ifft2(self.spectrum).real[0, 1] / self.spectrum.mean()
        return f"correlated Gaussian noise, {math.sqrt(self.spectrum.mean()):.4g} a pixel, correlation {neighbour:.2f} with the next pixel"

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`."""
        return {"kind": "correlated", "spectrum": self.spectrum.tolist()}


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

    def __init__(self, gain: ArrayLike, offset: ArrayLike = 0.0, read_noise: ArrayLike = 0.0) -> None:
        self.gain, self.offset, self.read_noise = (
            np.asarray(value, np.float64) for value in (gain, offset, read_noise)
        )
        is_gain = bool((np.isfinite(self.gain) & (self.gain > 0)).all())
        _require(is_gain, f"gain {self.gain.min():g}", "above 0: raw units for each electron")
        _require(bool((self.read_noise >= 0).all()), f"read noise {self.read_noise.min():g}", "0 or more")

    def variance(self, signal: Array) -> Array:
        """`gain * (signal - offset) + read_noise^2`."""
        for what, value in (("gain", self.gain), ("offset", self.offset), ("read noise", self.read_noise)):
            _fits(what, value, np.shape(signal))
        return self.gain * np.maximum(signal - self.offset, 0) + np.broadcast_to(
            self.read_noise**2, np.shape(signal)
        )

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`; a signal below the offset counts as no light. Unrounded and unclipped."""
        self.variance(signal)  # checks the shapes
        electrons = np.maximum(signal - self.offset, 0) / self.gain
        u = uniform(seed, Stream.ELECTRONS, torch.from_numpy(np.asarray(ids)), signal[0].size)
        counts = poisson(u.numpy().reshape(signal.shape), electrons)
        return self.offset + self.gain * counts + self.read_noise * _normal(seed, ids, signal.shape)

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

    sigma: float

    def __post_init__(self) -> None:
        _require(self.sigma > 0, f"sigma {self.sigma:g}", "above 0")

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
        two = _normal(seed, ids, (len(signal), 2, *signal.shape[1:]))
        return np.hypot(signal + self.sigma * two[:, 0], self.sigma * two[:, 1])

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        return f"Rician noise (the magnitude of a complex signal), sigma {self.sigma:.4g} in raw units"

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`."""
        return {"kind": "rician", "sigma": self.sigma}


def from_json(values: Mapping[str, Any]) -> NoiseModel:
    """The model that `to_json` described.

    Raises:
        UserError: there is no such kind, or a number is missing or wrong.
    """
    rest = {name: value for name, value in values.items() if name != "kind"}
    try:
        match values.get("kind"):
            case "gaussian":
                return GaussianNoise(**rest)
            case "variable":
                table = np.array(rest["variance"], dtype=np.float64)  # null is NaN
                return VariableNoise(np.where(np.isnan(table), np.inf, table))
            case "correlated":
                return CorrelatedNoise(**rest)
            case "poisson-gaussian":
                return PoissonGaussianNoise(**rest)
            case "rician":
                return RicianNoise(**rest)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"noise model {values.get('kind')}: {error}") from None
    kinds = "gaussian, variable, correlated, poisson-gaussian, rician"
    raise UserError(f"noise model of kind {values.get('kind')!r}: must be one of {kinds}")


def poisson(u: Array, mean: Array) -> Array:
    """Poisson numbers of the given means, from uniform numbers in (0, 1) of the same shape: the smallest k of which `P(K <= k) >= u`."""
    mean = np.broadcast_to(mean, u.shape)
    # The inverse of the continuous function that agrees with the distribution at integers is off by rounding alone.
    guess = np.maximum(np.nan_to_num(np.ceil(pdtrik(u, np.maximum(mean, 1e-300)))), 0)
    guess = np.where(pdtr(guess, mean) < u, guess + 1, guess)
    low = (guess > 0) & (pdtr(np.maximum(guess - 1, 0), mean) >= u)
    counts: Array = np.where(mean > 0, guess - low, 0.0)
    return counts


def _normal(seed: int, ids: NDArray[np.int64], shape: tuple[int, ...]) -> Array:
    return (
        normal(seed, Stream.CORRUPT, torch.from_numpy(np.asarray(ids)), shape[1:]).numpy().astype(np.float64)
    )


def _require(condition: bool, what: str, must: str) -> None:
    if not condition:
        raise UserError(f"noise model: {what} must be {must}")


def _fits(what: str, table: Array, shape: tuple[int, ...]) -> None:
    """Raises UserError where a map is not of the size of the images."""
    if table.ndim and table.shape not in (shape[1:], shape[2:]):
        size = "x".join(str(n) for n in table.shape[::-1])
        images = "x".join(str(n) for n in shape[:0:-1])
        raise UserError(f"{what}: a map of {size}, and images of {images}; give a map of the images' size")
