"""Models of noise. Each says how noise depends on the clean signal, and draws it.

Arrays are images (B, C, H, W) in the units that a model is for: *model units* for the Gaussian ones here, *raw
units* for those of cameras and scanners (`sensors.py`). A draw is a function of (seed, the image's id) alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noiseworth.errors import UserError
from noiseworth.noise.base import Array, NoiseModel, require_noise, require_size, standard_normal
from noiseworth.noise.sensors import PoissonGaussianNoise, RicianNoise


@dataclass(frozen=True)
class GaussianNoise:
    """White Gaussian noise, the same in every pixel.

    Args:
        sigma: standard deviation, in model units.
    """

    name: ClassVar[str] = "white Gaussian noise"

    sigma: float

    def __post_init__(self) -> None:
        require_noise(self.sigma >= 0, f"sigma {self.sigma:g}", "0 or more")

    def variance(self, signal: Array) -> Array:
        """`sigma^2` in every pixel."""
        return np.full(np.shape(signal), self.sigma**2)

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`."""
        return signal + self.sigma * standard_normal(seed, ids, signal.shape)

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

    name: ClassVar[str] = "noise that differs from pixel to pixel"

    def __init__(self, variance_map: ArrayLike) -> None:
        self.map: Array = np.asarray(variance_map, np.float64)
        if not (self.map >= 0).all():
            at = tuple(int(i) for i in np.argwhere(~(self.map >= 0))[0])
            raise UserError(
                f"variance map: {self.map[at]:g} at pixel {at}; a variance is 0 or more, and infinite where a pixel is missing"
            )

    def variance(self, signal: Array) -> Array:
        """The map, for each image."""
        require_size("variance map", self.map, np.shape(signal))
        return np.broadcast_to(self.map, np.shape(signal))

    @property
    def sigma(self) -> float:
        """Root mean square over the pixels that are not missing; 0 where all are."""
        finite = self.map[np.isfinite(self.map)]
        return math.sqrt(finite.mean()) if finite.size else 0.0

    def scaled(self, factor: float) -> "VariableNoise":
        """The same noise, so many times as strong."""
        return VariableNoise(self.map * factor**2)

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`; a missing pixel is NaN."""
        deviation = np.sqrt(self.variance(signal))
        noise = np.where(np.isfinite(deviation), deviation, np.nan) * standard_normal(seed, ids, signal.shape)
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

    name: ClassVar[str] = "correlated noise"

    def __init__(self, spectrum: ArrayLike) -> None:
        self.spectrum: Array = np.asarray(spectrum, np.float64)
        require_noise(self.spectrum.ndim == 2, f"spectrum of shape {self.spectrum.shape}", "(height, width)")
        require_noise(
            bool((self.spectrum >= 0).all()), f"spectrum with {self.spectrum.min():g}", "0 or more everywhere"
        )
        turned = np.roll(self.spectrum[::-1, ::-1], (1, 1), (0, 1))
        is_real = np.allclose(turned, self.spectrum, rtol=1e-6, atol=1e-12 * self.spectrum.max())
        require_noise(is_real, "spectrum", "the same at opposite frequencies, as that of real noise is")

    @property
    def sigma(self) -> float:
        """Standard deviation of a pixel."""
        return math.sqrt(self.spectrum.mean())

    def scaled(self, factor: float) -> "CorrelatedNoise":
        """The same noise, so many times as strong."""
        return CorrelatedNoise(self.spectrum * factor**2)

    def variance(self, signal: Array) -> Array:
        """The mean of the spectrum in every pixel."""
        require_size("spectrum", self.spectrum, np.shape(signal))
        return np.full(np.shape(signal), self.spectrum.mean())

    def sample(self, signal: Array, seed: int, ids: NDArray[np.int64]) -> Array:
        """As `NoiseModel.sample`; channels are independent."""
        require_size("spectrum", self.spectrum, signal.shape)
        white = np.fft.fft2(standard_normal(seed, ids, signal.shape))
        return signal + np.fft.ifft2(white * np.sqrt(self.spectrum)).real

    def describe(self) -> str:
        """As `NoiseModel.describe`."""
        neighbour = np.fft.ifft2(self.spectrum).real[0, 1] / self.spectrum.mean()
        return f"correlated Gaussian noise, {math.sqrt(self.spectrum.mean()):.4g} a pixel, correlation {neighbour:.2f} with the next pixel"

    def to_json(self) -> dict[str, Any]:
        """As `NoiseModel.to_json`."""
        return {"kind": "correlated", "spectrum": self.spectrum.tolist()}


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
