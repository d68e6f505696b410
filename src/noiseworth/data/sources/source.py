"""A stream of pictures of unknown length: what every reader makes and `pack` writes."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

MOST_PIXELS = 100_000_000  # of one picture
MOST_BYTES = 1 << 28  # of what one file unpacks to; more must not come from a small file
_RATIO = 50
_BLOCK = 1 << 18  # values that are rounded at a time
STORED = ("uint8", "uint16", "float16", "float32")
_ROUNDING = 1e-6  # of the range of the values; what float32 may change without being asked


class NoPicture(UserError):  # noqa: N818 - a sound file
    """A sound file of a kind that holds no pictures. In a folder it is left out, and counted as `kind`."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Reading:
    """How sources are read, by the options of `pack` (see `PackConfig`), and what was left out of them.

    Attributes:
        left_out: kind of file, array or picture -> how many of it were not read.
    """

    key: str | None = None
    label_key: str | None = None
    shape: tuple[int, int, int] | None = None
    axes: str | None = None
    stored_values: bool = False
    allow_rounding: bool = False
    drop_alpha: bool = False
    trust_sizes: bool = False
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Picture:
    """One image as its source has it.

    Attributes:
        pixels: (C, H, W), of one of the types in `STORED`.
        value_range: black and white by the file's own metadata (its bits per sample); None if it says nothing.
        units: of the values ("HU", "BQML"); empty if the file says nothing.
        rounding: largest difference between stored and read values, as a share of their range.
    """

    pixels: NDArray[Any]
    value_range: tuple[float, float] | None = None
    units: str = ""
    rounding: float = 0.0


@dataclass(frozen=True)
class Entry:
    """One image: `name` inside its source, and `load()` for the picture, which raises UserError if it cannot be had; `label` and `sigma`
    where the source itself says them."""

    name: str
    load: Callable[[], Picture]
    label: int | None = None
    sigma: float | None = None


@dataclass(frozen=True)
class Source:
    """`entries` in a fixed order; `count` if known before; `classes`, the names of the labels.

    `folders` says whether names are paths, whose folders may be classes. `where` is put before a name in messages.
    """

    entries: Iterable[Entry]
    where: str
    count: int | None = None
    classes: Sequence[str] = ()
    folders: bool = False
    close: Callable[[], None] = field(default=lambda: None)


def stored(pixels: NDArray[Any], where: str, reading: Reading) -> tuple[NDArray[Any], float]:
    """The values in a type that data sets store, and how far they were rounded, as a share of their range.

    Integers of up to 16 bits and 32-bit floating point keep every bit. Other types become float32: floating
    point where that changes the values by less than a millionth of their range, whole numbers where it changes
    none; beyond that only if `reading.allow_rounding`.

    Raises:
        UserError: the values are no real numbers, are beyond float32, or would be rounded further.
    """
    if pixels.dtype.byteorder not in "=|":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if str(pixels.dtype) in STORED:
        return pixels, 0.0
    if pixels.dtype.kind == "b":  # false is black and true is white, as in pictures of one bit
        return pixels.astype(np.uint8) * np.uint8(255), 0.0
    if pixels.dtype.kind not in "iuf":
        raise UserError(f"{where}: pixels of type {pixels.dtype} cannot be packed; store real numbers")
    rounded = np.empty(pixels.shape, np.float32)
    largest, low, high = _round_into(rounded.reshape(-1), pixels.reshape(-1), where)
    if largest == 0:
        return rounded, 0.0
    span = float(high - low) or abs(float(high))
    share = largest / span
    if not reading.allow_rounding and (pixels.dtype.kind != "f" or share > _ROUNDING):
        raise UserError(
            f"{where}: its {pixels.dtype} values do not fit into float32: they would change by up to {largest:.3g},"
            f" {share:.1e} of their range; give --allow-rounding if that is good enough"
        )
    return rounded, share


def _round_into(rounded: NDArray[Any], values: NDArray[Any], where: str) -> tuple[float, Any, Any]:
    """Writes values, as float32, into `rounded`; returns the largest difference, and the smallest and largest finite value.

    In blocks, since exact differences of whole numbers of 64 bits take four times the memory of what is stored.
    """
    wide: Any = np.longdouble if values.dtype.kind in "iu" or values.dtype.itemsize > 8 else np.float64
    largest, low, high = 0.0, wide(np.inf), wide(-np.inf)
    for start in range(0, len(values), _BLOCK):
        block = slice(start, start + _BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded[block] = values[block]
            exact = values[block].astype(wide)
            error: NDArray[Any] = np.abs(rounded[block].astype(wide) - exact)
        finite = np.isfinite(exact)
        if (finite & ~np.isfinite(rounded[block])).any():
            raise UserError(
                f"{where}: has {values.dtype} values beyond the range of float32 (3.4e38); rescale them first"
            )
        if finite.any():
            largest = max(largest, float(error[finite].max()))
            low, high = min(low, exact[finite].min()), max(high, exact[finite].max())
    return largest, low, high


def check_size(shape: Sequence[int], where: str, reading: Reading) -> None:
    """Refuse one picture that would fill the memory.

    Raises:
        UserError: more pixels than a picture may have.
    """
    if math.prod(shape) > MOST_PIXELS and not reading.trust_sizes:
        raise UserError(
            f"{where}: a picture of {'x'.join(map(str, shape))} has more than {MOST_PIXELS:,} pixels, as a"
            " decompression bomb has; cut it first, or give --trust-sizes"
        )


def check_unpacked(promised: int, packed: int, where: str, reading: Reading) -> None:
    """Refuse a file that unpacks to far more than it holds.

    Args:
        promised: bytes that its header promises, or that were unpacked so far.
        packed: bytes that it has.

    Raises:
        UserError: it is taken for a decompression bomb.
    """
    if promised > max(MOST_BYTES, _RATIO * packed) and not reading.trust_sizes:
        raise UserError(
            f"{where}: {promised:,} bytes of values from {packed:,}, as in a decompression bomb; if you trust it,"
            " give --trust-sizes"
        )


def of_images(
    images: Any,
    where: str,
    reading: Reading,
    *,
    labels: NDArray[Any] | None = None,
    sigma: NDArray[Any] | None = None,
    value_range: tuple[float, float] | None = None,
    units: str = "",
    classes: Sequence[str] = (),
    names: Callable[[int], str] = lambda i: f"image {i}",
    close: Callable[[], None] = lambda: None,
) -> Source:
    """A source of images (N, C, H, W), which are read one by one: an array, or a `Stack`."""

    def load(i: int) -> Picture:
        pixels, rounding = stored(np.ascontiguousarray(images[i]), f"{where}: {names(i)}", reading)
        return Picture(pixels, value_range, units, rounding)

    def entry(i: int) -> Entry:
        label = None if labels is None else int(labels[i])
        noise = None if sigma is None else float(sigma[i])
        return Entry(names(i), lambda: load(i), label, noise)

    return Source((entry(i) for i in range(len(images))), where, len(images), classes, close=close)
