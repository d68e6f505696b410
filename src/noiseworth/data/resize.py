"""One size for all images, by a rule that the user names; never silently.

crop:64x48     the middle
pad:64x48      mirrored at the edges, around the middle
shrink:4       means of 4x4 pixels, in float32: white noise stays white, with a quarter of its sigma
tiles:64       all tiles of 64x64 pixels, side by side; with tiles:64:32, one every 32 pixels; what is left at the right and the
               lower edge is left out
resize:64x64   the middle, interpolated with antialiasing: for clean images alone, as it correlates the noise
               of neighbouring pixels
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

_FORM = re.compile(r"(crop|pad|shrink|resize|tiles):(\d+)(?:x(\d+))?(?::(\d+))?")
_PLACE = 12  # bits for the row and for the column of a tile in its picture


@dataclass(frozen=True)
class Fit:
    """A rule: `how`, and the new height and width; for "shrink", both are the factor. `stride`: from one tile to the next."""

    how: str
    height: int
    width: int
    stride: int = 0

    @property
    def noise_factor(self) -> float:
        """The factor by which the standard deviation of white noise changes."""
        return 1 / self.height if self.how == "shrink" else 1.0

    def pieces(self, pixels: NDArray[Any], where: str) -> list[tuple[tuple[int, int], NDArray[Any]]]:
        """The images that one picture (C, H, W) gives: its tiles, each with its row and column among them; else one.

        Raises:
            UserError: it is too small, or gives more rows or columns than can be numbered.
        """
        if self.how != "tiles":
            return [((0, 0), self(pixels, where))]
        _, height, width = pixels.shape
        down, across = (
            (n - tile) // self.stride + 1 for n, tile in ((height, self.height), (width, self.width))
        )
        if min(down, across) < 1 or max(down, across) > 1 << _PLACE:
            raise UserError(
                f"{where}: {width}x{height} gives {max(across, 0)}x{max(down, 0)} tiles; --fit tiles needs from one to"
                f" {1 << _PLACE:,} each way"
            )
        return [
            (
                (row, column),
                np.ascontiguousarray(pixels[:, top : top + self.height, left : left + self.width]),
            )
            for row in range(down)
            for column in range(across)
            for top, left in [(row * self.stride, column * self.stride)]
        ]

    def __call__(self, pixels: NDArray[Any], where: str) -> NDArray[Any]:
        """Pixels (C, H, W) in their new size.

        Raises:
            UserError: they are too small for it.
        """
        _, height, width = pixels.shape
        if self.how == "shrink":
            k = self.height
            if height % k or width % k:
                raise UserError(
                    f"{where}: {width}x{height} is no multiple of {k} (--fit shrink:{k}); crop it first"
                )
            means = pixels.reshape(-1, height // k, k, width // k, k).mean(axis=(2, 4), dtype=np.float64)
            shrunk: NDArray[np.float32] = means.astype(np.float32)
            return shrunk
        if self.how == "resize":
            return _resized(pixels, self.height, self.width)
        if self.how == "crop":
            if height < self.height or width < self.width:
                raise UserError(
                    f"{where}: {width}x{height} is smaller than --fit crop:{self.height}x{self.width}"
                    " (height x width)"
                )
            top, left = (height - self.height) // 2, (width - self.width) // 2
            return np.ascontiguousarray(pixels[:, top : top + self.height, left : left + self.width])
        more = self.height - height, self.width - width
        if min(more) < 0 or more[0] >= 2 * height or more[1] >= 2 * width:
            raise UserError(
                f"{where}: {width}x{height} cannot be padded by mirroring to {self.width}x{self.height}"
            )
        return np.pad(pixels, [(0, 0), *((m // 2, m - m // 2) for m in more)], mode="symmetric")


def parse_fit(text: str | None) -> Fit | None:
    """The rule that `--fit` names.

    Raises:
        UserError: it names none.
    """
    if text is None:
        return None
    match = _FORM.fullmatch(text)
    wrong = not match or any(number is not None and int(number) < 1 for number in match.groups()[1:])
    if not match or wrong or (match[1] == "shrink" and match[3]) or (match[1] != "tiles" and match[4]):
        raise UserError(
            f"--fit {text}: one of crop:HEIGHTxWIDTH, pad:HEIGHTxWIDTH, resize:HEIGHTxWIDTH, shrink:FACTOR, tiles:HEIGHTxWIDTH:STRIDE"
        )
    height, width = int(match[2]), int(match[3] or match[2])
    return Fit(match[1], height, width, int(match[4] or min(height, width)))


def tile_number(picture: int, place: tuple[int, int]) -> int:
    """The number (`ids`) of a tile, which says its picture, and its row and column among that picture's tiles."""
    return (picture << 2 * _PLACE) | (place[0] << _PLACE) | place[1]


def picture_of(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pictures (N,) that tiles are of, by their numbers."""
    pictures: NDArray[np.int64] = ids >> (2 * _PLACE)
    return pictures


def _resized(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The largest central part with the new aspect ratio, resized by Pillow's antialiased bicubic filter.

    Channels are resized one by one, in float32.
    """
    from PIL import Image

    _, h, w = pixels.shape
    wide = min(w, round(h * width / height))
    high = min(h, round(w * height / width))
    box = ((w - wide) / 2, (h - high) / 2, (w + wide) / 2, (h + high) / 2)
    made = [
        np.asarray(
            Image.fromarray(channel.astype(np.float32), mode="F").resize(
                (width, height), Image.Resampling.BICUBIC, box=box
            )
        )
        for channel in pixels
    ]
    image = np.stack(made)
    if pixels.dtype.kind == "f":
        exact: NDArray[Any] = image.astype(pixels.dtype)
        return exact
    limits = np.iinfo(pixels.dtype)
    whole: NDArray[Any] = np.rint(image).clip(limits.min, limits.max).astype(pixels.dtype)
    return whole
