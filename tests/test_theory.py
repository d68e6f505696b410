"""The closed forms of Gaussian mixtures, against finite differences and numerical integration."""

import math

import pytest
import torch

from noiseworth.theory.mixtures import GaussianMixture


def test_posterior_mean_is_the_gradient_of_the_log_density(mixture: GaussianMixture) -> None:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    sigma = torch.linspace(0.1, 3.0, 50, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(mixture.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(mixture.score(x, sigma), gradient, rtol=1e-9, atol=1e-9)


def test_posterior_moments_by_integration() -> None:
    mixture = GaussianMixture(
        torch.tensor([0.6, 0.4], dtype=torch.float64),
        torch.tensor([[-1.0], [0.8]], dtype=torch.float64),
        tau=0.3,
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


def test_posterior_covariance_is_the_derivative_of_the_mean(mixture: GaussianMixture) -> None:
    """`Cov(x | x_sigma) = sigma^2 dE[x | x_sigma] / dx_sigma` (second-order Tweedie), by differences."""
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    h = 1e-5
    sigma = torch.linspace(0.2, 3.0, 20, dtype=torch.float64)
    covariance = mixture.posterior_covariance(x, sigma)
    for j, step in enumerate(h * torch.eye(4, dtype=torch.float64)):
        slope = (mixture.posterior_mean(x + step, sigma) - mixture.posterior_mean(x - step, sigma)) / (2 * h)
        torch.testing.assert_close(covariance[:, j], sigma[:, None] ** 2 * slope, rtol=1e-6, atol=1e-8)
    trace = covariance.diagonal(dim1=1, dim2=2).mean(1)
    torch.testing.assert_close(trace, mixture.posterior_variance(x, sigma), rtol=1e-12, atol=1e-12)


def test_risk_of_one_component_is_that_of_wieners_filter() -> None:
    one = GaussianMixture(torch.ones(1, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64), tau=0.7)
    assert math.isclose(one.risk(0.5), 0.49 * 0.25 / (0.49 + 0.25), rel_tol=1e-12)


def test_risk_by_adaptive_integration_on_the_line() -> None:
    from scipy.integrate import quad

    mixture = GaussianMixture(
        torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
        torch.tensor([[-1.0], [0.3], [1.1]], dtype=torch.float64),
        tau=0.05,
    )
    for sigma in (0.1, 0.4, 1.5):
        level = torch.tensor([sigma], dtype=torch.float64)

        def integrand(x: float, level: torch.Tensor = level) -> float:
            point = torch.tensor([[x]], dtype=torch.float64)
            return float(
                torch.exp(mixture.log_density(point, level)) * mixture.posterior_variance(point, level)
            )

        expected = quad(integrand, -15, 15, limit=500, epsabs=1e-12, points=[-1.0, 0.3, 1.1])[0]
        assert math.isclose(mixture.risk(sigma), expected, rel_tol=1e-6)


def test_risk_in_space(mixture: GaussianMixture) -> None:
    """Finer nodes change nothing, and the mean over samples agrees within four standard errors."""
    generator, n = torch.Generator().manual_seed(2), 100_000
    for sigma in (0.1, 0.6, 2.0):
        assert math.isclose(mixture.risk(sigma), mixture.risk(sigma, nodes_per_unit=15), rel_tol=1e-6)
        level = torch.full((n,), sigma, dtype=torch.float64)
        x = mixture.sample(n, generator) + sigma * torch.randn(n, 4, generator=generator, dtype=torch.float64)
        each = mixture.posterior_variance(x, level)
        assert abs(float(each.mean()) - mixture.risk(sigma)) < 4 * float(each.std()) / math.sqrt(n)


def test_risk_refuses_too_many_dimensions() -> None:
    wide = GaussianMixture(
        torch.full((5,), 0.2, dtype=torch.float64), torch.eye(5, dtype=torch.float64), tau=0.1
    )
    with pytest.raises(ValueError, match="span 4 dimensions"):
        wide.risk(1.0)


def test_risk_in_many_dimensions_costs_no_more() -> None:
    """Three means in R^10,000: the coordinates outside their hull add Wiener's risk alone."""
    means = torch.zeros(3, 10_000, dtype=torch.float64)
    means[:, :2] = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    wide, flat = GaussianMixture(weights, means, 0.3), GaussianMixture(weights, means[:, :2].clone(), 0.3)
    wiener = 0.09 * 0.49 / (0.09 + 0.49)
    assert math.isclose(wide.risk(0.7), (2 * flat.risk(0.7) + 9_998 * wiener) / 10_000, rel_tol=1e-9)
