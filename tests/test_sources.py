"""Whatever people own comes in with every bit, and what is bad is refused by name: files that the tests make, of the forms in which
their owners distribute them."""

import gzip
import io
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (6, 1, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 1, 5, 4), dtype=np.uint16)
REAL = RNG.normal(size=(6, 1, 5, 4)).astype(np.float32)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def _tar(path: Path, files: dict[str, bytes], mode: Any = "w:xz") -> str:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def _zip(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def _pictures(images: np.ndarray, folder: str = "") -> dict[str, bytes]:
    return {f"{folder}{i}.png": _png(image) for i, image in enumerate(images)}


def _raw(directory: Path, dtype: str) -> np.ndarray:
    dataset = open_dataset(directory)
    assert dataset.record.parts[0].dtype == dtype
    return dataset.read_raw(np.arange(len(dataset)), dtype)


# Each makes a source in a folder and says what must come out.


def _in_tar(folder: Path) -> tuple[str, np.ndarray]:
    return _tar(folder / "x.tar.xz", _pictures(COLOUR) | {"README": b"hello", ".hidden.png": b"no"}), COLOUR


def _in_tgz(folder: Path) -> tuple[str, np.ndarray]:
    return _tar(folder / "x.tgz", _pictures(DEEP), "w:gz"), DEEP


def _in_zip(folder: Path) -> tuple[str, np.ndarray]:
    return _zip(folder / "x.zip", _pictures(GREY) | {"__MACOSX/0.png": b"no"}), GREY


def _tiff_folder(folder: Path) -> tuple[str, np.ndarray]:
    tifffile = pytest.importorskip("tifffile")
    for i, image in enumerate(REAL):
        tifffile.imwrite(folder / f"{i}.tif", image[0])
    return str(folder), REAL


def _tiff_stack(folder: Path) -> tuple[str, np.ndarray]:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(folder / "stack.tif", DEEP[:, 0], photometric="minisblack")
    return str(folder / "stack.tif"), DEEP


def _tiff_channels(folder: Path) -> tuple[str, np.ndarray]:
    """16-bit colour, which Pillow would turn into 8 bits without a word."""
    tifffile = pytest.importorskip("tifffile")
    images = RNG.integers(0, 65536, (3, 3, 5, 4), dtype=np.uint16)
    for i, image in enumerate(images):
        tifffile.imwrite(folder / f"{i}.tiff", image.transpose(1, 2, 0), photometric="rgb")
    return str(folder), images


def _deep_png(folder: Path) -> tuple[str, np.ndarray]:
    codecs = pytest.importorskip("imagecodecs")
    images = RNG.integers(0, 65536, (3, 3, 5, 4), dtype=np.uint16)
    for i, image in enumerate(images):
        (folder / f"{i}.png").write_bytes(codecs.png_encode(np.ascontiguousarray(image.transpose(1, 2, 0))))
    return str(folder), images


def _hdf5(folder: Path) -> tuple[str, np.ndarray]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file["scan/images"] = DEEP[:, 0]
    return str(folder / "x.h5"), DEEP


def _zarr(folder: Path) -> tuple[str, np.ndarray]:
    zarr = pytest.importorskip("zarr")
    zarr.save(str(folder / "x.zarr"), REAL)
    return str(folder / "x.zarr"), REAL


def _fits(folder: Path) -> tuple[str, np.ndarray]:
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(REAL[:, 0]).writeto(folder / "x.fits")
    return str(folder / "x.fits"), REAL


def _mrc(folder: Path) -> tuple[str, np.ndarray]:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(folder / "x.mrcs") as file:
        file.set_data(REAL[:, 0])
    return str(folder / "x.mrcs"), REAL


def _nifti(folder: Path) -> tuple[str, np.ndarray]:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(REAL[:, 0].transpose(2, 1, 0), np.eye(4)), folder / "x.nii.gz")
    return str(folder / "x.nii.gz"), REAL


def _dicom(folder: Path) -> tuple[str, np.ndarray]:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (
        5,
        4,
        1,
        "MONOCHROME2",
    )
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = DEEP[0, 0].tobytes()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.save_as(folder / "x.dcm", enforce_file_format=True)
    return str(folder / "x.dcm"), DEEP[:1]


def _parquet(folder: Path) -> tuple[str, np.ndarray]:
    datasets = pytest.importorskip("datasets")
    rows = [{"image": {"bytes": _png(image), "path": None}, "label": i % 2} for i, image in enumerate(DEEP)]
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "x.parquet")
    return str(folder / "x.parquet"), DEEP


