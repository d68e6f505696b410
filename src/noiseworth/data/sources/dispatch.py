"""Which reader a source wants."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.data.sources import (
    archives,
    arrays,
    dicom,
    files,
    hub,
    idx_cifar,
    keyed,
    kinds,
    pictures,
    scientific,
    tiff,
)
from noiseworth.data.sources.source import Entry, NoPicture, Picture, Reading, Source, of_images
from noiseworth.errors import UserError

DIGITS = "sklearn:digits"
_FILES = "a folder or archive (zip, tar) of pictures, .npy, .npz, IDX, CIFAR-10's binary version, a scientific file"
KINDS = f"{_FILES}, {hub.PREFIX}NAME, or {DIGITS}"
_EDM_LABELS = "dataset.json"


@contextmanager
def open_source(source: str, reading: Reading) -> Iterator[Source]:
    """Open a source for one pass over its images.

    Args:
        source: a path, `hf:NAME`, or `sklearn:digits`.
        reading: how it is read; what is left out is counted there.

    Raises:
        UserError: nothing is there, or it is of no known kind.
    """
    path = Path(source)
    if source == DIGITS:
        yield _digits(reading)
    elif source.startswith(hub.PREFIX):
        yield hub.hub_source(source, source, reading)
    elif (path.is_dir() and not files.is_unit(path)) or (path.is_file() and archives.is_archive(path)):
        if (path / "dataset.json").is_file() and (path / "part-00000").is_dir():
            raise UserError(
                f"{path}: is a packed data set already; divide it with `noiseworth split` or `subset`"
            )
        with archives.open_files(path, reading) as listed:
            labels = _edm_labels(path)
            yield Source(_of_files(listed, path, reading, labels), str(path), folders=labels is None)
    elif path.exists():
        yield _single(path, reading)
    else:
        raise UserError(f"{source}: no such file or folder (packed can be {KINDS})")


def _digits(reading: Reading) -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]  # whole numbers 0..16, so exact
    classes = [str(i) for i in range(10)]
    return of_images(images, DIGITS, reading, labels=digits.target, value_range=(0.0, 16.0), classes=classes)


def _single(path: Path, reading: Reading) -> Source:
    """One file."""
    if not path.is_file() and not path.is_dir():
        raise UserError(f"{path}: is a device or a pipe; packed can be {KINDS}")
    file = _file_at(path)
    kind = _kind(file)
    if kind in ("picture", "tiff"):
        return Source(_of_set(file, path, reading), str(path.parent), folders=True)
    opened = _arrays_of(file, kind, path, reading, alone=True)
    if opened is None:
        raise UserError(f"{path}: not of a kind that can be packed ({KINDS})")
    return opened


def _file_at(path: Path) -> files.File:
    size = 0 if path.is_dir() else path.stat().st_size
    return files.File(path.name, str(path), lambda: path.open("rb"), path, size)


def _of_set(file: files.File, path: Path, reading: Reading) -> Iterator[Entry]:
    """The pictures of one file; of an OME-TIFF those of the whole set of files that it belongs to, as they lie beside it."""
    content = file.read(reading)
    names = tiff.siblings(content) if tiff.is_tiff(content) else []
    for name in names or [path.name]:
        beside = path.with_name(name)
        if not beside.is_file():
            raise UserError(
                f"{path}: is one of a set of {len(names)} files, of which {name} is not there; copy it there"
            )
        of_one = content if name == path.name else _file_at(beside).read(reading)
        yield from _pages(name, pictures.decode(of_one, str(beside), reading))


def _of_files(
    listed: Iterator[files.File], path: Path, reading: Reading, labels: dict[str, int] | None
) -> Iterator[Entry]:
    """Images of all files that hold some; others (a README, a checksum) are left out, and counted by their kind."""
    others: list[str] = []
    names: set[str] = set()
    wanted: dict[str, str] = {}  # file of a set -> a file that names it
    any_image = False
    for file in listed:
        names.add(file.name.rsplit("/", 1)[-1])
        if labels is not None and file.name == _EDM_LABELS:
            continue
        try:
            for entry in _of_file(file, path, reading, wanted):
                any_image = True
                label = labels.get(file.name) if labels else entry.label
                yield Entry(entry.name, entry.load, label, entry.sigma)
        except _NotRead as error:
            others.append(file.name)
            reading.left_out[error.kind] += 1
        except UserError as error:  # of this file; it may be left out
            any_image = True
            yield hub.failed(file.name, error)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise UserError(
            f"{path}/{wanted[missing[0]]}: is one of a set of files, of which {missing[0]} is not there ({len(missing)}"
            " are missing); copy them there"
        )
    if not any_image:
        has = f"; it has {len(others):,} other files, such as {others[0]}" if others else ""
        raise NoPicture(
            f"{path}: no images in it (PNG, JPEG, TIFF, .npy, .npz, ...){has}", "archives without images"
        )


class _NotRead(Exception):  # noqa: N818 - not an error: it is counted
    """A file of a kind that is not read."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def _of_file(file: files.File, path: Path, reading: Reading, wanted: dict[str, str]) -> Iterator[Entry]:
    """The images of one file of a folder or an archive.

    Raises:
        _NotRead: it is of no kind that holds images.
        UserError: it cannot be read.
    """
    kind = _kind(file)
    if kind in ("picture", "tiff"):
        content = file.read(reading)
        if tiff.is_tiff(content):
            wanted |= dict.fromkeys(tiff.siblings(content), file.name)
        yield from _pages(file.name, pictures.decode(content, file.where, reading))
        return
    if kind in kinds.ARCHIVES:
        if file.path is None:
            raise _NotRead("archives inside an archive")
        with archives.open_files(file.path, reading) as listed:
            try:
                for entry in _of_files(listed, file.path, reading, _edm_labels(file.path)):
                    yield Entry(f"{file.name}/{entry.name}", entry.load, entry.label, entry.sigma)
            except NoPicture as error:
                raise _NotRead(error.kind) from None
        return
    if kind is None or (kind == "idx" and idx_cifar.is_labels(file.name)):
        raise _NotRead(kinds.describe(file.name))
    if kind == "idx" and file.path is None:
        raise _NotRead("IDX files inside an archive")  # their labels would be lost
    with file.on_disk(reading) as one:
        try:
            inner = _arrays_of(file, kind, one, reading, alone=False)
        except NoPicture as error:
            raise _NotRead(error.kind) from None
        if inner is None:
            raise _NotRead(kinds.describe(file.name))
        try:
            for entry in inner.entries:
                name = file.name if inner.count == 1 else f"{file.name}: {entry.name}"
                yield Entry(name, entry.load, entry.label, entry.sigma)
        finally:
            inner.close()


