"""Simulated noise, drawn once for each image and then fixed, as real noise is.

The noise of an image, and its level where levels differ, are functions of (seed, the image's id) alone: not of its place, of what
else is corrupted, or of the number of processes. It is stored unclipped; clipping to the range of the clean values would make it
non-Gaussian.

    0.2                    one level for all
    choice:0.1,0.2,0.5     one of these
    uniform:0.1:0.5        between these
    loguniform:0.05:0.8    between these, evenly in the logarithm
    levels.csv             by a table with the columns id and sigma; images that are not in it stay clean
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.told import check_sigma
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.records import DatasetRecord
from noiseworth.tensors import Stream, normal, permutation, uniform

_CHUNK = 1024
_FLOAT16_LIMIT = 32768.0  # above, float16 is coarser than 16 raw units and close to overflow
_MAX_ROUNDING = 0.01  # of sigma; beyond it float32 is stored


def corrupt(source: Path | str, out: Path | str, *, clean_fraction: float, sigma: float | str, seed: int = 0) -> DatasetRecord:
    """Add white Gaussian noise to all but a random fraction of a clean data set, and write the result as a new one.

    The clean pixels of the images that were corrupted are not in `out`.

    Args:
        source: a packed data set whose images are all clean.
        out: the new directory.
        clean_fraction: share of the images, drawn by `seed`, that stay clean; in [0, 1].
        sigma: noise standard deviation per pixel, in model units: a number, or a law of such (see the module's docstring).

    Raises:
        UserError: an argument is out of range, the source is not clean, or `out` exists.
    """
    if not 0 <= clean_fraction <= 1:
        raise UserError(f"--clean-fraction {clean_fraction}: a share between 0 and 1")
    law = parse_law(sigma)
    dataset = _open_clean(source)
    order = permutation(seed, Stream.CLEAN, len(dataset)).numpy()
    n_clean = round(clean_fraction * len(dataset))
    levels = law.levels(dataset.ids, seed)
    levels[order[:n_clean]] = 0
    groups = [np.flatnonzero(levels == 0), np.flatnonzero(levels > 0)]
    provenance = {"command": "corrupt", "clean_fraction": clean_fraction, "sigma": law.told, "seed": seed}
    return _write(dataset, Path(out), levels, groups, seed, provenance)


class Law:
    """A law of noise levels; `told` is what it was made from."""

    def __init__(self, told: float | str, kind: str, numbers: Sequence[float], table: dict[int, float] | None = None) -> None:
        self.told, self._kind, self._numbers, self._table = told, kind, np.asarray(numbers, dtype=np.float64), table

    def levels(self, ids: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """A level for each image (N,), by its id.

        Raises:
            UserError: a table names an id that no image has.
        """
        if self._table is not None:
            if unknown := sorted(self._table.keys() - set(ids.tolist())):
                raise UserError(f"--sigma {self.told}: no image has the id {unknown[0]}")
            return np.array([self._table.get(int(i), 0.0) for i in ids], dtype=np.float64)
        u = uniform(seed, Stream.SIGMA, torch.from_numpy(ids), 1)[:, 0].numpy()
        low, high = self._numbers[0], self._numbers[-1]
        if self._kind == "choice":
            found: NDArray[np.float64] = self._numbers[(u * len(self._numbers)).astype(np.int64)]
            return found
        return np.asarray(low + (high - low) * u if self._kind == "uniform" else low * (high / low) ** u)


def parse_law(sigma: float | str) -> Law:
    """`--sigma` of `corrupt`.

    Raises:
        UserError: it is no such law.
    """
    text = str(sigma)
    kind, _, rest = text.partition(":")
    if kind.endswith(".csv"):
        return Law(Path(text).name, "table", [], _table(Path(text)))
    try:
        if not rest:
            return Law(float(text), "choice", [_noise(float(text))])
        numbers = [_noise(float(number)) for number in rest.split("," if kind == "choice" else ":")]
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        numbers = []
    if kind == "choice" and numbers:
        return Law(text, kind, numbers)
    if kind in ("uniform", "loguniform") and len(numbers) == 2 and numbers[0] < numbers[1]:
        return Law(text, kind, numbers)
    raise UserError(f"--sigma {text}: a number, choice:A,B,C, uniform:LOW:HIGH, loguniform:LOW:HIGH, or a CSV file with id and sigma")


def _noise(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"--sigma {value:g}: a finite number above 0, in model units")
    return value


def _table(path: Path) -> dict[int, float]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        found = {int(row["id"]): check_sigma(float(row["sigma"])) for row in rows}
    except FileNotFoundError:
        raise UserError(f"--sigma {path}: no such file") from None
    except (KeyError, TypeError):
        raise UserError(f"--sigma {path}: needs the columns id and sigma") from None
    except UserError:
        raise
    except (ValueError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"--sigma {path}: not a table of whole ids and levels ({error})") from None
    if len(found) < len(rows):
        raise UserError(f"--sigma {path}: an id stands there twice")
    return found


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
        _noise(sigma)
    dataset = _open_clean(source)
    total = clean + sum(count for _, count in noisy)
    if min([clean, *(count for _, count in noisy)]) < 0 or not 0 < total <= len(dataset):
        raise UserError(f"{source}: has {len(dataset):,} images; cannot take {total:,} of them")
    order, levels = permutation(seed, Stream.CLEAN, len(dataset)).numpy(), np.zeros(len(dataset))
    groups, end = [np.sort(order[:clean])], len(order)  # clean images from the front of the order, noisy ones from its end
    for sigma, count in noisy:
        groups.append(np.sort(order[end - count : end]))
        levels[groups[-1]] = sigma
        end -= count
    provenance = {"command": "mix", "clean": clean, "noisy": [list(group) for group in noisy], "seed": seed}
    return _write(dataset, Path(out), levels, groups, seed, provenance)


def _open_clean(source: Path | str) -> Dataset:
    dataset = open_dataset(source)
    if (dataset.sigma != 0).any():  # NaN counts as not clean
        raise UserError(f"{source}: not all images are known to be clean; only clean images can be corrupted to a known level")
    return dataset


def _write(
    dataset: Dataset, out: Path, levels: NDArray[np.float64], groups: list[NDArray[np.int64]], seed: int, provenance: dict[str, Any]
) -> DatasetRecord:
    """A part for each group of images, which are all clean or all noisy."""
    parts: list[Part] = []
    rounding = []
    with new_directory(out) as folder:
        for rows in (group for group in groups if len(group)):
            place = part_folder(folder, len(parts))
            place.mkdir()
            sigma, labels = levels[rows], None if dataset.labels is None else dataset.labels[rows]
            if (sigma > 0).all():
                rounding.append(_noisy(dataset, rows, sigma, seed, place / "images.npy"))
            else:
                _clean(dataset, rows, place / "images.npy")
            parts.append(Part(Columns(sigma.astype(np.float32), dataset.ids[rows], labels)))
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


def _clean(dataset: Dataset, rows: NDArray[np.int64], path: Path) -> None:
    writer = ImageWriter(path, dataset.shape, str(dataset.dtype))
    for start in range(0, len(rows), _CHUNK):
        writer.add(dataset.read_raw(rows[start : start + _CHUNK], str(dataset.dtype)))
    writer.close()


def _noisy(dataset: Dataset, rows: NDArray[np.int64], sigma: NDArray[np.float64], seed: int, path: Path) -> float:
    """Write noisy raw images; returns the root mean square of what storing them rounded away, as a share of sigma.

    In float16, unless that rounds too much somewhere: then once more in float32.
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
    raise AssertionError("float32 is always taken")
