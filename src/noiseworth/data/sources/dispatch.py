"""Finding the reader of a source."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources import arrays, files, hub, image_files, scientific
from noiseworth.data.sources.source import Entry, Source, of_array
from noiseworth.errors import UserError

DIGITS = "sklearn:digits"
KINDS = (
    "a folder or archive (zip, tar) of pictures, .npy, .npz, IDX, CIFAR-10's binary version, a scientific"
    f" file, {hub.PREFIX}NAME, or {DIGITS}"
)


@contextmanager
def open_source(
    source: str,
    *,
    key: str | None = None,
    label_key: str | None = None,
    shape: tuple[int, int, int] | None = None,
) -> Iterator[Source]:
    """Open a source for one pass over its images.

    Args:
        source: a path, `hf:NAME`, or `sklearn:digits`.
        key: which array or column holds the images, where a file has several.
        label_key: which array or column holds the labels.
        shape: C, H, W of images that are stored as rows.

    Raises:
        UserError: it does not exist, or is of no known kind.
    """
    path = Path(source)
    if source == DIGITS:
        yield _digits()
    elif source.startswith(hub.PREFIX) or path.suffix == ".parquet":
        yield hub.hub_source(source, key, label_key)
    elif scientific.is_scientific(path):
        opened = scientific.scientific_source(path, key, label_key)
        try:
            yield opened
        finally:
            opened.close()
    elif path.suffix == ".npy":
        yield arrays.npy_source(path, key)
    elif path.suffix == ".npz":
        yield arrays.npz_source(path, str(path), key, label_key, shape)
    elif path.is_dir() or (path.is_file() and files.is_archive(path)):
        with files.open_files(path) as listed:
            yield Source(_of_files(listed, path, key, label_key, shape), str(path), folders=True)
    elif path.is_file():
        yield _single(path)
    else:
        raise UserError(f"{source}: no such file or folder (what can be packed: {KINDS})")


def _digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]  # whole numbers 0..16, so exact
    return of_array(
        images, DIGITS, labels=digits.target, value_range=(0.0, 16.0), classes=[str(i) for i in range(10)]
    )


def _single(path: Path) -> Source:
    """One file: IDX, a batch of CIFAR-10, a picture or a stack of them."""
    if arrays.is_idx(path.name):
        return arrays.idx_source(path)
    if arrays.is_cifar(path.name):
        return arrays.cifar_source(path.read_bytes(), str(path))
    if path.suffix.lower() in image_files.SUFFIXES:
        return Source(_pages(path.name, image_files.decode(path.read_bytes(), str(path))), str(path.parent))
    raise UserError(f"{path}: not of a kind that can be packed (which are: {KINDS})")


def _of_files(
    listed: Iterator[files.File],
    path: Path,
    key: str | None,
    label_key: str | None,
    shape: tuple[int, int, int] | None,
) -> Iterator[Entry]:
    """Images of all files that hold any; other files (a README, checksums) are left out."""
    others: list[str] = []
    any_image = False
    for file in listed:
        where = f"{path}/{file.name}"
        suffix = Path(file.name).suffix.lower()
        inner: Source | None = None
        try:
            if suffix in (".tif", ".tiff"):
                any_image = True
                yield from _maybe_stack(file, where)
            elif suffix in image_files.SUFFIXES:
                any_image = True
                yield Entry(file.name, lambda file=file, where=where: image_files.decode(file.read(), where))  # type: ignore[misc]
            else:
                inner = _arrays_of(file, path, key, label_key, shape)
                if inner is None:
                    others.append(file.name)
        except UserError as error:
            # Raised when the image is loaded, so that `--on-error skip` can leave it out.
            any_image = True
            yield Entry(file.name, lambda error=error: _raise(error))  # type: ignore[misc]
        if inner is not None:
            any_image = True
            try:
                for entry in inner.entries:
                    yield Entry(f"{file.name}: {entry.name}", entry.load, entry.label, entry.sigma)
            finally:
                inner.close()
    if not any_image:
        has = f"; it has {len(others):,} other files, such as {others[0]}" if others else ""
        raise UserError(f"{path}: no images in it ({', '.join(image_files.SUFFIXES)}, .npz, ...){has}")


def _arrays_of(
    file: files.File, path: Path, key: str | None, label_key: str | None, shape: tuple[int, int, int] | None
) -> Source | None:
    """Images of a file that holds arrays; None if it is of another kind."""
    suffix, where, one = Path(file.name).suffix.lower(), f"{path}/{file.name}", path / file.name
    if suffix == ".npz":
        return arrays.npz_source(file.read(), where, key, label_key, shape)
    if arrays.is_cifar(file.name):
        return arrays.cifar_source(file.read(), where)
    if not path.is_dir() or ".zarr/" in file.name:
        return None
    if arrays.is_idx(file.name) and "labels-idx1" not in file.name:
        return arrays.idx_source(one)
    if suffix == ".npy":
        return arrays.npy_source(one, key)
    return scientific.scientific_source(one, key, label_key) if scientific.is_scientific(one) else None


def _maybe_stack(file: files.File, where: str) -> Iterator[Entry]:
    """Images of a TIFF, which is a picture or a stack; only decoding shows which."""
    try:
        pixels = image_files.decode(file.read(), where)
    except UserError as error:
        yield Entry(file.name, lambda error=error: _raise(error))  # type: ignore[misc]
        return
    yield from _pages(file.name, pixels)


def _pages(name: str, pixels: NDArray[Any]) -> Iterator[Entry]:
    if pixels.ndim == 3:
        yield Entry(name, lambda: pixels)
        return
    for i in range(len(pixels)):
        yield Entry(f"{name}: page {i}", lambda i=i: pixels[i])  # type: ignore[misc]


def _raise(error: Exception) -> NDArray[Any]:
    raise error
