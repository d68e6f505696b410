"""FITS, MRC and NIfTI: values against the formats' own libraries, units, and several pictures in one file."""

import bz2
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from packing import measured, provenance

RNG = np.random.default_rng(17)
WHOLE = RNG.integers(0, 4096, (4, 20, 22), dtype=np.uint16)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_nifti_is_scaled_as_nibabel_does(tmp_path: Path, suffix: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(RNG.integers(-1000, 3000, (10, 12, 5)).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.106186, -217.391312)
    image.to_filename(tmp_path / f"x.{suffix}")
    exact = np.asarray(nibabel.load(tmp_path / f"x.{suffix}").dataobj).transpose(2, 1, 0)
    values = measured(tmp_path / f"x.{suffix}", tmp_path / "out")
    np.testing.assert_array_equal(values[:, 0], exact.astype(np.float32))
    assert 0 < provenance(tmp_path / "out")["rounding"] < 1e-6
    stored = measured(tmp_path / f"x.{suffix}", tmp_path / "stored", stored_values=True)
    np.testing.assert_array_equal(stored[:, 0], np.asarray(image.dataobj).transpose(2, 1, 0))


def test_freesurfer_volumes_are_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = RNG.normal(size=(10, 12, 5)).astype(np.float32)
    nibabel.save(nibabel.MGHImage(volume, np.eye(4)), tmp_path / "x.mgz")
    np.testing.assert_array_equal(
        measured(tmp_path / "x.mgz", tmp_path / "out")[:, 0], volume.transpose(2, 1, 0)
    )


@pytest.mark.parametrize("unsigned", [False, True])
def test_fits_is_scaled_and_its_unit_recorded(tmp_path: Path, unsigned: bool) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(WHOLE[0] if unsigned else WHOLE[0].astype(np.int16))
    if not unsigned:
        unit.header["BSCALE"], unit.header["BZERO"] = 0.5, 7
        unit._bscale, unit._bzero = 1, 0
    unit.header["BUNIT"] = "adu"
    unit.writeto(tmp_path / "x.fits")
    if not unsigned:  # the keywords of scaling alone, beside the values as they are
        with fits.open(tmp_path / "x.fits", mode="update", do_not_scale_image_data=True) as file:
            file[0].header["BSCALE"], file[0].header["BZERO"] = 0.5, 7
    with fits.open(tmp_path / "x.fits") as file:
        exact = np.asarray(file[0].data, dtype=np.float64)
    np.testing.assert_array_equal(measured(tmp_path / "x.fits", tmp_path / "out")[0, 0], exact)
    assert provenance(tmp_path / "out")["units"] == ["adu"]


@pytest.mark.parametrize("suffix", ["fits", "fits.gz", "FIT", "fits.fz"])
def test_every_chip_of_a_mosaic_is_an_image(tmp_path: Path, suffix: str) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    kind = fits.CompImageHDU if suffix == "fits.fz" else fits.ImageHDU
    options = {"compression_type": "RICE_1"} if suffix == "fits.fz" else {}
    chips = [kind(chip, name=f"CCD{i}", **options) for i, chip in enumerate(WHOLE)]
    path = tmp_path / f"x.{suffix}"
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(path)
    np.testing.assert_array_equal(measured(path, tmp_path / "out")[:, 0], WHOLE)
    np.testing.assert_array_equal(measured(path, tmp_path / "one", key="CCD2")[:, 0], WHOLE[2:3])


def test_fits_of_several_shapes_and_of_three_planes_ask(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    small = fits.ImageHDU(WHOLE[0, :10], name="SMALL")
    fits.HDUList([fits.PrimaryHDU(WHOLE[0]), small]).writeto(tmp_path / "x.fits")
    with pytest.raises(UserError, match="name one with --key: 0: PRIMARY"):
        pack(tmp_path / "x.fits", tmp_path / "out", sigma=0.0)
    fits.PrimaryHDU(WHOLE[:3]).writeto(tmp_path / "c.fits")
    with pytest.raises(UserError, match="say --axes CHW, or --axes NHW"):
        pack(tmp_path / "c.fits", tmp_path / "out", sigma=0.0)
    assert measured(tmp_path / "c.fits", tmp_path / "n", axes="NHW").shape == (3, 1, 20, 22)
    assert measured(tmp_path / "c.fits", tmp_path / "c", axes="CHW").shape == (1, 3, 20, 22)


def test_pixels_that_fits_calls_blank_are_no_values(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    array = WHOLE[0].astype(np.int16)
    array[3, 4] = -999
    unit = fits.PrimaryHDU(array)
    unit.header["BLANK"] = -999
    unit.writeto(tmp_path / "x.fits")
    with pytest.raises(UserError, match="NaN"):
        pack(tmp_path / "x.fits", tmp_path / "out", sigma=0.0, measured_range=True)


@pytest.mark.parametrize("scale", [None, (1, 32768), (0.5, 7)])
@pytest.mark.parametrize("blank", [-32768, -999, 0])
def test_what_fits_calls_blank_is_in_stored_units(
    tmp_path: Path, blank: int, scale: tuple[float, float] | None
) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    array = np.arange(1, 441, dtype=np.int16).reshape(20, 22)
    for name, value in (("whole", 5), ("x", blank)):
        array[3, 4] = value
        fits.PrimaryHDU(array).writeto(tmp_path / f"{name}.fits")
        with fits.open(tmp_path / f"{name}.fits", mode="update", do_not_scale_image_data=True) as file:
            file[0].header["BLANK"] = blank
            if scale:
                file[0].header["BSCALE"], file[0].header["BZERO"] = scale
    with fits.open(tmp_path / "whole.fits") as file:
        exact = np.asarray(file[0].data)
    np.testing.assert_array_equal(measured(tmp_path / "whole.fits", tmp_path / "out")[0, 0], exact)
    for stored_values in (False, True):
        with pytest.raises(UserError, match="NaN"):
            measured(tmp_path / "x.fits", tmp_path / "no", stored_values=stored_values)


@pytest.mark.parametrize("suffix", ["mrc", "mrc.gz", "mrc.bz2"])
@pytest.mark.parametrize(
    ("order", "stamp", "flags", "unsigned"),
    [("<", 1146047817, 0, True), (">", 1146047817, 0, True), ("<", 1146047817, 1, False), ("<", 0, 0, False)],
)
def test_bytes_of_imod_are_unsigned_where_it_says_so(
    tmp_path: Path, suffix: str, order: str, stamp: int, flags: int, unsigned: bool
) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    values = RNG.integers(-128, 128, (4, 20, 22)).astype(np.int8)
    with mrcfile.new(tmp_path / "y.mrc", values) as file:
        if order == ">":
            file.header.byteswap(inplace=True)
            file._header = file.header.view(file.header.dtype.newbyteorder())
            file.header.machst[:2] = 0x11
    content = bytearray((tmp_path / "y.mrc").read_bytes())
    content[152:160] = struct.pack(f"{order}2i", stamp, flags)
    packed = gzip.compress(content) if suffix == "mrc.gz" else bytes(content)
    packed = bz2.compress(content) if suffix == "mrc.bz2" else packed
    (tmp_path / f"x.{suffix}").write_bytes(packed)
    seen = measured(tmp_path / f"x.{suffix}", tmp_path / "out")[:, 0]
    np.testing.assert_array_equal(seen, values.view(np.uint8) if unsigned else values)


@pytest.mark.parametrize("suffix", ["mrc", "mrc.gz", "MRCS"])
def test_mrc_is_read_compressed_too(tmp_path: Path, suffix: str) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    volume = RNG.normal(size=(4, 20, 22)).astype(np.float32)
    with mrcfile.new(tmp_path / f"x.{suffix}", volume, compression="gzip" if "gz" in suffix else None):
        pass
    np.testing.assert_array_equal(measured(tmp_path / f"x.{suffix}", tmp_path / "out")[:, 0], volume)
