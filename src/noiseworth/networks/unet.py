"""A lean U-Net: one block at each resolution on the way down and up, two at the coarsest, told the level by gains and shifts.

Each block begins as the identity, and its second normalisation is scaled and shifted by the level (Dhariwal and Nichol, arXiv
2105.05233, "adaptive group normalization"). Images lie in memory with their channels last, as convolutions like them best;
normalisation is over an image as a whole, which in this order is one stretch of memory, as a group of channels is not.
`bench/speed.py` holds it against diffusers' U-Net of about as many parameters.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from noiseworth.networks.backbone import padded_to_multiple

_FREQUENCIES = 32
_HIGHEST = 60.0  # of the frequencies: conditions of -2 to 2 are told apart to about 1 / 60
_EMBEDDING = 128


class _Block(nn.Module):
    """`x + conv(silu(gain * norm(conv(silu(norm(x)))) + shift))`; gain and shift are linear in the embedding."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv_out = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(_EMBEDDING, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        _set_to_zero(self.conv_out)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv_in(functional.silu(_normalised(x)))
        gain, shift = self.modulation(embedding)[:, :, None, None].to(h.dtype).chunk(2, dim=1)
        h = functional.silu(torch.addcmul(shift, _normalised(h), 1 + gain))
        output: Tensor = self.skip(x) + self.conv_out(h)
        return output


class UNet(nn.Module):
    """A U-Net for any image size: sizes that do not halve evenly are padded and cropped.

    `channels` are those at each resolution; the images' own comes first, and each has half the rows and columns of
    the one before.

    With `classes`, labels 0 .. classes - 1 are conditions; `classes` itself, or no labels at all, stands for
    an unknown class.
    """

    def __init__(self, channels: Sequence[int], in_channels: int, classes: int = 0) -> None:
        super().__init__()
        self.multiple, self.classes = 2 ** (len(channels) - 1), classes
        self.frequencies: Tensor
        frequencies = torch.exp(torch.linspace(0, math.log(_HIGHEST), _FREQUENCIES))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.embed = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, _EMBEDDING), nn.SiLU(), nn.Linear(_EMBEDDING, _EMBEDDING)
        )
        self.embed_class = nn.Embedding(classes + 1, _EMBEDDING) if classes else None
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(n, n) for n in channels)
        self.middle = _Block(channels[-1], channels[-1])  # without it samples hang together less well
        pairs = list(pairwise(channels))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.widen = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in reversed(pairs))
        self.up = nn.ModuleList(_Block(2 * fine, fine) for fine, _ in reversed(pairs))
        self.conv_out = nn.Conv2d(channels[0], in_channels, 3, padding=1)
        _set_to_zero(self.conv_out)  # start from the preconditioner's own estimate

    def _embedding(self, condition: Tensor, labels: Tensor | None) -> Tensor:
        angles = condition.to(torch.float32)[:, None] * self.frequencies
        embedding: Tensor = self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))
        if self.embed_class is not None:
            if labels is None:
                labels = torch.full((len(condition),), self.classes, device=condition.device)
            embedding = embedding + self.embed_class(labels)
        return functional.silu(embedding)

    def forward(self, x: Tensor, condition: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Backbone`."""
        height, width = x.shape[-2:]
        embedding = self._embedding(condition, labels)
        h = self.conv_in(padded_to_multiple(x, self.multiple).contiguous(memory_format=torch.channels_last))
        finer: list[Tensor] = []
        for number, block in enumerate(self.down):
            h = block(h, embedding)
            if number < len(self.shrink):
                finer.append(h)
                h = self.shrink[number](h)
        h = self.middle(h, embedding)
        for widen, block in zip(self.widen, self.up, strict=True):
            wide = functional.interpolate(widen(h), scale_factor=2.0, mode="nearest")
            h = block(torch.cat([wide, finer.pop()], dim=1), embedding)
        output: Tensor = self.conv_out(functional.silu(_normalised(h)))
        return output[..., :height, :width]


def _normalised(x: Tensor) -> Tensor:
    """Each image of a batch (B, C, H, W) with mean 0 and variance 1."""
    rows = x.permute(0, 2, 3, 1)
    return functional.layer_norm(rows, rows.shape[1:]).permute(0, 3, 1, 2)


def _set_to_zero(conv: nn.Conv2d) -> None:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
