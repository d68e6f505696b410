"""Grids of small images as PNG."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GAP = 3
_BACKGROUND = 255
_MISSING = np.array((214, 60, 60), np.uint8)


def as_colours(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Images (N, C, H, W) in model units as (N, H, W, 3), from -1 (black) to 1 (white); channels beyond the third are left out. Pixels
    that were not measured (NaN) are red."""
    shown = images[:, :3] if images.shape[1] >= 3 else images[:, :1].repeat(3, axis=1)
    values = np.nan_to_num(np.rint((np.clip(shown, -1, 1) + 1) * 127.5)).transpose(0, 2, 3, 1)
    is_missing = np.isnan(shown.transpose(0, 2, 3, 1)).any(axis=3, keepdims=True)
    return np.where(is_missing, _MISSING, values.astype(np.uint8))


def grid_png(images: NDArray[np.float32], columns: int = 16, min_side: int = 24) -> bytes:
    """A grid of images as PNG, each enlarged by a whole factor so that single pixels stay visible.

    Args:
        images: (N, C, H, W) in model units, shown from -1 (black) to 1 (white); channels beyond the third are
            left out. Pixels that were not measured (NaN) are red.
        columns: images in a row.
        min_side: smallest width of one image in the picture, in pixels.
    """
    n, _, height, width = images.shape
    pixels = as_colours(images)
    factor = max(1, math.ceil(min_side / width))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    cell_height, cell_width = height * factor + _GAP, width * factor + _GAP
    sheet = np.full((rows * cell_height + _GAP, columns * cell_width + _GAP, 3), _BACKGROUND, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = (i // columns) * cell_height + _GAP, (i % columns) * cell_width + _GAP
        sheet[top : top + height * factor, left : left + width * factor] = picture
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
