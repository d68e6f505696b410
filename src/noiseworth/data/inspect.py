"""What is in a data set: counts, values, noise levels, duplicates, leaks (clean twins of noisy images)."""

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.check_noise import noise_checks
from noiseworth.data.dataset import Dataset
from noiseworth.data.duplicates import same_pixels
from noiseworth.data.value_range import narrow_words
from noiseworth.errors import UserError
from noiseworth.records import Inspection, NoiseCheckRecord, SigmaGroup

_log = logging.getLogger("noiseworth")
_CHUNK = 8192
_PIXELS = 1 << 24  # read at once
_MAX_GROUPS = 20
_BINS = 64
_LOOKED_AT = 1000  # noisy images that are examined for leaks, at most
_CLOSE = 0.01  # share of the clean images that may have a closer neighbour
_SAME = 1e-6  # squared distance per pixel, below which two images are the same but for rounding


def snr_db(sigma: float) -> float | None:
    """Signal-to-noise ratio in decibels, `10 log10(1 + 1 / sigma^2)` (arXiv 2411.02780, section 5).

    None for a clean image.
    """
    return None if sigma == 0 else float(10 * np.log10(1 + 1 / sigma**2))


def group_sigmas(sigma: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Levels and counts of at most 21 groups of noise levels (N,).

    The groups are the distinct levels; where there are too many, quantile groups, each with its median as
    level. Clean images are always a group of their own; unknown levels are left out.
    """
    known = np.sort(sigma[~np.isnan(sigma)].astype(np.float64))
    levels, counts = np.unique(known, return_counts=True)
    if len(levels) > _MAX_GROUPS:
        pieces = [known[known == 0], *np.array_split(known[known > 0], _MAX_GROUPS)]
        pieces = [piece for piece in pieces if len(piece)]
        levels, counts = np.array([np.median(p) for p in pieces]), np.array([len(p) for p in pieces])
    return levels, counts


def inspect(dataset: Dataset) -> Inspection:
    """Count and measure a data set. Reads every pixel, in pieces, two or three times."""
    if narrow := narrow_words(dataset):
        _log.warning("%s", narrow)
    low, high, total, squares, bad, ends = np.inf, -np.inf, 0.0, 0.0, 0, 0.0
    noisy = int((dataset.sigma > 0).sum())
    for images, rows in _pieces(dataset):
        finite = np.isfinite(images)
        bad += int(images.size - finite.sum())
        values = images if finite.all() else images[finite]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        total += float(values.sum(dtype=np.float64))
        squares += float(np.square(values, dtype=np.float64).sum())
        ends += _at_limits(dataset, images, rows)
    if not np.isfinite(low):
        raise UserError(f"{dataset.path}: has no finite pixel")
    counts = np.zeros(_BINS, dtype=np.int64)
    for images, _ in _pieces(dataset):
        counts += np.histogram(
            images[np.isfinite(images)], bins=_BINS, range=(low, high if high > low else low + 1)
        )[0]
    pixels = len(dataset) * int(np.prod(dataset.shape)) - bad
    usual = dataset.usual()
    levels, sizes = group_sigmas(usual.sigma)
    labels = None if dataset.labels is None else np.bincount(dataset.labels).tolist()
    groups = duplicates(dataset)
    leaks, checked = find_leaks(dataset)
    return Inspection(
        name=dataset.record.name,
        shape=dataset.shape,
        count=len(dataset),
        parts=dataset.record.parts,
        noise=[SigmaGroup(float(s), int(c), snr_db(float(s))) for s, c in zip(levels, sizes, strict=True)],
        other_noise=[
            f"{words}{_sigma_words(dataset.sigma[rows])} ({len(rows):,} images)"
            for words, rows in dataset.unusual()
        ],
        unknown=int(np.isnan(usual.sigma).sum()),
        label_counts=labels,
        minimum=low,
        maximum=high,
        mean=total / pixels,
        standard_deviation=float(np.sqrt(max(squares / pixels - (total / pixels) ** 2, 0.0))),
        fingerprint=dataset.record.fingerprint,
        histogram=counts.tolist(),
        not_finite=bad,
        at_limits=ends / (noisy * int(np.prod(dataset.shape))) if noisy else 0.0,
        duplicates=groups[:_MAX_GROUPS],
        duplicate_images=sum(len(group) for group in groups),
        leaks=leaks[:_MAX_GROUPS],
        leak_checked=checked,
        noise_checks=_noise_checks(dataset),
    )


def _noise_checks(dataset: Dataset) -> list[NoiseCheckRecord]:
    """None where noise cannot be checked: `noise check` says why."""
    try:
        return noise_checks(dataset, in_short=True)
    except UserError:
        return []


def _sigma_words(sigma: NDArray[np.float32]) -> str:
    levels = group_sigmas(sigma)[0]
    if not len(levels) or levels[-1] == 0:
        return ""
    return f", sigma {levels[0]:.3g}" + (f" to {levels[-1]:.3g}" if len(levels) > 1 else "")


def duplicates(dataset: Dataset) -> list[list[int]]:
    """Groups of images with the same pixels, over all parts."""
    number = same_pixels(images for images, _ in _pieces(dataset))
    order = np.argsort(number, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    return sorted(group.tolist() for group in groups if len(group) > 1)


def find_leaks(dataset: Dataset) -> tuple[list[list[int]], int]:
    """Pairs (noisy image, clean image) of one picture; and the number of noisy images that were examined.

    The squared distance of a noisy image from its own clean version is `s^2 (1 +- sqrt(2 / d))` per pixel,
    for `d` pixels. A leak can be recognised only if four times this spread is below the squared distance
    between almost any two clean images: the noise must be small, or the pixels many. At most 1000 such noisy
    images are examined.
    """
    noisy = np.flatnonzero((dataset.sigma > 0) & ~dataset.may_miss)
    clean = np.flatnonzero(dataset.is_clean)
    pixels = int(np.prod(dataset.shape))
    spread = np.sqrt(2 / pixels)
    if len(clean) > 1 and len(noisy):
        some = _some(clean, pixels)
        apart = np.quantile(_nearest(dataset, some, clean, itself=True)[0], _CLOSE)
        noisy = noisy[4 * spread * dataset.sigma[noisy].astype(np.float64) ** 2 < apart]
    if len(clean) < 2 or not len(noisy):
        return [], 0
    noisy = _some(noisy, pixels)
    squared, nearest = _nearest(dataset, noisy, clean)
    is_leak = squared < dataset.sigma[noisy].astype(np.float64) ** 2 * (1 + 2 * spread)
    return [[int(noisy[i]), int(nearest[i])] for i in np.flatnonzero(is_leak)], len(noisy)


def _some(rows: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """Evenly spaced ones of the rows, as many as are examined for leaks."""
    most = max(2, min(_LOOKED_AT, _PIXELS // pixels))
    chosen: NDArray[np.int64] = rows[
        np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int))
    ]
    return chosen


def _nearest(
    dataset: Dataset, rows: NDArray[np.int64], among: NDArray[np.int64], itself: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For images at `rows` (N,): least squared distance per pixel from those `among`, and the nearest.

    With `itself`, an image is not compared with itself, nor with images that have the same pixels.
    """
    y = dataset.read(rows).reshape(len(rows), -1)
    best, which = np.full(len(rows), np.inf), np.zeros(len(rows), dtype=np.int64)
    step = max(1, min(_CHUNK // 8, _PIXELS // y.shape[1]))
    for start in range(0, len(among), step):
        candidates = among[start : start + step]
        x = dataset.read(candidates).reshape(len(candidates), -1)
        squared = (
            np.maximum((y**2).sum(1)[:, None] - 2 * (y @ x.T) + (x**2).sum(1)[None], 0).astype(np.float64)
            / y.shape[1]
        )
        if itself:
            squared[squared < _SAME] = np.inf
        column = squared.argmin(axis=1)
        least = squared[np.arange(len(y)), column]
        which = np.where(least < best, candidates[column], which)
        best = np.minimum(best, least)
    return best, which


def _pieces(dataset: Dataset) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """All images, a few at a time, and their positions."""
    step = max(1, min(_CHUNK, _PIXELS // int(np.prod(dataset.shape))))
    for start in range(0, len(dataset), step):
        rows = np.arange(start, min(start + step, len(dataset)))
        yield dataset.read(rows), rows


def _at_limits(dataset: Dataset, images: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
    """How many pixels of noisy images are at the ends of an integer type, where noise is clipped."""
    part_of, count = dataset.part_of(rows), 0
    for number, part in enumerate(dataset.record.parts):
        noisy_in_part = (part_of == number) & (dataset.sigma[rows] > 0)
        if np.dtype(part.dtype).kind == "u" and noisy_in_part.any():
            offset, scale = dataset.record.offset, dataset.record.scale
            if part.offset is not None and part.scale is not None:
                offset, scale = part.offset, part.scale
            raw = images[noisy_in_part] * np.float32(scale) + np.float32(offset)
            count += int(((raw < 0.5) | (raw > np.iinfo(part.dtype).max - 0.5)).sum())
    return float(count)
