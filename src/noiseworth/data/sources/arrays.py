"""Arrays: `.npy` and `.npz`, never unpickled."""

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.source import Reading, Source, check_unpacked, of_images
from noiseworth.errors import UserError

_IMAGES = ("images", "data")  # names that need no --key
COLUMNS = ("sigma", "labels", "label")  # names of what is known of each image


def npy_source(path: Path | bytes, where: str, reading: Reading, alone: bool = True) -> Source:
    """A `.npy` file; a path is mapped and not read.

    Args:
        alone: whether it is the only file, so that a table of numbers may be rows of pixels.
    """
    if reading.key:
        raise UserError(f"--key {reading.key}: {where} is one array, without names")
    return of_array(_npy(path, where), where, reading, rows_possible=alone)


def of_array(
    array: NDArray[Any],
    where: str,
    reading: Reading,
    *,
    rows_possible: bool = False,
    labels: NDArray[Any] | None = None,
    sigma: NDArray[Any] | None = None,
) -> Source:
    """The images of an array, by `--axes`, `--shape` or its shape.

    Raises:
        UserError: it is no array of images, or can be read in several ways.
    """
    if reading.shape is not None and array.ndim == 2 and array.shape[1] == math.prod(reading.shape):
        return of_images(array.reshape(-1, *reading.shape), where, reading, labels=labels, sigma=sigma)
    if rows_possible and array.ndim == 2 and reading.axes is None:
        raise UserError(
            f"{where}: {array.shape} can be one image, or rows of pixels; say --axes HW, or --shape C,H,W of each row"
        )
    stack = Stack(array, layout(array.shape, where, reading.axes))
    check_columns(where, len(stack), labels, sigma)
    return of_images(stack, where, reading, labels=labels, sigma=sigma)


def check_columns(where: str, count: int, labels: NDArray[Any] | None, sigma: NDArray[Any] | None) -> None:
    """Raises UserError: labels or noise levels are not one for each image."""
    if labels is not None and (
        labels.shape != (count,) or labels.dtype.kind not in "iu" or (labels < 0).any()
    ):
        raise UserError(
            f"{where}: labels must be {count} whole numbers from 0 up, they are {labels.dtype} {labels.shape}"
        )
    if sigma is not None and (sigma.shape != (count,) or sigma.dtype.kind not in "iuf"):
        raise UserError(f"{where}: 'sigma' must be {count} numbers, it is {sigma.dtype} {sigma.shape}")


def choose(shapes: Mapping[str, tuple[Sequence[int], Any]], where: str, reading: Reading) -> list[str]:
    """Which of the named arrays of a file are images: those of `--key`; "images" or "data"; the only one; all, if they are of one shape.

    Args:
        shapes: name -> shape and dtype.

    Raises:
        UserError: several of different shapes, and none is named; or none.
    """
    if reading.key is not None:
        if reading.key not in shapes:
            raise UserError(
                f"{where}: has no array named {reading.key!r} (it has {_listed(shapes)}); name one with --key"
            )
        chosen = [reading.key]
        _count_others(shapes, chosen, reading)
        return chosen
    columns = {*COLUMNS, reading.label_key}
    numbers = {
        n: v
        for n, v in shapes.items()
        if np.dtype(v[1]).kind in "biuf" and n.rsplit("/", 1)[-1] not in columns
    }
    stacks = {n: v for n, v in numbers.items() if len(v[0]) >= 3}
    pictures = stacks or {n: v for n, v in numbers.items() if len(v[0]) == 2}
    named = [n for n in _IMAGES if n in pictures]
    if named:
        chosen = named[:1]
    elif len({(tuple(shape), str(dtype)) for shape, dtype in pictures.values()}) == 1:
        chosen = sorted(pictures)
    else:
        what = (
            "several arrays of different shapes"
            if pictures
            else "no array named 'images', and none of pictures"
        )
        raise UserError(f"{where}: has {what} (it has {_listed(shapes)}); name one with --key")
    if len(chosen) > 1 and (beside := [n for n in shapes if n in columns]):
        raise UserError(
            f"{where}: has several arrays of images ({', '.join(chosen)}), and {beside[0]!r} for which of them? pack each"
            " by its --key"
        )
    _count_others(shapes, chosen, reading)
    return chosen


