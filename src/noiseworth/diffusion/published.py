"""The published objective, from its formula (Daras, Cherapanamjeri and Daskalakis, arXiv 2411.02780).

An image is drawn uniformly, a level from p(sigma); a level below the image's own noise is raised to it.
The loss is

    lambda(sigma) || a D(x_sigma, sigma) + (1 - a) x_sigma - y ||^2,   a = 1 - s^2 / sigma^2

which has the right minimiser, is `a^2` times the loss against the unbiased target (see `objective`), and has
no gradient at all where the level was raised. It serves only as the baseline of comparisons.
"""

import torch
from torch import Tensor

from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.objective import Loss, lift
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.precondition import Denoiser, loss_weight, per_image
from noiseworth.rng import Stream, uniform


class PublishedPairSampler:
    """Draws pairs as published: the image uniform, the level `max(sigma, s_i)` with sigma from p(sigma).

    Attributes:
        s: (N,) noise of each image, float64.
        trained_from: the noise of the cleanest image; no lower level is drawn.
        refreshed_at, version: as in `PairSampler`.
    """

    def __init__(self, s: Tensor, levels: LogNormalLevels) -> None:
        self.s, self.levels = s.to(torch.float64), levels
        self.trained_from = float(self.s.min())
        self.refreshed_at, self.version = 1, 0

    def refresh(self, n_images: int) -> None:
        """Nothing changes while training."""

    def draw(self, seed: int, ids: Tensor) -> Pairs:
        """Pairs for training slots `ids` (B,), a function of (seed, ids)."""
        u = uniform(seed, Stream.PAIR, ids, 2)
        index = (u[:, 1] * len(self.s)).to(torch.int64)
        sigma = torch.maximum(self.levels.quantile(u[:, 0]), self.s[index])
        return Pairs(sigma, index, torch.ones_like(sigma), torch.zeros(len(ids), dtype=torch.bool))


def published_loss(
    denoiser: Denoiser, y: Tensor, s: Tensor, sigma: Tensor, noise: Tensor, sigma_data: float
) -> Loss:
    """The loss above; arguments as in `objective.ambient_loss`, but a level may equal its image's noise.

    `Loss.residual` is against the unbiased target, and NaN where there is none (`a = 0`).
    """
    x_sigma = lift(y, s, sigma, noise)
    a = 1 - (s.to(torch.float64) / sigma.to(torch.float64)) ** 2
    estimate = per_image(a, y) * denoiser(x_sigma, sigma) + per_image(1 - a, y) * x_sigma
    square = (estimate - y).square().flatten(1).mean(1)
    residual = square.detach() / torch.where(a > 0, a**2, torch.full_like(a, torch.nan))
    return Loss(loss_weight(sigma, sigma_data).to(square.dtype) * square, residual)
