"""Distances and risk against closed forms."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError
from noiseworth.evaluate.features import train_classifier
from noiseworth.evaluate.frechet import Moments, frechet_distance, moments
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.theory.mixtures import GaussianMixture

RNG = np.random.default_rng(0)


def test_frechet_between_gaussians_in_closed_form() -> None:
    """Covariances that share their eigenvectors: d^2 = |m1 - m2|^2 + sum (sqrt(l1) - sqrt(l2))^2."""
    basis, _ = np.linalg.qr(RNG.normal(size=(20, 20)))
    l1, l2 = RNG.uniform(0, 3, 20), RNG.uniform(0, 3, 20)
    l1[:5] = 0  # singular
    m1, m2 = RNG.normal(size=20), RNG.normal(size=20)
    a, b = Moments(m1, basis * l1 @ basis.T, 100), Moments(m2, basis * l2 @ basis.T, 100)
    expected = np.sum((m1 - m2) ** 2) + np.sum((np.sqrt(l1) - np.sqrt(l2)) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, b) < 1e-12 * np.sum(l2)


def test_frechet_against_a_general_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    x, y = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(200, 6)) + 0.3
    a, b = moments(x), moments(y)
    np.testing.assert_allclose(a.covariance, np.cov(x.T), rtol=1e-10)
    independent = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * sqrtm(a.covariance @ b.covariance).real)
    assert frechet_distance(a, b) == pytest.approx(independent, rel=1e-8)


def test_bad_features_are_refused() -> None:
    with pytest.raises(UserError, match="at least 2"):
        moments(np.zeros((1, 3)))
    with pytest.raises(UserError, match="first: image 2"):
        moments(np.array([[0.0], [1.0], [np.nan]]))
    with pytest.raises(UserError, match="dimension 2 cannot"):
        frechet_distance(moments(RNG.normal(size=(9, 2))), moments(RNG.normal(size=(9, 3))))


def test_risk_of_the_exact_denoiser_is_the_posterior_variance(mixture: GaussianMixture) -> None:
    n = 20_000
    x = mixture.sample(n, torch.Generator().manual_seed(0)).float().reshape(n, 1, 2, 2)

    def denoiser(noisy: Tensor, sigma: Tensor) -> Tensor:
        return mixture.posterior_mean(noisy.flatten(1).double(), sigma.double()).reshape(noisy.shape).float()

    curve = denoising_risk(denoiser, x.numpy(), [0.1, 0.5, 2.0])
    for level, risk, error in zip(curve.levels, curve.risk, curve.standard_error, strict=True):
        sigma = torch.full((n,), level).double()
        noisy = x.flatten(1).double() + level * torch.randn(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        v = mixture.posterior_variance(noisy, sigma)
        assert abs(risk - float(v.mean())) < 4.5 * math.hypot(error, float(v.std()) / n**0.5)
    assert curve.relative == pytest.approx(np.mean([r / s**2 for r, s in zip(curve.risk, curve.levels, strict=True)]))


def test_the_classifier_sees_noise_blur_and_missing_classes(digits: Path) -> None:
    train, held_out = open_dataset(digits / "train"), open_dataset(digits / "held-out")
    images, labels = train.read(np.arange(len(train))), train.labels
    assert labels is not None
    assert held_out.labels is not None
    features = train_classifier(images, labels, (held_out.read(np.arange(len(held_out))), held_out.labels))
    assert features.accuracy is not None
    assert features.accuracy > 0.95
    base = moments(features(images))

    def distance(changed: np.ndarray) -> float:
        return frechet_distance(moments(features(changed.astype(np.float32))), base)

    noise = RNG.normal(size=images.shape)
    noisy = [distance(images + s * noise) for s in (0.0, 0.1, 0.2, 0.4, 0.8)]
    blurred = [distance((1 - b) * images + b * (np.roll(images, 1, 3) + np.roll(images, -1, 3)) / 2) for b in (0.0, 0.15, 0.3, 0.6)]
    dropped = [distance(images[labels < keep]) for keep in (10, 8, 6, 3)]
    for values in (noisy, blurred, dropped):
        assert values[0] < 1e-6
        assert all(a < b for a, b in pairwise(values)), values


def test_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="two classes"):
        train_classifier(np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64))
