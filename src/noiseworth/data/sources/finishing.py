"""What every picture goes through once it is decoded: one rule for alpha, one for the orientation, one for levels that mean nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.source import Reading
from noiseworth.errors import UserError


def without_alpha(
    pixels: NDArray[Any], where: str, reading: Reading, opaque: float | None = None
) -> NDArray[Any]:
    """Pixels (C, H, W) without their last channel, which says how opaque each pixel is.

    Args:
        opaque: what it says where nothing shines through; None for the largest value of the type.

    Raises:
        UserError: some are not opaque.
    """
    limit = opaque
    if limit is None:
        limit = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1.0
    if not reading.drop_alpha and (pixels[-1] != limit).any():
        share = float(np.mean(pixels[-1] != limit))
        raise UserError(
            f"{where}: {share:.0%} of its pixels are transparent, and what is behind them is not known; put it on a"
            " background first, or give --drop-alpha to take the colours as they are stored"
        )
    reading.left_out["alpha channels"] += 1
    return pixels[:-1]


def oriented(pixels: NDArray[Any], orientation: Any) -> NDArray[Any]:
    """Pixels (..., H, W) turned upright, from the orientation that EXIF and TIFF give in tag 274 (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(-1, -2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[..., ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[..., ::-1, :]
    return np.ascontiguousarray(pixels)


def range_of_bits(bits: int, signed: bool = False) -> tuple[float, float] | None:
    """The smallest and largest value of so many bits; None where that is the range of the type that holds them anyway."""
    if signed:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return None if bits in (8, 16) else (0.0, 2.0**bits - 1)


def without_missing(values: NDArray[Any], stored_values: NDArray[Any], missing: str) -> NDArray[Any]:
    """Values with NaN for those pixels that were not measured, by the number that the file states for them.

    Args:
        stored_values: of the same shape; what `missing` is compared with, in their type.
        missing: as a file writes it; what is no number, or none of their type, says nothing.
    """
    try:
        number = float(missing)
    except ValueError:
        return values
    with np.errstate(over="ignore"):
        gone = stored_values == (
            stored_values.dtype.type(number) if stored_values.dtype.kind == "f" else number
        )
    return np.where(gone, np.nan, values.astype(np.float64)) if gone.any() else values
