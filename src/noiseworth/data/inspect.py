"""What is in a data set: counts, values, noise levels."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset
from noiseworth.records import Inspection, SigmaGroup

_CHUNK = 8192
_MAX_GROUPS = 20


def snr_db(sigma: float) -> float | None:
    """Signal-to-noise ratio in decibels, `10 log10(1 + 1 / sigma^2)` (arXiv 2411.02780, section 5); None for a clean image."""
    return None if sigma == 0 else float(10 * np.log10(1 + 1 / sigma**2))


def group_sigmas(sigma: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Noise levels (N,) as at most 21 (level, count): the distinct ones, or quantile groups of the noisy ones, named by their median.

    Clean images are always a group of their own; unknown levels are left out.
    """
    known = np.sort(sigma[~np.isnan(sigma)].astype(np.float64))
    levels, counts = np.unique(known, return_counts=True)
    if len(levels) > _MAX_GROUPS:
        pieces = [known[known == 0], *np.array_split(known[known > 0], _MAX_GROUPS)]
        pieces = [piece for piece in pieces if len(piece)]
        levels, counts = np.array([np.median(p) for p in pieces]), np.array([len(p) for p in pieces])
    return levels, counts


def inspect(dataset: Dataset) -> Inspection:
    """Count and measure a data set. Reads every pixel once, in pieces."""
    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    for start in range(0, len(dataset), _CHUNK):
        images = dataset.read(np.arange(start, min(start + _CHUNK, len(dataset))))
        low, high = min(low, float(images.min())), max(high, float(images.max()))
        total += float(images.sum(dtype=np.float64))
        squares += float(np.square(images, dtype=np.float64).sum())
    pixels = len(dataset) * int(np.prod(dataset.shape))
    levels, counts = group_sigmas(dataset.sigma)
    labels = None if dataset.labels is None else np.bincount(dataset.labels).tolist()
    return Inspection(
        name=dataset.record.name,
        shape=dataset.shape,
        count=len(dataset),
        parts=dataset.record.parts,
        noise=[SigmaGroup(float(s), int(c), snr_db(float(s))) for s, c in zip(levels, counts, strict=True)],
        unknown=int(np.isnan(dataset.sigma).sum()),
        label_counts=labels,
        minimum=low,
        maximum=high,
        mean=total / pixels,
        standard_deviation=float(np.sqrt(max(squares / pixels - (total / pixels) ** 2, 0.0))),
        fingerprint=dataset.record.fingerprint,
    )
