"""HDF5 and Zarr (extra `formats`): arrays by name, read image by image, with the axes, scale and units that they state."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.arrays import check_columns, choose, joined
from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.scientific import guarded, library
from noiseworth.data.sources.source import Reading, Source, check_size, check_unpacked, of_images
from noiseworth.errors import UserError

_DEPTH = 8  # of groups in groups: links can lead round in circles
# The first letter of these names of dimensions is the letter of `--axes`.
_NAMES = {
    "t": "T", "time": "T", "z": "Z", "depth": "Z", "y": "Y", "row": "Y", "rows": "Y", "height": "Y", "h": "Y", "lat": "Y",
    "latitude": "Y", "x": "X", "col": "X", "column": "X", "columns": "X", "width": "X", "w": "X", "lon": "X", "longitude": "X",
    "c": "C", "channel": "C", "channels": "C", "band": "C", "bands": "C", "rgb": "C", "s": "S", "sample": "S", "n": "N",
}  # fmt: skip


def hdf5_source(path: Path, where: str, reading: Reading) -> Source:
    """Arrays of an HDF5 file. Links to other files are not followed.

    Raises:
        UserError: damaged, no such array, or several of different shapes and none is named by `--key`.
    """
    h5py = library("h5py", where)
    root = guarded(where, lambda: h5py.File(path, "r"))
    try:
        arrays: dict[str, Any] = guarded(where, lambda: _arrays(root, reading))
        return _source(arrays, {}, None, where, reading, path.stat().st_size, root.close)
    except BaseException:
        root.close()
        raise


def zarr_source(path: Path, where: str, reading: Reading) -> Source:
    """Arrays of a Zarr directory; of an OME-Zarr image the largest resolution, with its axes.

    Raises:
        UserError: as `hdf5_source`.
    """
    zarr = library("zarr", where)
    root = guarded(where, lambda: zarr.open(str(path), mode="r"))
    if hasattr(root, "shape"):  # an array by itself
        if reading.key:
            raise UserError(f"--key {reading.key}: {where} is one array, without names")
        arrays: dict[str, Any] = {"": root}
        axes: dict[str, str] = {}
        largest = None
    else:
        arrays = guarded(where, lambda: _arrays(root, reading))
        axes, largest = _multiscales(root)
    return _source(arrays, axes, largest, where, reading, _size_of(path), lambda: None)


def _source(
    arrays: dict[str, Any],
    axes: dict[str, str],
    largest: str | None,
    where: str,
    reading: Reading,
    size: int,
    close: Callable[[], None],
) -> Source:
    """
    Args:
        arrays: name -> array.
        axes: name -> its letters, where the file says them for the array from outside.
        largest: the array of an image pyramid that is read by default.
        size: of the file, in bytes.
    """
    shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    chosen = [""] if list(arrays) == [""] else [largest] if largest in arrays and not reading.key else None
    if chosen is None:
        chosen = choose(shapes, where, reading)
    elif largest is not None and len(arrays) > 1:
        reading.left_out["smaller copies of an image pyramid"] += sum(name in axes for name in arrays) - 1
    labels = None
    if reading.label_key:
        if reading.label_key not in arrays or "" in arrays:
            raise UserError(f"{where}: has no array named {reading.label_key!r}")
        _check_numbers(arrays[reading.label_key], where, reading.label_key, reading, size)
        labels = guarded(where, lambda: np.asarray(arrays[reading.label_key or ""][...]))
    made = []
    for name in chosen:
        full = f"{where}: {name}" if len(chosen) > 1 else where
        _check_numbers(arrays[name], full, name, reading, size)
        own = axes.get(name) or _own_axes(arrays[name])
        stack = Stack(
            _Scaled(arrays[name], full, reading), layout(arrays[name].shape, full, reading.axes, own)
        )
        check_size(stack.shape[1:], full, reading)
        check_columns(full, len(stack), labels, None)
        units = "" if reading.stored_values else str(_attribute(arrays[name], "units") or "")
        made.append((name, of_images(stack, full, reading, labels=labels, units=units, close=close)))
    if len(made) == 1:
        return made[0][1]
    several = joined(made, where)
    return Source(several.entries, where, several.count, close=close)


class _Scaled:
    """An array of a file whose values are multiplied and shifted as its attributes say (the CF conventions' `scale_factor` and
    `add_offset`)."""

    def __init__(self, array: Any, where: str, reading: Reading) -> None:
        self.shape = tuple(array.shape)
        self._array, self._where = array, where
        scale, offset = _attribute(array, "scale_factor"), _attribute(array, "add_offset")
        self._is_scaled = (scale is not None or offset is not None) and not reading.stored_values
        self._scale = float(np.ravel(1.0 if scale is None else scale)[0])
        self._offset = float(np.ravel(0.0 if offset is None else offset)[0])

    def __getitem__(self, index: Any) -> NDArray[Any]:
        pixels: NDArray[Any] = guarded(self._where, lambda: np.asarray(self._array[index]))
        return pixels.astype(np.float64) * self._scale + self._offset if self._is_scaled else pixels


def _check_numbers(array: Any, where: str, name: str, reading: Reading, size: int) -> None:
    """Before anything of an array is read: it holds numbers, and not far more than the file has room for."""
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise UserError(f"{where}: {name or 'the array'} holds {dtype}, and no numbers")
    if getattr(array, "is_virtual", False) or getattr(array, "external", None):
        raise UserError(f"{where}: {name} lies in other files; copy it into one file first (h5repack)")
    chunk = getattr(array, "chunks", None) or ()
    check_unpacked(math.prod(chunk) * dtype.itemsize, size, where, reading)
    check_unpacked(math.prod(array.shape) * dtype.itemsize, size, where, reading)


def _arrays(group: Any, reading: Reading, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name in group:
        if depth > _DEPTH:
            continue
        if hasattr(group, "id") and type(group.get(name, getlink=True)).__name__ == "ExternalLink":
            reading.left_out["links to other HDF5 files"] += 1
            continue
        inside = group.get(name) if hasattr(group, "get") else group[name]
        if inside is None:  # a link that leads nowhere
            continue
        if hasattr(inside, "shape"):
            arrays |= {prefix + name: inside} if inside.shape is not None else {}
        elif hasattr(inside, "keys"):
            arrays |= _arrays(inside, reading, f"{prefix}{name}/", depth + 1)
    return arrays


def _attribute(array: Any, name: str) -> Any:
    try:
        return array.attrs.get(name)
    except Exception:  # an attribute of a type that the library cannot read
        return None


def _own_axes(array: Any) -> str | None:
    """The letters of an array's dimensions, where its own metadata name them."""
    names: Any = _attribute(array, "_ARRAY_DIMENSIONS")  # xarray
    names = (
        names if names is not None else getattr(getattr(array, "metadata", None), "dimension_names", None)
    )  # Zarr 3
    if names is None and hasattr(array, "dims"):  # HDF5's dimension scales
        labels = [dimension.label for dimension in array.dims]
        names = labels if all(labels) else None
    if names is None:
        names = _attribute(array, "axes")
        names = names.decode() if isinstance(names, bytes) else names
    if names is None:
        tags = _attribute(array, "axistags")  # ilastik
        try:
            names = [axis["key"] for axis in json.loads(tags)["axes"]] if tags else None
        except (ValueError, TypeError, KeyError):
            names = None
    return letters(list(names)) if names is not None else None


def letters(names: Sequence[Any]) -> str | None:
    """The letters of `--axes` for names of dimensions; None if the height or the width is not among them."""
    axes = ""
    for name in names:
        text = (name.decode() if isinstance(name, bytes) else str(name)).strip().lower()
        letter = _NAMES.get(text, "")
        axes += (
            letter if letter and letter not in axes else next(k for k in "NTZQPRUVABDEFG" if k not in axes)
        )
    return axes if {"Y", "X"} <= set(axes) else None


def _multiscales(root: Any) -> tuple[dict[str, str], str | None]:
    """Of OME-Zarr: the axes of each resolution, and the largest one."""
    attributes = dict(root.attrs)
    ome = attributes.get("ome")
    scales: Any = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    try:
        first = scales[0]
        names = [
            axis["name"] if isinstance(axis, dict) else axis for axis in first.get("axes", list("tczyx"))
        ]
        paths = [str(dataset["path"]) for dataset in first["datasets"]]
    except (TypeError, KeyError, IndexError, AttributeError):
        return {}, None
    axes = letters(names)
    return (dict.fromkeys(paths, axes) if axes else {}), paths[0] if paths else None


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
