"""Writing a data set so that it is there whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.records import DATASET_FORMAT, DatasetRecord, PartRecord, to_json, write_atomically


@dataclass(frozen=True)
class Part:
    """Images of one dtype with what is known of each.

    `images` (N, C, H, W) raw values; `sigma` (N,) in model units, NaN unknown; `ids` (N,); `labels` (N,) or None.
    """

    images: NDArray[Any]
    sigma: NDArray[np.float32]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        columns: list[NDArray[Any]] = [self.sigma, self.ids] if self.labels is None else [self.sigma, self.ids, self.labels]
        if self.images.ndim != 4 or any(column.shape != (len(self.images),) for column in columns):
            shapes = [column.shape for column in columns]
            raise ValueError(f"images {self.images.shape} need (N, C, H, W) and columns of shape (N,), got {shapes}")

    def select(self, rows: NDArray[Any]) -> "Part":
        """The images at `rows`."""
        return Part(self.images[rows], self.sigma[rows], self.ids[rows], None if self.labels is None else self.labels[rows])


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A directory that appears under its name only when the block ends well; otherwise nothing is left.

    Raises:
        UserError: `out` exists already.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: exists already; choose another place or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        try:
            beside.rename(out)  # fails if somebody else's non-empty directory came first
        except OSError:
            raise UserError(f"{out}: was made by somebody else meanwhile; nothing was changed there") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_dataset(
    folder: Path,
    parts: list[Part],
    *,
    name: str,
    offset: float,
    scale: float,
    units: str,
    provenance: list[dict[str, Any]],
) -> DatasetRecord:
    """Write parts and `dataset.json` into `folder` (an empty directory) and sync them.

    The fingerprint is the SHA-256 over the files' own, and over what gives their values a meaning (offset and scale).
    """
    digest = hashlib.sha256(f"{DATASET_FORMAT} {offset!r} {scale!r}".encode())
    records = []
    for i, part in enumerate(parts):
        place = folder / f"part-{i:05d}"
        place.mkdir()
        columns = {"images": part.images, "sigma": part.sigma, "ids": part.ids, "labels": part.labels}
        for key, column in columns.items():
            if column is not None:
                _save(place / f"{key}.npy", column)
                with (place / f"{key}.npy").open("rb") as file:
                    digest.update(f"{place.name}/{key}".encode() + hashlib.file_digest(file, "sha256").digest())
        records.append(PartRecord(place.name, str(part.images.dtype), len(part.images), part.labels is not None))
    shape = (int(parts[0].images.shape[1]), int(parts[0].images.shape[2]), int(parts[0].images.shape[3]))
    record = DatasetRecord(DATASET_FORMAT, name, shape, offset, scale, units, records, digest.hexdigest(), provenance)
    write_atomically(folder / "dataset.json", to_json(record) + "\n")
    return record


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
