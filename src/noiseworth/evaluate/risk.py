"""Denoising risk: the mean squared error per pixel of `D(x + sigma z, sigma)` against held-out clean `x`, level by level.

The noise is a function of (seed, place of the image, place of the level), so that two models are measured on the same noisy
images and their difference is far more certain than either risk.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.diffusion.precondition import Denoiser
from noiseworth.errors import UserError
from noiseworth.records import RiskCurve
from noiseworth.tensors import Stream, normal

DEFAULT_LEVELS = tuple(float(f"{level:.4g}") for level in np.geomspace(0.05, 5.0, 9))
_CHUNK = 256


@torch.no_grad()
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
        UserError: no images, or a level that is not positive.
    """
    if len(images) < 2 or min(levels) <= 0:
        raise UserError(f"denoising risk needs at least 2 images and positive levels, got {len(images)} images, levels {list(levels)}")
    x = torch.from_numpy(images)
    risks, errors = [], []
    for number, level in enumerate(levels):
        per_image = torch.zeros(len(x), dtype=torch.float64)
        for repeat in range(repeats):
            for start in range(0, len(x), _CHUNK):
                clean = x[start : start + _CHUNK]
                ids = torch.arange(start, start + len(clean)) + ((number * repeats + repeat) << 40)
                noisy = clean + level * normal(seed, Stream.RISK, ids, clean.shape[1:])
                estimate = denoiser(noisy.to(device), torch.full((len(clean),), level, device=device)).cpu()
                per_image[start : start + len(clean)] += (estimate - clean).double().square().flatten(1).mean(1) / repeats
        risks.append(float(per_image.mean()))
        errors.append(float(per_image.std() / len(x) ** 0.5))
    return RiskCurve(list(levels), risks, errors, len(x))
