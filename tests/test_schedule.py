"""Levels that are chosen for the data, against EDM's at equal calls, on denoisers that are known exactly."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from noiseworth.diffusion.integrators import heun
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.diffusion.schedule import levels_for
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.errors import UserError
from noiseworth.theory.mixtures import GaussianMixture

SPECTRA = {
    "one scale": torch.full((64,), 0.25, dtype=torch.float64),
    "1/k": 0.25 * 784 / torch.arange(1, 785, dtype=torch.float64) / sum(1 / k for k in range(1, 785)),
    "two scales": torch.cat([torch.full((8,), 4.0), torch.full((120,), 0.01)]).to(torch.float64),
}


def _error(variance: Tensor, levels: Tensor, corrected: bool) -> float:
    """Root mean square error of the standard deviations that a sampler gives Gaussian coefficients, over those of the data."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x * variance / (variance + sigma[:, None] ** 2)

    x = levels[0] * torch.ones(1, len(variance), dtype=torch.float64)
    if corrected:
        x = x + 0.5 * denoise(x, levels[:1])
    made = heun(denoise, x, levels)[0]
    return math.sqrt(((made - variance.sqrt()) ** 2).sum() / variance.sum())


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("steps", [6, 8, 10, 14, 18, 25, 40, 80])
def test_the_error_is_at_most_half_of_edms_at_equal_calls(name: str, steps: int) -> None:
    """Claim numbers/schedule."""
    variance = SPECTRA[name]
    chosen = levels_for(PosteriorVariance(variance), steps)
    assert len(chosen) == steps
    assert (chosen.diff() < 0).all()
    ratio = _error(variance, chosen, True) / _error(variance, SamplerConfig(steps=steps).levels(), False)
    assert ratio < (0.5 if steps in (10, 18) else 1)


def test_more_steps_leave_less_error() -> None:
    v = PosteriorVariance(SPECTRA["1/k"])
    errors = [_error(SPECTRA["1/k"], levels_for(v, steps), True) for steps in (5, 10, 20, 40)]
    assert all(after < before / 2 for before, after in itertools.pairwise(errors))


def _posterior_variance(mixture: GaussianMixture) -> PosteriorVariance:
    """As training would measure it: the mean squared error of the exact denoiser, from a sample."""
    generator = torch.Generator().manual_seed(0)
    clean = mixture.sample(4000, generator)
    v = PosteriorVariance(torch.cov(clean.T).diagonal())
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    for i, sigma in enumerate(v.grid):
        v.value[i] = (
            (mixture.posterior_mean(clean + sigma * noise, sigma.expand(len(clean))) - clean).square().mean()
        )
    return v


def test_a_mixture_is_sampled_as_its_moments_are(mixture: GaussianMixture) -> None:
    """Ten steps, start to end: mean and covariance of the samples, within their standard errors and a few percent of bias."""
    n = 20_000

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return (
            mixture.posterior_mean(x.flatten(1).to(torch.float64), sigma.to(torch.float64))
            .reshape(x.shape)
            .to(x.dtype)
        )

    v = _posterior_variance(mixture)
    made = (
        sample(denoise, torch.arange(n), (1, 2, 2), config=SamplerConfig(steps=12), v=v)
        .flatten(1)
        .to(torch.float64)
    )
    weights, means = mixture.weights, mixture.means
    mean = weights @ means
    covariance = (weights[:, None, None] * (means - mean)[:, :, None] * (means - mean)[:, None]).sum(0)
    covariance = covariance + mixture.tau**2 * torch.eye(4)
    spread = covariance.diagonal().sqrt()
    assert ((made.mean(0) - mean).abs() < 4.5 * spread / math.sqrt(n) + 0.03 * spread).all()
    scale = spread[:, None] * spread[None]
    assert ((torch.cov(made.T) - covariance).abs() < (4.5 * math.sqrt(2 / n) + 0.05) * scale).all()


def test_levels_stop_where_training_did() -> None:
    levels = levels_for(PosteriorVariance(SPECTRA["1/k"]), 12, trained_from=0.3)
    assert levels[-1] == 0
    assert levels[-2] >= 0.3


def test_what_cannot_be_sampled_is_refused() -> None:
    v = PosteriorVariance(SPECTRA["one scale"])
    with pytest.raises(UserError, match="at least 2"):
        levels_for(v, 1)
    with pytest.raises(UserError, match="cannot be sampled"):
        levels_for(v, 10, trained_from=1000.0)
    assert len(levels_for(v, 2)) == 2
