"""The ambient objective for Gaussian noise that is diagonal in an orthonormal basis.

In the basis of the pixels that is a variance map, in Fourier's it is stationary, coloured noise; a pixel that was not
measured has infinite variance. With `S_j` the variance of coordinate `j`, each coordinate is lifted for itself,

    x_j = y_j + sqrt(sigma^2 - S_j) eps_j,   T_j = (y_j - (1 - a_j) x_j) / a_j,   a_j = 1 - S_j / sigma^2

so that the noise of `x` is white, of level `sigma`, and `E[T_j | x] = E[x_j clean | x]`, `Var(T_j | x) = v_j + S_j / a_j`:
Tweedie's formula twice, as in `objective.py`, for each coordinate. Weights per coordinate keep the minimiser; a
coordinate counts by its worth, `v_j / (v_j + S_j / a_j)`.

Coordinates whose own noise is above the level cannot be lifted. They are taken from an imputed image (`conditional.py`),
drawn given all that was measured: given the noisy image, those are distributed as the true ones, so that the targets of
the other coordinates stay unbiased.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.diffusion.objective import Loss
from noiseworth.diffusion.precondition import Denoiser, loss_weight
from noiseworth.diffusion.worth import MIN_A


@dataclass(frozen=True)
class DiagonalNoise:
    """The noise of a batch of images, coordinate by coordinate.

    Attributes:
        variance: (B, C, H, W) float32, of the coordinates; infinite where nothing was measured.
        is_fourier: (B,) bool: coordinates are those of the Fourier basis, in `fft2`'s order; else they are pixels.
    """

    variance: Tensor
    is_fourier: Tensor

    def turned(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) as coordinates, or coordinates as images: the transform is its own inverse.

        Fourier's basis is made real as Hartley's: sums of cosine and sine, which diagonalise noise of a symmetric
        spectrum just as well (Bracewell, "The Hartley transform", 1986).
        """
        if not bool(self.is_fourier.any()):
            return x
        whole = torch.fft.fft2(x[self.is_fourier], norm="ortho")
        out = x.clone()
        out[self.is_fourier] = (whole.real - whole.imag).to(x.dtype)
        return out


@dataclass(frozen=True)
class DiagonalPair:
    """Inputs and targets of a batch, both (B, C, H, W), and `own` (B, C, H, W): coordinates with unbiased targets."""

    x_sigma: Tensor
    target: Tensor
    own: Tensor


def is_own(variance: Tensor, sigma: Tensor) -> Tensor:
    """Where a coordinate's own noise leaves it an unbiased target at a level; arguments broadcast."""
    return 1 - variance / sigma.to(variance.dtype) ** 2 >= MIN_A


def lift_coordinates(c: Tensor, variance: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """Raise coordinates (B, C, H, W) from their own variances to levels, which broadcast and must not be lower."""
    return c + torch.sqrt((level**2 - variance).clamp(min=0)) * noise


def diagonal_pair(
    y: Tensor, own_noise: DiagonalNoise, sigma: Tensor, noise: Tensor, filled: Tensor | None = None
) -> DiagonalPair:
    """Inputs at levels, and unbiased targets.

    Args:
        y: (B, C, H, W) images in model units; NaN where nothing was measured.
        own_noise: their noise.
        sigma: (B,) levels.
        noise: (B, C, H, W) standard normal.
        filled: (B, C, H, W) imputed images, for the coordinates that cannot be lifted; needed if there are any.

    Raises:
        ValueError: there are, and no imputed images were given.
    """
    variance = own_noise.variance
    own = is_own(variance, _wide(sigma, y))
    c = own_noise.turned(y)
    if filled is not None:
        c = torch.where(own, c, own_noise.turned(filled))
    elif not bool(own.all()):
        raise ValueError("coordinates above their level need imputed images")
    kept = torch.where(own, variance, torch.zeros_like(variance))
    x = lift_coordinates(c, kept, _wide(sigma, c), noise)
    # In float64, as `a` is a difference: float32 would cost digits where it is small.
    a = 1 - kept.to(torch.float64) / _wide(sigma.to(torch.float64), y) ** 2
    target = ((c - (1 - a) * x) / a).to(y.dtype)
    return DiagonalPair(own_noise.turned(x), own_noise.turned(target), own)


def coordinate_weight(variance: Tensor, own: Tensor, sigma: Tensor, v: Tensor, imputed: Tensor) -> Tensor:
    """How much each coordinate of a batch counts: its worth, or the trust in its imputed value.

    Args:
        variance: (B, C, H, W) of the coordinates.
        own: (B, C, H, W), which of them have targets of their own.
        sigma: (B,) levels.
        v: (B, C, H, W), the variance of a clean coordinate given the input.
        imputed: (B, C, H, W), what an imputed coordinate is worth.

    Returns:
        (B, C, H, W) in [0, 1].
    """
    level = _wide(sigma, variance)
    a = torch.where(own, 1 - variance / level**2, torch.ones_like(variance))
    kept = torch.where(own, variance, torch.zeros_like(variance))
    return torch.where(own, v / (v + kept / a), imputed)


def _wide(per_image: Tensor, like: Tensor) -> Tensor:
    return per_image.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def diagonal_loss(
    denoiser: Denoiser,
    pair: DiagonalPair,
    own_noise: DiagonalNoise,
    sigma: Tensor,
    sigma_data: float,
    coordinate: Tensor,
    weight: Tensor,
) -> Loss:
    """The loss of a batch in which each coordinate has its own weight.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        pair: inputs and targets.
        own_noise: of the images, for the basis.
        sigma: (B,) levels.
        sigma_data: root mean square of clean pixels.
        coordinate: (B, C, H, W) weights of the coordinates.
        weight: (B,) of the pairs.
    """
    residual = own_noise.turned(denoiser(pair.x_sigma, sigma) - pair.target).square()
    weighted = (coordinate * residual).flatten(1).mean(1)
    scale = loss_weight(sigma, sigma_data) * weight.to(sigma.device)
    return Loss(scale.to(weighted.dtype) * weighted, residual.detach().flatten(1).mean(1))
