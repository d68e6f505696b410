"""Exponential moving average of weights, with its half-life in images (arXiv 2206.00364, appendix F; ramp as in EDM's training)."""

import copy

import torch
from torch import Tensor, nn

_RAMP = 0.1  # the half-life is at most this share of the images seen, so that the initial weights are soon forgotten


class Ema:
    """An average of a module's weights.

    Attributes:
        module: a copy of the module that holds the average; evaluate and sample with it.
    """

    def __init__(self, module: nn.Module, half_life: int) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, module: nn.Module, n_images: int, batch: int) -> None:
        """Take in the weights after a step of `batch` images, `n_images` having been seen with it."""
        keep = 0.5 ** (batch / min(self.half_life, n_images * _RAMP))
        mine: list[Tensor] = list(self.module.parameters())
        torch._foreach_lerp_(mine, [p.detach() for p in module.parameters()], 1 - keep)
