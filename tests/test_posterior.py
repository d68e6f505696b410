"""What restoring says of images, on a mixture whose posterior is known, and on images made for the purpose."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from noiseworth.diffusion.posterior import posterior, squared_error
from noiseworth.restore.calibration import on_clean, without_clean
from noiseworth.restore.level import own_level
from noiseworth.restore.restorer import Restorer
from noiseworth.restore.share import data_share
from noiseworth.restore.tiles import Mosaic, corners
from noiseworth.theory.mixtures import GaussianMixture

S = 0.4


class _Exact(nn.Module):
    """The exact denoiser of the mixture, for images 1x2x2."""

    sigma_data = 0.7

    def __init__(self, mixture: GaussianMixture, of_noise: float = 1.0) -> None:
        super().__init__()
        self.mixture, self.of_noise = mixture, of_noise

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        mean = self.mixture.posterior_mean(x.flatten(1).double(), self.of_noise * sigma.double())
        return mean.reshape(x.shape).to(x.dtype)


def _pair(mixture: GaussianMixture, n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = mixture.sample(n, generator).reshape(n, 1, 2, 2)
    return x, x + S * torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _restorer(denoiser: nn.Module) -> Restorer:
    model = SimpleNamespace(denoiser=denoiser, shape=(1, 2, 2), trained_from=0.0)
    return Restorer(model, 500, 0)  # type: ignore[arg-type]


def test_mean_and_variance_are_those_of_the_posterior(mixture: GaussianMixture) -> None:
    _, y = _pair(mixture, 200, 0)
    s = torch.full((200,), S, dtype=torch.float64)
    mean, variance = posterior(_Exact(mixture), y, s, torch.arange(200), seed=0)
    torch.testing.assert_close(mean.flatten(1), mixture.posterior_mean(y.flatten(1), s))
    exact = mixture.posterior_covariance(y.flatten(1), s).diagonal(dim1=1, dim2=2)
    # One-sided differences are off by the curvature times the step, up or down by chance.
    assert float((variance.flatten(1) - exact).abs().mean()) < 0.02 * float(exact.mean())
    assert abs(float((variance.flatten(1) - exact).mean())) < 0.005 * float(exact.mean())


def test_the_error_is_estimated_without_clean_images(mixture: GaussianMixture) -> None:
    """Of the exact denoiser, and of one that takes the noise for greater than it is."""
    n = 20_000
    x, y = _pair(mixture, n, 1)
    s = torch.full((n,), S, dtype=torch.float64)
    for of_noise in (1.0, 1.5):
        mean, variance = posterior(_Exact(mixture, of_noise), y, s, torch.arange(n), seed=0)
        estimate = squared_error(y, mean, variance, s).flatten(1).mean(1)
        true = ((mean - x) ** 2).flatten(1).mean(1)
        assert abs(float((estimate - true).mean())) < 4.5 * float((estimate - true).std()) / math.sqrt(n)


def test_the_model_measures_the_noise(mixture: GaussianMixture) -> None:
    hits = 0
    for seed in range(20):
        _, y = _pair(mixture, 500, seed)
        level = own_level(_Exact(mixture), y, torch.arange(500), seed=0)
        assert abs(level.sigma / S - 1) < 0.15
        hits += level.low < S < level.high
    assert hits >= 16  # of 20 intervals of 95%, fewer cover in 1 of 400 cases
    x, _ = _pair(mixture, 500, 0)
    assert own_level(_Exact(mixture), x, torch.arange(500), seed=0).high < 0.05


@pytest.mark.parametrize("way", ["clean", "noisy"])
def test_intervals_cover_nine_of_ten(mixture: GaussianMixture, way: str) -> None:
    """Of images that were not calibrated on; also of a model whose errors are larger than it says."""
    n = 4000
    for of_noise in (1.0, 0.7):
        restorer = _restorer(_Exact(mixture, of_noise))
        x, y = (t.float().numpy() for t in _pair(mixture, n, 2))
        s, ids = np.full(n, S), np.arange(n)
        half = n // 2
        first = (x if way == "clean" else y)[:half]
        made = (on_clean if way == "clean" else without_clean)(restorer, first, s[:half], ids[:half], 0)
        found = restorer(y[half:], s[half:], ids[half:], maps=True)
        covered = np.abs(x[half:] - found.mean) <= made.factor * found.std(s[half:])
        within = 0.02 if way == "clean" else 0.05
        assert abs(covered.mean() - 0.9) < within, (of_noise, covered.mean())
        true = np.sqrt(np.mean((x - restorer(y, s, ids, maps=False).mean) ** 2))
        assert abs(made.error / true - 1) < 0.05


def test_draws_are_the_same_whatever_the_batch(mixture: GaussianMixture) -> None:
    _, y = _pair(mixture, 40, 3)
    images, s, ids = y.float().numpy(), np.full(40, S), np.arange(40)
    restorer = _restorer(_Exact(mixture))
    whole = restorer(images, s, ids, maps=True, draws=2)
    some = restorer(images[7:20], s[7:20], ids[7:20], maps=True, draws=2)
    np.testing.assert_allclose(some.draws, whole.draws[:, 7:20], atol=1e-5)
    np.testing.assert_allclose(some.variance, whole.variance[7:20], atol=1e-4)
    assert np.abs(whole.draws[0] - whole.draws[1]).max() > 0.1


def test_tiles_cover_an_image_and_fade_into_each_other() -> None:
    size, tile = (37, 50), (16, 12)
    image = np.random.default_rng(0).standard_normal((3, *size)).astype(np.float32)
    places = corners(size, tile)
    assert places[0] == (0, 0)
    assert places[-1] == (37 - 16, 50 - 12)
    mosaic = Mosaic(1, 3, size, tile)
    for row, column in places:
        mosaic.add(0, (row, column), image[:, row : row + 16, column : column + 12])
    np.testing.assert_allclose(mosaic.images()[0], image, atol=1e-5)
    # A tile that is off by 1 fades out: no step is greater than the window's.
    other = Mosaic(1, 1, size, tile)
    for number, (row, column) in enumerate(places):
        other.add(0, (row, column), np.full((1, *tile), float(number == len(places) // 2), np.float32))
    assert np.abs(np.diff(other.images()[0, 0], axis=0)).max() < 2 * np.pi / 16
    with pytest.raises(ValueError, match="fewer than a tile"):
        corners((8, 50), tile)


def test_the_share_tells_what_is_in_the_data() -> None:
    """Structure that is in the noisy image has share 1, the same structure where there is none has 0, to within what is said."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(64) / 2)[None, :] * np.ones((64, 1))
    x = np.where(np.arange(64)[:, None] < 32, wave, 0.0)[None]
    shares, errors = [], []
    for _ in range(50):
        y = (x + 0.5 * rng.standard_normal(x.shape)).astype(np.float32)
        share, error = data_share(y, wave[None].astype(np.float32), np.zeros((1, 64, 64), np.float32), 0.5)
        shares.append(share)
        errors.append(error)
    mean, middle = np.mean(shares, 0), slice(8, 24)
    assert np.abs(mean[middle] - 1).max() < 0.2
    assert np.abs(mean[40:56]).max() < 0.2
    # The error that is said is that of the scatter.
    assert abs(np.std(shares, 0)[40:56].mean() / np.mean(errors) - 1) < 0.1
    flat = data_share(y, np.zeros((1, 64, 64), np.float32), np.zeros((1, 64, 64), np.float32), 0.5)
    assert np.isnan(flat[0]).all()


def test_what_noise_left_in_an_estimate_is_taken_off() -> None:
    """A made-up wave and traces of the noise, which follow the data by chance: without Stein's term they would count as data."""
    rng = np.random.default_rng(1)
    wave = 0.6 * np.sin(np.arange(64) / 1.5)[None, :] * np.ones((1, 64, 1))
    point = np.zeros((33, 33))
    point[16, 16] = 1
    own = gaussian_filter(point, 1.2)[16, 16]  # d mean / d y of one pixel
    means: dict[float, list[float]] = {own * 0.25: [], 0.0: []}
    for _ in range(30):
        y = 0.5 * rng.standard_normal((1, 64, 64))
        mean = (wave + gaussian_filter(y, (0, 1.2, 1.2))).astype(np.float32)
        for variance, values in means.items():
            share, _ = data_share(y.astype(np.float32), mean, np.full_like(mean, variance), 0.5)
            assert np.isfinite(share).mean() > 0.9
            values.append(float(np.nanmean(share)))
    with_term, without = (np.mean(values) for values in means.values())
    assert abs(with_term) < 0.1
    assert without > abs(with_term) + 0.05
