"""Turning and flipping images that hold white noise: what moves whole pixels keeps it white, what interpolates does not."""

from typing import Literal

import torch
from torch import Tensor

from noiseworth.rng import Stream, uniform

Augmentation = Literal["none", "flip", "turns", "shift"]
_SHIFT = 8  # a shift reaches at most an eighth of the side


def augment(images: list[Tensor], how: Augmentation, ids: Tensor, seed: int) -> list[Tensor]:
    """The same random change of several batches, image by image: a function of (seed, id).

    Args:
        images: batches (B, C, H, W); of one image all get the same change.
        how: "flip" left and right; "turns" that, and quarter turns (square images); "shift" flips, and moves
            by whole pixels round the edge, at most an eighth of the side.
        ids: (B,) of the draws.

    Returns:
        New batches; with "none" those given.

    Raises:
        ValueError: quarter turns of images that are not square.
    """
    if how == "none":
        return images
    height, width = images[0].shape[-2:]
    u = uniform(seed, Stream.AUGMENT, ids.cpu(), 4)
    flip, turns = (
        u[:, 0] < 0.5,
        (u[:, 1] * 4).long() if how == "turns" else torch.zeros(len(ids), dtype=torch.int64),
    )
    if how == "turns" and height != width:
        raise ValueError(f"quarter turns need square images, these are {width}x{height}")
    down, right = (
        ((2 * u[:, k] - 1) * (side // _SHIFT + 0.5)).round().long() for k, side in ((2, height), (3, width))
    )
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    y, x = rows.expand(len(ids), height, width), columns.expand(len(ids), height, width)
    for turn in range(1, 4):  # where pixel (y, x) of the new image comes from
        is_turned = (turns == turn)[:, None, None]
        ty, tx = (
            ((x, width - 1 - y), (height - 1 - y, width - 1 - x), (height - 1 - x, y))[turn - 1]
            if height == width
            else (y, x)
        )
        y, x = torch.where(is_turned, ty, y), torch.where(is_turned, tx, x)
    x = torch.where(flip[:, None, None], width - 1 - x, x)
    if how == "shift":
        y, x = (y - down[:, None, None]) % height, (x - right[:, None, None]) % width
    source_pixel = (y * width + x).flatten(1)[:, None]
    return [
        batch.flatten(2)
        .gather(2, source_pixel.to(batch.device).expand(-1, batch.shape[1], -1))
        .reshape(batch.shape)
        for batch in images
    ]
