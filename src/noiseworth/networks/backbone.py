"""The `Backbone` protocol.

A backbone is any module that maps an image batch (B, C, H, W), one float per image (B,) and, if it knows
classes, one class per image (B,) to an image batch of the same shape. What these mean (preconditioning,
levels) is decided in `diffusion/`; a backbone knows nothing of noise.
"""

from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional


class Backbone(Protocol):
    """`(x (B, C, H, W), condition (B,), labels (B,) or None) -> (B, C, H, W)`."""

    def __call__(self, x: Tensor, condition: Tensor, labels: Tensor | None = None) -> Tensor: ...


def padded_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Images (B, C, H, W) whose last rows and columns are repeated until both sides are a multiple."""
    height, width = x.shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)
    return functional.pad(x, padding, mode="replicate") if any(padding) else x


def count_parameters(module: Any) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
