"""Which dimension of an array is what: the one place that decides.

A letter stands for each dimension: Y or H for the height, X or W for the width, C or S for channels, any
other (N, T, Z, ...) for one that counts images. `--axes` decides; else what the file says of itself; else the
shape, where it can be read in one way alone.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

_log = logging.getLogger("noiseworth")
_CHANNELS = (1, 2, 3, 4)
_SMALLEST = 8  # sides; smaller arrays are not asked about


def parse_axes(text: str) -> str:
    """`--axes` in capitals, with Y for H and X for W.

    Raises:
        UserError: a letter is there twice, or there is no height or no width.
    """
    axes = text.upper().replace("H", "Y").replace("W", "X")
    if not axes.isascii() or not axes.isalpha() or len(set(axes)) < len(axes) or not {"Y", "X"} <= set(axes):
        raise UserError(
            f"--axes {text}: one letter for each dimension, each once: H and W (or Y and X), C for channels, and"
            " others (N, T, Z) that count images; such as NHWC or TCZYX"
        )
    return axes


def layout(shape: Sequence[int], where: str, axes: str | None = None, own: str | None = None) -> str:
    """The letter of each dimension.

    Args:
        axes: what `--axes` says.
        own: what the file says of itself.

    Raises:
        UserError: `--axes` has another number of letters, or nobody says and the shape can be read in several
            ways.
    """
    shape = tuple(shape)
    if math.prod(shape) == 0:
        raise UserError(f"{where}: holds no pixels, shape {shape}")
    if axes is not None:
        axes = parse_axes(axes)
        if len(axes) != len(shape):
            raise UserError(
                f"--axes {axes}: {where} has {len(shape)} dimensions, {shape}; give a letter for each"
            )
        return axes
    if own is not None and len(own) == len(shape):
        own = own.upper().replace("H", "Y").replace("W", "X")
        if {"Y", "X"} <= set(own) and len(set(own)) == len(own):
            return own
    guesses = _guesses(shape)
    if len(guesses) != 1:
        if not guesses:
            raise UserError(
                f"{where}: an array of shape {shape} is no picture, and no stack of pictures; what is each of its"
                " dimensions? say with --axes, such as TCZYX"
            )
        ways = ", or ".join(f"{g.replace('Y', 'H').replace('X', 'W')} ({_words(shape, g)})" for g in guesses)
        raise UserError(f"{where}: shape {shape} can be read in several ways; say which with --axes: {ways}")
    if len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= _SMALLEST:
        _log.warning(
            "%s: shape %s is read as 3 images; if it is one picture of 3 colours, give --axes CHW",
            where,
            shape,
        )
    return guesses[0]


def _guesses(shape: tuple[int, ...]) -> list[str]:
    """In which ways a shape can be read."""
    if len(shape) == 2:
        return ["YX"]
    if len(shape) == 3:
        first, second, third = shape
        if third in _CHANNELS and min(first, second) >= _SMALLEST:
            return ["YXC", "NYX"]
        if first == second != third and first >= _SMALLEST:
            return ["NYX", "YXN"]
        return ["NYX"]
    if len(shape) == 4:
        _, second, third, fourth = shape
        before, after = second in _CHANNELS, fourth in _CHANNELS
        if before != after:
            return ["NCYX"] if before else ["NYXC"]
        if third == fourth and (before or second != third):
            return ["NCYX"]
        if before and second == third:
            return ["NYXC"]
        if before and min(third, fourth) >= min(
            second, third
        ):  # the sides of a picture are no shorter than this
            return ["NCYX"]
        return ["NCYX", "NYXC", "NZYX"]
    return []


def _words(shape: tuple[int, ...], axes: str) -> str:
    stack = Stack(np.broadcast_to(np.uint8(0), shape), axes)
    channels, height, width = stack.shape[1:]
    several = "" if channels == 1 else f", {channels} channels"
    return f"{len(stack)} {'image' if len(stack) == 1 else 'images'} of {height}x{width}{several}"


class Stack:
    """Images (N, C, H, W) of an array whose dimensions lie in any order; only the image that is asked for is read."""

    def __init__(self, array: Any, axes: str) -> None:
        """
        Args:
            array: anything with a `shape` that is indexed by integers and slices, such as an array of a file.
            axes: the letter of each dimension, from `layout`.
        """
        self._array = array
        channel = "S" if "S" in axes else "C"
        self._counting = [i for i, letter in enumerate(axes) if letter not in ("Y", "X", channel)]
        kept = [letter for letter in axes if letter in ("Y", "X", channel)]
        self._order = [kept.index(letter) for letter in (channel, "Y", "X") if letter in kept]
        self._counts = tuple(int(array.shape[i]) for i in self._counting)
        sides = {letter: int(size) for letter, size in zip(axes, array.shape, strict=True)}
        self.shape = (math.prod(self._counts), sides.get(channel, 1), sides["Y"], sides["X"])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, i: int) -> NDArray[Any]:
        pixels: NDArray[Any] = np.asarray(self._array[self._index(i)]).transpose(self._order)
        return pixels.reshape(self.shape[1:])

    def put(self, i: int, pixels: NDArray[Any]) -> None:
        """Write image `i` (C, H, W) into the array, which lies in memory."""
        place = self._array[self._index(i)].transpose(self._order)
        place[...] = pixels.reshape(place.shape)

    def _index(self, i: int) -> tuple[Any, ...]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        index: list[Any] = [slice(None)] * len(self._array.shape)
        for dimension, at in zip(self._counting, np.unravel_index(i, self._counts), strict=True):
            index[dimension] = int(at)
        return tuple(index)
