"""Which writer a file wants that is restored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from noiseworth.data.sources import Reading, kinds, open_source
from noiseworth.errors import UserError
from noiseworth.restore.file import File, Planes
from noiseworth.restore.pictures import NpyFile, PictureFile, TiffFile
from noiseworth.restore.scientific import FitsFile, MrcFile, NiftiFile

_WRITERS: dict[str | None, Callable[[Path, Planes], File]] = {
    "tiff": TiffFile,
    "picture": PictureFile,
    "fits": FitsFile,
    "mrc": MrcFile,
    "nifti": NiftiFile,
    "npy": NpyFile,
}


def kind_of_file(path: Path) -> str | None:
    """The kind of a file, by its name and its first bytes."""
    return kinds.picture_kind(path.name) or kinds.kind_of(path.name, _head(path))


def can_be_written(path: Path) -> bool:
    """Whether a file is of a kind that is restored."""
    return kind_of_file(path) in _WRITERS


def open_file(path: Path) -> File:
    """Open a file for restoring.

    Raises:
        UserError: it cannot be read, or is of a kind that cannot be written again.
    """
    kind = kind_of_file(path)
    planes: Planes = []
    with open_source(str(path), Reading(axes=_axes(path, kind))) as source:
        planes = [entry.load().pixels for entry in source.entries]
    if not all(np.isfinite(plane).all() for plane in planes):
        raise UserError(
            f"{path}: has NaN or infinite pixels, or pixels that were not measured; give these values first"
        )
    if kind not in _WRITERS:
        raise UserError(
            f"{path}: files of this kind cannot be written again; pack it (`noiseworth pack`), and restore the data set"
        )
    return _WRITERS[kind](path, planes)


def _axes(path: Path, kind: str | None) -> str | None:
    """What the axes of an array are where `pack` would ask: rows of pixels are nothing that one restores as a file."""
    if kind != "npy":
        return None
    try:
        return "HW" if np.load(path, mmap_mode="r", allow_pickle=False).ndim == 2 else None
    except (OSError, ValueError):  # damaged: reading it says how
        return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(kinds.HEAD)
