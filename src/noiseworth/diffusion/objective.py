"""The unbiased ambient objective (docs/architecture.md, "The life of a training pair").

An image `y = x + s z` is lifted to a level `sigma > s` exactly, `x_sigma = y + sqrt(sigma^2 - s^2) eps`, and
the denoiser is fitted to

    T = (y - (1 - a) x_sigma) / a,   a = 1 - s^2 / sigma^2

for which `E[T | x_sigma] = E[x | x_sigma]` (Tweedie's formula twice; Daras, Dimakis and Daskalakis,
"Consistent diffusion meets Tweedie", arXiv 2404.10177) and `Var(T | x_sigma) = v(sigma) + s^2 / a` per pixel.
For a clean image `a = 1` and the loss is EDM's, bit for bit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.diffusion.precondition import Denoiser, loss_weight, per_image


@dataclass(frozen=True)
class Loss:
    """Per image (B,): the weighted loss, and the squared residual `(D - T)^2`, both means over pixels."""

    weighted: Tensor
    residual: Tensor


def lift(y: Tensor, s: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """Raise images from their own noise to a level: `y + sqrt(sigma^2 - s^2) noise`.

    Args:
        y: (B, C, H, W) images in model units.
        s: (B,) their noise.
        sigma: (B,) levels, each above its image's noise.
        noise: (B, C, H, W) standard normal.
    """
    extra = torch.sqrt(sigma.to(torch.float64) ** 2 - s.to(torch.float64) ** 2)
    return y + per_image(extra, y) * noise


def ambient_target(y: Tensor, s: Tensor, sigma: Tensor, x_sigma: Tensor) -> Tensor:
    """The unbiased target `T` (B, C, H, W) of images `y` lifted to `x_sigma`; of clean images, `y` itself."""
    a = 1 - (s.to(torch.float64) / sigma.to(torch.float64)) ** 2
    return (y - per_image(1 - a, y) * x_sigma) / per_image(a, y)


def ambient_pair(y: Tensor, s: Tensor, sigma: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """`x_sigma` and the unbiased target, both (B, C, H, W); arguments as in `ambient_loss`."""
    x_sigma = lift(y, s, sigma, noise)
    return x_sigma, ambient_target(y, s, sigma, x_sigma)


def ambient_loss(
    denoiser: Denoiser,
    y: Tensor,
    s: Tensor,
    sigma: Tensor,
    noise: Tensor,
    sigma_data: float,
    weight: Tensor | None = None,
) -> Loss:
    """The loss of a batch of pairs that were drawn by worth; average `weighted` and minimise.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        y: (B, C, H, W) images in model units.
        s: (B,) their noise, 0 for clean ones.
        sigma: (B,) levels, each above its image's noise.
        noise: (B, C, H, W) standard normal.
        sigma_data: root mean square of clean pixels.
        weight: (B,) of the pairs, as drawn with them (`Pairs.weight`).
    """
    x_sigma, target = ambient_pair(y, s, sigma, noise)
    return regression_loss(denoiser, x_sigma, target, sigma, sigma_data, weight)


def regression_loss(
    denoiser: Denoiser,
    x_sigma: Tensor,
    target: Tensor,
    sigma: Tensor,
    sigma_data: float,
    weight: Tensor | None = None,
) -> Loss:
    """The loss of a batch against any targets (B, C, H, W); other arguments as in `ambient_loss`."""
    residual = (denoiser(x_sigma, sigma) - target).square().flatten(1).mean(1)
    scale = loss_weight(sigma, sigma_data)
    if weight is not None:
        scale = scale * weight.to(sigma.device)
    return Loss(scale.to(residual.dtype) * residual, residual.detach())
