"""The preconditioned denoiser of EDM.

Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based generative models",
arXiv 2206.00364, equation 7 and table 1:

    D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)

with F the network (backbone) and `sigma_data` the root mean square of clean pixels in model units.
"""

from typing import Protocol

import torch
from torch import Tensor, nn


class Denoiser(Protocol):
    """`(x_sigma (B, C, H, W), sigma (B,)) -> (B, C, H, W)`: estimates `E[x | x_sigma]`, in model units."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


class PreconditionedDenoiser(nn.Module):
    """A denoiser around a backbone, whose input, output and loss have unit scale at every level."""

    def __init__(self, backbone: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.backbone, self.sigma_data = backbone, sigma_data

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Estimate the clean images.

        Args:
            x: (B, C, H, W) noisy images.
            sigma: (B,) their noise levels, positive.
            labels: (B,) int64 classes, for a class-conditional backbone.

        Returns:
            (B, C, H, W) float32.
        """
        sigma = sigma.to(torch.float32)
        total = sigma**2 + self.sigma_data**2
        c_skip = per_image(self.sigma_data**2 / total, x)
        c_out = per_image(sigma * self.sigma_data * total.rsqrt(), x)
        c_in = per_image(total.rsqrt(), x)
        condition = sigma.log() / 4
        output: Tensor = (
            self.backbone(c_in * x, condition)
            if labels is None
            else self.backbone(c_in * x, condition, labels)
        )
        return c_skip * x + c_out * output.to(torch.float32)


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """`(sigma^2 + sigma_data^2) / (sigma sigma_data)^2` (arXiv 2206.00364, table 1, "Loss weighting")."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, ..., 1) so that it broadcasts against `like` (B, ...), in `like`'s dtype.

    Raises:
        ValueError: `value` is not one number per image.
    """
    if value.shape != like.shape[:1]:
        raise ValueError(f"expected one number per image, shape ({len(like)},), got {tuple(value.shape)}")
    return value.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
