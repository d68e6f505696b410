"""HDF5 and Zarr (extra `formats`): arrays by name, read image by image, with the axes, scale and units that they state."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.arrays import check_columns, choose, joined
from noiseworth.data.sources.attributes import attribute, letters, number, own_axes
from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.scientific import guarded, library
from noiseworth.data.sources.source import Reading, Source, check_size, check_unpacked, of_images
from noiseworth.errors import UserError

_log = logging.getLogger("noiseworth")
_DEPTH = 8  # of groups in groups: links can lead round in circles


def hdf5_source(path: Path, where: str, reading: Reading) -> Source:
    """Arrays of an HDF5 file. Links to other files are not followed.

    Raises:
        UserError: damaged, no such array, or several of different shapes and none is named by `--key`.
    """
    h5py = library("h5py", where)
    root = guarded(where, lambda: h5py.File(path, "r"))
    try:
        arrays: dict[str, Any] = guarded(where, lambda: _arrays(root, reading))
        made: Source = guarded(
            where, lambda: _source(arrays, {}, None, where, reading, path.stat().st_size, root.close)
        )
        return made
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
    made: Source = guarded(
        where, lambda: _source(arrays, axes, largest, where, reading, _size_of(path), lambda: None)
    )
    return made


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
        copies = sum(name in axes for name in arrays) - 1
        others = len(arrays) - 1 - copies
        for kind, count in (
            ("smaller copies of an image pyramid", copies),
            ("arrays of other names", others),
        ):
            if count:
                reading.left_out[kind] += count
    columns = _columns(arrays, where, reading, size)
    made = []
    for name in chosen:
        full = f"{where}: {name}" if len(chosen) > 1 else where
        _check_numbers(arrays[name], full, name, reading, size)
        _tell_gaps(arrays[name], full)
        stack = Stack(
            _Scaled(arrays[name], full, reading), _layout(arrays[name], axes.get(name), full, reading)
        )
        check_size(stack.shape[1:], full, reading)
        check_columns(full, len(stack), columns["labels"], columns["sigma"])
        units = "" if reading.stored_values else str(attribute(arrays[name], "units") or "")
        made.append((name, of_images(stack, full, reading, units=units, close=close, **columns)))
    if len(made) == 1:
        return made[0][1]
    several = joined(made, where)
    return Source(several.entries, where, several.count, close=close)


def _columns(arrays: dict[str, Any], where: str, reading: Reading, size: int) -> dict[str, Any]:
    """Labels and noise levels, by `--label-key`, or in arrays of these names."""
    if reading.label_key and (reading.label_key not in arrays or "" in arrays):
        raise UserError(f"{where}: has no array named {reading.label_key!r}")
    names = {"labels": reading.label_key or next((n for n in ("labels", "label") if n in arrays), None)}
    names["sigma"] = "sigma" if "sigma" in arrays else None
    columns: dict[str, Any] = {}
    for column, name in names.items():
        columns[column] = None
        if name is not None:
            _check_numbers(arrays[name], where, name, reading, size)
            columns[column] = _whole(arrays[name], where)
    return columns


def _whole(array: Any, where: str) -> NDArray[Any]:
    values: NDArray[Any] = guarded(where, lambda: np.asarray(array[...]))
    return values


def _layout(array: Any, outside: str | None, where: str, reading: Reading) -> str:
    """The letter of each dimension; MATLAB's, in the order in which MATLAB shows them."""
    is_matlab = attribute(array, "MATLAB_class") is not None
    shape = tuple(array.shape)[::-1] if is_matlab else tuple(array.shape)
    letters_ = layout(shape, where, reading.axes, None if is_matlab else outside or own_axes(array))
    return letters_[::-1] if is_matlab else letters_


def _tell_gaps(array: Any, where: str) -> None:
    """Warn of pieces of an array that were never written: a library fills them with one value."""
    try:
        if hasattr(array, "nchunks_initialized"):
            there, all_of = int(array.nchunks_initialized), int(array.nchunks)
        elif getattr(array, "chunks", None):
            there = int(array.id.get_num_chunks())
            all_of = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
        else:
            return
    except Exception:  # an old library cannot tell
        return
    if there < all_of:
        fill = getattr(array, "fill_value", getattr(array, "fillvalue", 0))
        _log.warning(
            "%s: %d of its %d pieces were never written, and come as %s", where, all_of - there, all_of, fill
        )


class _Scaled:
    """An array of a file whose values are multiplied and shifted as its attributes say (the CF conventions' `scale_factor` and
    `add_offset`)."""

    def __init__(self, array: Any, where: str, reading: Reading) -> None:
        self.shape = tuple(array.shape)
        self._array, self._where = array, where
        scale, offset = (number(array, name, where) for name in ("scale_factor", "add_offset"))
        self._fill = number(array, "_FillValue", where)
        self._is_scaled = (scale is not None or offset is not None) and not reading.stored_values
        self._scale = 1.0 if scale is None else scale
        self._offset = 0.0 if offset is None else offset

    def __getitem__(self, index: Any) -> NDArray[Any]:
        pixels: NDArray[Any] = guarded(self._where, lambda: np.asarray(self._array[index]))
        missing = None if self._fill is None else pixels == self._fill  # what was not measured
        if self._is_scaled:
            pixels = pixels.astype(np.float64) * self._scale + self._offset
        if missing is not None and missing.any():
            pixels = np.where(missing, np.nan, pixels.astype(np.float64))
        return pixels


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


def _is_known(array: Any, seen: set[Any]) -> bool:
    """Whether an array of an HDF5 file came up under another name before."""
    if not hasattr(array, "shape") or not hasattr(array, "file"):
        return False
    import h5py

    info = h5py.h5o.get_info(array.id)
    address = (info.fileno, info.addr)
    is_known = address in seen
    seen.add(address)
    return is_known


def _arrays(
    group: Any, reading: Reading, prefix: str = "", depth: int = 0, seen: set[Any] | None = None
) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    seen = set() if seen is None else seen
    for name in group:
        if depth > _DEPTH:
            continue
        if hasattr(group, "id") and type(group.get(name, getlink=True)).__name__ == "ExternalLink":
            reading.left_out["links to other HDF5 files"] += 1
            continue
        inside = group.get(name) if hasattr(group, "get") else group[name]
        if inside is None or _is_known(
            inside, seen
        ):  # a link that leads nowhere, or to what was seen already
            continue
        if hasattr(inside, "shape"):
            arrays |= {prefix + name: inside} if inside.shape is not None else {}
        elif hasattr(inside, "keys"):
            arrays |= _arrays(inside, reading, f"{prefix}{name}/", depth + 1, seen)
    return arrays


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
