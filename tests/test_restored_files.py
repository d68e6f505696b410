"""Files that are written again, of every format and type: what is read from them is what was to be written, in the same type."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noiseworth.restore.files import open_file

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 30_000, (3, 40, 48)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (40, 48, 3), dtype=np.uint8)


def _tiff(array: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: pytest.importorskip("tifffile").imwrite(path, array, **options)


def _picture(array: Any, orientation: int = 1) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        exif = Image.Exif()
        exif[274] = orientation
        options: dict[str, Any] = {} if orientation == 1 else {"exif": exif}
        Image.fromarray(array).save(path, **options)

    return write


def _fits(array: Any, packed: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        fits = pytest.importorskip("astropy.io.fits")
        first, kind = fits.PrimaryHDU(), fits.CompImageHDU
        fits.HDUList([first, kind(array)] if packed else [fits.PrimaryHDU(array)]).writeto(path)

    return write


def _mrc(array: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with pytest.importorskip("mrcfile").new(
            path, compression="gzip" if path.suffix == ".gz" else None
        ) as file:
            file.set_data(array)

    return write


def _nifti(array: Any, kind: str = "Nifti1Image") -> Callable[[Path], None]:
    return lambda path: getattr(pytest.importorskip("nibabel"), kind)(
        np.moveaxis(array, 0, -1), np.eye(4)
    ).to_filename(path)


FILES: dict[str, Callable[[Path], None]] = {
    "grey.tif": _tiff(GREY[0]),
    "big-endian.tif": _tiff(GREY[0], byteorder=">"),
    "colour.tif": _tiff(COLOUR, photometric="rgb"),
    "planes.tif": _tiff(COLOUR.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "predicted.tif": _tiff(COLOUR, photometric="rgb", compression="zlib", predictor=True),
    "tiled.tif": _tiff(np.tile(GREY[0], (4, 4)), tile=(64, 64), compression="zlib"),
    "channels.ome.tif": _tiff(np.stack([GREY, GREY[::-1]]), metadata={"axes": "TCYX"}),
    "packed.ome.tif": _tiff(GREY, metadata={"axes": "ZYX"}, compression="zlib"),
    "imagej.tif": _tiff(GREY, imagej=True, metadata={"axes": "ZYX"}),
    "pages.tif": _tiff(GREY, photometric="minisblack", compression="zlib"),
    "colour.png": _picture(COLOUR),
    "turned.png": _picture(COLOUR, orientation=6),
    "grey16.png": _picture(GREY[0]),
    "colour.bmp": _picture(COLOUR),
    "unsigned.fits": _fits(GREY[0]),
    "signed.fits": _fits(GREY[0].astype(np.int16)),
    "packed.fits": _fits(GREY[0].astype(np.int32), packed=True),
    "float.fits.gz": _fits(GREY[0].astype(np.float32)),
    "bytes.mrc": _mrc((GREY % 100).astype(np.int8)),
    "unsigned.mrc": _mrc(GREY),
    "float.mrc.gz": _mrc(GREY.astype(np.float32)),
    "integers.nii": _nifti(GREY.astype(np.int16)),
    "float.nii.gz": _nifti(GREY.astype(np.float32)),
    "float.mgz": _nifti(GREY.astype(np.float32), "MGHImage"),
    "stack.npy": lambda path: np.save(path, GREY),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    """Restored values are rounded to the file's type, by half a unit at most; maps keep every bit."""
    FILES[name](tmp_path / name)
    file = open_file(tmp_path / name)
    wanted = [
        np.clip(plane.astype(np.float64) * 0.5 + 3, 0, None).astype(np.float32) for plane in file.planes
    ]
    (tmp_path / "out").mkdir()
    place = tmp_path / "out" / file.named(name, file.suffix)
    file.write(place, [plane.copy() for plane in wanted])
    again = open_file(place)
    for plane, before, made in zip(wanted, file.planes, again.planes, strict=True):
        assert made.dtype == before.dtype
        assert np.abs(made.astype(np.float64) - plane).max() <= (0 if name.startswith("float") else 0.5)
    place = tmp_path / "out" / f"map-{file.named(name, file.map_suffix)}"
    file.write_map(place, wanted)
    for plane, made in zip(wanted, open_file(place).planes, strict=True):
        assert np.array_equal(made, plane)