def _rows_in_npz(folder: Path) -> tuple[str, np.ndarray]:
    """As downsampled ImageNet comes: rows of numbers in .npz files in a zip."""
    made = {
        f"batch_{k}.npz": _npz(data=COLOUR[3 * k : 3 * k + 3].reshape(3, -1), labels=np.arange(3))
        for k in range(2)
    }
    return _zip(folder / "x.zip", made), COLOUR


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


FORMS = [_in_tar, _in_tgz, _in_zip, _tiff_folder, _tiff_stack, _tiff_channels, _deep_png, _hdf5, _zarr, _fits, _mrc, _nifti, _dicom,
         _parquet, _rows_in_npz]  # fmt: skip


@pytest.mark.parametrize("make", FORMS)
def test_every_form_keeps_every_bit(make: Callable[[Path], tuple[str, np.ndarray]], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source, expected = make(tmp_path / "in")
    shape = (3, 5, 4) if make is _rows_in_npz else None
    pack(source, tmp_path / "out", sigma=0.0, float_range=(-1.0, 1.0), shape=shape)
    np.testing.assert_array_equal(_raw(tmp_path / "out", str(expected.dtype)), expected)


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def test_mnists_files_come_with_labels_and_splits(tmp_path: Path) -> None:
    labels = np.arange(6, dtype=np.uint8)
    for split, n in (("train", 6), ("t10k", 4)):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(GREY[:n, 0])))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels[:n])))
    records = pack(str(tmp_path), tmp_path / "out", sigma=0.0, splits=True)
    assert [r.count for r in records] == [4, 6]
    np.testing.assert_array_equal(_raw(tmp_path / "out" / "train", "uint8"), GREY)
    test = open_dataset(tmp_path / "out" / "test")
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1, 2, 3]
    pack(str(tmp_path / "t10k-images-idx3-ubyte.gz"), tmp_path / "one", sigma=0.0)
    np.testing.assert_array_equal(_raw(tmp_path / "one", "uint8"), GREY[:4])


def test_cifars_binary_batches_come_with_labels_and_splits(tmp_path: Path) -> None:
    images, labels = RNG.integers(0, 256, (7, 3, 32, 32), dtype=np.uint8), np.arange(7, dtype=np.uint8)
    rows = [labels[i : i + 1].tobytes() + images[i].tobytes() for i in range(7)]
    top = "cifar-10-batches-bin/"
    files = {f"{top}data_batch_1.bin": b"".join(rows[:3]), f"{top}data_batch_2.bin": b"".join(rows[3:5]), f"{top}readme.html": b"x",
             f"{top}test_batch.bin": b"".join(rows[5:])}  # fmt: skip
    pack(_tar(tmp_path / "cifar-10-binary.tar.gz", files, "w:gz"), tmp_path / "out", sigma=0.0, splits=True)
    np.testing.assert_array_equal(_raw(tmp_path / "out" / "train", "uint8"), images[:5])
    test = open_dataset(tmp_path / "out" / "test")
    assert test.labels is not None
    assert test.labels.tolist() == [5, 6]
    with pytest.raises(UserError, match="not a multiple of CIFAR-10's row"):
        pack(_tar(tmp_path / "bad.tar", {"data_batch_1.bin": b"abc"}, "w"), tmp_path / "bad", sigma=0.0)


def test_folders_are_classes_and_splits(tmp_path: Path) -> None:
    files = {
        f"{split}/{kind}/{i}.png": _png(GREY[i])
        for split in ("train", "test")
        for kind in ("cat", "dog")
        for i in range(2)
    }
    records = pack(_tar(tmp_path / "x.tar", files, "w"), tmp_path / "out", sigma=0.0, splits=True)
    assert [r.provenance[0]["split"] for r in records] == ["test", "train"]
    train = open_dataset(tmp_path / "out" / "train")
    assert train.labels is not None
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert train.record.provenance[0]["classes"] == ["cat", "dog"]


