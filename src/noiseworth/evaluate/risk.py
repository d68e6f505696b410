"""Denoising risk: mean squared error per pixel of `D(x + sigma z, sigma)` for held-out clean `x`, by level.

Without clean images, held-out noisy ones can be used at levels above their own noise: the error against the
unbiased target `T` (see `diffusion.objective`) exceeds that against the clean image by `s^2 / a` on average,
which is known.

The noise is a function of (seed, index of the image, index of the level). So two models are measured on the
same noisy images, and the difference of their risks is far more precise than either risk.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.diffusion.objective import ambient_pair
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.worth import MIN_A
from noiseworth.errors import UserError
from noiseworth.records import RiskCurve
from noiseworth.rng import Stream, normal

DEFAULT_LEVELS = tuple(float(f"{level:.4g}") for level in np.geomspace(0.05, 5.0, 9))
_CHUNK = 256


def denoising_risk(
    denoiser: Denoiser,
    images: NDArray[np.float32],
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    repeats: int = 1,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> RiskCurve:
    """Measure the risk at each level.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        images: (N, C, H, W) clean images in model units, none of them trained on.
        levels: noise levels, positive.
        repeats: draws of noise for each image.

    Returns:
        Risks with standard errors over images.

    Raises:
        UserError: fewer than 2 images, or a level that is not positive.
    """
    if len(images) < 2 or min(levels) <= 0:
        raise UserError(
            f"denoising risk needs at least 2 images and positive levels, got {len(images)} images, levels"
            f" {list(levels)}"
        )
    return _risk(
        denoiser,
        torch.from_numpy(images),
        torch.zeros(len(images), dtype=torch.float64),
        levels,
        repeats,
        seed,
        device,
    )


def noisy_risk(
    denoiser: Denoiser,
    images: NDArray[np.float32],
    s: NDArray[np.floating],
    levels: Sequence[float] = DEFAULT_LEVELS,
    *,
    repeats: int = 1,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> RiskCurve:
    """Unbiased estimate of the denoising risk on clean images, from held-out noisy ones.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        images: (N, C, H, W) noisy images in model units, none of them trained on.
        s: (N,) their noise; 0 is clean.
        levels: noise levels; a level is left out unless at least two images have less noise than it.
        repeats: draws of noise for each image.

    Returns:
        Risks with standard errors over images. An estimate can be negative if the risk is smaller than its
        error.

    Raises:
        UserError: the noise of an image is not known, or no level lies above the noise of two images.
    """
    x, noise = torch.from_numpy(images), torch.from_numpy(np.asarray(s, dtype=np.float64))
    if len(noise) != len(x) or not bool((torch.isfinite(noise) & (noise >= 0)).all()):
        raise UserError("the risk on noisy images needs the noise of each, finite and 0 or more")
    curve = _risk(denoiser, x, noise, levels, repeats, seed, device)
    if not curve.levels:
        raise UserError(
            f"no level of {list(levels)} lies above the noise of two images (the cleanest has"
            f" {float(noise.min()):.3g})"
        )
    return curve


def noise_is_measurable(s: NDArray[np.floating], levels: Sequence[float] = DEFAULT_LEVELS) -> bool:
    """Whether images of noise `s` (N,) can measure the risk (`noisy_risk`): all known, two of them below a level."""
    if not (np.isfinite(s) & (s >= 0)).all():
        return False
    return int((1 - (s.astype(np.float64) / max(levels)) ** 2 >= MIN_A).sum()) >= 2


@torch.no_grad()
def _risk(
    denoiser: Denoiser,
    x: Tensor,
    noise: Tensor,
    levels: Sequence[float],
    repeats: int,
    seed: int,
    device: torch.device | str,
) -> RiskCurve:
    """For clean and noisy images: the target of a clean one is itself, and its noise is 0."""
    known, risks, errors = [], [], []
    for number, level in enumerate(levels):
        a = 1 - (noise / level) ** 2
        rows = torch.nonzero(a >= MIN_A)[:, 0]
        if len(rows) < 2:
            continue
        per_image = torch.zeros(len(rows), dtype=torch.float64)
        for repeat in range(repeats):
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                ids = chunk + ((number * repeats + repeat) << 40)
                sigma = torch.full((len(chunk),), level)
                fresh = normal(seed, Stream.RISK, ids, x.shape[1:])
                x_sigma, target = ambient_pair(x[chunk], noise[chunk], sigma, fresh)
                estimate = denoiser(x_sigma.to(device), sigma.to(device)).cpu()
                residual = (estimate - target).double().square().flatten(1).mean(1)
                per_image[start : start + len(chunk)] += (residual - noise[chunk] ** 2 / a[chunk]) / repeats
        known.append(level)
        risks.append(float(per_image.mean()))
        errors.append(float(per_image.std() / len(rows) ** 0.5))
    return RiskCurve(known, risks, errors, len(x))
