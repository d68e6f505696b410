"""Moments of images, by which noise is checked."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.noise.components import Components, stride_of

Array = NDArray[np.float64]

_VALUES = 2**17  # of images at a time, about


@dataclass(frozen=True)
class Moments:
    """Moments of each of N images, over positions.

    Attributes:
        second, fourth: (N, D) mean squares and mean fourth powers of components of patches.
        by_brightness: (N, 2) mean squares of the last components where the picture is dark, and where it is bright.
        rows: (N, 2) mean squared differences of neighbouring rows' means, and of columns'.
        mean: (N,).
    """

    second: Array
    fourth: Array
    by_brightness: Array
    rows: Array
    mean: Array


def moments_of(components: Components, images: Tensor, last: int) -> Moments:
    """Moments of the components of patches of images (N, C, H, W); `last` of them count as no picture."""
    parts: list[list[Tensor]] = [[] for _ in range(5)]
    stride = stride_of(images)
    for chunk in torch.split(images, max(_VALUES // images[0].numel(), 1)):
        values = torch.nn.functional.conv2d(chunk, components.filters, stride=stride).double()
        flat = values.flatten(2)
        square = flat.square()
        ends = square[:, :last]
        # Patches' means are orthogonal to the last components: which are dark is not decided by what is measured.
        brightness = flat[:, -1] * float(torch.sign(components.filters[-1].sum()))
        order = brightness.argsort(1)
        third = max(order.shape[1] // 3, 1)
        energy = ends.mean(1)
        dark, bright = energy.gather(1, order[:, :third]).mean(1), energy.gather(1, order[:, -third:]).mean(1)
        steps = chunk.double().mean(3).diff(dim=2)  # of the rows' means
        columns = chunk.double().mean(2).diff(dim=2)
        rows = [steps.square().mean((1, 2)), columns.square().mean((1, 2))]
        row = [
            square.mean(2), square.square().mean(2), torch.stack([dark, bright], 1),
            torch.stack(rows, 1), chunk.double().mean((1, 2, 3)),
        ]  # fmt: skip
        for part, values_of_chunk in zip(parts, row, strict=True):
            part.append(values_of_chunk)
    return Moments(*(torch.cat(part).numpy() for part in parts))
