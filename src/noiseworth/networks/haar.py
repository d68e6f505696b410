"""A network that works on the Haar coefficients of images: a quarter of the pixels, four times the channels, for each level.

The transform is orthonormal, so that white noise stays white and of the same level, and the loss is the same: nothing outside the
network changes. Coefficients at every level are transformed again, all of them, so that their number of channels is 4^levels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from noiseworth.networks.backbone import Backbone, padded_to_multiple

MOST_LEVELS = 3
_MIX = 0.5 * torch.tensor(
    [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]]
)  # of the four pixels of a square; its own inverse


def haar(images: Tensor) -> Tensor:
    """One level of coefficients (B, 4 C, H/2, W/2) of images (B, C, H, W) with even sides: of each channel the mean (times 2), and the
    differences along rows, columns and diagonals."""
    return _mixed(functional.pixel_unshuffle(images, 2))


def inverse_haar(coefficients: Tensor) -> Tensor:
    """The images of one level of coefficients."""
    return functional.pixel_shuffle(_mixed(coefficients), 2)


def _mixed(squares: Tensor) -> Tensor:
    batch, channels, height, width = squares.shape
    parts = squares.reshape(batch, channels // 4, 4, height, width)
    mixed = torch.einsum("ij,bcjhw->bcihw", _MIX.to(squares), parts)
    return mixed.reshape(batch, channels, height, width)


class OnHaar(nn.Module):
    """A backbone for images (B, C, H, W), made of one for their coefficients (B, 4^levels C, H / 2^levels, W / 2^levels)."""

    def __init__(self, backbone: nn.Module, levels: int) -> None:
        super().__init__()
        self.backbone, self.levels = backbone, levels

    def forward(self, x: Tensor, condition: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Backbone`."""
        backbone: Backbone = self.backbone
        height, width = x.shape[-2:]
        coefficients = padded_to_multiple(x, 2**self.levels)
        for _ in range(self.levels):
            coefficients = haar(coefficients)
        output = backbone(coefficients, condition, labels)
        for _ in range(self.levels):
            output = inverse_haar(output)
        return output[..., :height, :width]
