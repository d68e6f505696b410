"""DICOM: values against pydicom, slopes of each frame, bits, padding, and plain words for what holds no picture."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from packing import measured, provenance

RNG = np.random.default_rng(17)
WHOLE = RNG.integers(0, 4096, (4, 20, 22), dtype=np.uint16)


def dicom_file(path: Path, pixels: np.ndarray = WHOLE[:1], **tags: Any) -> Path:
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
        dicom_file(tmp_path / "pet" / f"{i}.dcm", RescaleSlope=slope, RescaleIntercept=0, Units="BQML")
    values = measured(tmp_path / "pet", tmp_path / "out")
    np.testing.assert_array_equal(values[:, 0], np.stack([WHOLE[0] * 1.5, WHOLE[0] * 3.0]))
    assert provenance(tmp_path / "out")["units"] == ["BQML"]
    stored = measured(tmp_path / "pet", tmp_path / "stored", stored_values=True)
    np.testing.assert_array_equal(stored[:, 0], WHOLE[[0, 0]])
    assert "units" not in provenance(tmp_path / "stored")


def test_frames_of_enhanced_dicom_have_slopes_of_their_own(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    groups = []
    for slope in (2.0, 0.5):
        transformation = pydicom.Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -10
        group = pydicom.Dataset()
        group.PixelValueTransformationSequence = [transformation]
        groups.append(group)
    path = dicom_file(tmp_path / "x.dcm", WHOLE[:2], PerFrameFunctionalGroupsSequence=groups)
    values = measured(path, tmp_path / "out")
    np.testing.assert_array_equal(values[:, 0], np.stack([WHOLE[0] * 2.0 - 10, WHOLE[1] * 0.5 - 10]))


def test_a_ct_that_comes_with_pydicom_is_in_hounsfield_units(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    header = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    values = measured(
        Path(str(header.filename)), tmp_path / "out", range=(-1024.0, 3071.0), measured_range=False
    )
    np.testing.assert_array_equal(values[0, 0], header.pixel_array.astype(np.float32) - 1024)
    assert provenance(tmp_path / "out")["units"] == ["HU"]


def test_the_bits_stored_are_the_range(tmp_path: Path) -> None:
    pack(dicom_file(tmp_path / "x.dcm", BitsStored=12, HighBit=11), tmp_path / "out", sigma=0.0)
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
    dicom_file(tmp_path / "in" / "IM0001")
    shutil.copy(str(get_testdata_file("test-SR.dcm", download=False)), tmp_path / "in" / "report")
    assert main(["pack", str(tmp_path / "in"), str(tmp_path / "out"), "--sigma", "0"]) == 0
    assert "1 DICOM objects without pictures" in capsys.readouterr().err
    assert len(open_dataset(tmp_path / "out")) == 1


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
    path = dicom_file(tmp_path / "whole.dcm", values, RescaleSlope=2, RescaleIntercept=-5, **tags)
    np.testing.assert_array_equal(measured(path, tmp_path / "whole")[0, 0], values[0] * 2 - 5)
    for value in missing:
        values[0, 3, 4] = value
        path = dicom_file(tmp_path / "x.dcm", values, RescaleSlope=2, RescaleIntercept=-5, **tags)
        with pytest.raises(UserError, match="NaN"):
            measured(path, tmp_path / "out")


@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("signed", [0, 1])
def test_dicom_bits_may_lie_anywhere_in_a_word(tmp_path: Path, high: int, signed: int) -> None:
    values = RNG.integers(0, 4096, (1, 20, 22)) - 2048 * signed
    words = (values << (high - 11)).astype(np.int16 if signed else np.uint16)
    if high == 13 and not signed:
        words |= 1 << 14  # an overlay of old
    options = {"BitsStored": 12, "HighBit": high, "PixelRepresentation": signed}
    path = dicom_file(tmp_path / "x.dcm", words, **options)
    pack(path, tmp_path / "out", sigma=0.0)
    data = open_dataset(tmp_path / "out")
    np.testing.assert_array_equal(data.read_raw(np.arange(1))[0], values)
    assert (data.record.offset, data.record.scale) == (2047.5 - 2048 * signed, 2047.5)
    for wrong in (10, 16):
        dicom_file(path, words, **(options | {"HighBit": wrong}))
        with pytest.raises(UserError, match=f"highest is bit {wrong}"):
            pack(path, tmp_path / "no", sigma=0.0)


def test_a_value_may_be_given_to_what_was_not_measured(tmp_path: Path) -> None:
    """A CT has padding around its round field of view."""
    pixels = WHOLE[:1].copy()
    pixels[0, 0] = 2000
    path = dicom_file(
        tmp_path / "x.dcm", pixels, RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=2000
    )
    with pytest.raises(UserError, match="--missing"):
        pack(path, tmp_path / "no", sigma=0.0)
    values = measured(path, tmp_path / "out", missing=-1000.0)
    expected = np.where(pixels[0] == 2000, -1000, pixels[0].astype(float) - 1024)
    np.testing.assert_array_equal(values[0, 0], expected)
