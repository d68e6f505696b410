"""The noise level of an image, measured with the model itself: it knows what clean images look like.

At the true level s of white noise, `y = x + s n`, the denoiser's error is orthogonal to what it gives, so that

    E |y - D(y, s)|^2 + tr Cov(x | y) = s^2 d

(Tweedie's formula; d: number of pixels). At a level too low the left side is larger than the right, as noise is left in, and too
high it is smaller: the level is where they meet. Fine texture is not taken for noise, as it is by measurements that know no
clean images.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.diffusion.posterior import posterior
from noiseworth.diffusion.precondition import Denoiser

_SPACING = 2  # of the differences that give the trace of the covariance: the mean over pixels is sure enough with few
_STEPS = 14  # of bisection, to 1e-4 of the range in the logarithm
_SLOPE = 0.05  # step in the logarithm of the level
_LOWEST = 0.002  # as in sampling


@dataclass(frozen=True)
class Level:
    """A level, and the ends of its 95% interval; all 0 where no noise was found."""

    sigma: float
    low: float
    high: float


def own_level(
    denoiser: Denoiser, tiles: Tensor, ids: Tensor, *, seed: int, trained_from: float = 0.0
) -> Level:
    """The level of the noise that tiles (B, C, H, W) of one image have in common.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image.
        tiles: in model units.
        ids: (B,) of what is drawn by chance.
        seed: of that.
        trained_from: the lowest level that the denoiser was trained at.
    """

    def excess(sigma: float) -> Tensor:
        s = torch.full((len(tiles),), sigma, dtype=tiles.dtype, device=tiles.device)
        mean, variance = posterior(denoiser, tiles, s, ids, seed=seed, spacing=_SPACING)
        return ((tiles - mean) ** 2 + variance).flatten(1).double().mean(1) / sigma**2 - 1

    low = max(_LOWEST, trained_from)
    high = max(2 * low, 1.5 * float(tiles.double().var().sqrt()))
    if float(excess(low).mean()) <= 0:
        return Level(0.0, 0.0, 0.0)
    ends = [math.log(low), math.log(high)]
    for _ in range(_STEPS):
        middle = sum(ends) / 2
        ends[int(float(excess(math.exp(middle)).mean()) <= 0)] = middle
    sigma = math.exp(sum(ends) / 2)
    at, above = excess(sigma), excess(sigma * math.exp(_SLOPE))
    slope = float((at - above).mean()) / _SLOPE
    pixels = tiles[0].numel()
    spread = float(at.std()) if len(at) > 4 else 0.0
    # Of the squares of normal numbers alone it is sqrt(2 / d); that of few tiles says too little of the spread.
    error = max(spread, math.sqrt(2 / pixels)) / math.sqrt(len(at)) / max(slope, 1e-6)
    half = 1.96 * error
    return Level(sigma, sigma * math.exp(-half), sigma * math.exp(half))
