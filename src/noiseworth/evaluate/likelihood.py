"""How likely held-out images are under a denoiser, in bits per dimension.

Two ways. *By the risk*: with `snr = 1 / sigma^2` and the error `r` per dimension of any denoiser,

    -E ln p(x) / d  <=  ln(2 pi e) / 2 + (1/2) integral (r(snr) - 1 / (1 + snr)) d snr

with equality for the optimal denoiser (I-MMSE: Guo, Shamai and Verdu, 2005; Kong, Brekelmans and Ver Steeg,
arXiv 2302.03792, equation 9). *By the probability-flow equation* (Song et al., arXiv 2011.13456, section
4.3): the density is integrated along with the image, exact but for the finite steps. Both give the density
of images with noise of the lowest level, `sigma_min`, which is small compared with the detail of interest.

`bits_in_raw_units` converts from model units to the units of the files. Images of whole numbers have no
density: add uniform noise of one step to them first (dequantisation).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.diffusion.precondition import Denoiser
from noiseworth.errors import UserError
from noiseworth.rng import Stream, normal

LIKELIHOOD_LEVELS = tuple(float(level) for level in np.geomspace(0.002, 80, 65))


def bits_from_risk(levels: Sequence[float], risk: Sequence[float], variance: float) -> float:
    """The bound in bits per dimension, in model units.

    Args:
        levels: noise levels, rising, close together (`LIKELIHOOD_LEVELS`).
        risk: mean squared error per dimension at each.
        variance: of the data, per dimension, about its mean; this is the error at very high noise.

    Raises:
        UserError: fewer than 8 levels, or levels that do not rise.
    """
    sigma, r = np.asarray(levels, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    if len(sigma) < 8 or len(sigma) != len(r) or not (np.diff(sigma) > 0).all() or sigma[0] <= 0:
        raise UserError(
            "a likelihood from the risk needs at least 8 rising levels, above 0, and a risk at each"
        )
    snr = sigma**-2
    inside = (r - 1 / (1 + snr)) * snr  # against d ln snr
    integral = float(np.trapezoid(inside[::-1], np.log(snr[::-1])))
    # Above the highest level the error is the variance; below the lowest, at most the noise of that level.
    integral += (variance - 1) * float(snr[-1])
    nats = 0.5 * math.log(2 * math.pi * math.e) + 0.5 * integral + 0.5 * float(np.log1p(1 / snr[0]))
    return nats / math.log(2)


def bits_in_raw_units(bits: float, scale: float) -> float:
    """Bits per dimension where images are in raw units, `raw = offset + scale * model`."""
    return bits + math.log2(scale)


def bits_by_flow(
    denoiser: Denoiser,
    images: NDArray[np.float32],
    *,
    variance: float,
    steps: int = 128,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    probes: int | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Bits per dimension (N,) of images, in model units, along the probability-flow equation.

    Args:
        denoiser: maps (x, sigma) to an estimate of the clean image; it is differentiated.
        images: (N, C, H, W) in model units.
        variance: of the data per dimension: at `sigma_max` images are taken to be normal with variance
            `sigma_max^2 + variance`.
        steps: of Heun's method in ln sigma; each costs two calls and their derivatives.
        probes: number of random directions for the trace of the Jacobian (Hutchinson's estimate, unbiased);
            by default the trace is exact, which costs one derivative for each dimension.
        seed: of the noise at `sigma_min`, and of the probes.

    Raises:
        UserError: levels that do not rise, fewer than 2 steps, or no probe.
    """
    if not 0 < sigma_min < sigma_max or steps < 2 or (probes is not None and probes < 1):
        raise UserError(
            "a likelihood along the flow needs 0 < sigma_min < sigma_max, at least 2 steps, 1 probe or more"
        )
    x = torch.from_numpy(images)
    d, ids = x[0].numel(), torch.arange(len(x))
    directions = _directions(x, probes, seed)

    def slope(at: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """d x / d ln sigma, and the trace of its Jacobian."""
        level = torch.full((len(at),), sigma, dtype=at.dtype)

        def residual(points: Tensor) -> Tensor:
            return points - denoiser(points.to(x.dtype), level.to(x.dtype)).to(points.dtype)

        trace = torch.zeros(len(at), dtype=torch.float64)
        value = at
        for v, weight in directions:
            value, derivative = _jvp(residual, at, v.expand_as(at).to(at.dtype))
            trace += weight * (derivative * v).flatten(1).sum(1).double()
        return value, trace

    state = x.double() + sigma_min * normal(seed, Stream.RISK, ids, x.shape[1:]).double()
    gained = torch.zeros(len(x), dtype=torch.float64)
    levels = np.geomspace(sigma_min, sigma_max, steps + 1)
    with torch.no_grad():
        for low, high in pairwise(levels):
            step = math.log(high / low)
            first, trace = slope(state, float(low))
            second, following = slope(state + step * first, float(high))
            state = state + step * (first + second) / 2
            gained += step * (trace + following) / 2
    spread = sigma_max**2 + variance
    squares = state.flatten(1).square().sum(1)
    log_density = -0.5 * (d * math.log(2 * math.pi * spread) + squares / spread) + gained
    return np.asarray(-log_density / (d * math.log(2)))


def _jvp(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """A function's value and its derivative along a direction."""
    value, derivative = torch.func.jvp(function, (at,), (direction,))[:2]
    return value, derivative


def _directions(x: Tensor, probes: int | None, seed: int) -> list[tuple[Tensor, float]]:
    """Directions (1, C, H, W) or (N, C, H, W) for the trace, and the weight of each."""
    shape, d = x.shape[1:], x[0].numel()
    if probes is None:
        return [(row.reshape(1, *shape), 1.0) for row in torch.eye(d, dtype=torch.float64)]
    ids = torch.arange(len(x))
    return [
        (normal(seed, Stream.RISK, ids + ((p + 1) << 40), shape).double().sign(), 1 / probes)
        for p in range(probes)
    ]
