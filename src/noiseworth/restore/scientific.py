"""Files of telescopes, electron microscopes and scanners that are written again: FITS, MRC, NIfTI."""

import gzip
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.axes import Stack
from noiseworth.data.sources.scientific import guarded, library
from noiseworth.errors import UserError
from noiseworth.restore.file import ArrayFile, Planes

_SCALING = ("BSCALE", "BZERO", "BLANK")  # of integers, in a FITS header
_NIFTI_1, _NIFTI_2 = 348, 540  # bytes of the header, with which a file begins


class FitsFile(ArrayFile):
    map_suffix = ".fits"

    def __init__(self, path: Path, planes: Planes) -> None:
        self._fits = library("astropy.io.fits", str(path))

        def read() -> list[tuple[NDArray[Any], str, float, float]]:
            with self._fits.open(path, memmap=False, do_not_scale_image_data=True) as units:
                self._numbers = [
                    i for i, u in enumerate(units) if u.is_image and u.header.get("NAXIS", 0) >= 2
                ]
                found = []
                for i in self._numbers:
                    header, data = units[i].header, np.array(units[i].data)
                    own = "NTZQPRUV"[: data.ndim - 2] + "YX"
                    slope, offset = (float(header.get(k, d)) for k, d in (("BSCALE", 1), ("BZERO", 0)))
                    found.append(
                        (data, own if data.ndim != 3 or data.shape[0] not in (3, 4) else "", slope, offset)
                    )
                return found

        arrays = guarded(str(path), read)
        channels = len(planes[0])
        arrays = [
            (a, axes or ("CYX" if channels > 1 else "NYX"), slope, offset)
            for a, axes, slope, offset in arrays
        ]
        super().__init__(path, planes, arrays)

    def write(self, out: Path, planes: Planes) -> None:
        """As `File.write`."""
        self._copy(out, self.filled(planes))

    def write_map(self, out: Path, planes: Planes) -> None:
        """As `File.write_map`: with the header of the file."""
        arrays = [np.empty(a.shape, np.float32) for a, *_ in self._arrays]
        stacks = [Stack(new, axes) for new, (_, axes, *_) in zip(arrays, self._arrays, strict=True)]
        left = iter(planes)
        for stack in stacks:
            for i in range(len(stack)):
                stack.put(i, next(left))
        self._copy(out, arrays)

    def _copy(self, out: Path, arrays: list[NDArray[Any]]) -> None:
        with self._fits.open(self.path, memmap=False, do_not_scale_image_data=True) as units:
            for i, array in zip(self._numbers, arrays, strict=True):
                header = units[i].header
                scaling = {k: header[k] for k in _SCALING if k in header}
                if array.dtype.kind == "f":
                    # Values as they are: the scaling of integers is not theirs, and packed ones would be rounded.
                    for key in scaling:
                        del header[key]
                    if isinstance(units[i], self._fits.CompImageHDU):
                        units[i] = self._fits.ImageHDU(array, header)
                        continue
                units[i].data = array
                if array.dtype.kind != "f":
                    header.update(scaling)
            units.writeto(out, overwrite=True, output_verify="silentfix")


class MrcFile(ArrayFile):
    map_suffix = ".mrc"

    def __init__(self, path: Path, planes: Planes) -> None:
        self._mrcfile = library("mrcfile", str(path))

        def read() -> NDArray[Any]:
            with self._mrcfile.open(path, permissive=False) as file:
                return np.array(file.data)

        array = guarded(str(path), read)
        if planes and array.dtype == np.int8 and planes[0].dtype == np.uint8:
            array = array.view(np.uint8)
        super().__init__(path, planes, [(array, {2: "YX", 3: "ZYX", 4: "NZYX"}[array.ndim], 1.0, 0.0)])

    def write(self, out: Path, planes: Planes) -> None:
        """As `File.write`."""
        array = self.filled(planes)[0]
        self._copy(out, array.view(np.int8) if array.dtype == np.uint8 else array)

    def write_map(self, out: Path, planes: Planes) -> None:
        """As `File.write_map`: with the voxel size of the file."""
        shape = self._arrays[0][0].shape
        self._copy(out, np.stack(planes).astype(np.float32).reshape(shape))

    def _copy(self, out: Path, array: NDArray[Any]) -> None:
        shutil.copyfile(self.path, out)
        with self._mrcfile.open(out, mode="r+", permissive=False) as file:
            voxel, stamped = file.voxel_size.copy(), file.header.copy()
            if array.dtype == file.data.dtype:
                file.data[...] = array
            else:
                file.set_data(array)
                file.voxel_size = voxel
                file.header.ispg = stamped.ispg
            file.update_header_stats()


class NiftiFile(ArrayFile):
    """NIfTI in one file, or MGH."""

    map_suffix = ".nii"

    def __init__(self, path: Path, planes: Planes) -> None:
        nibabel = library("nibabel", str(path))
        self._save = nibabel.save
        self._image = guarded(str(path), lambda: nibabel.load(path))
        if isinstance(self._image, nibabel.Nifti1Pair) and not isinstance(self._image, nibabel.Nifti1Image):
            raise UserError(f"{path}: is one of a pair of files; convert it to one file (.nii) first")
        data = self._image.dataobj
        slope, offset = (float(getattr(data, name, d)) for name, d in (("slope", 1.0), ("inter", 0.0)))
        array = np.array(data.get_unscaled())
        super().__init__(path, planes, [(array, "XYZTUVQPR"[: array.ndim], slope, offset)])
        self._scaling = slope, offset
        self.map_suffix = self.suffix

    def write(self, out: Path, planes: Planes) -> None:
        """As `File.write`."""
        self._write(out, self.filled(planes)[0])
        if self._scaling != (1.0, 0.0):
            _set_scaling(out, *self._scaling)

    def write_map(self, out: Path, planes: Planes) -> None:
        """As `File.write_map`: with the affine of the file."""
        array = np.empty(self._arrays[0][0].shape, np.float32)
        stack = Stack(array, self._arrays[0][1])
        for i, plane in enumerate(planes):
            stack.put(i, plane)
        self._write(out, array)

    def _write(self, out: Path, array: NDArray[Any]) -> None:
        image = self._image.__class__(array, self._image.affine, self._image.header)
        image.header.set_data_dtype(array.dtype)
        self._save(image, out)


def _set_scaling(path: Path, slope: float, offset: float) -> None:
    """Set slope and intercept in the header of a NIfTI file: nibabel chooses its own, and would scale the values again.

    Source: nifti1.h and nifti2.h, the fields scl_slope and scl_inter.
    """
    is_packed = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if is_packed else path.read_bytes())
    order = "<" if struct.unpack_from("<i", content)[0] in (_NIFTI_1, _NIFTI_2) else ">"
    is_first = struct.unpack_from(f"{order}i", content)[0] == _NIFTI_1
    struct.pack_into(f"{order}2{'f' if is_first else 'd'}", content, 112 if is_first else 176, slope, offset)
    path.write_bytes(gzip.compress(content, mtime=0) if is_packed else content)
