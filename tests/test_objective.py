"""The ambient objective: unbiased, with the stated variance, EDM's for clean images, and no draw without a gradient."""

import pytest
import torch
from torch import Tensor

from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.objective import ambient_loss, ambient_target, lift
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.precondition import PreconditionedDenoiser, loss_weight
from noiseworth.diffusion.worth import PosteriorVariance, worth
from noiseworth.networks import make_backbone
from noiseworth.rng import Stream, normal
from noiseworth.theory.mixtures import GaussianMixture

N = 200_000


def _draw(mixture: GaussianMixture, s: float, sigma: float) -> tuple[Tensor, Tensor]:
    """Lifted images and their targets, as (N, 4)."""
    generator = torch.Generator().manual_seed(round(1000 * (s + sigma)))
    x = mixture.sample(N, generator)
    y = x + s * torch.randn(N, 4, generator=generator, dtype=torch.float64)
    many_s, many_sigma = torch.full((N,), s).double(), torch.full((N,), sigma).double()
    x_sigma = lift(y, many_s, many_sigma, torch.randn(N, 4, generator=generator, dtype=torch.float64))
    return x_sigma, ambient_target(y, many_s, many_sigma, x_sigma)


@pytest.mark.parametrize(("s", "sigma"), [(0.0, 0.5), (0.3, 0.4), (0.5, 0.6), (0.5, 1.0), (0.5, 3.0)])
def test_target_is_unbiased_with_the_stated_variance(
    mixture: GaussianMixture, s: float, sigma: float
) -> None:
    x_sigma, target = _draw(mixture, s, sigma)
    level = torch.full((N,), sigma).double()
    error = target - mixture.posterior_mean(x_sigma, level)
    # Unbiased given x_sigma: the error is orthogonal to any function of x_sigma. Each moment within 4.5 of
    # its standard errors.
    for test in (torch.ones_like(x_sigma), x_sigma, torch.tanh(2 * x_sigma), x_sigma**2):
        moment = (error * test).mean(0)
        standard_error = (error * test).std(0) / N**0.5
        assert (moment.abs() < 4.5 * standard_error).all()
    a = 1 - s**2 / sigma**2
    per_point = error.square().mean(1) - mixture.posterior_variance(x_sigma, level) - s**2 / a
    assert abs(float(per_point.mean())) < 4.5 * float(per_point.std()) / N**0.5
    # The variance is as large as that given x_sigma, not on average only.
    for weight in (x_sigma[:, 0], x_sigma[:, 1].square()):
        weighted = per_point * weight
        assert abs(float(weighted.mean())) < 4.5 * float(weighted.std()) / N**0.5


def test_the_published_target_would_fail_here(mixture: GaussianMixture) -> None:
    """Fitting D to the noisy image itself is biased, and the test above has the power to see it."""
    s, sigma = 0.5, 0.6
    x_sigma, target = _draw(mixture, s, sigma)
    y = target * (1 - s**2 / sigma**2) + s**2 / sigma**2 * x_sigma
    error = y - mixture.posterior_mean(x_sigma, torch.full((N,), sigma).double())
    moment, standard_error = (error * x_sigma).mean(0), (error * x_sigma).std(0) / N**0.5
    assert (moment.abs() > 20 * standard_error).all()


def test_worth_is_the_ratio_of_variances() -> None:
    v, s, sigma = 0.04, 0.5, 0.8
    expected = v / (v + s**2 * sigma**2 / (sigma**2 - s**2))
    one = torch.tensor([v, v, v, v]).double()
    values = worth(
        torch.tensor([sigma, sigma, 0.5, 0.4]).double(), torch.tensor([s, 0.0, s, s]).double(), one
    )
    torch.testing.assert_close(values, torch.tensor([expected, 1.0, 0.0, 0.0]).double())


