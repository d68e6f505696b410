"""Arrays: `.npy` and `.npz` (never pickled), and the binary files of MNIST and CIFAR-10."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noiseworth.data.sources.source import Source, channels_first, of_array
from noiseworth.errors import UserError

# An array of more bytes than this, and of more than so many times its compressed size, is refused as a
# decompression bomb.
_MOST_BYTES, _RATIO = 1 << 28, 50
_CIFAR_ROW = 1 + 3 * 32 * 32
_IDX = {0x08: ">u1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_SUFFIXES = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")


def npy_source(path: Path, key: str | None) -> Source:
    """A `.npy` file, memory-mapped."""
    if key:
        raise UserError(f"--key {key}: {path} is one array, without names")
    return of_array(channels_first(mapped(path), str(path)), str(path))


def mapped(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file.

    Raises:
        UserError: there is none, it is damaged, or it holds Python objects.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(
            f"{path}: not a readable array file ({error}); pickled arrays are never loaded"
        ) from None
    return array


def npz_source(
    content: bytes | Path,
    where: str,
    key: str | None,
    label_key: str | None,
    shape: tuple[int, int, int] | None,
) -> Source:
    """A `.npz` file: the array `key` (by default "images", "data" or the only stack), labels, sigma if any.

    Raises:
        UserError: there is no such array, the file is damaged, or it holds Python objects.
    """
    arrays = _npz(content, where)
    name = key or next((n for n in ("images", "data") if n in arrays), "")
    if not name:
        many = [n for n, a in arrays.items() if a.ndim >= 3]
        name = many[0] if len(many) == 1 else ""
    if name not in arrays:
        what = f"no array named {key!r}" if key else "no array named 'images'"
        raise UserError(
            f"{where}: has {what} (it has {', '.join(sorted(arrays)) or 'none'}); name it with --key"
        )
    images = arrays[name]
    if shape is not None and images.ndim == 2 and images.shape[1] == int(np.prod(shape)):
        images = images.reshape(-1, *shape)
    elif images.ndim == 2:
        raise UserError(
            f"{where}: '{name}' is {images.shape}, rows of pixels; give their shape with --shape C,H,W"
        )
    images = channels_first(images, where)
    if label_key and label_key not in arrays:
        raise UserError(f"{where}: has no array named {label_key!r} (it has {', '.join(sorted(arrays))})")
    labels, sigma = arrays.get(label_key or "labels"), arrays.get("sigma")
    if labels is not None and (
        labels.shape != (len(images),) or labels.dtype.kind not in "iu" or (labels < 0).any()
    ):
        raise UserError(
            f"{where}: 'labels' must be {len(images)} whole numbers from 0 up, it is {labels.dtype}"
            f" {labels.shape}"
        )
    if sigma is not None and (sigma.shape != (len(images),) or sigma.dtype.kind not in "iuf"):
        raise UserError(f"{where}: 'sigma' must be {len(images)} numbers, it is {sigma.dtype} {sigma.shape}")
    return of_array(images, where, labels=labels, sigma=sigma)


def _npz(content: bytes | Path, where: str) -> dict[str, NDArray[Any]]:
    """All arrays. Headers are checked first: NumPy would allocate whatever size a header states."""
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    with archive.open(info) as member:
                        version = npy.read_magic(member)
                        shape, _, dtype = (
                            npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                        )(member)
                    if dtype.hasobject:
                        raise ValueError("Object arrays cannot be loaded")
                    if int(np.prod(shape)) * dtype.itemsize > info.file_size:
                        raise ValueError(
                            f"{info.filename} promises {shape} {dtype}, but holds only {info.file_size:,}"
                            " bytes"
                        )
                    if info.file_size > max(_MOST_BYTES, _RATIO * info.compress_size):
                        raise ValueError(
                            f"{info.filename}: {info.file_size:,} bytes from {info.compress_size:,}; taken"
                            " for a decompression bomb"
                        )
        loaded = np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False)
        return {k: loaded[k] for k in loaded.files}
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{where}: not a readable array file ({error}); pickled arrays are never loaded"
        ) from None


def is_cifar(name: str) -> bool:
    """Whether its name is that of a file of CIFAR-10's binary version."""
    base = name.rsplit("/", 1)[-1]
    return base.endswith(".bin") and (base.startswith("data_batch") or base == "test_batch.bin")


def cifar_source(content: bytes, where: str) -> Source:
    """CIFAR-10's binary version: rows of one label and 3x32x32 values (Krizhevsky, 2009).

    Raises:
        UserError: the size is not a multiple of a row, or a label is above 9.
    """
    if not content or len(content) % _CIFAR_ROW:
        raise UserError(
            f"{where}: its {len(content):,} bytes are not a multiple of CIFAR-10's row of {_CIFAR_ROW:,}"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_ROW)
    if rows[:, 0].max() > 9:
        bad = int(np.flatnonzero(rows[:, 0] > 9)[0])
        raise UserError(f"{where}: row {bad} has the label {rows[bad, 0]}; CIFAR-10's are 0 to 9")
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return of_array(rows[:, 1:].reshape(-1, 3, 32, 32), where, labels=rows[:, 0], classes=names)


def is_idx(name: str) -> bool:
    """Whether its name is that of an IDX file, MNIST's format."""
    return name.endswith(IDX_SUFFIXES)


def idx_source(path: Path) -> Source:
    """Images of an IDX file (MNIST, Fashion-MNIST, ...), with the labels from the file beside it.

    Raises:
        UserError: it is damaged, does not hold images, or the number of labels differs.
    """
    images = channels_first(_idx(path), str(path))
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    labels = _idx(beside) if beside != path and beside.is_file() else None
    if labels is not None and labels.shape != (len(images),):
        raise UserError(f"{beside}: has labels of shape {labels.shape} for {len(images)} images")
    return of_array(images, str(path), labels=labels)


def _idx(path: Path) -> NDArray[Any]:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as file:
                head = file.read(4)
                sizes = file.read(4 * head[3]) if len(head) == 4 else b""
                most = int(np.prod(np.frombuffer(sizes, ">u4").astype(np.float64))) * 8
                body = file.read(min(most, max(_MOST_BYTES, _RATIO * len(content))) + 1)
        else:
            head = content[:4]
            start = 4 + 4 * content[3]  # of the values; an IndexError is handled below
            sizes, body = content[4:start], content[start:]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, IndexError) as error:
        raise UserError(f"{path}: damaged ({error})") from None
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX or len(sizes) < 4 * head[3]:
        raise UserError(f"{path}: not an IDX file")
    shape, dtype = np.frombuffer(sizes, ">u4").astype(np.int64), np.dtype(_IDX[head[2]])
    if len(body) != int(np.prod(shape)) * dtype.itemsize:
        raise UserError(
            f"{path}: holds {len(body):,} bytes of values, its header says {'x'.join(map(str, shape))}"
        )
    return np.frombuffer(body, dtype).reshape(shape)
