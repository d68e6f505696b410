"""Imputed images are drawn from the posterior, and consistent pairs ask nothing of the exact denoiser that it does not do."""

import pytest
import torch
from torch import Tensor

from noiseworth.diffusion.imputation import STEPS, consistent_pair, impute
from noiseworth.rng import Stream, normal
from noiseworth.theory.mixtures import GaussianMixture

N = 20_000


def _exact(mixture: GaussianMixture, x: Tensor, sigma: Tensor) -> Tensor:
    return mixture.posterior_mean(x.flatten(1).double(), sigma.double()).reshape(x.shape)


@pytest.mark.parametrize("s", [0.3, 0.8])
def test_images_imputed_in_many_steps_follow_the_posterior(mixture: GaussianMixture, s: float) -> None:
    """Many draws for one noisy image, with the exact denoiser: their mean and their spread are the posterior's."""
    y = torch.tensor([0.1, 0.2, -0.1, 0.3]).double()
    many, sigma = y.expand(N, 4).reshape(N, 1, 2, 2), torch.full((N,), s).double()
    made = impute(
        lambda x, level: _exact(mixture, x, level), many, sigma, torch.arange(N), seed=3, steps=192
    ).flatten(1)
    mean, variance = (
        mixture.posterior_mean(y[None], sigma[:1])[0],
        mixture.posterior_variance(y[None], sigma[:1])[0],
    )
    deviation = made.std(0)
    # The method's own error falls in proportion to the steps; 192 leave 6% of the deviation, and 12% of the
    # variance.
    assert ((made.mean(0) - mean).abs() < 4.5 * deviation / N**0.5 + 0.06 * deviation).all()
    assert abs(float(made.var(0).mean() / variance) - 1) < 4.5 * (2 / N) ** 0.5 + 0.12


@pytest.mark.parametrize(
    ("steps", "ratio", "expected"),
    [(STEPS, 0.01, 1.45), (STEPS, 0.1, 0.97), (STEPS, 1.0, 0.58), (STEPS, 100.0, 0.42), (192, 1.0, 0.98)],
)
def test_the_spread_given_one_image_is_biased_as_the_docstring_says(
    steps: int, ratio: float, expected: float
) -> None:
    """Variance of draws over that of the posterior, for a Gaussian coefficient of variance `ratio` at noise 1."""
    y, s = torch.full((N, 1, 1, 1), 0.7).double(), torch.ones(N).double()
    made = impute(
        lambda x, level: x * (ratio / (ratio + level.double() ** 2))[:, None, None, None],
        y,
        s,
        torch.arange(N),
        seed=0,
        steps=steps,
    )
    error = (2 / N) ** 0.5 * expected
    assert abs(float(made.var()) / (ratio / (ratio + 1)) - expected) < 4.5 * error + 0.005


def test_the_likeliest_component_is_drawn_too_often_as_the_docstring_says() -> None:
    """Three components whose posterior probabilities are known; with the steps of training, and with many."""
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]).double()
    mixture = GaussianMixture(torch.full((3,), 1 / 3).double(), means, 0.1)
    y, s = torch.zeros(N, 1, 1, 2).double(), torch.full((N,), 0.642).double()
    exact = mixture.responsibilities(y[:1].flatten(1), s[:1])[0]
    assert exact.tolist() == pytest.approx([0.62, 0.19, 0.19], abs=0.002)
    for steps, expected, most in ((STEPS, [0.847, 0.0765, 0.0765], 0.002), (192, exact.tolist(), 0.012)):
        made = impute(lambda x, level: _exact(mixture, x, level), y, s, torch.arange(N), seed=0, steps=steps)
        nearest = torch.cdist(made.flatten(1), means).argmin(1)
        shares = [float((nearest == k).double().mean()) for k in range(3)]
        assert shares == pytest.approx(expected, abs=4.5 * (0.25 / N) ** 0.5 + most)


def test_few_steps_keep_the_law_of_images(mixture: GaussianMixture) -> None:
    """With the six steps of training: over many noisy images, those imputed have the mean and covariance of clean ones."""
    x = mixture.sample(N, torch.Generator().manual_seed(0))
    s = torch.full((N,), 0.5).double()
    y = x + 0.5 * normal(0, Stream.CORRUPT, torch.arange(N), (4,)).double()
    made = impute(
        lambda a, level: _exact(mixture, a, level), y.reshape(N, 1, 2, 2), s, torch.arange(N), seed=0
    ).flatten(1)
    assert ((made.mean(0) - x.mean(0)).abs() < 0.02).all()
    assert (torch.cov(made.T) - torch.cov(x.T)).abs().max() < 0.04 * float(torch.cov(x.T).max())
    ancestral = y.reshape(N, 1, 2, 2)
    for number in range(6):  # DDPM's rule, for comparison: too little variance
        a, b = 0.5 * (1 - number / 6) ** 2, 0.5 * (1 - (number + 1) / 6) ** 2
        estimate = _exact(mixture, ancestral, torch.full((N,), a))
        noise = normal(1, Stream.IMPUTE, torch.arange(N) + number * N, (1, 2, 2))
        ancestral = estimate + (b / a) ** 2 * (ancestral - estimate) + b * (1 - (b / a) ** 2) ** 0.5 * noise
    assert float(ancestral.flatten(1).var(0).sum()) < 0.97 * float(x.var(0).sum())


def test_the_exact_denoiser_is_consistent(mixture: GaussianMixture) -> None:
    """Targets minus the denoiser's value have mean zero against functions of the input."""
    x = mixture.sample(N, torch.Generator().manual_seed(1))
    s, sigma = torch.full((N,), 0.8).double(), torch.full((N,), 0.4).double()
    y = x + 0.8 * normal(2, Stream.CORRUPT, torch.arange(N), (4,)).double()
    x_sigma, target = consistent_pair(
        lambda a, level: _exact(mixture, a, level), y.reshape(N, 1, 2, 2), s, sigma, torch.arange(N), seed=0
    )
    error = (target - _exact(mixture, x_sigma, sigma)).flatten(1)
    flat = x_sigma.flatten(1)
    for test in (torch.ones_like(flat), flat, torch.tanh(2 * flat)):
        moment = error * test
        assert (
            moment.mean(0).abs() < 4.5 * moment.std(0) / N**0.5 + 0.01
        ).all()  # 0.01: of one step from 0.4 to 0.28


def test_where_nothing_is_known_below_the_mean_estimate_is_taken(mixture: GaussianMixture) -> None:
    y, s = torch.zeros(3, 1, 2, 2), torch.tensor([0.5, 0.5, 0.9])
    made = impute(lambda a, level: _exact(mixture, a, level), y, s, torch.arange(3), seed=0, trained_from=0.6)
    assert torch.equal(made, _exact(mixture, y, torch.tensor([0.6, 0.6, 0.9])))
