"""Pair drawing follows q(sigma, i) ~ p(sigma) N_eff^(gamma - 1) w(sigma, s_i), and worth's inputs are what they claim to be."""

import math

import numpy as np
import pytest
import torch

from noiseworth.diffusion.levels import LogNormalLevels
from noiseworth.diffusion.pairs import PairLaw
from noiseworth.diffusion.worth import PosteriorVariance, spectrum, worth
from noiseworth.errors import UserError
from noiseworth.theory.mixtures import GaussianMixture

N = 30_000
LEVELS = LogNormalLevels(-0.7, 0.8)


def _chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Standardised chi-square: about N(0, 1) under the law. Cells that expect under 20 draws are put together."""
    order = np.argsort(expected)
    observed, expected = observed[order].astype(float), expected[order]
    cells, o, e = [], 0.0, 0.0
    for count, mean in zip(observed, expected, strict=True):
        o, e = o + count, e + mean
        if e >= 20:
            cells.append((o, e))
            o = e = 0.0
    freedom = len(cells) - 1
    statistic = sum((o - e) ** 2 / e for o, e in cells)
    return float((statistic - freedom) / math.sqrt(2 * freedom))


def _expected(law: PairLaw, edges: torch.Tensor, gamma: float) -> np.ndarray:
    """Expected share of each (level cell, image), by the midpoint rule in probability, written from the formula."""
    share = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    sigma = law.levels.quantile(share)
    w = worth(sigma[:, None], law.s[None], law.v(sigma)[:, None])  # (K, N)
    total = w.sum(1, keepdim=True)
    q = torch.where(total > 0, w * total.clamp(min=1e-300) ** (gamma - 1), torch.zeros_like(w))
    cell = torch.bucketize(sigma, edges)
    table = torch.zeros(len(edges) + 1, len(law.s), dtype=torch.float64).index_add_(0, cell, q)
    return (table / table.sum()).numpy()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "s",
    [
        torch.tensor([0.0] * 3 + [0.5] * 9),
        torch.tensor([0.3] * 5 + [0.6] * 7),  # no clean image
        torch.cat([torch.zeros(20), torch.linspace(0.1, 1.5, 480)]),  # more distinct levels than groups: rejection at work
    ],
    ids=["mixed", "all-noisy", "all-different"],
)
def test_pairs_follow_the_stated_law(s: torch.Tensor, gamma: float) -> None:
    law = PairLaw(s, LEVELS, PosteriorVariance(torch.tensor([1.0, 0.1])), gamma)
    pairs = law.draw(7, torch.arange(N))
    edges = LEVELS.quantile(torch.arange(1, 12) / 12)
    flat = torch.bucketize(pairs.sigma, edges) * len(s) + pairs.index
    observed = torch.bincount(flat, minlength=12 * len(s)).numpy()
    expected = _expected(law, edges, gamma).flatten() * N
    assert observed[expected == 0].sum() == 0
    assert abs(_chi_square(observed, expected)) < 4.5
    if gamma != 1.0:  # the test has power: the law of another gamma is refused
        assert _chi_square(observed, _expected(law, edges, 1.0).flatten() * N) > 10


def test_one_clean_image_among_very_many_noise_levels() -> None:
    """Below all other noise only the clean image can be drawn, and it counts as one image."""
    s = torch.cat([torch.zeros(1), torch.linspace(0.5, 1.0, 100_000)])
    law = PairLaw(s, LEVELS, PosteriorVariance(torch.ones(4)), 0.0)
    assert float(law.n_effective(torch.tensor([0.1], dtype=torch.float64))) == 1.0
    pairs = law.draw(0, torch.arange(2000))
    low = pairs.sigma < 0.5
    assert low.sum() > 500
    assert (pairs.index[low] == 0).all()


def test_an_outlying_cleanest_image_is_drawn_where_it_alone_counts() -> None:
    """All noisy, one image a little below a crowd: rejection would take for ever, and the direct draw takes over."""
    crowd = torch.linspace(0.5001, 0.502, 200_000)
    s = torch.cat([torch.tensor([0.5]), crowd, torch.linspace(0.6, 60.0, 1000)])
    law = PairLaw(s, LogNormalLevels(math.log(0.51303), 1e-5), PosteriorVariance(torch.ones(4)), 0.0)
    pairs = law.draw(0, torch.arange(64))
    assert (worth(pairs.sigma, law.s[pairs.index], law.v(pairs.sigma)) > 0).all()
    assert (pairs.index == 0).any()


def test_draws_are_a_function_of_seed_and_slot() -> None:
    law = PairLaw(torch.linspace(0, 1, 2000), LEVELS, PosteriorVariance(torch.ones(4)), 0.5)
    whole = law.draw(0, torch.arange(100, 164))
    for start in (100, 132):
        half = law.draw(0, torch.arange(start, start + 32))
        assert torch.equal(half.index, whole.index[start - 100 : start - 68])
        assert torch.equal(half.sigma, whole.sigma[start - 100 : start - 68])


def test_levels_out_of_reach_are_refused() -> None:
    with pytest.raises(UserError, match="above almost every training level"):
        PairLaw(torch.full((4,), 1e4), LEVELS, PosteriorVariance(torch.ones(4)), 0.5)
    with pytest.raises(UserError, match="--gamma"):
        PairLaw(torch.zeros(4), LEVELS, PosteriorVariance(torch.ones(4)), 1.5)


def test_spectrum_removes_the_noise_and_bounds_the_posterior_variance(mixture: GaussianMixture) -> None:
    """The bound from mixed noisy images agrees with the bound from clean ones, and is never below the exact v(sigma)."""
    n = 40_000
    generator = torch.Generator().manual_seed(0)
    x = mixture.sample(n, generator)
    s = torch.where(torch.arange(n) % 4 == 0, 0.0, 0.5).double()
    y = x + s[:, None] * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    clean, sigma_data = spectrum(x.reshape(n, 1, 2, 2), torch.zeros(n))
    found, found_sigma_data = spectrum(y.reshape(n, 1, 2, 2), s)
    # The standard error of a variance l from n values of noise s^2 is (l + s^2) sqrt(2 / n); both spectra have one.
    assert ((clean - found).abs() < 4.5 * (clean + 0.25) * math.sqrt(4 / n)).all()
    exact = float((mixture.weights[:, None] * (mixture.means**2 + mixture.tau**2)).sum() / 4)
    assert abs(sigma_data**2 - exact) < 4.5 * float(x.square().mean(1).std()) / n**0.5
    assert abs(found_sigma_data**2 - exact) < 4.5 * float(y.square().mean(1).std()) / n**0.5
    bound = PosteriorVariance(clean)
    for level in (0.1, 0.3, 1.0, 3.0):
        sigma = torch.full((n,), level).double()
        noisy = x + level * torch.randn(n, 4, generator=generator, dtype=torch.float64)
        v = mixture.posterior_variance(noisy, sigma)
        assert float(v.mean()) < float(bound(sigma[:1])) * 1.01 + 4.5 * float(v.std()) / n**0.5


def test_residuals_of_the_exact_denoiser_give_the_exact_variance(mixture: GaussianMixture) -> None:
    """Fed with the residuals of the ideal denoiser on noisy images, v(sigma) comes out as the mixture's."""
    generator = torch.Generator().manual_seed(1)
    n, level, s = 100_000, 0.9, 0.5
    x = mixture.sample(n, generator)
    y = x + s * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    x_sigma = y + math.sqrt(level**2 - s**2) * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    sigma = torch.full((n,), level).double()
    a = 1 - s**2 / level**2
    target = (y - (1 - a) * x_sigma) / a
    residual = (mixture.posterior_mean(x_sigma, sigma) - target).square().mean(1)
    v = PosteriorVariance(torch.full((4,), 10.0))  # a bound far above
    v.observe(sigma, torch.full((n,), s), residual)
    v.refresh()
    cell = int((v.grid - level).abs().argmin())
    exact = float(mixture.posterior_variance(x_sigma, sigma).mean())
    # rounded to steps of 2^(1/8), and the prior's 64 observations pull by a known amount
    assert abs(math.log2(float(v.value[cell]) / exact)) < 1 / 16 + 0.03
    assert v.value[cell] < 0.5 * v.bound[cell]
