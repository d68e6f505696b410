"""Two ways to use an image at levels below its own noise, where no unbiased target exists.

*Imputation*: run the reverse process from the noisy image at its own level down to 0 with the current model,
and train on what comes out as if it were clean; repeat. This is expectation-maximisation for the distribution
of clean images (SFBD, arXiv 2502.05446; DiffEM, arXiv 2510.12691). How far imputed images are trusted is
`worth.imputed_worth`.

*Consistency*: a denoiser that is right is a martingale along its own reverse process (arXiv 2404.10177),
`D(x_sigma, sigma) = E[D(x_sigma', sigma') | x_sigma]` for `sigma' < sigma`. So run the process from the noisy
image down to `sigma`, and one step further to `sigma'`; then fit the denoiser at `sigma` to the value that
the averaged denoiser has at `sigma'`.
"""

import torch
from torch import Tensor

from noiseworth.diffusion.precondition import Denoiser, per_image
from noiseworth.rng import Stream, normal

STEPS = 6  # of imputation in training
_CONSISTENCY_STEPS = 3
_CONSISTENCY_RATIO = 0.7  # sigma' / sigma


@torch.no_grad()
def impute(
    denoiser: Denoiser,
    y: Tensor,
    s: Tensor,
    ids: Tensor,
    *,
    seed: int,
    steps: int = STEPS,
    trained_from: float = 0.0,
) -> Tensor:
    """Clean images drawn roughly from the denoiser's posterior, given noisy ones.

    With as few steps as in training the draw is biased, even with the exact denoiser: given one noisy image,
    the variance of a Gaussian coefficient is 1.45 times the posterior's where the coefficient's own is a
    hundredth of the noise's, right at a tenth, 0.58 of it where they are equal, 0.42 where it is far larger;
    and the likeliest of several explanations is drawn too often (components of posterior probability
    0.62, 0.19, 0.19 at 0.85, 0.08, 0.08). Over many noisy images the two make up for each other: those imputed
    have the mean and, within 4% of the largest, the covariance of clean ones, which is what training needs.
    The bias falls in proportion to the steps: with 192 variances are within 3% (tests/test_imputation.py).

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        y: (B, C, H, W) noisy images in model units.
        s: (B,) their noise, positive.
        ids: (B,) of the draws; other ids give other images.
        steps: number of steps of the reverse process; each calls the denoiser twice, the last one once.
        trained_from: the lowest level that the denoiser was trained at. If it is above 0 (there are no clean
            images, and none was imputed yet), the result is the denoiser's mean estimate, which is smoother
            than an image.

    Returns:
        (B, C, H, W).
    """
    if trained_from != 0:
        return denoiser(y, s.clamp(min=trained_from))
    # Squared, so that steps are smaller at the low levels.
    ramp = torch.linspace(1, 0, steps + 1, dtype=torch.float64, device=s.device) ** 2
    x = y
    for number in range(steps):
        x = _reverse(denoiser, x, s * ramp[number], s * ramp[number + 1], ids * steps + number, seed)
    return x


@torch.no_grad()
def consistent_pair(
    denoiser: Denoiser, y: Tensor, s: Tensor, sigma: Tensor, ids: Tensor, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Inputs at levels below the images' noise, and targets that make the denoiser consistent.

    Args:
        denoiser: the averaged one.
        y: (B, C, H, W) noisy images in model units.
        s: (B,) their noise.
        sigma: (B,) levels, each at most a little above `s`.
        ids: (B,) of the draws.

    Returns:
        `x_sigma` and the targets, both (B, C, H, W).
    """
    x, level = y, s.to(torch.float64)
    ratio = (sigma.to(torch.float64) / level).clamp(max=1.0) ** (1 / _CONSISTENCY_STEPS)
    calls = _CONSISTENCY_STEPS + 1
    for number in range(_CONSISTENCY_STEPS):
        x = _reverse(denoiser, x, level, level * ratio, ids * calls + number, seed)
        level = level * ratio
    further = _reverse(denoiser, x, level, level * _CONSISTENCY_RATIO, ids * calls + calls - 1, seed)
    return x, denoiser(further, level * _CONSISTENCY_RATIO)


def _reverse(denoiser: Denoiser, x: Tensor, sigma: Tensor, lower: Tensor, ids: Tensor, seed: int) -> Tensor:
    """One stochastic step from levels `sigma` (B,) to `lower` (B,).

    It is Heun's step to `lower^2 / sigma`, and then back up to `lower` with fresh noise. With that amount of
    noise, many short steps follow the reverse process, and the result is drawn from the posterior given `x`;
    with more noise, it would forget `x`. A few steps by DDPM's rule lose variance over many images; a few of
    these keep it, though not given one image (see `impute`; tests/test_imputation.py).
    """
    target = lower**2 / sigma
    slope = (x - denoiser(x, sigma)) / per_image(sigma, x)
    x_lower = x + per_image(target - sigma, x) * slope
    if bool((lower > 0).all()):
        second = (x_lower - denoiser(x_lower, target)) / per_image(target, x)
        x_lower = x + per_image(target - sigma, x) * (slope + second) / 2
        x_lower = x_lower + per_image(torch.sqrt(lower**2 - target**2), x) * normal(
            seed, Stream.IMPUTE, ids, x.shape[1:]
        )
    return x_lower
