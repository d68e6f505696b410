"""Imputing images whose noise differs from coordinate to coordinate, or of which coordinates were not measured.

The reverse process runs from a level above all of an image's noise down to 0. At each level, coordinates of less noise
than that are what was measured, lifted to the level; a coordinate joins the process at its own noise (as in DDRM, Kawar et
al., arXiv 2201.11793, for noise that is diagonal in a basis). The level's noise hides much of what was measured, so each step
goes by the estimate given the measured values too. Where the posterior given `x_sigma` is Gaussian, that is

    E[x | x_sigma, y] = D + C_o (C_oo + S / a)^-1 (T - D)_o,   C = Cov(x | x_sigma) = sigma^2 dD/dx

over the measured coordinates o, with their unbiased targets T (`diagonal.py`) of variance S / a beyond the posterior's.
The inverse is approximated by one step of conjugate gradients, whose one product with C is a difference of two
estimates: no derivative of the network is needed. (Song et al., "Pseudoinverse-guided diffusion models", ICLR 2023, take
C to be white.)
"""

import torch
from torch import Tensor

from noiseworth.diffusion.diagonal import DiagonalNoise, is_own, lift_coordinates
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.rng import Stream, normal

STEPS = 9  # of imputation in training
_START = 8.0  # times sigma_data, the level at which images of which parts were not measured begin
_MISSING = 10.0  # times sigma_data: a coordinate of more noise counts as not measured
_PROBE = 0.1  # of the level, the size of the difference by which the posterior's covariance is applied
_NUGGET = 0.02  # of the level's variance, the least that a coordinate is taken to be uncertain


@torch.no_grad()
def impute_given(
    denoiser: Denoiser,
    y: Tensor,
    own_noise: DiagonalNoise,
    ids: Tensor,
    *,
    seed: int,
    sigma_data: float,
    steps: int = STEPS,
) -> Tensor:
    """Clean images drawn roughly from the denoiser's posterior, given noisy ones.

    With as few steps as in training the draw is biased. Of Gaussian images of eight correlated pixels (standard deviations from
    0.04 to 0.8 along their axes), with the exact denoiser, the imputed ones have a covariance that is off by up to 7% of the
    largest variance where half of the pixels are missing, 10% where noise differs from 0.1 to 1.4 a pixel, or where the other
    half has noise of 0.3.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        y: (B, C, H, W) noisy images in model units; NaN where nothing was measured.
        own_noise: their noise.
        ids: (B,) of the draws; other ids give other images.
        sigma_data: root mean square of clean pixels.
        steps: number of steps of the reverse process; each calls the denoiser four times, the last one twice.

    Returns:
        (B, C, H, W).
    """
    given = _Measured(denoiser, y, own_noise, sigma_data)
    variance = given.variance
    top = torch.where(given.is_measured, variance, 0).flatten(1).amax(1).sqrt()
    is_whole = given.is_measured.flatten(1).all(1)
    start = torch.where(is_whole, top, torch.clamp(top, min=_START * sigma_data)).reshape(-1, 1, 1, 1)
    draws = iter(range(3 * steps))

    def fresh() -> Tensor:
        return normal(seed, Stream.IMPUTE, ids * (3 * steps) + next(draws), y.shape[1:])

    # Squared, so that steps are smaller at the low levels.
    ramp = torch.linspace(1, 0, steps + 1, dtype=torch.float64, device=y.device).square().to(y.dtype)
    noise = fresh()
    spread = torch.hypot(start.expand_as(y), torch.full_like(y, sigma_data))
    x = torch.where(given.is_measured, given.lifted(start, noise), spread * noise)
    for number in range(steps):
        level, lower = start * ramp[number], start * ramp[number + 1]
        # A coordinate joins at its own noise, with what was measured.
        joins = (variance > lower**2) & (variance < level**2)
        base, base_level = torch.where(joins, given.values, x), torch.where(joins, variance.sqrt(), level)
        base_level = base_level.clamp(min=1e-12)
        target = lower**2 / base_level
        slope = (base - given.estimate(x, level)) / base_level
        down = base + (target - base_level) * slope
        if number == steps - 1:
            x = torch.where(variance <= 0, given.values, down)
            break
        between = lower**2 / level.clamp(min=1e-12)
        trial = torch.where(variance <= lower**2, given.lifted(between, fresh()), down)
        second = (trial - given.estimate(trial, between)) / target.clamp(min=1e-12)
        down = base + (target - base_level) * (slope + second) / 2
        # As in `imputation.py`: down to lower^2 / level, and up to the lower level with fresh noise.
        noise = fresh()
        down = down + torch.sqrt((lower**2 - target**2).clamp(min=0)) * noise
        x = torch.where(variance <= lower**2, given.lifted(lower, noise), down)
    return own_noise.turned(x)


class _Measured:
    """What was measured of a batch, as coordinates; and estimates given it.

    Attributes:
        values: (B, C, H, W), 0 where nothing was measured.
        variance: (B, C, H, W) of their noise, infinite where nothing was.
        is_measured: (B, C, H, W).
    """

    def __init__(self, denoiser: Denoiser, y: Tensor, own_noise: DiagonalNoise, sigma_data: float) -> None:
        self._denoiser, self._turned = denoiser, own_noise.turned
        limit = (_MISSING * sigma_data) ** 2
        self.variance = torch.where(own_noise.variance < limit, own_noise.variance, torch.inf)
        self.is_measured = torch.isfinite(self.variance)
        self.values = torch.where(
            self.is_measured, own_noise.turned(torch.nan_to_num(y)), torch.zeros_like(y)
        )

    def lifted(self, level: Tensor, noise: Tensor) -> Tensor:
        """What was measured, at levels that are at least its own."""
        return lift_coordinates(self.values, torch.where(self.is_measured, self.variance, 0), level, noise)

    def _denoised(self, c: Tensor, level: Tensor) -> Tensor:
        # A level of 0 is that of an image without noise: nothing is to be done.
        return self._turned(self._denoiser(self._turned(c), level.flatten().clamp(min=1e-5)))

    def estimate(self, c: Tensor, level: Tensor) -> Tensor:
        """`E[x | x_sigma, y]` at coordinates `c` of levels (B, 1, 1, 1), see the module's docstring."""
        plain = self._denoised(c, level)
        own = self.is_measured & is_own(self.variance, level)
        kept = torch.where(own, self.variance, torch.zeros_like(c))
        a = 1 - kept / level.clamp(min=1e-12) ** 2
        target = (self.values - (1 - a) * c) / a
        off = torch.where(own, target - plain, torch.zeros_like(c))
        size = off.square().mean((1, 2, 3), keepdim=True).sqrt()
        step = _PROBE * level / size.clamp(min=1e-12)
        spread = level**2 * (self._denoised(c + step * off, level) - plain) / step
        square = off.square().sum((1, 2, 3), keepdim=True)
        least = ((kept / a + _NUGGET * level**2) * off.square()).sum((1, 2, 3), keepdim=True)
        along = (off * spread).sum((1, 2, 3), keepdim=True).clamp(min=0) + least
        return plain + torch.where(square > 0, square / along.clamp(min=1e-30), 0) * spread
