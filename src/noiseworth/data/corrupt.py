"""Simulated noise, drawn once for each image and then fixed, as real noise is.

The noise of an image, and its level where levels differ, are functions of (seed, the image's id) alone: not
of its position, of what else is corrupted, or of the number of processes. It is stored unclipped; clipping to
the range of the clean values would make it non-Gaussian.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.config import CorruptConfig
from noiseworth.data.damage import copy_images, damage
from noiseworth.data.dataset import Dataset, open_clean
from noiseworth.data.made_by import Making
from noiseworth.data.noise_levels import check_noise, parse_distribution
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.records import DatasetRecord
from noiseworth.rng import Stream, normal, permutation

_CHUNK = 1024
_FLOAT16_LIMIT = 32768.0  # above, float16 is coarser than 16 raw units and close to overflow
_MAX_ROUNDING = 0.01  # of sigma; beyond it float32 is stored


@with_options(CorruptConfig)
def corrupt(config: CorruptConfig) -> DatasetRecord:
    """Add noise to all but a random fraction of a clean data set (or lose their pixels, or blur them), and write a new data set.

    The new data set does not contain the clean pixels of the images that were corrupted.

    Raises:
        UserError: an option is out of range, the source is not clean, or `out` holds something else.
    """
    making = Making("corrupt", config)
    if (earlier := making.found(DatasetRecord)) is not None:
        return earlier
    distribution = None if config.sigma is None else parse_distribution(config.sigma)
    dataset = open_clean(config.source)
    order = permutation(config.seed, Stream.CLEAN, len(dataset)).numpy()
    n_clean = round(config.clean_fraction * len(dataset))
    if distribution is None or config.missing:
        clean, damaged = np.sort(order[:n_clean]), np.sort(order[n_clean:])
        return damage(dataset, clean, damaged, config, making)
    levels = distribution.levels(dataset.ids, config.seed)
    levels[order[:n_clean]] = 0
    groups = [np.flatnonzero(levels == 0), np.flatnonzero(levels > 0)]
    provenance = {
        "command": "corrupt",
        "clean_fraction": config.clean_fraction,
        "sigma": distribution.text,
        "seed": config.seed,
    }
    return _write(dataset, Path(config.out), levels, groups, config.seed, provenance, making)


def mix(
    source: Path | str, out: Path | str, *, clean: int, noisy: Sequence[tuple[float, int]], seed: int = 0
) -> DatasetRecord:
    """Take some images of a clean data set as they are, add noise to others, and write a new data set.

    Choices are nested: of two mixes with one seed, the one with more clean (or, at a single noise level, more
    noisy) images contains those of the other, so that models differ only by what was added.

    Args:
        source: a packed data set whose images are all clean.
        out: the new directory.
        clean: number of images that stay clean.
        noisy: (sigma, number of images) for each noise level, in model units.

    Raises:
        UserError: a number is out of range, the source has too few images or is not clean, or `out` exists.
    """
    for sigma, _ in noisy:
        check_noise(sigma)
    dataset = open_clean(source)
    total = clean + sum(count for _, count in noisy)
    if min([clean, *(count for _, count in noisy)]) < 0 or not 0 < total <= len(dataset):
        raise UserError(f"{source}: has {len(dataset):,} images; cannot take {total:,} of them")
    order, levels = permutation(seed, Stream.CLEAN, len(dataset)).numpy(), np.zeros(len(dataset))
    # Clean images are taken from the front of the order, noisy ones from its end.
    groups = [np.sort(order[:clean])]
    end = len(order)
    for sigma, count in noisy:
        groups.append(np.sort(order[end - count : end]))
        levels[groups[-1]] = sigma
        end -= count
    provenance = {"command": "mix", "clean": clean, "noisy": [list(group) for group in noisy], "seed": seed}
    return _write(dataset, Path(out), levels, groups, seed, provenance)


def _write(
    dataset: Dataset,
    out: Path,
    levels: NDArray[np.float64],
    groups: list[NDArray[np.int64]],
    seed: int,
    provenance: dict[str, Any],
    making: Making | None = None,
) -> DatasetRecord:
    """Write a part for each group of images, which are all clean or all noisy."""
    parts: list[Part] = []
    rounding = []
    with new_directory(out) as folder:
        for rows in (group for group in groups if len(group)):
            part_directory = part_folder(folder, len(parts))
            part_directory.mkdir()
            sigma, labels = levels[rows], None if dataset.labels is None else dataset.labels[rows]
            if (sigma > 0).all():
                rounding.append(_noisy(dataset, rows, sigma, seed, part_directory / "images.npy"))
            else:
                copy_images(dataset, rows, part_directory / "images.npy")
            parts.append(Part(Columns(sigma.astype(np.float32), dataset.ids[rows], labels)))
        source = {"source_fingerprint": dataset.record.fingerprint}
        rounding_note = {"rounding_over_sigma": max(rounding)} if rounding else {}
        record = write_dataset(
            folder,
            parts,
            name=dataset.record.name,
            offset=dataset.record.offset,
            scale=dataset.record.scale,
            units=dataset.record.units,
            stabilised=dataset.record.stabilised,
            provenance=[*dataset.record.provenance, provenance | source | rounding_note],
        )
        if making is not None:
            making.note(folder, record)
    return record


def _noisy(
    dataset: Dataset, rows: NDArray[np.int64], sigma: NDArray[np.float64], seed: int, path: Path
) -> float:
    """Write noisy raw images; returns the root mean square rounding error of the worst image, over its sigma.

    They are stored in float16 or, if that rounds too much in any image, in float32.
    """
    for dtype in ("float16", "float32"):
        writer, worst = ImageWriter(path, dataset.shape, dtype), 0.0
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            raw_sigma = (sigma[start : start + _CHUNK] * dataset.record.scale)[:, None, None, None]
            noise = normal(seed, Stream.CORRUPT, torch.from_numpy(dataset.ids[chunk]), dataset.shape).numpy()
            exact = dataset.read_raw(chunk) + raw_sigma.astype(np.float32) * noise
            if dtype == "float32":
                writer.add(exact)
                continue
            if np.abs(exact).max() >= _FLOAT16_LIMIT:
                worst = math.inf
                break
            rounded = exact.astype(np.float16)
            off = ((rounded.astype(np.float64) - exact) / raw_sigma) ** 2
            worst = max(worst, float(np.sqrt(off.mean(axis=(1, 2, 3)).max())))
            if worst > _MAX_ROUNDING:
                break
            writer.add(rounded)
        writer.close()
        if worst <= _MAX_ROUNDING:
            return worst
    raise AssertionError("float32 is always accepted")
