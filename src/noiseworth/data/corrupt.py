"""Simulated noise, drawn once for each image and then fixed, as real noise is.

The noise of an image is a function of (seed, the image's id) alone: not of its place, of what else is corrupted, or of
the number of processes. It is stored unclipped; clipping to the range of the clean values would make it non-Gaussian.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.writer import Part, new_directory, write_dataset
from noiseworth.errors import UserError
from noiseworth.records import DatasetRecord
from noiseworth.tensors import Stream, normal, permutation

_CHUNK = 4096
_FLOAT16_LIMIT = 32768.0  # above, float16 is coarser than 16 raw units and close to overflow
_MAX_ROUNDING = 0.01  # of sigma; beyond it float32 is stored


def corrupt(source: Path | str, out: Path | str, *, clean_fraction: float, sigma: float, seed: int = 0) -> DatasetRecord:
    """Add white Gaussian noise to all but a random fraction of a clean data set, and write the result as a new one.

    The clean pixels of the images that were corrupted are not in `out`.

    Args:
        source: a packed data set whose images are all clean.
        out: the new directory.
        clean_fraction: share of the images, drawn by `seed`, that stay clean; in [0, 1].
        sigma: noise standard deviation per pixel, in model units; positive.

    Raises:
        UserError: an argument is out of range, the source is not clean, or `out` exists.
    """
    if not 0 <= clean_fraction <= 1:
        raise UserError(f"--clean-fraction {clean_fraction}: a share between 0 and 1")
    _check_sigma(sigma)
    dataset = _open_clean(source)
    n_clean = round(clean_fraction * len(dataset))
    provenance = {"command": "corrupt", "clean_fraction": clean_fraction, "sigma": sigma, "seed": seed}
    return _write(dataset, Path(out), n_clean, [(sigma, len(dataset) - n_clean)], seed, provenance)


def mix(source: Path | str, out: Path | str, *, clean: int, noisy: Sequence[tuple[float, int]], seed: int = 0) -> DatasetRecord:
    """Take some images of a clean data set as they are, add noise to others, and write them as a new data set.

    Choices are nested: of two mixes by one seed, that with more clean (or, for one noise level, more noisy) images has those of the
    other, so that models differ by what was added.

    Args:
        source: a packed data set whose images are all clean.
        out: the new directory.
        clean: number of images that stay clean.
        noisy: (sigma, number of images) for each noise level, in model units.

    Raises:
        UserError: a number is out of range, the source has too few images or is not clean, or `out` exists.
    """
    for sigma, _ in noisy:
        _check_sigma(sigma)
    dataset = _open_clean(source)
    total = clean + sum(count for _, count in noisy)
    if min([clean, *(count for _, count in noisy)]) < 0 or not 0 < total <= len(dataset):
        raise UserError(f"{source}: has {len(dataset):,} images; cannot take {total:,} of them")
    provenance = {"command": "mix", "clean": clean, "noisy": [list(group) for group in noisy], "seed": seed}
    return _write(dataset, Path(out), clean, noisy, seed, provenance)


def _check_sigma(sigma: float) -> None:
    if not (math.isfinite(sigma) and sigma > 0):
        raise UserError(f"--sigma {sigma}: a finite number above 0, in model units")


def _open_clean(source: Path | str) -> Dataset:
    dataset = open_dataset(source)
    if (dataset.sigma != 0).any():  # NaN counts as not clean
        raise UserError(f"{source}: not all images are known to be clean; only clean images can be corrupted to a known level")
    return dataset


def _write(
    dataset: Dataset, out: Path, n_clean: int, noisy: Sequence[tuple[float, int]], seed: int, provenance: dict[str, Any]
) -> DatasetRecord:
    """Clean images from the front of a random order, noisy ones from its end."""
    order = permutation(seed, Stream.CLEAN, len(dataset)).numpy()
    clean, end, parts = np.sort(order[:n_clean]), len(order), []
    rounding = []
    with new_directory(out) as folder:
        if n_clean:
            stored = np.result_type(*(part.dtype for part in dataset.record.parts))
            parts.append(_part(dataset, clean, dataset.read_raw(clean, str(stored)), 0.0))
        for sigma, count in noisy:
            if count:
                rows = np.sort(order[end - count : end])
                images, rounded = _noisy(dataset, rows, sigma, seed)
                parts.append(_part(dataset, rows, images, sigma))
                rounding.append(rounded)
                end -= count
        source = {"source_fingerprint": dataset.record.fingerprint}
        told = {"rounding_over_sigma": max(rounding)} if rounding else {}
        return write_dataset(
            folder,
            parts,
            name=dataset.record.name,
            offset=dataset.record.offset,
            scale=dataset.record.scale,
            units=dataset.record.units,
            provenance=[*dataset.record.provenance, provenance | source | told],
        )


def _part(dataset: Dataset, rows: NDArray[np.int64], images: NDArray[Any], sigma: float) -> Part:
    labels = None if dataset.labels is None else dataset.labels[rows]
    return Part(images, np.full(len(rows), sigma, np.float32), dataset.ids[rows], labels)


def _noisy(dataset: Dataset, rows: NDArray[np.int64], sigma: float, seed: int) -> tuple[NDArray[Any], float]:
    """Noisy raw images, and the root mean square of what storing them rounded away, as a share of sigma."""
    exact = np.empty((len(rows), *dataset.shape), np.float32)
    raw_sigma = sigma * dataset.record.scale
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        noise = normal(seed, Stream.CORRUPT, torch.from_numpy(dataset.ids[chunk]), dataset.shape).numpy()
        exact[start : start + _CHUNK] = dataset.read_raw(chunk) + np.float32(raw_sigma) * noise
    if np.abs(exact).max() < _FLOAT16_LIMIT:
        rounded = exact.astype(np.float16)
        rounding = float(np.sqrt(np.mean((rounded.astype(np.float32) - exact) ** 2, dtype=np.float64))) / raw_sigma
        if rounding <= _MAX_ROUNDING:
            return rounded, rounding
    return exact, 0.0
