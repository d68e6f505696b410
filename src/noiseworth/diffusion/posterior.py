"""What a noisy image leaves open: mean and variance of the clean image, by a denoiser at the image's own level.

For white noise of level s, `y = x + s n`, both are Tweedie's formula (Efron, J. Am. Stat. Assoc. 106, 2011; of second order:
Meng et al., arXiv 2111.04726):

    E[x | y] = D(y, s)        Cov(x | y) = s^2 dD/dy

Draws of the clean image are those of `imputation.impute`, with more steps than training takes.
"""

import torch
from torch import Tensor

from noiseworth.diffusion.precondition import Denoiser, per_image
from noiseworth.rng import Stream, uniform

SPACING = 4  # pixels between those that are moved together
_STEP = 0.05  # of the noise, by which pixels are moved


@torch.no_grad()
def posterior(
    denoiser: Denoiser, y: Tensor, s: Tensor, ids: Tensor, *, seed: int, spacing: int = SPACING
) -> tuple[Tensor, Tensor]:
    """Mean of the clean images given noisy ones, and the variance of each of their pixels.

    The diagonal of `dD/dy` is read off differences of estimates: every `spacing`-th pixel of each row and column is moved
    together, up or down by chance, one channel at a time. What a pixel's estimate owes to pixels that far away is left in, with
    mean 0 over the signs. Differences cost `spacing^2` estimates for each channel.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        y: (B, C, H, W) noisy images in model units.
        s: (B,) their noise, positive.
        ids: (B,) of the draws of signs.
        seed: of these.
        spacing: pixels.

    Returns:
        Mean and variance, both (B, C, H, W). The variance is that which the denoiser implies; of one that is not exact it can be
        negative.
    """
    mean = denoiser(y, s)
    move = per_image(_STEP * s, y)
    signs = torch.where(uniform(seed, Stream.PROBE, ids, y[0].numel()).reshape(y.shape) < 0.5, -1.0, 1.0)
    variance = torch.zeros_like(y)
    for channel in range(y.shape[1]):
        for row in range(min(spacing, y.shape[2])):
            for column in range(min(spacing, y.shape[3])):
                probe = torch.zeros_like(y)
                at = (slice(None), channel, slice(row, None, spacing), slice(column, None, spacing))
                probe[at] = signs[at].to(y.dtype)
                slope = (denoiser(y + move * probe, s) - mean) / move
                variance[at] = (probe * slope)[at]
    return mean, variance * per_image(s, y) ** 2


def squared_error(y: Tensor, mean: Tensor, variance: Tensor, s: Tensor) -> Tensor:
    """(B, C, H, W) an estimate of `(mean - x)^2` that needs no clean image, of noisy ones alone.

    Unbiased for any denoiser whose slope `variance / s^2` is right (Stein's unbiased risk estimate, Ann. Stat. 9, 1981); single
    values are often negative.
    """
    return (y - mean) ** 2 - per_image(s, y) ** 2 + 2 * variance
