"""A stream of images of unknown length: what every reader makes and `pack` writes."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

MOST_PIXELS = 100_000_000  # of one picture; more is taken for a decompression bomb
_LEAST_COLOUR = 8  # sides from which (H, W, 3) is taken for one colour image, and not for a stack
STORED = ("uint8", "uint16", "float16", "float32")


@dataclass(frozen=True)
class Entry:
    """One image: `name` inside its source, `load()` for the pixels (C, H, W), which raises UserError if they cannot be had; `label`
    and `sigma` if the source itself tells them."""

    name: str
    load: Callable[[], NDArray[Any]]
    label: int | None = None
    sigma: float | None = None


@dataclass(frozen=True)
class Source:
    """`entries` in a fixed order; `count` if known before; `value_range` if the source fixes what -1 and 1 are; `classes` by label.

    `folders` says whether the names' folders are classes. `where` is put before a name in messages.
    """

    entries: Iterable[Entry]
    where: str
    count: int | None = None
    value_range: tuple[float, float] | None = None
    classes: Sequence[str] = ()
    folders: bool = False
    close: Callable[[], None] = field(default=lambda: None)


def stored(pixels: NDArray[Any], where: str) -> NDArray[Any]:
    """The same values in a type that data sets store: itself, or float32 where that holds every one of them exactly.

    Raises:
        UserError: digits would be lost.
    """
    if pixels.dtype.byteorder not in "=|":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if str(pixels.dtype) in STORED:
        return pixels
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(
            255
        )  # false is black, true is white, as in pictures of one bit
    if pixels.dtype.kind not in "iuf":
        raise UserError(f"{where}: pixels of type {pixels.dtype} cannot be packed ({', '.join(STORED)} can)")
    smaller = pixels.astype(np.float32)
    if not np.array_equal(smaller.astype(pixels.dtype), pixels, equal_nan=pixels.dtype.kind == "f"):
        raise UserError(
            f"{where}: its {pixels.dtype} values do not fit into float32 without loss; round them first"
            " (.astype('float32'))"
        )
    return smaller


def channels_first(images: NDArray[Any], where: str) -> NDArray[Any]:
    """(N, H, W), (N, C, H, W) or (N, H, W, 1..4) as (N, C, H, W).

    Raises:
        UserError: another shape, or no pixels.
    """
    if images.ndim == 3 and images.shape[2] in (3, 4) and min(images.shape[:2]) >= _LEAST_COLOUR:
        raise UserError(
            f"{where}: {images.shape} can be one colour image or many narrow grey ones; store (1, H, W, C),"
            " or (N, 1, H, W)"
        )
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 2, 3, 4) and images.shape[1] not in (1, 2, 3, 4):
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim != 4:
        raise UserError(
            f"{where}: images must be (N, H, W), (N, C, H, W) or (N, H, W, C), not {images.shape}"
        )
    if not images.size:
        raise UserError(f"{where}: holds no pixels, shape {images.shape}")
    return images


def check_size(shape: Sequence[int], where: str) -> None:
    """Refuse what would fill the memory.

    Raises:
        UserError: more pixels than an image may have.
    """
    if math.prod(shape) > MOST_PIXELS:
        raise UserError(
            f"{where}: {'x'.join(map(str, shape))} is more than {MOST_PIXELS:,} pixels; taken for a"
            " decompression bomb: cut it first"
        )


def of_array(
    images: NDArray[Any],
    where: str,
    *,
    labels: NDArray[Any] | None = None,
    sigma: NDArray[Any] | None = None,
    value_range: tuple[float, float] | None = None,
    classes: Sequence[str] = (),
) -> Source:
    """A source of an array (N, C, H, W), which may be mapped from a file."""

    def entry(i: int) -> Entry:
        label = None if labels is None else int(labels[i])
        noise = None if sigma is None else float(sigma[i])
        return Entry(
            f"image {i}", lambda: stored(np.ascontiguousarray(images[i]), f"{where}: image {i}"), label, noise
        )

    return Source((entry(i) for i in range(len(images))), where, len(images), value_range, classes)
