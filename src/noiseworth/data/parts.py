"""The files of a data set's parts: columns, and rows of images wherever they lie."""

import json
import posixpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.storage import (
    IN_MEMORY,
    Rows,
    is_address,
    join_path,
    open_rows,
    read_array,
    read_bytes,
    require_named,
)
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.noise.models import from_json
from noiseworth.records import DatasetRecord, PartRecord, parse_record

_MOST_OPEN = 200  # parts; of more, files are opened anew for each read, since a process may hold only so many


class OpenedFiles:
    """Files that several parts share: each is opened, and each base of a view parsed, once."""

    def __init__(self, parts: int) -> None:
        self._in_memory = IN_MEMORY // parts
        self._keep_open = parts <= _MOST_OPEN
        self._rows: dict[str, Rows] = {}
        self._fingerprints: dict[str, str] = {}
        self._noise: dict[bytes, NoiseModel] = {}

    def rows(self, path: str) -> Rows:
        """The images of a part."""
        if path not in self._rows:
            self._rows[path] = _or_damaged(path, lambda: open_rows(path, self._in_memory, self._keep_open))
        return self._rows[path]

    def noise(self, path: str, kind: str) -> NoiseModel:
        """The noise model in a file; the same object where files are the same.

        Raises:
            UserError: the file is damaged, or has another kind of noise.
        """
        content = _or_damaged(path, lambda: read_bytes(path))
        if content not in self._noise:
            try:
                values = json.loads(content)
                found = values["kind"]
            except (ValueError, TypeError, KeyError):
                found = None
            if found != kind:
                raise UserError(
                    f"{path}: is not the {kind} noise that dataset.json says; pack the data set again"
                )
            self._noise[content] = from_json(values)
        return self._noise[content]

    def fingerprint(self, base: str) -> str:
        """Of the data set in the directory `base`."""
        if base not in self._fingerprints:
            note = join_path(base, "dataset.json")
            content = _or_damaged(note, lambda: read_bytes(note))
            self._fingerprints[base] = parse_record(DatasetRecord, content, note).fingerprint
        return self._fingerprints[base]


class PartFiles:
    """The files of one part."""

    def __init__(self, path: str, record: DatasetRecord, part: PartRecord, opened: OpenedFiles) -> None:
        folder = join_path(path, part.folder)
        self.record = part
        self.sigma = _column(join_path(folder, "sigma.npy"), part, "float32")
        self.ids = _column(join_path(folder, "ids.npy"), part, "int64")
        self.labels = _column(join_path(folder, "labels.npy"), part, "int64") if part.labels else None
        interval = join_path(folder, "interval.npy")
        self.interval = _column(interval, part, "float32", 2) if part.interval else None
        self.noise = opened.noise(join_path(folder, "noise.json"), part.noise) if part.noise else None
        self.own_units = part.scale is not None
        self._offset, self._scale = part.offset, part.scale
        view = part.images
        if view is None:
            self.images_path, self._view = join_path(folder, "images.npy"), None
        else:
            self.images_path = view if is_address(view) else _beside(path, view)
            if is_address(self.images_path):
                require_named(self.images_path, path)
            self._view = _column(join_path(folder, "rows.npy"), part, "int64")
            base = self.images_path.rsplit("/", 2)[0]
            if opened.fingerprint(base) != part.fingerprint:
                raise UserError(
                    f"{path}: is a view of {base}, which was packed again since then; make the view again"
                )
        self._images = opened.rows(self.images_path)
        stored = (part.count if view is None else self._images.shape[0], *record.shape)
        _check(self.images_path, self._images.shape, self._images.dtype, stored, part.dtype)

    def rows_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of `images.npy`."""
        return rows if self._view is None else self._view[rows]

    def read(
        self, rows: NDArray[np.int64], dtype: np.dtype[Any], units: tuple[float, float] | None
    ) -> NDArray[Any]:
        images = self._images.read(self.rows_of(rows)).astype(dtype, copy=False)
        if units is not None:
            offset, scale = units
            if self._offset is not None and self._scale is not None:
                offset, scale = self._offset, self._scale
            if not images.flags.writeable:
                images = images.copy()
            images -= np.float32(offset)
            images /= np.float32(scale)
        return images


def _beside(path: str, view: str) -> str:
    """The path of a view's images, which is stored relative to the view."""
    if not is_address(path):
        return str((Path(path) / view).resolve())
    protocol, _, inside = path.partition("://")
    return f"{protocol}://{posixpath.normpath(posixpath.join(inside, view))}"


def _or_damaged(path: str, load: Any) -> Any:
    try:
        return load()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the data set is damaged, pack it again") from None


def _check(path: str, shape: tuple[int, ...], dtype: Any, expected: tuple[int, ...], kind: str) -> None:
    if shape != expected or dtype != np.dtype(kind):
        raise UserError(
            f"{path}: is {dtype} {shape}, dataset.json says {kind} {expected}; pack the data set again"
        )


def _column(path: str, part: PartRecord, dtype: str, *width: int) -> NDArray[Any]:
    array: NDArray[Any] = _or_damaged(path, lambda: read_array(path))
    _check(path, array.shape, array.dtype, (part.count, *width), dtype)
    return array
