"""Each sampler has its order on exact denoisers, and the data's moments; truncated sampling ends in a posterior mean."""

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseworth.diffusion.integrators import Method, heun
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.rng import Stream, normal
from noiseworth.theory.mixtures import GaussianMixture
from sampler_methods import WAYS, measured_order


def test_heun_converges_with_order_two(mixture: GaussianMixture) -> None:
    start = 5.0 * normal(0, Stream.LATENT, torch.arange(64), (4,)).double()

    def solve(steps: int) -> Tensor:
        ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        levels = (5.0 ** (1 / 3) + ramp * (0.3 ** (1 / 3) - 5.0 ** (1 / 3))) ** 3
        return heun(mixture.posterior_mean, start, levels)

    exact = solve(4096)
    steps = np.array([32, 64, 128, 256])
    errors = [float((solve(int(n)) - exact).abs().mean()) for n in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    # The local orders scatter by about 0.05 at these step counts; Euler (1) and a third-order method are far
    # outside.
    assert abs(order - 2) < 0.15, errors


@pytest.mark.parametrize("method", WAYS)
def test_variances_of_gaussian_data_converge_with_the_methods_order(method: Method) -> None:
    """A step is linear there, so that the variance of what is made is a sum over the noises that went in, without any sampling."""
    # The local orders at these steps are off by up to 0.1: methods of another order by 1.
    assert abs(measured_order(method, (32, 64, 128)) - WAYS[method][1]) < 0.2


@pytest.mark.parametrize("method", ["heun", "dpm++", "churn", "ancestral"])
def test_samples_have_the_mixtures_moments(mixture: GaussianMixture, method: Method) -> None:
    n = 20_000

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return mixture.posterior_mean(x.flatten(1).double(), sigma.double()).reshape(x.shape).float()

    config = SamplerConfig(400 if method == "ancestral" else 40, method)
    made = sample(denoiser, torch.arange(n), (1, 2, 2), config=config).flatten(1).double()
    mean = mixture.weights @ mixture.means
    covariance = (mixture.weights[:, None] * (mixture.means - mean)).T @ (
        mixture.means - mean
    ) + mixture.tau**2 * torch.eye(4)
    deviation = covariance.diagonal().sqrt()
    assert (
        (made.mean(0) - mean).abs() < 4.5 * deviation / n**0.5 + 0.01
    ).all()  # 0.01: the method's own error
    assert (torch.cov(made.T) - covariance).abs().max() < 4.5 * float(covariance.max()) * (
        2 / n
    ) ** 0.5 + 0.01


def test_truncated_sampling_returns_the_denoised_image(mixture: GaussianMixture) -> None:
    seen: list[tuple[float, Tensor]] = []

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        out = mixture.posterior_mean(x.flatten(1).double(), sigma.double()).reshape(x.shape).float()
        seen.append((float(sigma[0]), out))
        return out

    made = sample(denoiser, torch.arange(8), (1, 2, 2), trained_from=0.5)
    assert min(level for level, _ in seen) >= 0.5 - 1e-6
    torch.testing.assert_close(made, seen[-1][1], rtol=0, atol=1e-6)


def test_an_image_does_not_depend_on_its_batch(mixture: GaussianMixture) -> None:
    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return mixture.posterior_mean(x.flatten(1).double(), sigma.double()).reshape(x.shape).float()

    together = sample(denoiser, torch.arange(6), (1, 2, 2))
    torch.testing.assert_close(
        sample(denoiser, torch.tensor([4]), (1, 2, 2))[0], together[4], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("method", ["heun", "dpm++", "churn", "ancestral"])
def test_images_do_not_depend_on_their_batch(mixture: GaussianMixture, method: Method) -> None:
    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return mixture.posterior_mean(x.flatten(1).double(), sigma.double()).reshape(x.shape).float()

    config = SamplerConfig(8, method)
    whole = sample(denoiser, torch.arange(30), (1, 2, 2), config=config)
    for start, stop in ((0, 1), (1, 8), (8, 30)):
        part = sample(denoiser, torch.arange(start, stop), (1, 2, 2), config=config)
        torch.testing.assert_close(part, whole[start:stop], rtol=0, atol=1e-5)
    other = sample(denoiser, torch.arange(30), (1, 2, 2), config=config, seed=1)
    assert float((other - whole).abs().max()) > 0.1