def test_noise_levels_by_rule_table_and_raw_units(tmp_path: Path) -> None:
    source = _zip(
        tmp_path / "x.zip",
        {f"{kind}/{i}.png": _png(GREY[i]) for kind in ("clean", "noisy", "other") for i in range(2)},
    )
    pack(source, tmp_path / "a", sigma="clean/=0,noisy/=0.2")
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "a").sigma, np.array([0, 0, 0.2, 0.2, np.nan, np.nan], np.float32)
    )
    (tmp_path / "s.csv").write_text("file,sigma\nnoisy/1.png,25.5\nclean/0.png,0\n")
    pack(source, tmp_path / "b", sigma=str(tmp_path / "s.csv"), sigma_units="raw")
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "b").sigma, np.array([0, np.nan, np.nan, 0.2, np.nan, np.nan], np.float32)
    )
    (tmp_path / "in_order.csv").write_text("level\n" + "\n".join(map(str, range(6))) + "\n")
    with pytest.raises(
        UserError, match=r"no column has the names of the images, such as clean/0\.png.*--by-row"
    ):
        pack(source, tmp_path / "c", sigma=f"{tmp_path / 'in_order.csv'}:level")
    pack(source, tmp_path / "c", sigma=f"{tmp_path / 'in_order.csv'}:level", by_row=True)
    assert open_dataset(tmp_path / "c").sigma.tolist() == [0, 1, 2, 3, 4, 5]
    rows = [f"{k}/{i}.png,{k[0]}" for k in ("clean", "noisy", "other") for i in range(2)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    pack(source, tmp_path / "d", labels=str(tmp_path / "labels.csv"), sigma=0.0)
    labels = open_dataset(tmp_path / "d").labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("fit", "shape"),
    [("crop:4x2", (3, 4, 2)), ("pad:9x8", (3, 9, 8)), ("shrink:2", (3, 2, 2)), ("resize:3x3", (3, 3, 3))],
)
def test_sizes_are_made_equal_by_a_rule_that_is_told(
    fit: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    images = COLOUR[:, :, :4]
    record = pack(_zip(tmp_path / "x.zip", _pictures(images)), tmp_path / "out", sigma=0.0, fit=fit)[0]
    assert record.shape == shape
    assert record.provenance[0]["fit"] == fit
    raw = open_dataset(tmp_path / "out").read_raw(np.arange(6))
    if fit.startswith("crop"):
        np.testing.assert_array_equal(raw, images[:, :, :, 1:3])
    elif fit.startswith("shrink"):
        np.testing.assert_array_equal(raw, images.reshape(6, 3, 2, 2, 2, 2).mean((3, 5)).astype(np.float32))
    elif fit.startswith("pad"):
        np.testing.assert_array_equal(raw[:, :, 2:6, 2:6], images)


def test_shrinking_keeps_noise_white_and_says_what_becomes_of_it(tmp_path: Path) -> None:
    noise = RNG.normal(size=(64, 1, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", noise)
    pack(str(tmp_path / "x.npy"), tmp_path / "out", sigma=1.0, range=(-1.0, 1.0), fit="shrink:4")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.sigma.tolist() == [0.25] * 64
    values = dataset.read(np.arange(64))
    n = values.size
    assert values.std() == pytest.approx(0.25, abs=4.5 * 0.25 / (2 * n) ** 0.5)
    beside = (values[..., 1:] * values[..., :-1]).mean() / 0.25**2
    assert abs(beside) < 4.5 / n**0.5
    with pytest.raises(UserError, match="correlates the noise of neighbouring pixels"):
        pack(str(tmp_path / "x.npy"), tmp_path / "no", sigma=1.0, range=(-1.0, 1.0), fit="resize:16")


def test_measured_ranges_and_parts(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", REAL)
    record = pack(str(tmp_path / "x.npy"), tmp_path / "out", sigma=0.0, measured_range=True, part_images=4)[0]
    data = open_dataset(tmp_path / "out")
    assert [p.count for p in record.parts] == [4, 2]
    values = data.read(np.arange(6))
    assert (values.min(), values.max()) == (pytest.approx(-1, abs=1e-6), pytest.approx(1, abs=1e-6))
    np.testing.assert_array_equal(data.read_raw(np.array([5, 0, 3])), REAL[[5, 0, 3]])


def test_several_sources_follow_each_other(tmp_path: Path) -> None:
    a, b = _zip(tmp_path / "clean.zip", _pictures(GREY)), _zip(tmp_path / "noisy.zip", _pictures(GREY[:2]))
    assert main(["pack", a, b, str(tmp_path / "out"), "--sigma", "clean.zip/=0,noisy.zip/=0.3"]) == 0
    assert open_dataset(tmp_path / "out").sigma.tolist() == pytest.approx([0] * 6 + [0.3] * 2)


# What is bad: each makes a source and options, and says what the one line must name.


def _zip_slip(folder: Path) -> list[str]:
    return [_zip(folder / "x.zip", {"../../evil.png": _png(GREY[0])})]


def _link(folder: Path) -> list[str]:
    with tarfile.open(folder / "x.tar", "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    return [str(folder / "x.tar")]


def _bomb(folder: Path) -> list[str]:
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    return [str(folder)]


def _lying_npz(folder: Path) -> list[str]:
    """A header that promises a terabyte."""
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += (
        repr({"descr": "|u1", "fortran_order": False, "shape": (2**20, 1024, 1024)}).ljust(117).encode()
        + b"\n"
    )
    return [_zip(folder / "x.npz", {"images.npy": header})]


def _pickle_renamed(folder: Path) -> list[str]:
    import pickle

    (folder / "x.npy").write_bytes(pickle.dumps({"a": 1}))
    return [str(folder / "x.npy")]


def _not_finite(folder: Path) -> list[str]:
    images = REAL.copy()
    images[3, 0, 1, 1] = np.inf
    np.save(folder / "x.npy", images)
    return [str(folder / "x.npy"), "--range", "-1", "1"]


def _executable(folder: Path) -> list[str]:
    (folder / "x.png").write_bytes(b"GIF89a" + bytes(50))
    return [str(folder)]


def _sigma(text: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _zip(folder / "x.zip", _pictures(GREY))
        (folder / "wrong-length.csv").write_text("sigma\n0.1\n")
        (folder / "unknown.csv").write_text("file,sigma\nnobody.png,0.1\n")
        (folder / "negative.csv").write_text("file,sigma\n3.png,-0.1\n")
        (folder / "twice.csv").write_text("file,sigma\n3.png,0.1\n3.png,0.2\n")
        return [str(folder / "x.zip"), "--sigma", text.format(folder=folder)]

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_zip_slip, "'../../evil.png' would lie outside the archive"),
        (_link, "x.tar/a.png: is a link"),
        (_bomb, "has more than 100,000,000 pixels, as a decompression bomb has"),
        (_lying_npz, "promises (1048576, 1024, 1024)"),
        (_pickle_renamed, "x.npy: not a readable array file"),
        (_not_finite, "image 3: has NaN or infinite pixels"),
        (_executable, "x.png: not an image that can be read"),
        (_sigma("-0.1"), "--sigma -0.1: must be finite, and 0 or more"),
        (_sigma("nan"), "--sigma nan: must be finite, and 0 or more"),
        (_sigma("dark/=0.1"), "the rule 'dark/' applies to no image"),
        (_sigma("{folder}/wrong-length.csv"), "has the names of the images"),
        (
            _sigma("{folder}/unknown.csv"),
            "names 'nobody.png' in its column 'file', and there is no such image",
        ),
        (_sigma("{folder}/negative.csv"), "sigma of 3.png is '-0.1'"),
        (_sigma("{folder}/twice.csv"), "names '3.png' twice"),
        (_sigma("{folder}/nowhere.csv"), "nowhere.csv: no such file"),
        (_sigma("loud"), "--sigma loud: a number, rules such as"),
    ],
)
def test_bad_sources_are_one_line(
    make: Callable[[Path], list[str]], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "here").mkdir()
    source, *options = make(tmp_path / "in")
    assert main(["pack", source, str(tmp_path / "here" / "out"), *options]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not list((tmp_path / "here").iterdir())


def test_one_odd_image_does_not_change_the_others(tmp_path: Path) -> None:
    """A 16-bit picture among 8-bit ones is left out or refused, and the range stays that of 8 bits."""
    source = _zip(tmp_path / "x.zip", _pictures(GREY) | {"z.png": _png(DEEP[0])})
    record = pack(source, tmp_path / "out", sigma=0.0, on_error="skip")[0]
    assert (record.count, record.scale) == (6, 127.5)
    with pytest.raises(UserError, match=r"z\.png: is 2x2, 1 channel, uint16"):
        pack(
            _zip(tmp_path / "y.zip", _pictures(GREY[:, :, :4]) | {"z.png": _png(DEEP[0, :, :4])}),
            tmp_path / "no",
            sigma=0.0,
            fit="shrink:2",
        )


def test_sources_side_by_side_keep_their_classes_and_names(tmp_path: Path) -> None:
    a, b = ({f"{kind}/{i}.png": _png(GREY[i]) for kind in ("cat", "dog") for i in range(2)} for _ in range(2))
    (tmp_path / "in").mkdir()
    pack(
        [_zip(tmp_path / "clean.zip", a), _zip(tmp_path / "noisy.zip", b)],
        tmp_path / "out",
        sigma="clean.zip/=0,noisy.zip/=0.1",
    )
    labels = open_dataset(tmp_path / "out").labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 1, 1] * 2
    with pytest.raises(UserError, match="two sources have the same name"):
        pack(
            [_zip(tmp_path / "in" / "clean.zip", a), str(tmp_path / "clean.zip")], tmp_path / "no", sigma=0.0
        )


def _palette_tiff(folder: Path) -> str:
    Image.fromarray(GREY[0, 0]).convert("P").save(folder / "x.tif")
    return "kind PALETTE"


def _mixed_pages(folder: Path) -> str:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(folder / "x.tif") as writer:
        for side in (8, 8, 6):
            writer.write(np.zeros((side, side), np.uint8), photometric="minisblack")
    return "different kinds or sizes"


def _tiff_bomb(folder: Path) -> str:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        folder / "x.tif", np.zeros((20, 4000, 4000), np.uint8), photometric="minisblack", compression="zlib"
    )
    return "decompression bomb"


def _npz_bomb(folder: Path) -> str:
    np.savez_compressed(folder / "x.npz", images=np.zeros((300, 1024, 1024), np.uint8))
    return "a decompression bomb"


@pytest.mark.parametrize("make", [_palette_tiff, _mixed_pages, _tiff_bomb, _npz_bomb])
def test_what_would_be_misread_is_refused(make: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    words = make(tmp_path / "in")
    with pytest.raises(UserError, match=words):
        pack(str(tmp_path / "in"), tmp_path / "out", sigma=0.0)


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = _pictures(GREY) | {
        "broken.npz": b"PK",
        "broken.png": _png(GREY[0])[:-20],
        "large.png": _png(np.zeros((1, 9, 9), np.uint8)),
    }
    record = pack(_zip(tmp_path / "x.zip", files), tmp_path / "out", sigma=0.0, on_error="skip")[0]
    assert record.count == 6
    assert record.provenance[0]["skipped"] == 3
    assert "broken.png" in caplog.text
    assert "large.png: is 9x9" in caplog.text
    with pytest.raises(UserError, match="every one of its 1 images was skipped"):
        pack(
            _zip(tmp_path / "y.zip", {"broken.png": b"\x89PNG"}),
            tmp_path / "none",
            sigma=0.0,
            on_error="skip",
        )
    assert not (tmp_path / "none").exists()


def test_noise_cut_off_at_8_bits_is_told_with_its_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clipped = np.clip(128 + 200 * RNG.normal(size=(4, 1, 32, 32)), 0, 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", clipped)
    pack(str(tmp_path / "x.npy"), tmp_path / "out", sigma=0.5)
    share = 100 * float(np.mean((clipped == 0) | (clipped == 255)))
    assert f"{share:.3g}% of the pixels" in caplog.text
    caplog.clear()
    np.save(tmp_path / "y.npy", np.full((2, 1, 4, 4), 128, np.uint8))
    pack(str(tmp_path / "y.npy"), tmp_path / "fine", sigma=0.01)
    assert not caplog.text


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The size of files is limited, which fails in the middle of writing as a full disk does."""
    np.save(tmp_path / "x.npy", np.zeros((2000, 1, 32, 32), np.uint8))
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000));"
        "from noiseworth.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    (tmp_path / "here").mkdir()
    words = ["pack", str(tmp_path / "x.npy"), str(tmp_path / "here" / "out"), "--sigma", "0"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no space left" in done.stderr
    assert not list((tmp_path / "here").iterdir())


def test_two_writers_make_one_data_set(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", GREY)
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def write() -> None:
        start.wait()
        words = ["-m", "noiseworth.cli", "pack", str(tmp_path / "x.npy"), str(tmp_path / "out")]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        outcomes.append(f"{done.returncode} {done.stderr}")

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    one, other = sorted(outcomes)
    assert one[0] == "0"
    assert "made by another process" in other or "made by the same command" in other
    assert len(open_dataset(tmp_path / "out")) == 6
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
