"""Augmentation that keeps white noise white: it moves whole pixels, and never interpolates."""

from typing import Literal

import torch
from torch import Tensor

from noiseworth.rng import Stream, uniform

Augmentation = Literal["none", "flip", "turns", "shift"]
_SHIFT = 8  # a shift reaches at most an eighth of the side


def augment(images: list[Tensor], how: Augmentation, ids: Tensor, seed: int) -> list[Tensor]:
    """The same random change of several batches, image by image: a function of (seed, id).

    Args:
        images: batches (B, C, H, W); image `i` of each batch gets the same change.
        how: "flip" left and right; "turns" also by quarter turns (square images); "shift" flips, and shifts
            by whole pixels with wrap-around, at most an eighth of the side.
        ids: (B,) of the draws.

    Returns:
        New batches; with "none", the given ones.

    Raises:
        ValueError: quarter turns of images that are not square.
    """
    if how == "none":
        return images
    source = _source_pixels(images[0], how, ids, seed)
    return [
        batch.flatten(2)
        .gather(2, source.to(batch.device).expand(-1, batch.shape[1], -1))
        .reshape(batch.shape)
        for batch in images
    ]


def undo_augment(images: Tensor, how: Augmentation, ids: Tensor, seed: int) -> Tensor:
    """Images (B, C, H, W) as they were before `augment`; arguments as there."""
    if how == "none":
        return images
    source = _source_pixels(images, how, ids, seed).to(images.device).expand(-1, images.shape[1], -1)
    # Gathered at the inverse of the permutation, whose gradient is deterministic.
    return images.flatten(2).gather(2, torch.argsort(source, dim=2)).reshape(images.shape)


def _source_pixels(images: Tensor, how: Augmentation, ids: Tensor, seed: int) -> Tensor:
    """(B, 1, H W): where each pixel of the new images comes from."""
    height, width = images.shape[-2:]
    u = uniform(seed, Stream.AUGMENT, ids.cpu(), 4)
    if how == "turns" and height != width:
        raise ValueError(f"quarter turns need square images, these are {width}x{height}")
    down, right = (
        ((2 * u[:, k] - 1) * (side // _SHIFT + 0.5)).round().long() for k, side in ((2, height), (3, width))
    )
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    y, x = rows.expand(len(ids), height, width), columns.expand(len(ids), height, width)
    # From here on, (y, x) is where each pixel of the new image comes from.
    if how == "turns":
        turns = (u[:, 1] * 4).long()
        origins = [(x, width - 1 - y), (height - 1 - y, width - 1 - x), (height - 1 - x, y)]
        for turn, (turned_y, turned_x) in enumerate(origins, start=1):
            is_turned = (turns == turn)[:, None, None]
            y, x = torch.where(is_turned, turned_y, y), torch.where(is_turned, turned_x, x)
    is_flipped = (u[:, 0] < 0.5)[:, None, None]
    x = torch.where(is_flipped, width - 1 - x, x)
    if how == "shift":
        y, x = (y - down[:, None, None]) % height, (x - right[:, None, None]) % width
    return (y * width + x).flatten(1)[:, None]
