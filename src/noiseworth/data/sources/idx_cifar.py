"""The binary files in which MNIST's family (IDX) and CIFAR-10 are distributed."""

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.source import MOST_BYTES, Reading, Source, of_images
from noiseworth.errors import UserError

_RATIO = 50  # of unpacked to packed bytes; more is taken for a decompression bomb
_CIFAR_ROW = 1 + 3 * 32 * 32
_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def cifar_source(content: bytes, where: str, reading: Reading) -> Source:
    """CIFAR-10's binary version: rows of one label and 3x32x32 values (Krizhevsky, 2009).

    Raises:
        UserError: not a whole number of rows, or a label beyond 9.
    """
    if not content or len(content) % _CIFAR_ROW:
        raise UserError(
            f"{where}: {len(content):,} bytes, not a multiple of CIFAR-10's row of {_CIFAR_ROW:,} bytes"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_ROW)
    if rows[:, 0].max() > 9:
        bad = int(np.flatnonzero(rows[:, 0] > 9)[0])
        raise UserError(f"{where}: row {bad} has the label {rows[bad, 0]}; CIFAR-10's are 0 to 9")
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    images = rows[:, 1:].reshape(-1, 3, 32, 32)
    return of_images(images, where, reading, labels=rows[:, 0], classes=names)


def is_labels(name: str) -> bool:
    """Whether an IDX file is that of the labels, by its name."""
    return "labels-idx1" in name or "labels.idx1" in name


def idx_source(path: Path, reading: Reading) -> Source:
    """Images of an IDX file (MNIST, Fashion-MNIST, ...), with the labels that lie beside them.

    Raises:
        UserError: damaged, not of images, or another number of labels.
    """
    array = _idx(path)
    stack = Stack(array, layout(array.shape, str(path), reading.axes, own="NYX"))
    name = path.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    beside = path.with_name(name)
    labels = _idx(beside) if beside != path and beside.is_file() else None
    if labels is not None and labels.shape != (len(stack),):
        raise UserError(f"{beside}: has labels of shape {labels.shape} for {len(stack)} images")
    return of_images(stack, str(path), reading, labels=labels)


def _idx(path: Path) -> NDArray[Any]:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(content)) as file:
                head = file.read(4)
                sizes = file.read(4 * head[3]) if len(head) == 4 else b""
                most = math.prod(int(n) for n in np.frombuffer(sizes, ">u4")) * 8
                body = file.read(min(most, max(MOST_BYTES, _RATIO * len(content))) + 1)
                file.read(1)  # the end, where the sum is checked
        else:
            head = content[:4]
            sizes = content[4 : 4 + 4 * content[3]] if len(content) > 3 else b""
            body = content[4 + len(sizes) :]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, IndexError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error})") from None
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX or len(sizes) < 4 * head[3]:
        raise UserError(f"{path}: not an IDX file")
    shape, dtype = tuple(int(n) for n in np.frombuffer(sizes, ">u4")), np.dtype(_IDX[head[2]])
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise UserError(
            f"{path}: holds {len(body):,} bytes of values, its header promises {'x'.join(map(str, shape))}"
        )
    return np.frombuffer(body, dtype).reshape(shape)
