"""FITS, MRC, NIfTI, DICOM, HDF5 and Zarr: values against the formats' own libraries, units, several pictures, and plain words."""

import bz2
import gzip
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.sources.source import Reading, stored
from noiseworth.errors import UserError

RNG = np.random.default_rng(17)
WHOLE = RNG.integers(0, 4096, (4, 20, 22), dtype=np.uint16)


def _packed(source: Path, out: Path, **options: Any) -> np.ndarray:
    pack(source, out, sigma=0.0, **({"measured_range": True} | options))
    data = open_dataset(out)
    return data.read_raw(np.arange(len(data)))


def _provenance(out: Path) -> dict[str, Any]:
    provenance: dict[str, Any] = open_dataset(out).record.provenance[0]
    return provenance


def _dicom(path: Path, pixels: np.ndarray = WHOLE[:1], **tags: Any) -> Path:
    """A DICOM file of unsigned values of 16 bits."""
    pydicom = pytest.importorskip("pydicom")
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    header.Rows, header.Columns, header.SamplesPerPixel = *pixels.shape[1:], 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    if len(pixels) > 1:
        header.NumberOfFrames = len(pixels)
    for name, value in tags.items():
        setattr(header, name, value)
    header.PixelData = pixels.tobytes()
    header.save_as(path, enforce_file_format=True)
    return path


def test_dicom_is_rescaled_slice_by_slice(tmp_path: Path) -> None:
    (tmp_path / "pet").mkdir()
    for i, slope in enumerate((1.5, 3.0)):
        _dicom(tmp_path / "pet" / f"{i}.dcm", RescaleSlope=slope, RescaleIntercept=0, Units="BQML")
    values = _packed(tmp_path / "pet", tmp_path / "out")
    np.testing.assert_array_equal(values[:, 0], np.stack([WHOLE[0] * 1.5, WHOLE[0] * 3.0]))
    assert _provenance(tmp_path / "out")["units"] == ["BQML"]
    stored = _packed(tmp_path / "pet", tmp_path / "stored", stored_values=True)
    np.testing.assert_array_equal(stored[:, 0], WHOLE[[0, 0]])
    assert "units" not in _provenance(tmp_path / "stored")


def test_frames_of_enhanced_dicom_have_slopes_of_their_own(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    groups = []
    for slope in (2.0, 0.5):
        transformation = pydicom.Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -10
        group = pydicom.Dataset()
        group.PixelValueTransformationSequence = [transformation]
        groups.append(group)
    path = _dicom(tmp_path / "x.dcm", WHOLE[:2], PerFrameFunctionalGroupsSequence=groups)
    values = _packed(path, tmp_path / "out")
    np.testing.assert_array_equal(values[:, 0], np.stack([WHOLE[0] * 2.0 - 10, WHOLE[1] * 0.5 - 10]))


def test_a_ct_that_comes_with_pydicom_is_in_hounsfield_units(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    header = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    values = _packed(
        Path(str(header.filename)), tmp_path / "out", range=(-1024.0, 3071.0), measured_range=False
    )
    np.testing.assert_array_equal(values[0, 0], header.pixel_array.astype(np.float32) - 1024)
    assert _provenance(tmp_path / "out")["units"] == ["HU"]


def test_the_bits_stored_are_the_range(tmp_path: Path) -> None:
    pack(_dicom(tmp_path / "x.dcm", BitsStored=12, HighBit=11), tmp_path / "out", sigma=0.0)
    record = open_dataset(tmp_path / "out").record
    assert (record.offset, record.scale) == (2047.5, 2047.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "compressed by JPEG-LS Lossless"),
        ("SC_rgb_jpeg_gdcm.dcm", "compressed by JPEG Lossless"),
        ("test-SR.dcm", "of the kind Comprehensive SR Storage, which holds no pictures"),
        ("rtplan.dcm", "of the kind RT Plan Storage, which holds no pictures"),
    ],
)
def test_sound_files_are_not_called_damaged(tmp_path: Path, name: str, words: str) -> None:
    pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    with pytest.raises(UserError, match=words) as error:
        pack(str(path), tmp_path / "out", sigma=0.0)
    assert "damaged" not in str(error.value)


