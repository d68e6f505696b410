"""One small sound file of every kind that noiseworth reads, and the commands that read it: what the fuzzer starts from."""

import io
import json
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import noiseworth as nw

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Sample:
    """`file`, inside a working directory that holds what else the commands need; commands have {file} and {out} for names."""

    name: str
    file: str
    content: bytes
    commands: list[list[str]]


PACK = [
    ["pack", "{file}", "{out}", "--sigma", "0", "--measured-range"],
    ["pack", "{file}", "{out}", "--on-error", "skip"],
]


def _pixels(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(dtype)


def _png(*shape: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_pixels(*shape)).save(buffer, format="PNG")
    return buffer.getvalue()


def _pictures() -> list[Sample]:
    samples = []
    for suffix in ("png", "jpg", "webp", "gif", "bmp", "ppm", "tga", "jp2"):
        buffer = io.BytesIO()
        kind = {"jpg": "JPEG", "jp2": "JPEG2000"}.get(suffix, suffix.upper())
        exif = Image.Exif()
        exif[274] = 6
        options: dict[str, Any] = {"exif": exif} if suffix in ("png", "jpg", "webp") else {}
        if suffix == "gif":
            options = {"save_all": True, "append_images": [Image.fromarray(_pixels(12, 14, 3))]}
        Image.fromarray(_pixels(12, 14, 3)).save(buffer, format=kind, **options)
        samples.append(Sample(suffix, f"x.{suffix}", buffer.getvalue(), PACK))
    return samples


def _by_library(folder: Path) -> list[Sample]:
    """Files that the formats' own libraries write."""
    import h5py
    import mrcfile
    import nibabel
    import pyarrow as pa
    import pyarrow.parquet as parquet
    import tifffile
    from astropy.io import fits

    stack = _pixels(3, 12, 14, dtype="uint16")
    tifffile.imwrite(folder / "x.tif", stack, photometric="minisblack", compression="zlib")
    tifffile.imwrite(folder / "x.ome.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("images", data=stack, compression="gzip").attrs["scale_factor"] = 0.5
        file["labels"] = np.arange(3)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(stack[0]), fits.ImageHDU(stack[1])]).writeto(
        folder / "x.fits"
    )
    with mrcfile.new(folder / "x.mrc", stack.astype(np.float32)):
        pass
    nibabel.Nifti1Image(stack.astype(np.int16), np.eye(4)).to_filename(folder / "x.nii")
    nibabel.Nifti1Image(stack.astype(np.int16), np.eye(4)).to_filename(folder / "x.nii.gz")
    rows = [{"bytes": _png(12, 14, 3), "path": None} for _ in range(3)]
    parquet.write_table(pa.table({"image": rows, "label": [0, 1, 0]}), folder / "x.parquet")
    _dicom(folder / "x.dcm", stack[0])
    names = ("x.tif", "x.ome.tif", "x.h5", "x.fits", "x.mrc", "x.nii", "x.nii.gz", "x.parquet", "x.dcm")
    return [Sample(n.removeprefix("x."), n, (folder / n).read_bytes(), PACK) for n in names]


def _dicom(path: Path, pixels: np.ndarray) -> None:
    import pydicom

    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    header.Rows, header.Columns, header.SamplesPerPixel = *pixels.shape, 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.PixelData = pixels.tobytes()
    header.save_as(path, enforce_file_format=True)


