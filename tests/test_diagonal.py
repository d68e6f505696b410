"""Noise that is not white: targets against closed forms, imputation given the rest, worth, and what pairs are drawn."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseworth.data.augment import Augmentation, augment, undo_augment
from noiseworth.diffusion.conditional import impute_given
from noiseworth.diffusion.diagonal import DiagonalNoise, coordinate_weight, diagonal_pair, is_own
from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.objective import ambient_pair
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.profiles import Profile, Profiles
from noiseworth.diffusion.worth import PosteriorVariance, imputed_worth, worth
from noiseworth.noise.models import CorrelatedNoise
from noiseworth.rng import Stream, normal

N = 40_000
SHAPE = (1, 2, 3)
VARIANCE = torch.tensor([[0.01, 0.05, 0.1], [0.2, 0.3, 0.4]])
SIGNAL = torch.tensor([[1.0, 0.8, 0.5], [0.3, 0.1, 0.02]])  # variances of independent Gaussian coordinates


def _noise(variance: Tensor, is_fourier: bool, n: int = N) -> DiagonalNoise:
    return DiagonalNoise(variance.expand(n, *SHAPE), torch.full((n,), is_fourier))


def test_the_transform_is_orthonormal_its_own_inverse_and_diagonalises_correlated_noise() -> None:
    own = DiagonalNoise(torch.ones(12, 1, 3, 4), torch.ones(12, dtype=torch.bool))
    basis = own.turned(torch.eye(12).reshape(12, 1, 3, 4)).reshape(12, 12)
    assert torch.allclose(basis @ basis.T, torch.eye(12), atol=1e-6)
    assert torch.allclose(basis @ basis, torch.eye(12), atol=1e-6)
    f = np.hypot(np.fft.fftfreq(3)[:, None], np.fft.fftfreq(4)[None])
    model = CorrelatedNoise(np.exp(-8 * f))
    drawn = torch.from_numpy(model.sample(np.zeros((N, 1, 3, 4)), 0, np.arange(N))).float()
    c = DiagonalNoise(drawn, torch.ones(N, dtype=torch.bool)).turned(drawn).flatten(1).double()
    expected = torch.from_numpy(model.spectrum).flatten()
    covariance = c.T @ c / N
    error = torch.sqrt((expected[:, None] * expected[None] + torch.diag(expected**2)) / N)
    assert ((covariance - torch.diag(expected)).abs() < 4.5 * error).all()


def test_a_batch_of_both_bases_transforms_each_image_by_its_own() -> None:
    x = normal(0, Stream.NOISE, torch.arange(4), SHAPE)
    mixed = DiagonalNoise(x, torch.tensor([True, False, True, False])).turned(x)
    whole = DiagonalNoise(x, torch.ones(4, dtype=torch.bool)).turned(x)
    assert torch.equal(mixed[1::2], x[1::2])
    assert torch.equal(mixed[::2], whole[::2])


@pytest.mark.parametrize("is_fourier", [False, True])
def test_targets_are_unbiased_and_have_the_stated_variance(is_fourier: bool) -> None:
    """Of independent Gaussian coordinates everything is known: E[x | x_sigma] = k x_sigma, k = lambda / (lambda + sigma^2)."""
    own, level = _noise(VARIANCE, is_fourier), 0.9
    ids = torch.arange(N)
    x = SIGNAL.sqrt() * normal(0, Stream.CORRUPT, ids, SHAPE)  # coordinates
    y = own.turned(x + VARIANCE.sqrt() * normal(1, Stream.CORRUPT, ids, SHAPE))
    sigma = torch.full((N,), level)
    pair = diagonal_pair(y, own, sigma, normal(2, Stream.NOISE, ids, SHAPE))
    assert bool(pair.own.all())
    c, t = own.turned(pair.x_sigma).double(), own.turned(pair.target).double()
    total = SIGNAL + level**2
    assert ((c.var(0) / total - 1).abs() < 4.5 * math.sqrt(2 / N)).all()
    residual = t - SIGNAL / total * c
    v = SIGNAL * level**2 / total
    expected = v + VARIANCE / (1 - VARIANCE / level**2)
    assert (residual.mean(0).abs() < 4.5 * (expected / N).sqrt()).all()
    assert ((residual.var(0) / expected - 1).abs() < 4.5 * math.sqrt(2 / N)).all()
    assert ((residual * c).mean(0).abs() < 4.5 * (expected * total / N).sqrt()).all()


def test_white_noise_gives_the_pairs_of_the_white_objective() -> None:
    ids = torch.arange(64)
    y, eps = normal(0, Stream.CORRUPT, ids, SHAPE), normal(0, Stream.NOISE, ids, SHAPE)
    sigma = torch.linspace(0.5, 2, 64)
    pair = diagonal_pair(y, _noise(torch.full(SHAPE, 0.16), False, 64), sigma, eps)
    x_sigma, target = ambient_pair(y, torch.full((64,), 0.4), sigma, eps)
    assert torch.allclose(pair.x_sigma, x_sigma, atol=1e-6)
    assert torch.allclose(pair.target, target, atol=1e-5)


def test_coordinates_above_the_level_come_from_the_imputed_image() -> None:
    own = _noise(torch.where(VARIANCE > 0.15, torch.inf, VARIANCE), False, 8)
    y = torch.where(torch.isinf(own.variance), torch.nan, torch.ones(8, *SHAPE))
    sigma, eps = torch.full((8,), 0.5), normal(0, Stream.NOISE, torch.arange(8), SHAPE)
    with pytest.raises(ValueError, match="imputed"):
        diagonal_pair(y, own, sigma, eps)
    filled = torch.full((8, *SHAPE), 7.0)
    pair = diagonal_pair(y, own, sigma, eps, filled)
    taken = torch.isinf(own.variance)
    assert torch.equal(pair.own, ~taken)
    assert torch.equal(pair.target[taken], filled[taken])
    assert torch.isfinite(pair.x_sigma).all()
    weight = coordinate_weight(
        own.variance, pair.own, sigma, torch.full_like(y, 0.1), torch.full_like(y, 0.3)
    )
    assert torch.allclose(weight[taken], torch.tensor(0.3))
    a = 1 - VARIANCE[0] / 0.25
    assert torch.allclose(weight[:, 0, 0], 0.1 / (0.1 + VARIANCE[0] / a), atol=1e-6)
    assert is_own(torch.tensor(0.0), torch.tensor(1e-6))


def _correlated_prior(seed: int) -> tuple[Tensor, Tensor]:
    """Covariance of eight correlated Gaussian pixels, and its square root."""
    basis = torch.linalg.qr(
        torch.randn(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )[0]
    variances = 0.6 * torch.logspace(0, -2.5, 8).double()
    return basis @ torch.diag(variances) @ basis.T, basis @ torch.diag(variances.sqrt())


def _imputed(case: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images imputed with the exact denoiser, what was measured of them (NaN elsewhere), and the covariance of clean ones."""
    n = 8000
    covariance, root = _correlated_prior(seed)
    values, vectors = torch.linalg.eigh(covariance)
    x = normal(seed, Stream.CORRUPT, torch.arange(n), (8,)).double() @ root.T
    variance = torch.tensor([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
    if case != "map":
        variance = torch.where(torch.arange(8) % 2 == 0, 0.09 if case == "both" else 0.0, torch.inf)
    noise = torch.where(torch.isfinite(variance), variance, 0).sqrt()
    y = x + noise * normal(1, Stream.CORRUPT, torch.arange(n), (8,))
    y = torch.where(torch.isfinite(variance), y, torch.nan).reshape(n, 1, 2, 4).float()

    def denoiser(z: Tensor, level: Tensor) -> Tensor:
        share = values / (values + level.double()[:, None] ** 2)
        clean: Tensor = (z.flatten(1).double() @ vectors * share) @ vectors.T
        return clean.reshape(z.shape).float()

    own = DiagonalNoise(variance.reshape(1, 1, 2, 4).expand(n, 1, 2, 4), torch.zeros(n, dtype=torch.bool))
    sigma_data = float(covariance.diagonal().mean().sqrt())
    made = impute_given(denoiser, y, own, torch.arange(n), seed=0, sigma_data=sigma_data)
    return made.flatten(1).double(), y.flatten(1).double(), covariance


@pytest.mark.parametrize(("case", "most"), [("missing", 0.07), ("map", 0.1), ("both", 0.09)])
def test_imputed_images_have_nearly_the_law_of_clean_ones(case: str, most: float) -> None:
    """As the docstring says, over four sets of images; and what was measured without noise stays."""
    off = []
    for seed in range(4):
        made, y, covariance = _imputed(case, seed)
        off.append(float((torch.cov(made.T) - covariance).abs().max() / covariance.max()))
        assert (made.mean(0).abs() < 0.03).all()
        if case == "missing":
            measured = torch.isfinite(y[0])
            assert torch.allclose(made[:, measured], y[:, measured])
    # A covariance of 8000 images is known to within 1.6% of a variance; the largest of 36 departures is a few times that.
    assert np.mean(off) == pytest.approx(most, abs=0.03)


def test_what_is_missing_follows_from_what_was_measured() -> None:
    """Imputed pixels lie around their mean given the others, as far as those leave them, and not as far as pixels are spread."""
    made, y, covariance = _imputed("missing", 0)
    measured = torch.isfinite(y[0])
    gain = covariance[:, measured] @ torch.linalg.inv(covariance[measured][:, measured])
    left = (covariance - gain @ covariance[measured]).diagonal()[~measured].sum()
    away = (made - y[:, measured] @ gain.T)[:, ~measured].square().mean(0).sum()
    ignored = covariance.diagonal()[~measured].sum()
    assert float(away / left) < 0.75 * float(
        (ignored + left) / left
    )  # drawn without the others: ignored + left
    together = made - y[:, measured] @ gain.T
    explained = (y[:, measured] @ gain.T)[:, ~measured]
    slope = (made[:, ~measured] * explained).sum() / explained.square().sum()
    assert abs(float(slope) - 1) < 0.2
    assert (together.mean(0).abs() < 0.03).all()


def test_a_profile_of_white_noise_is_worth_what_white_noise_is() -> None:
    sigma, s = torch.linspace(0.1, 3, 40).double(), torch.tensor(0.4).double()
    v = torch.full((40,), 0.05).double()
    profiles = Profiles([Profile.of(torch.ones(1, 4, 4), torch.ones(1, 4, 4))], 1.0, 0.5)
    kind = torch.tensor(1)
    assert torch.allclose(profiles.worth(sigma, kind, s, v), worth(sigma, s, v))
    assert torch.allclose(profiles.imputed(sigma, kind, s, v), imputed_worth(sigma, s))


def test_an_image_with_missing_pixels_is_worth_its_share_of_pixels() -> None:
    """Clean but for half of its pixels: as much as half a clean image, and what imputed pixels are trusted."""
    variance = torch.where(torch.arange(16) < 8, 0.0, torch.inf)
    profiles = Profiles([Profile.of(variance, torch.ones(16))], 1.0, 0.5)
    sigma, kind, s = torch.tensor([0.01, 0.3, 2.0]).double(), torch.tensor(1), torch.tensor(0.0).double()
    v = torch.full((3,), 0.05).double()
    assert profiles.highest(kind, s) == torch.inf
    assert torch.equal(profiles.worth(sigma, kind, s, v), torch.zeros(3).double())
    trusted = imputed_worth(sigma, torch.tensor(0.5).double(), torch.tensor(torch.inf))
    assert torch.allclose(profiles.imputed(sigma, kind, s, v), 0.5 + 0.5 * trusted)


def test_the_bound_of_a_group_is_no_less_than_the_worth_of_any_of_its_images() -> None:
    variance = torch.tensor([0.1, 0.5, 1.0, 2.4])
    profiles = Profiles([Profile.of(variance, torch.tensor([2.0, 1.0, 0.5, 0.1]))], 0.9, 0.5)
    sigma, kind = torch.linspace(0.05, 3, 60).double()[:, None], torch.tensor([1])
    v = torch.full((60, 1), 0.05).double()
    low, high = torch.tensor([0.2]).double(), torch.tensor([0.9]).double()
    bound = profiles.imputed(sigma, kind, low, v, high)
    for s in torch.linspace(0.2, 0.9, 29).double():
        assert (profiles.imputed(sigma, kind, s[None], v) <= bound + 1e-12).all()
        assert (profiles.worth(sigma, kind, s[None], v) <= profiles.worth(sigma, kind, low, v) + 1e-12).all()


def test_pairs_are_drawn_by_the_worth_of_each_kind() -> None:
    """At levels where all can be lifted, images of coloured and of white noise of one total are drawn by their worth."""
    profiles = Profiles(
        [Profile.of(torch.tensor([3.7, 0.1, 0.1, 0.1]), torch.tensor([1.0, 0.3, 0.1, 0.05]))], 0.36, 0.6
    )
    kind = torch.arange(400) % 2
    v = PosteriorVariance(torch.tensor([1.0, 0.3, 0.1, 0.05]))
    sampler = PairSampler(
        torch.full((400,), 0.3), LogNormalLevels(-0.5, 0.5), v, kind=kind, profiles=profiles
    )
    sampler.refresh(10_000_000)
    pairs = sampler.draw(3, torch.arange(40_000))
    above = pairs.sigma >= 0.3 * 3.7**0.5 / 0.95**0.5
    sigma, of_kind = pairs.sigma[above], kind[pairs.index[above]]
    assert not bool((kind[pairs.index[~above]] == 1).any())  # coloured noise cannot be lifted there
    ratios = profiles.worth(sigma, torch.tensor(1), torch.tensor(0.3), v(sigma)) / worth(
        sigma, torch.tensor(0.3), v(sigma)
    )
    share = torch.sqrt(ratios) / (
        1 + torch.sqrt(ratios)
    )  # Neyman's allocation, in the limit of much training
    expected, error = float(share.mean()), float((share * (1 - share)).mean() / len(share)) ** 0.5
    # 0.02: after 10 million images the limit of much training is nearly reached.
    assert abs(float((of_kind == 1).double().mean()) - expected) < 4.5 * error + 0.02


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_pairs_have_finite_weights_at_every_level(spread: float) -> None:
    """Also just above the noise of images that are imputed for other reasons, where their own worth is far below the trust."""
    variance = torch.tensor([1.0] * 7 + [torch.inf] * 3)
    profiles = Profiles([Profile.of(variance, torch.ones(10))], 0.5, 0.7)
    s = 0.05 * (1 + spread * torch.linspace(0, 1, 60))
    sampler = PairSampler(
        s, LogNormalLevels(-1.6, 1.2), PosteriorVariance(torch.full((10,), 0.5)),
        kind=torch.ones(60, dtype=torch.int64), profiles=profiles, imputed=torch.arange(60),
    )  # fmt: skip
    for n_images in (64, 10_000, 10_000_000):
        sampler.refresh(n_images)
        weight = sampler.draw(0, torch.arange(20_000)).weight
        assert torch.isfinite(weight).all()
        # 1 at the centre of each cell of levels; off by the change of worth within the cells.
        assert float(weight.mean()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("how", ["flip", "turns", "shift"])
def test_moved_images_are_moved_back(how: Augmentation) -> None:
    x = normal(0, Stream.NOISE, torch.arange(32), (2, 6, 6))
    ids = torch.arange(32)
    moved = augment([x], how, ids, 5)[0]
    assert not torch.equal(moved, x)
    assert torch.equal(undo_augment(moved, how, ids, 5), x)
