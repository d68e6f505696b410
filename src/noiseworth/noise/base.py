"""What every model of noise has, and what all of them need."""

from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.rng import Stream, normal

Array = NDArray[np.float64]


class NoiseModel(Protocol):
    """What every model of noise can do; `name` is its kind in words."""

    name: ClassVar[str]

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


def standard_normal(seed: int, ids: NDArray[np.int64], shape: tuple[int, ...]) -> Array:
    return (
        normal(seed, Stream.CORRUPT, torch.from_numpy(np.asarray(ids)), shape[1:]).numpy().astype(np.float64)
    )


def require_noise(condition: bool, what: str, must: str) -> None:
    """Raises UserError unless the condition holds."""
    if not condition:
        raise UserError(f"noise model: {what} must be {must}")


def require_size(what: str, table: Array, shape: tuple[int, ...]) -> None:
    """Raises UserError where a map is not of the size of the images."""
    if table.ndim and table.shape not in (shape[1:], shape[2:]):
        size = "x".join(str(n) for n in table.shape[::-1])
        images = "x".join(str(n) for n in shape[:0:-1])
        raise UserError(f"{what}: a map of {size}, and images of {images}; give a map of the images' size")
