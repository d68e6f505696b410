"""Writing a data set: it appears complete, or not at all."""

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.fingerprint import fingerprint
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.process import DiskFullError, directory_beside, is_disk_full
from noiseworth.records import (
    DATASET_FORMAT,
    DatasetRecord,
    PartRecord,
    StabilisedRecord,
    to_json,
    write_atomically,
)

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
_HEADER = 128  # bytes, of images.npy; room for any number of images


@dataclass(frozen=True)
class Columns:
    """For each image: `sigma` (N,) in model units, NaN if unknown; `ids` (N,); `labels` (N,) or None; `interval` (N, 2), the ends of
    sigma's 95% interval where it was measured, or None."""

    sigma: NDArray[np.float32]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None
    interval: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        columns: list[NDArray[Any]] = (
            [self.sigma, self.ids] if self.labels is None else [self.sigma, self.ids, self.labels]
        )
        if any(column.shape != (len(self.ids),) for column in columns):
            raise ValueError(f"columns must have one shape (N,), got {[column.shape for column in columns]}")
        if self.interval is not None and self.interval.shape != (len(self.ids), 2):
            raise ValueError(f"intervals must be (N, 2), got {self.interval.shape}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[Any]) -> "Columns":
        """The columns of the images at `rows`."""
        labels, interval = (None if c is None else c[rows] for c in (self.labels, self.interval))
        return Columns(self.sigma[rows], self.ids[rows], labels, interval)


class ImageWriter:
    """Writes `images.npy` batch by batch; the number of images need not be known before the end."""

    def __init__(self, path: Path, shape: Shape, dtype: str) -> None:
        self.path, self.shape, self.dtype, self.count = path, shape, np.dtype(dtype), 0
        self._file = path.open("wb")
        self._file.write(self._header())

    def _header(self) -> bytes:
        """Version 1.0 of NumPy's format, padded to a fixed length."""
        header = repr({"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, *self.shape)})
        return (
            b"\x93NUMPY\x01\x00"
            + (_HEADER - 10).to_bytes(2, "little")
            + header.ljust(_HEADER - 11).encode("latin1")
            + b"\n"
        )

    def add(self, images: NDArray[Any]) -> None:
        """Append images (B, C, H, W) of this shape and dtype."""
        if images.shape[1:] != self.shape or images.dtype != self.dtype:
            raise AssertionError(
                f"{images.dtype} {images.shape} does not belong into {self.dtype} {self.shape}"
            )
        self._file.write(np.ascontiguousarray(images).data)
        self.count += len(images)

    def close(self) -> None:
        """Write the number of images into the header, and sync the file to disk."""
        if self._file.closed:
            return
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


@dataclass(frozen=True)
class Part:
    """Images (N, C, H, W) of one dtype, with what is known about each.

    Without `images`, they are already in the part's folder or, with `view`, in another data set
    (see `PartRecord`).
    """

    columns: Columns
    images: NDArray[Any] | None = None
    view: PartRecord | None = None
    rows: NDArray[np.int64] | None = None  # of a view
    noise: NoiseModel | None = None  # where it is not white and Gaussian
    missing: bool = False  # NaN stands for pixels that were not measured


@contextmanager
def new_directory(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A directory that gets its name only if the block ends without an error; otherwise it is removed.

    Args:
        replace: an earlier `out` stays until the new one is complete, and is then replaced.

    Raises:
        UserError: `out` exists already, or the disk is full.
    """
    if (out.exists() or out.is_symlink()) and not replace:
        raise UserError(f"{out}: exists already; choose another place or remove it first")
    try:
        with directory_beside(out) as beside:
            beside.chmod(0o777 & ~_umask())
            yield beside
            if replace and out.exists():
                with directory_beside(out) as before:
                    out.rename(before / out.name)
                    _give_name(beside, out)
            else:
                _give_name(beside, out)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"{out}: no space left on the disk; nothing was written: make room, or choose another place"
            ) from None
        raise


def _give_name(beside: Path, out: Path) -> None:
    """Rename a complete directory. It fails if another process has made a non-empty directory there.

    Raises:
        UserError: one has.
    """
    try:
        beside.rename(out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise UserError(
            f"{out}: was made by another process in the meantime; nothing was changed there"
        ) from None


def write_tensors(file: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write named tensors as safetensors, readable by whom the user's umask lets read, and sync them to disk.

    Raises:
        OSError: whatever safetensors makes of it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(file)) from None
    file.chmod(0o666 & ~_umask())  # safetensors makes files that their owner alone can read
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _umask() -> int:
    """The user's umask: a data set gets the usual permissions, not those of a temporary directory."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def part_folder(folder: Path, number: int) -> Path:
    """The folder of a part of the data set in `folder`."""
    return folder / f"part-{number:05d}"


def write_dataset(
    folder: Path,
    parts: Sequence[Part],
    *,
    name: str,
    offset: float,
    scale: float,
    units: str,
    provenance: list[dict[str, Any]],
    shape: Shape | None = None,
    stabilised: StabilisedRecord | None = None,
) -> DatasetRecord:
    """Write parts and `dataset.json` into `folder`, and sync them to disk.

    The fingerprint is the SHA-256 of the files' SHA-256, and of offset and scale, which give their values a
    meaning; for a view, the other data set's fingerprint stands for the images.

    Args:
        shape: C, H, W; needed where all parts are views.
        stabilised: the units before noise was made Gaussian.
    """
    records = []
    image_shape: tuple[int, ...] = shape or ()
    for i, part in enumerate(parts):
        part_directory = part_folder(folder, i)
        part_directory.mkdir(exist_ok=True)
        columns: dict[str, NDArray[Any] | None] = {
            "images": part.images,
            "sigma": part.columns.sigma,
            "ids": part.columns.ids,
        }
        columns |= {"labels": part.columns.labels, "rows": part.rows, "interval": part.columns.interval}
        labels = part.columns.labels is not None
        if part.view is None:
            stored = (
                np.load(part_directory / "images.npy", mmap_mode="r") if part.images is None else part.images
            )
            image_shape, dtype = stored.shape[1:], str(stored.dtype)
            if len(stored) != len(part.columns) or stored.ndim != 4:
                raise ValueError(
                    f"images must be (N, C, H, W), with columns of N rows; they are {stored.shape}, with"
                    f" {len(part.columns)} rows"
                )
            has_interval = part.columns.interval is not None
            kind = "" if part.noise is None else str(part.noise.to_json()["kind"])
            records.append(
                PartRecord(
                    part_directory.name, dtype, len(stored), labels,
                    interval=has_interval, noise=kind, missing=part.missing,
                )
            )  # fmt: skip
        else:
            records.append(part.view)
        for key, column in columns.items():
            if column is not None:
                _save(part_directory / f"{key}.npy", column)
        if part.noise is not None:
            write_atomically(part_directory / "noise.json", json.dumps(part.noise.to_json()) + "\n")
    channels, height, width = (int(n) for n in image_shape)
    size: Shape = (channels, height, width)
    digest = fingerprint(folder, records, offset, scale)
    record = DatasetRecord(
        DATASET_FORMAT, name, size, offset, scale, units, records, digest, provenance, stabilised
    )
    write_atomically(folder / "dataset.json", to_json(record) + "\n")
    return record


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