def test_all_clean_equals_the_edm_loss_bit_for_bit() -> None:
    sigma_data = 0.7
    denoiser = PreconditionedDenoiser(make_backbone("medium", (1, 8, 8), seed=0), sigma_data)
    torch.nn.init.normal_(denoiser.backbone.conv_out.weight, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr,arg-type]
    ids = torch.arange(16)
    y, noise = normal(0, Stream.CORRUPT, ids, (1, 8, 8)), normal(0, Stream.NOISE, ids, (1, 8, 8))
    levels, bound = LogNormalLevels(), PosteriorVariance(torch.ones(64))
    pairs = PairSampler(torch.zeros(16), levels, bound).draw(0, ids)
    sigma = pairs.sigma.float()
    ours = ambient_loss(denoiser, y, torch.zeros(16), sigma, noise, sigma_data)
    # EDM, equation 8 and table 1, written out.
    n = sigma[:, None, None, None] * noise
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    edm = weight * (denoiser(y + n, sigma) - y).square().flatten(1).mean(1)
    assert torch.equal(ours.weighted, edm)
    mine = torch.autograd.grad(ours.weighted.mean(), list(denoiser.parameters()), retain_graph=True)
    theirs = torch.autograd.grad(edm.mean(), list(denoiser.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_no_drawn_pair_has_zero_gradient() -> None:
    """Every pair's loss moves the network, also with as many noise levels as images and with no clean image at all."""
    for s in (torch.tensor([0.0] * 10 + [0.5] * 90), torch.linspace(0.2, 0.9, 1000)):
        sampler = PairSampler(s, LogNormalLevels(), PosteriorVariance(torch.ones(64)))
        sampler.refresh(100_000)
        ids = torch.arange(256)
        pairs = sampler.draw(0, ids)
        assert (worth(pairs.sigma, sampler.s[pairs.index], sampler.v(pairs.sigma)) > 0).all()
        y = normal(0, Stream.CORRUPT, ids, (1, 4, 4))
        output = torch.zeros(256, 1, 4, 4, requires_grad=True)
        noise = normal(0, Stream.NOISE, ids, (1, 4, 4))
        loss = ambient_loss(
            lambda x, sigma, out=output: out, y, sampler.s[pairs.index], pairs.sigma, noise, 0.5
        )
        (gradient,) = torch.autograd.grad(loss.weighted.sum(), output)
        # As large as EDM's weight says: the gradient of a pair is 2 weight (D - T) / pixels, and not scaled
        # down by its image's noise.
        target = ambient_target(
            y, sampler.s[pairs.index], pairs.sigma, lift(y, sampler.s[pairs.index], pairs.sigma, noise)
        )
        weight = loss_weight(pairs.sigma, 0.5).float()[:, None, None, None]
        torch.testing.assert_close(gradient, -2 * weight * target / 16)
        assert (gradient.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize(("s", "sigma"), [(0.3, 0.4), (0.5, 1.0), (0.5, 3.0)])
def test_the_variance_of_the_gradient_follows_worth(mixture: GaussianMixture, s: float, sigma: float) -> None:
    """At the exact denoiser, per pair and output, a clean image's gradient has `worth` times the variance of a noisy one's."""
    level = torch.full((N,), sigma).double()

    def gradient(noise: float) -> Tensor:
        x_sigma, target = _draw(mixture, noise, sigma)
        output = mixture.posterior_mean(x_sigma, level).requires_grad_()
        (measured,) = torch.autograd.grad((output - target).square().sum(), output)
        return measured.square().mean(1)  # its mean is zero (the test above)

    clean, noisy = gradient(0.0), gradient(s)
    v = mixture.posterior_variance(_draw(mixture, 0.0, sigma)[0], level).mean()
    expected = float(worth(level[:1], torch.tensor([s]).double(), v))
    measured = float(clean.mean() / noisy.mean())
    error = (
        measured
        * float((clean.std() / clean.mean()) ** 2 + (noisy.std() / noisy.mean()) ** 2) ** 0.5
        / N**0.5
    )
    assert abs(measured - expected) < 4.5 * error * 1.5  # v, too, is a mean over draws
