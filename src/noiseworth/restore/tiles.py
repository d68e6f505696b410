"""Large images by tiles of the size that a model was trained on, which overlap by half and fade into each other.

The network looks at a whole image at once (it normalises over it), so that an image of another size is another kind of image to it.
"""

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


def corners(size: Size, tile: Size) -> list[tuple[int, int]]:
    """The upper left corners (row, column) of the tiles of an image (height, width); the last ones end with the image.

    Raises:
        ValueError: the image is smaller than a tile.
    """
    return [(row, column) for row in _starts(size[0], tile[0]) for column in _starts(size[1], tile[1])]


def _starts(length: int, tile: int) -> list[int]:
    if length < tile:
        raise ValueError(f"{length} pixels are fewer than a tile of {tile}")
    step = max(tile // 2, 1)
    starts = list(range(0, length - tile + 1, step))
    return starts if starts[-1] == length - tile else [*starts, length - tile]


def window(tile: Size) -> NDArray[np.float32]:
    """How much each pixel of a tile (H, W) counts where tiles overlap: most in the middle, next to nothing at the edges."""
    rows, columns = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in tile)
    weights: NDArray[np.float32] = np.outer(rows, columns).astype(np.float32)
    return weights


class Mosaic:
    """Tiles put together into images (N, C, H, W)."""

    def __init__(self, count: int, channels: int, size: Size, tile: Size) -> None:
        self._sum = np.zeros((count, channels, *size), np.float32)
        self._weight = np.zeros(size, np.float32)
        self._window = window(tile)
        for row, column in corners(size, tile):
            self._weight[row : row + tile[0], column : column + tile[1]] += self._window
        self._is_whole = size == tile

    def add(self, image: int, corner: tuple[int, int], values: NDArray[np.float32]) -> None:
        """Put one tile (C, h, w) at its corner of an image."""
        if self._is_whole:
            self._sum[image] = values
            return
        row, column = corner
        height, width = self._window.shape
        self._sum[image, :, row : row + height, column : column + width] += values * self._window

    def images(self) -> NDArray[np.float32]:
        """The images, once all tiles are there."""
        return self._sum if self._is_whole else self._sum / self._weight
