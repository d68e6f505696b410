"""Files of microscopes, telescopes and scanners: HDF5, Zarr, FITS, MRC, NIfTI, DICOM (extra `formats`).

Pixels keep the values that are stored. Each array is a stack of pictures, (H, W), (N, H, W) or (N, C, H, W);
of a NIfTI volume (X, Y, Z, ...) the slices along Z.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.source import Source, channels_first, of_array
from noiseworth.errors import UserError, first_line

_HDF5 = (".h5", ".hdf5", ".hdf")
_FITS = (".fits", ".fit", ".fts", ".fits.gz")
_MRC = (".mrc", ".mrcs", ".rec", ".st", ".map")
_NIFTI = (".nii", ".nii.gz")
_DEPTH = 8  # of nested groups, at most: links can form cycles
_DICOM = (".dcm", ".dicom")
SUFFIXES = (*_HDF5, *_FITS, *_MRC, *_NIFTI, *_DICOM, ".zarr")


def is_scientific(path: Path) -> bool:
    """Whether its name is that of a scientific file."""
    return path.name.lower().endswith(SUFFIXES)


def scientific_source(path: Path, key: str | None, label_key: str | None) -> Source:
    """The pictures of a scientific file.

    Raises:
        UserError: the library for it is not installed, the file is damaged, or `key` names nothing in it.
    """
    name = path.name.lower()
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if name.endswith((*_HDF5, ".zarr")):
        return _keyed(path, key, label_key)
    if label_key:
        raise UserError(f"--label-key {label_key}: {path} holds no labels; give a CSV file with --labels")
    readers: list[tuple[tuple[str, ...], Callable[[Path, str | None], NDArray[Any]]]]
    readers = [(_FITS, _fits), (_MRC, _mrc), (_NIFTI, _nifti), (_DICOM, _dicom)]
    read = next(reader for suffixes, reader in readers if name.endswith(suffixes))
    images: NDArray[Any] = _guarded(path, lambda: read(path, key))
    if images.ndim == 2:
        images = images[None]
    return of_array(channels_first(images, str(path)), str(path))


def _library(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"{path}: needs {name.split('.', maxsplit=1)[0]}: pip install 'noiseworth[formats]'"
        ) from None


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except UserError:
        raise
    except Exception as error:  # these libraries can raise errors of any type
        words = first_line(error)
        raise UserError(f"{path}: damaged or unreadable ({words})") from None


def _keyed(path: Path, key: str | None, label_key: str | None) -> Source:
    """HDF5 and Zarr: arrays by name, read image by image."""
    root: Any
    if path.name.lower().endswith(".zarr"):
        zarr = _library("zarr", path)
        root = _guarded(path, lambda: zarr.open(str(path), mode="r"))
        close: Callable[[], None] = lambda: None  # noqa: E731
    else:
        h5py = _library("h5py", path)
        root = _guarded(path, lambda: h5py.File(path, "r"))
        close = root.close
    if hasattr(root, "shape"):  # a Zarr array by itself
        images: Any = root
    else:
        arrays: dict[str, Any] = _guarded(path, lambda: _arrays(root))
        stacks = [n for n, a in arrays.items() if len(a.shape) >= 3]
        name = key or ("images" if "images" in arrays else stacks[0] if len(stacks) == 1 else "")
        if name not in arrays:
            raise UserError(
                f"{path}: name the array with --key ({', '.join(sorted(arrays)) or 'it has none'})"
            )
        images = arrays[name]
    if len(images.shape) not in (3, 4):
        raise UserError(
            f"{path}: its array has shape {tuple(images.shape)}; images are (N, H, W), (N, C, H, W) or (N,"
            " H, W, C)"
        )
    labels = None
    if label_key:
        if hasattr(root, "shape") or label_key not in _arrays(root):
            raise UserError(f"{path}: has no array named {label_key!r}")
        labels = np.asarray(_arrays(root)[label_key][...])
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or (labels < 0).any():
            raise UserError(
                f"{path}: '{label_key}' must be {images.shape[0]} whole numbers from 0 up, it is"
                f" {labels.dtype} {labels.shape}"
            )
    made = of_array(_Lazy(images, path), str(path), labels=labels)  # type: ignore[arg-type]
    return Source(made.entries, made.where, int(images.shape[0]), close=close)


class _Lazy:
    """An array in a file, read image by image as (C, H, W)."""

    def __init__(self, images: Any, path: Path) -> None:
        self._images, self._path = images, path
        self._channels_last = (
            len(images.shape) == 4 and images.shape[3] in (1, 2, 3, 4) and images.shape[1] not in (1, 2, 3, 4)
        )

    def __len__(self) -> int:
        return int(self._images.shape[0])

    def __getitem__(self, i: int) -> NDArray[Any]:
        pixels: NDArray[Any] = _guarded(self._path, lambda: np.asarray(self._images[i]))
        if pixels.ndim == 2:
            return pixels[None]
        return pixels.transpose(2, 0, 1) if self._channels_last else pixels


def _arrays(group: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name in group:
        # `get` gives None for a broken link.
        inside = group.get(name) if hasattr(group, "get") else group[name]
        if depth > _DEPTH or inside is None:
            continue
        if hasattr(inside, "shape"):
            arrays |= {prefix + name: inside} if inside.shape is not None else {}
        elif hasattr(inside, "keys"):
            arrays |= _arrays(inside, f"{prefix}{name}/", depth + 1)
    return arrays


def _fits(path: Path, key: str | None) -> NDArray[Any]:
    fits = _library("astropy.io.fits", path)
    with fits.open(path, memmap=False) as units:
        for number, unit in enumerate(units):
            if (
                unit.data is not None
                and getattr(unit.data, "ndim", 0) >= 2
                and key in (None, unit.name, str(number))
            ):
                return np.asarray(unit.data)
        has = ", ".join(f"{i}: {unit.name}" for i, unit in enumerate(units))
        raise UserError(
            f"{path}: no picture in it"
            + (f" named {key!r}" if key else "")
            + f" (it has {has}); name one with --key"
        )


def _mrc(path: Path, key: str | None) -> NDArray[Any]:
    _no_key(path, key)
    with _library("mrcfile", path).open(path, permissive=False) as file:
        return np.array(file.data)


def _nifti(path: Path, key: str | None) -> NDArray[Any]:
    _no_key(path, key)
    # `dataobj` applies the slope and intercept of the header.
    volume = np.asarray(_library("nibabel", path).load(path).dataobj)
    if volume.ndim < 3:
        return volume.T
    slices = volume.transpose(*range(2, volume.ndim), 1, 0)  # (Z, ..., Y, X)
    return slices.reshape(-1, *slices.shape[-2:])


def _dicom(path: Path, key: str | None) -> NDArray[Any]:
    _no_key(path, key)
    header = _library("pydicom", path).dcmread(path)
    kind, pixels = str(header.PhotometricInterpretation), np.asarray(header.pixel_array)
    if kind not in ("MONOCHROME1", "MONOCHROME2", "RGB"):
        raise UserError(
            f"{path}: DICOM with pixels of the kind {kind}; convert it to RGB or MONOCHROME2 first"
        )
    if kind == "MONOCHROME1":
        raise UserError(
            f"{path}: DICOM whose large values are dark (MONOCHROME1); convert it to MONOCHROME2 first"
        )
    frames = pixels.reshape(
        int(getattr(header, "NumberOfFrames", 1) or 1),
        header.Rows,
        header.Columns,
        int(header.SamplesPerPixel),
    )
    return frames.transpose(0, 3, 1, 2)


def _no_key(path: Path, key: str | None) -> None:
    if key:
        raise UserError(f"--key {key}: {path} is one array, without names")
