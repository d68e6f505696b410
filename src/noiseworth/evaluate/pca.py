"""Principal components of the pixels: features that need no labels, and depend only on the images."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.records import FeatureRecord

Array = NDArray[np.float64]

_COMPONENTS = 64
_MOST = 4096  # largest side of the matrix that is decomposed: dimensions, or else images


@dataclass(frozen=True)
class PcaFeatures:
    """Coordinates along the `components` (K, D) about the `mean` (D,), divided by `scale`.

    `scale` makes their mean variance 1 over the images that the components were computed from.
    """

    mean: Array
    components: Array
    scale: float

    def __call__(self, images: NDArray[np.float32]) -> Array:
        """See `features.Features`."""
        flat = images.reshape(len(images), -1).astype(np.float64)
        return np.asarray((flat - self.mean) @ self.components.T / self.scale)

    def describe(self) -> FeatureRecord:
        """See `features.Features`."""
        digest = hashlib.sha256(self.mean.tobytes() + self.components.tobytes()).hexdigest()
        return FeatureRecord("pca", len(self.components), digest)


def principal_components(images: NDArray[np.float32], count: int = _COMPONENTS) -> PcaFeatures:
    """The first `count` principal components (or as many as there are) of images (N, C, H, W) in model units.

    Raises:
        UserError: fewer than two images, or images that are all the same.
    """
    if len(images) < 2:
        raise UserError(f"principal components need at least 2 images, got {len(images)}")
    flat = images.reshape(len(images), -1).astype(np.float64, copy=False)
    mean = flat.mean(axis=0)
    if flat.shape[1] <= _MOST:
        values, vectors = np.linalg.eigh(np.cov(flat.T).reshape(flat.shape[1], flat.shape[1]))
    else:  # by the Gram matrix of at most `_MOST` images, evenly chosen
        some = flat[np.unique(np.linspace(0, len(flat) - 1, min(len(flat), _MOST)).astype(int))] - mean
        values, sides = np.linalg.eigh(some @ some.T / (len(some) - 1))
        vectors = some.T @ sides / np.sqrt(np.maximum(values, 1e-300) * (len(some) - 1))
    kept = [
        k for k in np.argsort(values)[::-1][:count] if values[k] > 1e-12 * max(float(values.max()), 1e-300)
    ]
    if not kept:
        raise UserError("principal components need images that differ")
    components = vectors[:, kept].T
    # The sign of a component is arbitrary: make its largest entry positive.
    signs = np.sign(components[np.arange(len(kept)), np.abs(components).argmax(axis=1)])
    return PcaFeatures(mean, components * signs[:, None], float(np.sqrt(values[kept].mean())))