def _count_others(
    shapes: Mapping[str, tuple[Sequence[int], Any]], chosen: Sequence[str], reading: Reading
) -> None:
    """Count what is neither read as images nor as their labels or noise levels."""
    others = set(shapes) - set(chosen) - {*COLUMNS, reading.label_key}
    if others:
        reading.left_out["arrays of other names"] += len(others)


def _listed(shapes: Mapping[str, tuple[Sequence[int], Any]]) -> str:
    return ", ".join(f"{n}: {tuple(shape)}" for n, (shape, _) in sorted(shapes.items())[:20]) or "none"


def npz_source(content: bytes | Path, where: str, reading: Reading) -> Source:
    """A `.npz` file: the arrays that `choose` takes; labels and sigma if they are there.

    Raises:
        UserError: no such array, damaged, or it holds Python objects.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    arrays = _npz(content, where, size, reading)
    shapes = {n: (a.shape, a.dtype) for n, a in arrays.items()}
    chosen = choose(shapes, where, reading)
    label_key = reading.label_key
    if label_key and label_key not in arrays:
        raise UserError(f"{where}: has no array named {label_key!r} (it has {_listed(shapes)})")
    if len(chosen) > 1:
        return joined([(name, of_array(arrays[name], f"{where}: {name}", reading)) for name in chosen], where)
    labels = arrays.get(label_key or "labels")
    return of_array(
        arrays[chosen[0]], where, reading, rows_possible=True, labels=labels, sigma=arrays.get("sigma")
    )


def joined(sources: Sequence[tuple[str, Source]], where: str) -> Source:
    """Several arrays of one file, one after the other: images are called `NAME: image 0`, or `NAME` where there is one."""
    from noiseworth.data.sources.source import Entry

    def entries() -> Any:
        for name, source in sources:
            for entry in source.entries:
                full = name if source.count == 1 else f"{name}: {entry.name}"
                yield Entry(full, entry.load, entry.label, entry.sigma)

    return Source(entries(), where, sum(source.count or 0 for _, source in sources))


def _npy(path: Path | bytes, where: str) -> NDArray[Any]:
    try:
        if isinstance(path, bytes):
            loaded: NDArray[Any] = np.load(io.BytesIO(path), allow_pickle=False)
        else:
            loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except Exception as error:  # NumPy parses a damaged header as Python, which raises anything
        raise UserError(
            f"{where}: not a readable array file ({error}); pickled arrays are never loaded"
        ) from None
    if not isinstance(loaded, np.ndarray):
        raise UserError(f"{where}: not a readable array file (its content is of another kind)")
    return loaded


def _npz(content: bytes | Path, where: str, size: int, reading: Reading) -> dict[str, NDArray[Any]]:
    """All arrays. Their headers are looked at first: one that promises more than its file holds would ask for all the memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            check_unpacked(sum(info.file_size for info in archive.infolist()), size, where, reading)
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    with archive.open(info) as member:
                        version = npy.read_magic(member)
                        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                        shape, _, dtype = read(member)
                    if dtype.hasobject:
                        raise ValueError("Object arrays cannot be loaded")
                    if math.prod(shape) * dtype.itemsize > info.file_size:
                        raise ValueError(
                            f"{info.filename} promises {shape} {dtype}, which its {info.file_size:,} bytes do not hold"
                        )
        loaded = np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False)
        return {k: loaded[k] for k in loaded.files}
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except Exception as error:  # zipfile and NumPy raise whatever they run into
        raise UserError(
            f"{where}: not a readable array file ({error}); pickled arrays are never loaded"
        ) from None