def _archives() -> list[Sample]:
    files = {f"{kind}/{i}.png": _png(12, 14, 3) for kind in ("cat", "dog") for i in range(2)}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("dataset.json", json.dumps({"labels": [[name, 0] for name in files]}))
    samples = [Sample("zip", "x.zip", zipped.getvalue(), PACK)]
    for suffix, mode in (("tar", "w:"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz"), ("tar.bz2", "w:bz2")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        samples.append(Sample(suffix, f"x.{suffix}", buffer.getvalue(), PACK))
    return samples


def _arrays() -> list[Sample]:
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, _pixels(4, 12, 14))
    np.savez_compressed(npz, images=_pixels(4, 12, 14), labels=np.arange(4), sigma=np.full(4, 0.1))
    idx = struct.pack(">HBB3I", 0, 8, 3, 4, 12, 14) + _pixels(4, 12, 14).tobytes()
    cifar = b"".join(bytes([i]) + _pixels(3072).tobytes() for i in range(4))
    return [
        Sample("npy", "x.npy", npy.getvalue(), PACK),
        Sample("npz", "x.npz", npz.getvalue(), PACK),
        Sample("idx", "x-images-idx3-ubyte", idx, PACK),
        Sample("cifar", "data_batch_1.bin", cifar, PACK),
    ]


def _texts(folder: Path) -> list[Sample]:
    """Tables, settings and records. The working directory has pictures `p/`, a data set `d` and a view of it `v/train`."""
    table = b"file,sigma,label\n0.png,0.1,0\n1.png,0.2,1\n2.png,0,0\n"
    law = b"n_clean,n_noisy,sigma,quality\n100,0,0,9.1\n1000,0,0,3.2\n10000,0,0,2.0\n0,1000,0.2,6\n100,1000,0.2,4\n"
    law += b"500,500,0.2,4.1\n1000,9000,0.2,2.2\n10,10000,0.2,5\n"
    config = b"sigma: 0.1\nrange: [0, 255]\nheld_out: 1\nsigma_units: raw\nfit: crop:8x8\nlabels: none\n"
    recipe = (
        b"pack:\n  sources: [p]\n  sigma: 0\n  held_out: 1\ncorrupt:\n  clean_fraction: 0.5\n  sigma: 0.2\n"
    )
    recipe += b"train:\n  n_images: 64\n  batch: 8\n"
    record = (folder / "d" / "dataset.json").read_bytes()
    view = (folder / "v" / "train" / "dataset.json").read_bytes()
    sigma = (folder / "d" / "part-00000" / "sigma.npy").read_bytes()
    reads = [["inspect", "d"], ["subset", "d", "{out}", "--take", "2"], ["unpack", "d", "{out}"]]
    fits = [["fit", "{file}"], ["price", "{file}", "--sigma", "0.2"]]
    plan = [
        "plan",
        "{file}",
        "--budget",
        "100",
        "--clean-price",
        "1",
        "--noisy-price",
        "0.1",
        "--sigma",
        "0.2",
    ]
    return [
        Sample(
            "sigma.csv", "s.csv", table, [["pack", "p", "{out}", "--sigma", "{file}", "--labels", "{file}"]]
        ),
        Sample("law.csv", "law.csv", law, [*fits, plan]),
        Sample("config.yaml", "c.yaml", config, [["pack", "p", "{out}", "--config", "{file}"]]),
        Sample("recipe.yaml", "r.yaml", recipe, [["recipe", "{file}", "--out", "{out}", "--dry-run"]]),
        Sample("dataset.json", "d/dataset.json", record, reads),
        Sample(
            "view.json",
            "v/train/dataset.json",
            view,
            [["inspect", "v/train"], ["join", "d", "v/train", "{out}"]],
        ),
        Sample("sigma.npy", "d/part-00000/sigma.npy", sigma, reads),
        Sample(
            "labels.json",
            "e/dataset.json",
            b'{"labels": [["a.png", 0], ["b.png", 1]]}',
            [["pack", "e", "{out}", "--sigma", "0"]],
        ),
    ]


def make(folder: Path) -> list[Sample]:
    """Fill a working directory, and return what is mutated there, one of each kind."""
    for name in ("p", "e", "other"):
        (folder / name).mkdir(parents=True)
    for i in range(3):
        (folder / "p" / f"{i}.png").write_bytes(_png(12, 14))
    for name in ("a.png", "b.png"):
        (folder / "e" / name).write_bytes(_png(12, 14))
    (folder / "e" / "dataset.json").write_text('{"labels": []}')
    nw.pack(folder / "p", folder / "d", sigma=0.0)
    nw.split(folder / "d", folder / "v", held_out=1)
    return [*_pictures(), *_by_library(folder / "other"), *_archives(), *_arrays(), *_texts(folder)]