def _kind(file: files.File) -> str | None:
    if file.path is not None and file.path.is_dir():
        is_zarr = any((file.path / name).is_file() for name in (".zarray", ".zgroup", "zarr.json"))
        return "zarr" if is_zarr else "parquet"
    return kinds.picture_kind(file.name) or kinds.kind_of(file.name, file.head())


def _arrays_of(
    file: files.File, kind: str | None, path: Path, reading: Reading, *, alone: bool
) -> Source | None:
    """Images of a file that holds arrays; None if it is of no such kind."""
    where = file.where
    if kind == "npy":
        with _ungzipped(file, path, reading) as content:
            return arrays.npy_source(content, where, reading, alone)
    if kind == "npz":
        return arrays.npz_source(path, where, reading)
    if kind == "cifar":
        return idx_cifar.cifar_source(file.read(reading), where, reading)
    if kind == "idx":
        return idx_cifar.idx_source(path, reading)
    readers: dict[str, Any] = {
        "hdf5": keyed.hdf5_source,
        "zarr": keyed.zarr_source,
        "fits": scientific.fits_source,
        "mrc": scientific.mrc_source,
        "nifti": scientific.nifti_source,
        "dicom": dicom.dicom_source,
    }
    if kind in readers:
        opened: Source = readers[kind](path, where, reading)
        return opened
    return hub.hub_source(str(path), where, reading) if kind == "parquet" else None


@contextmanager
def _ungzipped(file: files.File, path: Path, reading: Reading) -> Iterator[Path | bytes]:
    """A `.npy` file: where it lies, or, of a `.npy.gz`, its bytes."""
    if file.head()[:2] != b"\x1f\x8b":
        yield path
        return
    yield files.gunzip(path, file.where, reading)


def _edm_labels(path: Path) -> dict[str, int] | None:
    """The labels in the `dataset.json` of a folder or zip as EDM and StyleGAN write them; None if there is no such file.

    Raises:
        UserError: the file is not of that form.
    """
    import zipfile

    try:
        if path.is_dir():
            text = (path / _EDM_LABELS).read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                text = archive.read(_EDM_LABELS)
        else:
            return None
    except (KeyError, FileNotFoundError):
        return None
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}/{_EDM_LABELS}: damaged in the archive ({error})") from None
    try:
        record = json.loads(text)
        if not isinstance(record, dict) or "labels" not in record:
            return None
        rows = record["labels"] or []
        labels = {str(name): int(label) for name, label in rows}
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}/{_EDM_LABELS}: labels must be pairs of a file's name and a whole number ({error}); give a table"
            " with --labels"
        ) from None
    if any(label < 0 for label in labels.values()):
        raise UserError(f"{path}/{_EDM_LABELS}: has a label below 0; labels are whole numbers from 0 up")
    return labels


def _pages(name: str, decoded: list[Picture]) -> Iterator[Entry]:
    for i, picture in enumerate(decoded):
        full = name if len(decoded) == 1 else f"{name}: page {i}"
        yield Entry(full, lambda picture=picture: picture)  # type: ignore[misc]