def test_documents_among_pictures_are_counted_and_dicom_needs_no_suffix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    (tmp_path / "in").mkdir()
    _dicom(tmp_path / "in" / "IM0001")
    shutil.copy(str(get_testdata_file("test-SR.dcm", download=False)), tmp_path / "in" / "report")
    assert main(["pack", str(tmp_path / "in"), str(tmp_path / "out"), "--sigma", "0"]) == 0
    assert "1 DICOM objects without pictures" in capsys.readouterr().err
    assert len(open_dataset(tmp_path / "out")) == 1


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_nifti_is_scaled_as_nibabel_does(tmp_path: Path, suffix: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(RNG.integers(-1000, 3000, (10, 12, 5)).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.106186, -217.391312)
    image.to_filename(tmp_path / f"x.{suffix}")
    exact = np.asarray(nibabel.load(tmp_path / f"x.{suffix}").dataobj).transpose(2, 1, 0)
    values = _packed(tmp_path / f"x.{suffix}", tmp_path / "out")
    np.testing.assert_array_equal(values[:, 0], exact.astype(np.float32))
    assert 0 < _provenance(tmp_path / "out")["rounding"] < 1e-6
    stored = _packed(tmp_path / f"x.{suffix}", tmp_path / "stored", stored_values=True)
    np.testing.assert_array_equal(stored[:, 0], np.asarray(image.dataobj).transpose(2, 1, 0))


def test_freesurfer_volumes_are_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = RNG.normal(size=(10, 12, 5)).astype(np.float32)
    nibabel.save(nibabel.MGHImage(volume, np.eye(4)), tmp_path / "x.mgz")
    np.testing.assert_array_equal(
        _packed(tmp_path / "x.mgz", tmp_path / "out")[:, 0], volume.transpose(2, 1, 0)
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
    np.testing.assert_array_equal(_packed(tmp_path / "x.fits", tmp_path / "out")[0, 0], exact)
    assert _provenance(tmp_path / "out")["units"] == ["adu"]


@pytest.mark.parametrize("suffix", ["fits", "fits.gz", "FIT", "fits.fz"])
def test_every_chip_of_a_mosaic_is_an_image(tmp_path: Path, suffix: str) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    kind = fits.CompImageHDU if suffix == "fits.fz" else fits.ImageHDU
    options = {"compression_type": "RICE_1"} if suffix == "fits.fz" else {}
    chips = [kind(chip, name=f"CCD{i}", **options) for i, chip in enumerate(WHOLE)]
    path = tmp_path / f"x.{suffix}"
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(path)
    np.testing.assert_array_equal(_packed(path, tmp_path / "out")[:, 0], WHOLE)
    np.testing.assert_array_equal(_packed(path, tmp_path / "one", key="CCD2")[:, 0], WHOLE[2:3])


def test_fits_of_several_shapes_and_of_three_planes_ask(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    small = fits.ImageHDU(WHOLE[0, :10], name="SMALL")
    fits.HDUList([fits.PrimaryHDU(WHOLE[0]), small]).writeto(tmp_path / "x.fits")
    with pytest.raises(UserError, match="name one with --key: 0: PRIMARY"):
        pack(tmp_path / "x.fits", tmp_path / "out", sigma=0.0)
    fits.PrimaryHDU(WHOLE[:3]).writeto(tmp_path / "c.fits")
    with pytest.raises(UserError, match="say --axes CHW, or --axes NHW"):
        pack(tmp_path / "c.fits", tmp_path / "out", sigma=0.0)
    assert _packed(tmp_path / "c.fits", tmp_path / "n", axes="NHW").shape == (3, 1, 20, 22)
    assert _packed(tmp_path / "c.fits", tmp_path / "c", axes="CHW").shape == (1, 3, 20, 22)


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
    np.testing.assert_array_equal(_packed(tmp_path / "whole.fits", tmp_path / "out")[0, 0], exact)
    for stored_values in (False, True):
        with pytest.raises(UserError, match="NaN"):
            _packed(tmp_path / "x.fits", tmp_path / "no", stored_values=stored_values)


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
    seen = _packed(tmp_path / f"x.{suffix}", tmp_path / "out")[:, 0]
    np.testing.assert_array_equal(seen, values.view(np.uint8) if unsigned else values)


@pytest.mark.parametrize(
    ("tags", "missing"),
    [
        ({"PixelPaddingValue": 9}, [9]),
        ({"PixelPaddingValue": 9, "PixelPaddingRangeLimit": 11}, [9, 10, 11]),
        ({"PixelPaddingValue": 11, "PixelPaddingRangeLimit": 9}, [9, 10, 11]),
        ({"PixelPaddingValue": -3, "PixelRepresentation": 1}, [-3]),
        ({"PixelPaddingValue": 4000}, []),
    ],
)
def test_padding_of_dicom_is_no_value(tmp_path: Path, tags: dict[str, int], missing: list[int]) -> None:
    values = RNG.integers(12, 4000, (1, 20, 22)).astype(np.int16)
    path = _dicom(tmp_path / "whole.dcm", values, RescaleSlope=2, RescaleIntercept=-5, **tags)
    np.testing.assert_array_equal(_packed(path, tmp_path / "whole")[0, 0], values[0] * 2 - 5)
    for value in missing:
        values[0, 3, 4] = value
        path = _dicom(tmp_path / "x.dcm", values, RescaleSlope=2, RescaleIntercept=-5, **tags)
        with pytest.raises(UserError, match="NaN"):
            _packed(path, tmp_path / "out")


@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("signed", [0, 1])
def test_dicom_bits_may_lie_anywhere_in_a_word(tmp_path: Path, high: int, signed: int) -> None:
    values = RNG.integers(0, 4096, (1, 20, 22)) - 2048 * signed
    words = (values << (high - 11)).astype(np.int16 if signed else np.uint16)
    if high == 13 and not signed:
        words |= 1 << 14  # an overlay of old
    options = {"BitsStored": 12, "HighBit": high, "PixelRepresentation": signed}
    path = _dicom(tmp_path / "x.dcm", words, **options)
    pack(path, tmp_path / "out", sigma=0.0)
    data = open_dataset(tmp_path / "out")
    np.testing.assert_array_equal(data.read_raw(np.arange(1))[0], values)
    assert (data.record.offset, data.record.scale) == (2047.5 - 2048 * signed, 2047.5)
    for wrong in (10, 16):
        _dicom(path, words, **(options | {"HighBit": wrong}))
        with pytest.raises(UserError, match=f"highest is bit {wrong}"):
            pack(path, tmp_path / "no", sigma=0.0)


@pytest.mark.parametrize("suffix", ["mrc", "mrc.gz", "MRCS"])
def test_mrc_is_read_compressed_too(tmp_path: Path, suffix: str) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    volume = RNG.normal(size=(4, 20, 22)).astype(np.float32)
    with mrcfile.new(tmp_path / f"x.{suffix}", volume, compression="gzip" if "gz" in suffix else None):
        pass
    np.testing.assert_array_equal(_packed(tmp_path / f"x.{suffix}", tmp_path / "out")[:, 0], volume)


def test_hdf5_of_pictures_by_name(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["image"] = WHOLE[0]
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i, picture in enumerate(WHOLE):
            file[f"t{i}/picture"] = picture
    with h5py.File(tmp_path / "mixed.h5", "w") as file:
        file["a"], file["b"] = WHOLE[0], WHOLE[1, :10]
    np.testing.assert_array_equal(_packed(tmp_path / "one.h5", tmp_path / "a")[:, 0], WHOLE[:1])
    np.testing.assert_array_equal(_packed(tmp_path / "one.h5", tmp_path / "k", key="image")[:, 0], WHOLE[:1])
    np.testing.assert_array_equal(_packed(tmp_path / "many.h5", tmp_path / "b")[:, 0], WHOLE)
    with pytest.raises(UserError, match=r"different shapes.*--key"):
        pack(tmp_path / "mixed.h5", tmp_path / "c", sigma=0.0)


@pytest.mark.parametrize("form", ["h5", "zarr"])
def test_scale_factors_of_hdf5_and_zarr_are_applied(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form}"
    attributes = {"scale_factor": 0.25, "add_offset": -3.0, "units": "K"}
    if form == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["images"] = WHOLE
            file["images"].attrs.update(attributes)
    else:
        group = pytest.importorskip("zarr").open_group(str(path), mode="w")
        group.create_array("images", data=WHOLE).attrs.update(attributes)
    np.testing.assert_array_equal(_packed(path, tmp_path / "out")[:, 0], WHOLE * 0.25 - 3)
    assert _provenance(tmp_path / "out")["units"] == ["K"]
    np.testing.assert_array_equal(_packed(path, tmp_path / "s", stored_values=True)[:, 0], WHOLE)


def test_hdf5_follows_no_link_out_of_the_file_and_unpickles_nothing(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = WHOLE
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other.h5", "images")
    with pytest.raises(UserError, match="no array"):
        pack(tmp_path / "x.h5", tmp_path / "out", sigma=0.0)
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["images"] = np.array([[["a"]]], dtype=h5py.string_dtype())
    for key in (None, "images"):
        with pytest.raises(UserError, match=r"no array|no numbers"):
            pack(tmp_path / "text.h5", tmp_path / "out", sigma=0.0, key=key)


def test_shapes_that_promise_more_than_the_file_holds_are_refused_unless_trusted(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (100_000, 100, 100), np.uint8, chunks=(1, 100, 100))
    with pytest.raises(UserError, match="--trust-sizes"):
        pack(tmp_path / "x.h5", tmp_path / "out", sigma=0.0)


@pytest.mark.parametrize("form", ["npy", "fits", "tif", "nii"])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_doubles_are_rounded_where_it_is_next_to_nothing(tmp_path: Path, form: str, offset: float) -> None:
    values = RNG.normal(size=(5, 12, 14)) * (1000 if offset else 1) + offset
    path = tmp_path / f"x.{form}"
    if form == "npy":
        np.save(path, values)
    elif form == "fits":
        pytest.importorskip("astropy.io.fits").PrimaryHDU(np.concatenate([values, values])).writeto(path)
    elif form == "tif":
        pytest.importorskip("tifffile").imwrite(path, values, photometric="minisblack")
    else:
        nibabel = pytest.importorskip("nibabel")
        nibabel.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)).to_filename(path)
    if offset:
        with pytest.raises(
            UserError, match=r"would change by up to .* of their range; give --allow-rounding"
        ):
            pack(path, tmp_path / "no", sigma=0.0, measured_range=True)
        assert _packed(path, tmp_path / "out", allow_rounding=True).shape[0] in (5, 10)
        assert _provenance(tmp_path / "out")["rounding"] > 1e-6
    else:
        np.testing.assert_array_equal(_packed(path, tmp_path / "out")[:5, 0], values.astype(np.float32))
        assert _provenance(tmp_path / "out")["rounding"] < 1e-6


def test_gaps_of_hdf5_and_zarr_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        images = file.create_dataset("images", (4, 8, 9), "u2", chunks=(1, 8, 9))
        images[0] = images[1] = 5
    array = zarr.open(str(tmp_path / "y.zarr"), mode="w", shape=(4, 8, 9), chunks=(1, 8, 9), dtype="u2")
    array[:3] = 7
    for name, missing in (("x.h5", 2), ("y.zarr", 1)):
        caplog.clear()
        pack(tmp_path / name, tmp_path / f"{name}-out", sigma=0.0)
        assert f"{missing} of its 4 pieces were never written" in caplog.text


def test_values_that_were_not_measured_are_no_pixels(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        values = np.full((4, 8, 9), 100, np.int16)
        values[2, 3, 4] = -32768
        file["images"] = values
        file["images"].attrs.update({"_FillValue": np.int16(-32768), "scale_factor": 0.01})
    with pytest.raises(UserError, match="image 2: has NaN"):
        pack(tmp_path / "x.h5", tmp_path / "out", sigma=0.0, measured_range=True)


def test_labels_and_levels_beside_images_are_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"], file["sigma"] = WHOLE, np.arange(4), np.full(4, 0.2)
        file["more"] = np.zeros((2, 8, 8))
    record = pack(tmp_path / "x.h5", tmp_path / "out")[0]
    data = open_dataset(tmp_path / "out")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert data.sigma.tolist() == pytest.approx([0.2] * 4)
    assert record.provenance[0]["left_out"] == {"arrays of other names": 1}


def test_one_array_under_two_names_is_read_once(tmp_path: Path) -> None:
    """As NeXus files hold it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/instrument/detector/data"] = WHOLE
        file["entry/data/data"] = file["entry/instrument/detector/data"]
    assert len(_packed(tmp_path / "x.h5", tmp_path / "out")) == 4


def test_matlab_files_are_not_transposed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["im"] = WHOLE[0].T
        file["im"].attrs["MATLAB_class"] = np.bytes_("uint16")
    np.testing.assert_array_equal(_packed(tmp_path / "x.mat", tmp_path / "out")[0, 0], WHOLE[0])


@pytest.mark.parametrize(
    "attributes",
    [{"axes": 5}, {"_ARRAY_DIMENSIONS": 7}, {"scale_factor": "none"}, {"scale_factor": [1.0, 2.0]}],
)
def test_strange_attributes_are_no_traceback(tmp_path: Path, attributes: dict[str, Any]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = WHOLE
        file["images"].attrs.update(attributes)
    assert main(["pack", str(tmp_path / "x.h5"), str(tmp_path / "out"), "--sigma", "0"]) == 2 * (
        "scale_factor" in attributes
    )


@pytest.mark.parametrize("kind", ["int16", "int32", "uint32", "int64", "uint64", "float64", "longdouble"])
def test_rounding_is_told_exactly_whatever_the_type(kind: str) -> None:
    at_edge = 2 if kind == "int16" else 2**24
    values = np.arange(at_edge - 700_000, at_edge + 700_000, dtype=np.int64).reshape(1, 1000, 1400)
    if kind == "int16":
        values = values % 60_000 - 30_000
    values = values.astype(kind) if kind not in ("uint64", "float64") else values.astype(kind) * 4099
    kept, share = stored(values, "x", Reading(allow_rounding=True))
    whole = values.astype(np.longdouble)
    np.testing.assert_array_equal(kept, values.astype(np.float32))
    assert kept.dtype == np.float32
    exact = np.abs(values.astype(np.float32).astype(np.longdouble) - whole).max() / np.ptp(whole)
    assert share == pytest.approx(float(exact), rel=1e-12)
    assert (share > 0) == (kind != "int16")


def test_rounding_takes_little_more_memory_than_what_is_stored() -> None:
    values = RNG.normal(size=(1, 2000, 2000))
    values[0, 1, 1] = np.nan
    tracemalloc.start()
    stored(values, "x", Reading())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.9 * values.nbytes  # half of it is the result


def test_values_beyond_float32_are_refused_and_none_at_all_are_kept() -> None:
    values = np.full((1, 600, 600), np.nan)
    assert stored(values, "x", Reading())[1] == 0
    values[0, -1, -1] = 1e39
    with pytest.raises(UserError, match="beyond the range of float32"):
        stored(values, "x", Reading())


def test_a_value_may_be_given_to_what_was_not_measured(tmp_path: Path) -> None:
    """A CT has padding around its round field of view."""
    pixels = WHOLE[:1].copy()
    pixels[0, 0] = 2000
    path = _dicom(tmp_path / "x.dcm", pixels, RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=2000)
    with pytest.raises(UserError, match="--missing"):
        pack(path, tmp_path / "no", sigma=0.0)
    values = _packed(path, tmp_path / "out", missing=-1000.0)
    expected = np.where(pixels[0] == 2000, -1000, pixels[0].astype(float) - 1024)
    np.testing.assert_array_equal(values[0, 0], expected)
