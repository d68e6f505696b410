"""A stream of images of unknown length: what every reader makes and `pack` writes."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

MOST_PIXELS = 100_000_000  # of one picture; a larger one is taken for a decompression bomb
# With sides of at least this, (H, W, 3) may be one colour image, and is refused; else it is a grey stack.
_LEAST_COLOUR = 8
STORED = ("uint8", "uint16", "float16", "float32")


@dataclass(frozen=True)
class Entry:
    """One image of a source.

    Attributes:
        name: inside its source.
        load: gives the pixels (C, H, W); raises UserError if they cannot be read.
        label, sigma: if the source itself gives them.
    """

    name: str
    load: Callable[[], NDArray[Any]]
    label: int | None = None
    sigma: float | None = None


@dataclass(frozen=True)
class Source:
    """A stream of images.

    Attributes:
        entries: the images, in a fixed order.
        where: is put before an image's name in messages.
        count: number of images, if it is known before they are read.
        value_range: the raw values that become -1 and 1, if the source defines them.
        classes: the name of each label.
        folders: whether the folders in the images' names may be classes.
    """

    entries: Iterable[Entry]
    where: str
    count: int | None = None
    value_range: tuple[float, float] | None = None
    classes: Sequence[str] = ()
    folders: bool = False
    close: Callable[[], None] = field(default=lambda: None)


def stored(pixels: NDArray[Any], where: str) -> NDArray[Any]:
    """The same values in a type that data sets store: their own, or float32 if that holds all exactly.

    Raises:
        UserError: values would be rounded.
    """
    if pixels.dtype.byteorder not in "=|":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if str(pixels.dtype) in STORED:
        return pixels
    if pixels.dtype.kind == "b":
        # False is black, True is white, as in 1-bit pictures.
        return pixels.astype(np.uint8) * np.uint8(255)
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
    """Refuse pictures that would fill the memory.

    Raises:
        UserError: there are more than `MOST_PIXELS`.
    """
    if math.prod(shape) > MOST_PIXELS:
        raise UserError(
            f"{where}: {'x'.join(map(str, shape))} is more than {MOST_PIXELS:,} pixels; taken for a"
            " decompression bomb: crop it first"
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
