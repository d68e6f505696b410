"""A packed data set, opened: images in model units with their sigma, read by index from memory maps.

The format is DESIGN section 3: `dataset.json` and parts `part-00000/{images.npy, sigma.npy, ids.npy, labels.npy?}`. Images lie there
as they came (raw units); `read` turns them into model units, `(raw - offset) / scale`. `ids.npy` is the number that an
image got when it was first packed; it keeps that number when it is corrupted or selected.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.records import DATASET_FORMAT, DatasetRecord, Use, load_record


class Dataset:
    """A packed data set, or a selection of its images. Nothing is read from disk before it is asked for.

    Attributes:
        path: the directory.
        record: its `dataset.json`.
        sigma: (N,) float32, noise level of each image in model units; NaN where unknown.
        ids: (N,) int64, the number each image got when it was first packed.
        labels: (N,) int64, or None if any part has none.
    """

    def __init__(self, path: Path, record: DatasetRecord, rows: NDArray[np.int64] | None = None) -> None:
        self.path, self.record = path, record
        folders = [path / part.folder for part in record.parts]
        self._images = [_open(f / "images.npy", (p.count, *record.shape), p.dtype) for f, p in zip(folders, record.parts, strict=True)]
        self._starts = np.cumsum([0, *(part.count for part in record.parts)])
        self._rows = np.arange(record.count) if rows is None else rows
        self.sigma = _column(folders, record, "sigma.npy", "float32")[self._rows]
        self.ids = _column(folders, record, "ids.npy", "int64")[self._rows]
        has_labels = all(part.labels for part in record.parts)
        self.labels = _column(folders, record, "labels.npy", "int64")[self._rows] if has_labels else None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of one image."""
        return self.record.shape

    def read_raw(self, indices: NDArray[Any], dtype: str | None = None) -> NDArray[Any]:
        """Raw values (B, C, H, W) of the images at `indices` (B,), in float32 unless `dtype` says otherwise."""
        rows = self._rows[indices]
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), *self.shape), dtype or np.float32)
        for part in np.unique(part_of):
            here = part_of == part
            out[here] = self._images[part][rows[here] - self._starts[part]]
        return out

    def read(self, indices: NDArray[Any]) -> NDArray[np.float32]:
        """Images (B, C, H, W) at `indices` (B,), float32, in model units."""
        images = self.read_raw(indices)
        images -= np.float32(self.record.offset)
        images /= np.float32(self.record.scale)
        return images

    def select(self, rows: NDArray[Any]) -> "Dataset":
        """The images at `rows` (indices, or one bool per image), as a data set of their own that shares the same files."""
        return Dataset(self.path, self.record, self._rows[rows])

    def use(self, which: Use) -> "Dataset":
        """All images, the clean ones (sigma = 0) or the noisy ones (sigma > 0).

        Raises:
            UserError: there are none such.
        """
        if which == "all":
            return self
        chosen = self.select(self.sigma == 0 if which == "clean" else self.sigma > 0)
        if not len(chosen):
            raise UserError(f"{self.path}: has no {which} images; `noiseworth inspect {self.path}` shows what it has")
        return chosen

    def require_known_sigma(self) -> None:
        """Raises UserError if the noise level of any image is unknown."""
        unknown = np.flatnonzero(np.isnan(self.sigma))
        if len(unknown):
            raise UserError(
                f"{self.path}: the noise level of {len(unknown)} of {len(self)} images is unknown (first: image {unknown[0]});"
                " pack again with --sigma"
            )


def _open(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the data set is damaged, pack it again") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable .npy file ({error}); pack the data set again") from None
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise UserError(f"{path}: is {array.dtype} {array.shape}, dataset.json says {dtype} {shape}; pack the data set again")
    return array


def _column(folders: list[Path], record: DatasetRecord, name: str, dtype: str) -> NDArray[Any]:
    columns = [_open(f / name, (p.count,), dtype) for f, p in zip(folders, record.parts, strict=True)]
    return np.concatenate(columns)


def open_dataset(path: Path | str) -> Dataset:
    """Open a packed data set.

    Raises:
        UserError: it is not one, is damaged, or has another format version.
    """
    path = Path(path)
    if not (path / "dataset.json").is_file():
        remedy = "make one with `noiseworth pack`"
        inside = sorted(p.parent.name for p in path.glob("*/dataset.json")) if path.is_dir() else []
        if inside:
            remedy = f"did you mean {path / inside[0]}?"
        raise UserError(f"{path}: not a packed data set (no dataset.json); {remedy}")
    record = load_record(DatasetRecord, path / "dataset.json")
    if record.format != DATASET_FORMAT:
        raise UserError(f"{path}: has format {record.format}, this version reads {DATASET_FORMAT}; pack it again")
    return Dataset(path, record)
