"""A packed data set, opened: images in model units with their sigma, read by index.

The format (docs/architecture.md): `dataset.json` and parts `part-00000/{images.npy, sigma.npy, ids.npy,
labels.npy?, interval.npy?}`. Images are stored as they came (raw units); `read` turns them into model units, `(raw - offset)
/ scale`. `ids.npy` holds the number that each image got when it was first packed; an image keeps it when it
is corrupted or selected. A part can also be a view of another data set's images (`join`, `split`, `subset`),
and a data set can be at any address that fsspec knows.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.parts import OpenedFiles, PartFiles
from noiseworth.data.storage import (
    is_address,
    join_path,
    name_address,
    read_bytes,
)
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.records import DATASET_FORMAT, DatasetRecord, PartRecord, Use, parse_record


class Dataset:
    """A packed data set, or a selection of its images. Pixels are read only on request.

    Attributes:
        path: the directory, or address.
        record: its `dataset.json`.
        sigma: (N,) float32, noise level of each image in model units; NaN where unknown.
        interval: (N, 2) float32, the ends of the 95% interval of sigma; both are sigma where it was not measured.
        ids: (N,) int64, the number each image got when it was first packed.
        labels: (N,) int64, or None if any part has none.
        noise_models: models of noise; the first is None, for white Gaussian noise.
    """

    def __init__(
        self,
        path: str,
        record: DatasetRecord,
        rows: NDArray[np.int64] | None = None,
        parts: "list[PartFiles] | None" = None,
    ) -> None:
        self.path, self.record = path, record
        if parts is None:
            opened = OpenedFiles(len(record.parts))
            parts = [PartFiles(path, record, part, opened) for part in record.parts]
        self._parts = parts
        self._starts = np.cumsum([0, *(part.count for part in record.parts)])
        self._rows = np.arange(record.count) if rows is None else rows
        self.sigma: NDArray[np.float32] = np.concatenate([part.sigma for part in self._parts])[self._rows]
        intervals = [
            np.stack([part.sigma] * 2, 1) if part.interval is None else part.interval for part in self._parts
        ]
        self.interval: NDArray[np.float32] = np.concatenate(intervals)[self._rows]
        self.ids: NDArray[np.int64] = np.concatenate([part.ids for part in self._parts])[self._rows]
        self.noise_models: list[NoiseModel | None] = [None]
        self._kinds = np.array([self._kind_of(part.noise) for part in self._parts])
        labels = [part.labels for part in self._parts if part.labels is not None]
        self.labels: NDArray[np.int64] | None = (
            np.concatenate(labels)[self._rows] if len(labels) == len(self._parts) else None
        )

    def __len__(self) -> int:
        return len(self._rows)

    def _kind_of(self, model: NoiseModel | None) -> int:
        """The number of a model in `noise_models`, where equal ones are put together."""
        numbers = [number for number, known in enumerate(self.noise_models) if known is model]
        if not numbers:
            self.noise_models.append(model)
        return numbers[0] if numbers else len(self.noise_models) - 1

    @property
    def kind(self) -> NDArray[np.int64]:
        """(N,) the number of each image's model in `noise_models`; 0: its noise is white and Gaussian."""
        kinds: NDArray[np.int64] = self._kinds[self.part_of(np.arange(len(self)))]
        return kinds

    @property
    def may_miss(self) -> NDArray[np.bool_]:
        """(N,) whether NaN in an image stands for pixels that were not measured."""
        by_part = np.array([part.record.missing for part in self._parts])
        missing: NDArray[np.bool_] = by_part[self.part_of(np.arange(len(self)))]
        return missing

    @property
    def is_clean(self) -> NDArray[np.bool_]:
        """(N,) whether an image has no noise, and no pixels that were not measured."""
        clean: NDArray[np.bool_] = (self.sigma == 0) & ~self.may_miss
        return clean

    def unusual(self) -> list[tuple[str, NDArray[np.int64]]]:
        """Images whose noise is not white, or of which pixels were not measured, by kind: what it is in words, and their positions."""
        kind, missing, groups = self.kind, self.may_miss, []
        for number in np.unique(kind).tolist():
            for misses in (False, True):
                rows = np.flatnonzero((kind == number) & (missing == misses))
                model = self.noise_models[number]
                words = [] if model is None else [model.name]
                words += ["pixels missing"] if misses else []
                if words and len(rows):
                    groups.append((", ".join(words), rows))
        return groups

    def usual(self) -> "Dataset":
        """The clean images, and those of white noise, known or not."""
        return self.select((self.kind == 0) & ~self.may_miss)

    @property
    def is_white(self) -> bool:
        """Whether the noise of all images is white and Gaussian, and all pixels were measured."""
        return not self.kind.any() and not self.may_miss.any()

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of one image."""
        return self.record.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds the raw values of all parts."""
        return np.result_type(*(part.dtype for part in self.record.parts))

    def read_raw(self, indices: NDArray[Any], dtype: str | None = None) -> NDArray[Any]:
        """Raw values (B, C, H, W) of the images at `indices` (B,), in float32 unless `dtype` says otherwise.

        Raises:
            UserError: parts have different raw units (in a joined data set), or a file was truncated.
        """
        if any(part.own_units for part in self._parts):
            raise UserError(f"{self.path}: its parts have different raw units; ask for model units")
        return self._read(indices, np.dtype(dtype or np.float32), None)

    def read(self, indices: NDArray[Any]) -> NDArray[np.float32]:
        """Images (B, C, H, W) at `indices` (B,), float32, in model units."""
        return self._read(indices, np.dtype(np.float32), (self.record.offset, self.record.scale))

    def read_first(self, count: int) -> NDArray[np.float32]:
        """The first `count` images, or all if there are fewer, in model units."""
        return self.read(np.arange(min(count, len(self))))

    def _read(
        self, indices: NDArray[Any], dtype: np.dtype[Any], units: tuple[float, float] | None
    ) -> NDArray[Any]:
        rows = self._rows[indices]
        if len(self._parts) == 1:
            return self._parts[0].read(rows, dtype, units)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), *self.shape), dtype)
        for number in np.unique(part_of):
            in_part = part_of == number
            out[in_part] = self._parts[number].read(rows[in_part] - self._starts[number], dtype, units)
        return out

    def part_of(self, indices: NDArray[Any]) -> NDArray[np.int64]:
        """The number of the part that holds each image (B,)."""
        part: NDArray[np.int64] = np.searchsorted(self._starts, self._rows[indices], side="right") - 1
        return part

    def raw_scale(self, indices: NDArray[Any]) -> NDArray[np.float64]:
        """Raw units in one model unit (B,), of the images at `indices` (B,)."""
        of_parts = [self.record.scale if part.scale is None else part.scale for part in self.record.parts]
        return np.array(of_parts, dtype=np.float64)[self.part_of(indices)]

    def select(self, rows: NDArray[Any]) -> "Dataset":
        """The images at `rows` (indices, or one bool per image), as a data set on the same files."""
        other = Dataset(self.path, self.record, self._rows[rows], self._parts)
        other.sigma, other.interval = self.sigma[rows], self.interval[rows]
        return other

    def with_noise(self, sigma: NDArray[Any], interval: NDArray[Any]) -> "Dataset":
        """The same images with other noise levels (N,), in model units, and the ends of their intervals (N, 2)."""
        other = self.select(np.arange(len(self)))
        other.sigma, other.interval = sigma.astype(np.float32), interval.astype(np.float32)
        return other

    def views(self) -> "list[tuple[NDArray[np.int64], PartRecord, str, NDArray[np.int64]]]":
        """For each part: positions of its images here, its record, the path of `images.npy`, rows in it."""
        part_of, views = self.part_of(np.arange(len(self))), []
        for number, part in enumerate(self._parts):
            positions = np.flatnonzero(part_of == number)
            if len(positions):
                views.append(
                    (
                        positions,
                        part.record,
                        part.images_path,
                        part.rows_of(self._rows[positions] - self._starts[number]),
                    )
                )
        return views

    def use(self, which: Use) -> "Dataset":
        """All images, the clean ones or the noisy ones.

        Raises:
            UserError: there are no such images.
        """
        if which == "all":
            return self
        is_clean = self.is_clean
        is_noisy = (self.sigma > 0) | (self.sigma == 0) & ~is_clean
        chosen = self.select(is_clean if which == "clean" else is_noisy)
        if not len(chosen):
            raise UserError(
                f"{self.path}: has no {which} images; `noiseworth inspect {self.path}` shows what it has"
            )
        return chosen

    def require_known_sigma(self) -> None:
        """Raises UserError if the noise level of any image is unknown or invalid."""
        for words, rows in self.unusual():
            if np.isnan(self.sigma[rows]).all():
                raise UserError(
                    f"{self.path}: {len(rows):,} images have {words}, which depends on the signal; make it Gaussian first:"
                    f" noiseworth noise stabilise {self.path} OUT"
                )
        unknown = np.flatnonzero(np.isnan(self.sigma))
        if len(unknown):
            raise UserError(
                f"{self.path}: the noise level of {len(unknown)} of {len(self)} images is unknown (first:"
                f" image {unknown[0]}); measure it (noiseworth noise estimate), or pack again with --sigma"
            )
        bad = np.flatnonzero(~(np.isfinite(self.sigma) & (self.sigma >= 0)))
        if len(bad):
            raise UserError(
                f"{self.path}: image {bad[0]} has the noise level {self.sigma[bad[0]]}; pack again with one"
                " of 0 or more"
            )


