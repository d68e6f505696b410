"""Exact denoising of Gaussian mixtures with isotropic components.

    x ~ sum_j w_j N(mu_j, tau^2 I),   x_sigma = x + sigma z

Given `x_sigma`, component j has probability `p_j ~ w_j N(x_sigma; mu_j, (tau^2 + sigma^2) I)`, and within it the
posterior of x is Gaussian
with mean `mu_j + k (x_sigma - mu_j)`, `k = tau^2 / (tau^2 + sigma^2)`, and covariance `k sigma^2 I`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """`weights` (k,), `means` (k, d), and `tau`, the standard deviation of each component (0: atoms). float64 throughout."""

    weights: Tensor
    means: Tensor
    tau: float

    def __post_init__(self) -> None:
        if self.weights.ndim != 1 or self.means.ndim != 2 or len(self.weights) != len(self.means):
            raise ValueError(f"need weights (k,) and means (k, d), got {tuple(self.weights.shape)} and {tuple(self.means.shape)}")
        if not torch.isclose(self.weights.sum(), torch.ones((), dtype=self.weights.dtype)) or (self.weights < 0).any() or self.tau < 0:
            raise ValueError("weights must be 0 or more and sum to 1, tau must be 0 or more")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` draws of x, (n, d)."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[component] + self.tau * noise

    def responsibilities(self, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """`p_j` for each point: (n, d) points at levels (n,) -> (n, k)."""
        variance = (self.tau**2 + sigma**2)[:, None]  # (n, 1)
        distance = ((x_sigma[:, None] - self.means[None]) ** 2).sum(-1)  # (n, k)
        return torch.softmax(torch.log(self.weights) - distance / (2 * variance), dim=1)

    def posterior_mean(self, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """`E[x | x_sigma]`, the ideal denoiser: (n, d) points at levels (n,) -> (n, d)."""
        k = (self.tau**2 / (self.tau**2 + sigma**2))[:, None]
        return k * x_sigma + (1 - k) * self.responsibilities(x_sigma, sigma) @ self.means

    def posterior_variance(self, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """The mean over coordinates of `Var(x | x_sigma)`: (n, d) points at levels (n,) -> (n,).

        Within components `k sigma^2`; between them the scatter of their posterior means.
        """
        k = self.tau**2 / (self.tau**2 + sigma**2)  # (n,)
        p = self.responsibilities(x_sigma, sigma)  # (n, k)
        centre = p @ self.means  # (n, d)
        scatter = (p[..., None] * (self.means[None] - centre[:, None]) ** 2).sum((1, 2)) / self.means.shape[1]
        return k * sigma**2 + (1 - k) ** 2 * scatter

    def score(self, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """The gradient of the log-density of `x_sigma`, by Tweedie's formula: `(E[x | x_sigma] - x_sigma) / sigma^2`."""
        return (self.posterior_mean(x_sigma, sigma) - x_sigma) / (sigma**2)[:, None]

    def log_density(self, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """The log-density of `x_sigma`: (n, d) points at levels (n,) -> (n,)."""
        variance = (self.tau**2 + sigma**2)[:, None]
        d = self.means.shape[1]
        distance = ((x_sigma[:, None] - self.means[None]) ** 2).sum(-1)
        each = torch.log(self.weights) - distance / (2 * variance) - d / 2 * torch.log(2 * torch.pi * variance)
        return torch.logsumexp(each, dim=1)
