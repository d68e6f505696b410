"""Ways from noise to an image: methods that follow the probability-flow equation, or the reverse process, through given levels.

dx / dsigma = (x - D(x, sigma)) / sigma

States are kept in float64, as rounding errors would otherwise add up over the steps; the denoiser sees `x`'s own dtype. All
levels fall, and the last may be 0.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from noiseworth.diffusion.precondition import Denoiser

Method = Literal["heun", "dpm++", "churn", "ancestral"]
Fresh = Callable[[int], Tensor]  # number of a step -> standard normal noise (B, ...)

_MOST_CHURN = math.sqrt(2) - 1


def heun(denoiser: Denoiser, x: Tensor, levels: Tensor) -> Tensor:
    """Heun's method (arXiv 2206.00364, algorithm 1), of order 2, from `x` (B, ...) at `levels[0]`; two calls a step.

    The last step is Euler's if it goes to 0.
    """
    dtype, state = x.dtype, x.to(torch.float64)

    def slope(at: Tensor, sigma: Tensor) -> Tensor:
        batch = sigma.to(at.device).expand(len(at))
        return (at - denoiser(at.to(dtype), batch.to(dtype)).to(torch.float64)) / sigma.to(at.device)

    for sigma, following in pairwise(levels):
        step = (following - sigma).to(state.device)
        first = slope(state, sigma)
        predicted = state + step * first
        state = predicted if following == 0 else state + step * (first + slope(predicted, following)) / 2
    return state.to(dtype)


def multistep(denoiser: Denoiser, x: Tensor, levels: Tensor) -> Tensor:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2, where the signal is not scaled), of order 2; one call a step.

    Each step goes by the estimate and by how it changed since the last step, in the logarithm of the level. The first step and
    one to 0 are of order 1.
    """
    dtype, state = x.dtype, x.to(torch.float64)
    before: Tensor | None = None
    last = 0.0  # the step before, in the logarithm
    for sigma, following in pairwise(levels.tolist()):
        estimate = denoiser(state.to(dtype), _all(sigma, x)).to(torch.float64)
        if following == 0:
            return estimate.to(dtype)
        step = math.log(sigma / following)
        ahead = estimate if before is None else estimate + (estimate - before) * (step / (2 * last))
        state = (following / sigma) * state - math.expm1(-step) * ahead
        before, last = estimate, step
    return state.to(dtype)


def churned(denoiser: Denoiser, x: Tensor, levels: Tensor, fresh: Fresh, churn: float) -> Tensor:
    """Heun's method with noise added before each step (arXiv 2206.00364, algorithm 2, at all levels); two calls a step.

    Args:
        fresh: gives the noise of each step.
        churn: S_churn there; 0 is Heun's method.
    """
    dtype, state = x.dtype, x.to(torch.float64)
    grown = min(churn / (len(levels) - 1), _MOST_CHURN)

    def slope(at: Tensor, sigma: float) -> Tensor:
        return (at - denoiser(at.to(dtype), _all(sigma, x)).to(torch.float64)) / sigma

    for number, (sigma, following) in enumerate(pairwise(levels.tolist())):
        above = sigma * (1 + grown)
        state = state + math.sqrt(above**2 - sigma**2) * fresh(number).to(torch.float64)
        first = slope(state, above)
        predicted = state + (following - above) * first
        if following > 0:
            predicted = state + (following - above) * (first + slope(predicted, following)) / 2
        state = predicted
    return state.to(dtype)


def ancestral(denoiser: Denoiser, x: Tensor, levels: Tensor, fresh: Fresh) -> Tensor:
    """The reverse process step by step, as DDPM has it (arXiv 2006.11239, for noise that is added and not mixed in), of weak order 1;
    one call a step.

    Each step is drawn as if the estimate were the clean image: its mean lies between the state and the estimate.
    """
    dtype, state = x.dtype, x.to(torch.float64)
    for number, (sigma, following) in enumerate(pairwise(levels.tolist())):
        estimate = denoiser(state.to(dtype), _all(sigma, x)).to(torch.float64)
        kept = (following / sigma) ** 2
        state = estimate + kept * (state - estimate)
        if following > 0:
            state = state + following * math.sqrt(1 - kept) * fresh(number).to(torch.float64)
    return state.to(dtype)


def _all(sigma: float, x: Tensor) -> Tensor:
    """The level of each image."""
    return torch.full((len(x),), sigma, dtype=x.dtype, device=x.device)