def open_dataset(path: Path | str) -> Dataset:
    """Open a packed data set.

    Args:
        path: its directory, or its address (s3://bucket/data, hf://datasets/name/data).

    Raises:
        UserError: there is none, it is damaged, or it has another format version.
    """
    address, record_path = str(path), join_path(str(path), "dataset.json")
    if is_address(address):
        name_address(address)
    try:
        content = read_bytes(record_path)
    except (FileNotFoundError, NotADirectoryError):
        remedy = "make one with `noiseworth pack`"
        inside = (
            sorted(p.parent.name for p in Path(path).glob("*/dataset.json")) if Path(path).is_dir() else []
        )
        if inside:
            remedy = f"did you mean {Path(path) / inside[0]}?"
        raise UserError(f"{path}: not a packed data set (no dataset.json); {remedy}") from None
    record = parse_record(DatasetRecord, content, record_path)
    if record.format != DATASET_FORMAT:
        raise UserError(
            f"{path}: has format {record.format}, this version reads {DATASET_FORMAT}; pack it again"
        )
    return Dataset(address, record)


def open_clean(path: Path | str) -> Dataset:
    """Open a data set whose images are all known to be clean.

    Raises:
        UserError: there is no data set, or some of its images are noisy, or of unknown noise.
    """
    dataset = open_dataset(path)
    is_clean = dataset.is_clean  # unknown noise is NaN
    if not is_clean.all():
        count = len(dataset) - int(is_clean.sum())
        raise UserError(
            f"{path}: {count:,} of its {len(dataset):,} images are noisy, or of unknown noise; clean ones"
            " are needed here"
        )
    return dataset


def read_all(dataset: Dataset) -> NDArray[np.float32]:
    """All images (N, C, H, W) of a data set, in model units."""
    return dataset.read(np.arange(len(dataset)))
