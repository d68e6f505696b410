"""Packing images, with the noise level of each, into the data-set format."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.data.sources import Source, read_source
from noiseworth.data.writer import Part, new_directory, write_dataset
from noiseworth.errors import UserError
from noiseworth.records import DatasetRecord
from noiseworth.tensors import Stream, permutation

_RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}


def pack(
    source: str,
    out: Path | str,
    *,
    sigma: float | None = None,
    value_range: tuple[float, float] | None = None,
    float_range: tuple[float, float] | None = None,
    held_out: int = 0,
    seed: int = 0,
    name: str | None = None,
) -> list[DatasetRecord]:
    """Pack images into `out`, or, with `held_out`, into `out/train` and `out/held-out`.

    Args:
        source: a folder of images, a `.npy` or `.npz` file, or `sklearn:digits`.
        out: the new directory.
        sigma: noise standard deviation of every image, in model units; 0 for clean, None for unknown.
        value_range: the raw values that become -1 and 1 in model units. By default the dtype's range for whole numbers;
            floating-point images have none, so it must be given.
        float_range: the same for floating-point images alone.
        held_out: number of images, drawn by `seed`, to set aside; no image is in both.
        name: of the data set; by default the name of the source.

    Returns:
        One record for each data set written.

    Raises:
        UserError: see `read_source`; a bad sigma, range or count; `out` exists.
    """
    if sigma is not None and not (math.isfinite(sigma) and sigma >= 0):
        raise UserError(f"--sigma {sigma}: a noise level is a finite number, 0 (clean) or more, in model units")
    found = read_source(source)
    count = len(found.images)
    if not 0 <= held_out < count:
        raise UserError(f"--held-out {held_out}: {source} has {count} images; hold out between 0 and {count - 1}")
    low, high = value_range or found.value_range or _default_range(found, source, float_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"--range {low} {high}: give two finite numbers, the lower first")
    part = Part(
        found.images,
        np.full(count, np.nan if sigma is None else sigma, np.float32),
        np.arange(count, dtype=np.int64),
        found.labels,
    )
    splits = {"": np.arange(count)}
    if held_out:
        order = permutation(seed, Stream.HELD_OUT, count).numpy()
        splits = {"held-out": np.sort(order[:held_out]), "train": np.sort(order[held_out:])}
    records = []
    with new_directory(Path(out)) as folder:
        for split, rows in splits.items():
            place = folder / split
            place.mkdir(exist_ok=True)
            provenance: dict[str, Any] = {"command": "pack", "source": _public(source), "range": [low, high]}
            provenance |= {"classes": found.classes} if found.classes else {}
            provenance |= {"split": split, "seed": seed} if split else {}
            records.append(
                write_dataset(
                    place,
                    [part.select(rows)],
                    name="-".join(filter(None, (name or _public(source), split))),
                    offset=(low + high) / 2,
                    scale=(high - low) / 2,
                    units="raw",
                    provenance=[provenance],
                )
            )
    return records


def _default_range(found: Source, source: str, float_range: tuple[float, float] | None) -> tuple[float, float]:
    dtype = str(found.images.dtype)
    if dtype not in _RANGES:
        if float_range is not None:
            return float_range
        low, high = found.images.min(), found.images.max()
        raise UserError(
            f"{source}: floating-point images have no natural range; give the raw values that become -1 and 1, for instance"
            f" --range {low:.6g} {high:.6g} (these are the smallest and largest found)"
        )
    return _RANGES[dtype]


def _public(source: str) -> str:
    """The source's name without the folders above it, which say more of the machine than of the data."""
    return source if source.startswith("sklearn:") else Path(source).resolve().name
