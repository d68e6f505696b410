"""Files of telescopes, electron microscopes and scanners: FITS, MRC, NIfTI and MGH (extra `formats`).

Values are physical ones: the scale and offset that a file states are applied, unless `--stored-values`.
"""

import bz2
import gzip
import importlib
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.arrays import joined
from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.messages import library_messages
from noiseworth.data.sources.source import Reading, Source, check_size, check_unpacked, of_images
from noiseworth.errors import UserError, first_line

_IMOD = 1146047817
_COUNTING = "NTZQPRUV"  # letters for dimensions that count images


def library(name: str, where: str) -> Any:
    """A library of the extra `formats`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".", maxsplit=1)[0]
        raise UserError(f"{where}: needs {package}: pip install 'noiseworth[formats]'") from None


def guarded(where: str, read: Callable[[], Any]) -> Any:
    """What a library reads.

    Raises:
        UserError: it raised anything, or noted an error in its log.
    """
    try:
        with library_messages(where):
            return read()
    except UserError:
        raise
    except Exception as error:  # these libraries raise whatever they run into
        raise UserError(f"{where}: damaged or unreadable ({first_line(error)})") from None


def no_names(where: str, reading: Reading) -> None:
    """Raises UserError: an array or labels are asked for by name, in a file without names."""
    if reading.key:
        raise UserError(f"--key {reading.key}: {where} is one array, without names")
    no_labels(where, reading)


def no_labels(where: str, reading: Reading) -> None:
    """Raises UserError: labels are asked for in a file without labels."""
    if reading.label_key:
        raise UserError(
            f"--label-key {reading.label_key}: {where} holds no labels; give a CSV file with --labels"
        )


def volume_source(
    array: NDArray[Any], own: str | None, where: str, reading: Reading, *, units: str = ""
) -> Source:
    """The images of an array with axes of its own."""
    stack = Stack(array, layout(array.shape, where, reading.axes, own))
    check_size(stack.shape[1:], where, reading)
    return of_images(stack, where, reading, units=units)


def fits_source(path: Path, where: str, reading: Reading) -> Source:
    """The pictures of a FITS file: of all extensions that hold one, if they are of one shape.

    Raises:
        UserError: none, damaged, or several of different shapes and none is named by `--key`.
    """
    no_labels(where, reading)
    fits = library("astropy.io.fits", where)
    pictures: list[tuple[str, Source]] = guarded(where, lambda: _fits_pictures(fits, path, where, reading))
    return pictures[0][1] if len(pictures) == 1 else joined(pictures, where)


def _fits_pictures(fits: Any, path: Path, where: str, reading: Reading) -> list[tuple[str, Source]]:
    with fits.open(path, memmap=False, do_not_scale_image_data=reading.stored_values) as units:
        has = ", ".join(f"{i}: {unit.name or 'unnamed'}" for i, unit in enumerate(units))
        images = [
            (i, unit) for i, unit in enumerate(units) if unit.is_image and unit.header.get("NAXIS", 0) >= 2
        ]
        images = [(i, unit) for i, unit in images if math.prod(_fits_shape(unit)) > 0]
        tables = sum(not unit.is_image for unit in units)
        if tables:
            reading.left_out["FITS tables"] += tables
        if reading.key is not None:
            images = [(i, unit) for i, unit in images if reading.key in (unit.name, str(i))]
        if not images:
            named = f" named {reading.key!r}" if reading.key else ""
            raise UserError(f"{where}: no picture in it{named} (it has {has}); name one with --key")
        if len({(_fits_shape(unit), unit.header["BITPIX"]) for _, unit in images}) > 1:
            shapes = ", ".join(f"{i}: {unit.name or 'unnamed'} {_fits_shape(unit)}" for i, unit in images)
            raise UserError(f"{where}: holds pictures of different shapes; name one with --key: {shapes}")
        size = path.stat().st_size
        promised = sum(math.prod(_fits_shape(u)) * abs(int(u.header["BITPIX"])) // 8 for _, u in images)
        check_unpacked(promised, size, where, reading)
        with fits.open(path, memmap=False, do_not_scale_image_data=True) as as_stored:
            return [
                (f"{unit.name or 'extension'} {i}", _fits_picture(unit, as_stored[i], where, reading))
                for i, unit in images
            ]


def _fits_picture(unit: Any, as_stored: Any, where: str, reading: Reading) -> Source:
    """The images of an extension; `as_stored` is the same one, without scale and offset, as BLANK is (FITS standard 4.0, 4.4.2.5)."""
    header = unit.header
    blank, is_whole = header.get("BLANK"), int(header["BITPIX"]) > 0
    array = np.asarray(unit.data)
    if blank is not None and is_whole:
        gone = np.asarray(as_stored.data) == int(blank)
        if gone.any():
            array = np.where(gone, np.nan, array.astype(np.float64))  # pixels that were not measured
    kind = str(header.get("CTYPE3", "")).strip().upper()
    own: str | None = _COUNTING[: array.ndim - 2] + "YX"
    if array.ndim == 3 and array.shape[0] in (3, 4):
        own = "CYX" if kind in ("RGB", "COLOR", "COLOUR") else own if kind else None
        if own is None and reading.axes is None:
            raise UserError(
                f"{where}: its {array.shape[0]} planes can be the colours of one picture, or pictures; say --axes"
                " CHW, or --axes NHW"
            )
    units = "" if reading.stored_values else str(header.get("BUNIT", "")).strip()
    return volume_source(array, own, where, reading, units=units)


def _fits_shape(unit: Any) -> tuple[int, ...]:
    header = unit.header
    return tuple(int(header[f"NAXIS{i}"]) for i in range(int(header["NAXIS"]), 0, -1))


def mrc_source(path: Path, where: str, reading: Reading) -> Source:
    """The sections of an MRC file: an image, a stack of images, a volume, or a stack of volumes, as its header says."""
    no_names(where, reading)
    mrcfile = library("mrcfile", where)

    def read() -> NDArray[Any]:
        with mrcfile.open(path, permissive=False, header_only=True) as file:
            shape = [int(file.header[name]) for name in ("nz", "ny", "nx")]
        check_unpacked(math.prod(shape) * 8, path.stat().st_size, where, reading)
        with mrcfile.open(path, permissive=False) as file:
            array = np.array(file.data)
        return array.view(np.uint8) if array.dtype == np.int8 and _has_unsigned_bytes(path) else array

    array = guarded(where, read)
    return volume_source(array, {2: "YX", 3: "ZYX", 4: "NZYX"}.get(array.ndim), where, reading)


def _has_unsigned_bytes(path: Path) -> bool:
    """Whether IMOD wrote an MRC file of bytes without a sign: its stamp in the header, and a flag beside it.

    Source: the MRC format of IMOD, https://bio3d.colorado.edu/imod/doc/mrc_format.txt (imodStamp, imodFlags).
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        unpacked: Any = file
        if start in (b"\x1f\x8b", b"BZ"):
            unpacked = gzip.GzipFile(fileobj=file) if start != b"BZ" else bz2.BZ2File(file)
        header = unpacked.read(160)
    for order in ("<", ">"):
        stamp, flags = struct.unpack(f"{order}2i", header[152:160])
        if stamp == _IMOD:
            return not flags & 1
    return False


def nifti_source(path: Path, where: str, reading: Reading) -> Source:
    """The slices along Z of a NIfTI or MGH volume, of every time point."""
    no_names(where, reading)
    nibabel = library("nibabel", where)

    def read() -> NDArray[Any]:
        image = nibabel.load(path)
        if not hasattr(image, "dataobj"):
            raise UserError(f"{where}: holds no volume of numbers")
        promised = math.prod(image.shape) * image.header.get_data_dtype().itemsize
        check_unpacked(promised, path.stat().st_size, where, reading)
        data = image.dataobj
        return np.asarray(
            data.get_unscaled() if reading.stored_values and hasattr(data, "get_unscaled") else data
        )

    array = guarded(where, read)
    if array.dtype.names is not None:  # colours, as a record of three or four bytes
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
        own = "XYZTUV"[: array.ndim - 1] + "C"
    else:
        own = "XYZTUVQPR"[: array.ndim]
    return volume_source(array, own, where, reading)
