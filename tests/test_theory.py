"""The oracle itself, against finite differences and numerical integration."""

import math

import torch

from noiseworth.theory.mixtures import GaussianMixture


def test_posterior_mean_is_the_gradient_of_the_log_density(mixture: GaussianMixture) -> None:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    sigma = torch.linspace(0.1, 3.0, 50, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(mixture.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(mixture.score(x, sigma), gradient, rtol=1e-9, atol=1e-9)


def test_posterior_moments_by_integration() -> None:
    mixture = GaussianMixture(
        torch.tensor([0.6, 0.4], dtype=torch.float64), torch.tensor([[-1.0], [0.8]], dtype=torch.float64), tau=0.3
    )
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    prior = torch.exp(mixture.log_density(grid[:, None], torch.zeros(len(grid), dtype=torch.float64)))
    for level, point in ((0.2, 0.1), (0.7, -0.4), (2.0, 1.5)):
        posterior = prior * torch.exp(-((point - grid) ** 2) / (2 * level**2))
        posterior = posterior / posterior.sum()
        mean = float((posterior * grid).sum())
        variance = float((posterior * (grid - mean) ** 2).sum())
        x, sigma = torch.tensor([[point]], dtype=torch.float64), torch.tensor([level], dtype=torch.float64)
        assert math.isclose(float(mixture.posterior_mean(x, sigma)), mean, abs_tol=1e-8)
        assert math.isclose(float(mixture.posterior_variance(x, sigma)), variance, rel_tol=1e-7)
