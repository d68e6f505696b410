"""Pairs are drawn as stated: the views that tell most; and worth's inputs are what they claim to be."""

import itertools
import math
import time

import numpy as np
import pytest
import torch

from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.worth import MIN_A, PosteriorVariance, imputed_worth, spectrum, worth
from noiseworth.errors import UserError
from noiseworth.rng import Stream, normal
from noiseworth.theory.mixtures import GaussianMixture

N = 30_000
LEVELS = LogNormalLevels(-0.7, 0.8)


def _chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Standardised chi-square: about N(0, 1) under the sampler. Cells that expect under 20 draws are put together."""
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


SETS = {
    "one level": torch.full((12,), 0.3),
    "two levels": torch.tensor([0.0] * 3 + [0.5] * 9),
    "no clean image": torch.tensor([0.3] * 5 + [0.6] * 7),
    "1,000 levels": torch.cat([torch.zeros(20), torch.linspace(0.1, 1.5, 1000)]),
}


def make_sampler(
    s: torch.Tensor, n_images: int, imputed: torch.Tensor | None = None, memorised: float = 0.0
) -> PairSampler:
    sampler = PairSampler(s, LEVELS, PosteriorVariance(torch.tensor([1.0, 0.1])))
    sampler.memorisation.load_state([memorised] * 5)
    if imputed is not None:
        sampler.set_imputed(imputed)
    sampler.refresh(n_images)
    return sampler


def _presentations(sampler: PairSampler, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """c and worth (K, N) of each image at levels, from the formula and the depth of the level's cell."""
    w = worth(sigma[:, None], sampler.s[None], sampler.v(sigma)[:, None])
    share = (LEVELS.share_below(sigma) - sampler._low_share) / (1 - sampler._low_share)
    depth = sampler._depth[(share * len(sampler._depth)).long()]
    log_lambda = depth - torch.log(w.amax(1))
    k = _exponent(sampler)
    return torch.expm1((log_lambda[:, None] + torch.log(w)).clamp(min=0) * k) / (2 * k), w


def _exponent(sampler: PairSampler) -> float:
    """k, of a share that is known by heart which is the same at all levels."""
    return 0.5 - 0.48 * float(sampler.memorisation.share[0])


@pytest.mark.parametrize(("n_images", "memorised"), [(300, 0.0), (30_000, 0.0), (30_000, 1.0)])
@pytest.mark.parametrize("s", SETS.values(), ids=SETS.keys())
def test_images_are_drawn_in_proportion_to_the_presentations_that_they_deserve(
    s: torch.Tensor, n_images: int, memorised: float
) -> None:
    sampler = make_sampler(s, n_images, memorised=memorised)
    pairs = sampler.draw(7, torch.arange(N))
    assert not pairs.imputed.any()
    c, w = _presentations(sampler, pairs.sigma)
    edges = LEVELS.quantile(torch.arange(1, 12) / 12)
    cell = torch.bucketize(pairs.sigma, edges)
    observed = torch.bincount(cell * len(s) + pairs.index, minlength=12 * len(s)).numpy()

    def expected(q: torch.Tensor) -> np.ndarray:
        """Given the levels that were drawn: the sum over them of each image's share."""
        table = torch.zeros(12, len(s), dtype=torch.float64).index_add_(0, cell, q / q.sum(1, keepdim=True))
        return table.flatten().numpy()

    assert observed[expected(c) == 0].sum() == 0
    assert abs(_chi_square(observed, expected(c))) < 4.5
    if (
        len(torch.unique(s)) > 1 and n_images > 300 and not memorised
    ):  # the test has power: images in proportion to their worth are refused
        assert _chi_square(observed, expected(w)) > 8
    # An image counts for what it has told, up to one factor for each level; w / (1 + c) for each view, if nothing is known by heart.
    mine, own = c.gather(1, pairs.index[:, None])[:, 0], w.gather(1, pairs.index[:, None])[:, 0]
    k = _exponent(sampler)
    told = -torch.expm1((1 - 1 / k) * torch.log1p(2 * k * mine)) / (2 * (1 - k))
    ratio = pairs.weight * mine / told / own
    mean = (pairs.weight.sum() / N).item()
    assert abs(mean - 1) < 4.5 * pairs.weight.std().item() / N**0.5 + 0.01
    fine = (
        (LEVELS.share_below(pairs.sigma) - sampler._low_share)
        / (1 - sampler._low_share)
        * len(sampler._scale)
    ).long()
    same = torch.isclose(ratio, sampler._scale[fine], rtol=1e-6)
    assert same.double().mean() > 0.999  # a level on the edge of its cell may round into the next one


@pytest.mark.parametrize("memorised", [0.0, 0.5])
@pytest.mark.parametrize("s", SETS.values(), ids=SETS.keys())
def test_no_other_presentations_would_tell_more(s: torch.Tensor, memorised: float) -> None:
    """The conditions of Karush, Kuhn and Tucker, which decide for a concave problem: a further view of any image that is drawn tells
    the same, of one that is not no more; and the views sum to the images seen."""
    n_images = 40 * len(s)
    sampler = make_sampler(s, n_images, memorised=memorised)
    k = _exponent(sampler)
    cells = len(sampler._depth)
    share = (
        sampler._low_share
        + (1 - sampler._low_share) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    )
    sigma = LEVELS.quantile(share)
    c, w = _presentations(sampler, sigma * (1 + 1e-12))
    information = (w * -torch.expm1((1 - 1 / k) * torch.log1p(2 * k * c)) / (2 * (1 - k))).sum(1)
    log_sigma = sigma.log()
    density = torch.exp(-0.5 * ((log_sigma - LEVELS.mean) / LEVELS.std) ** 2)[:, None]
    gain = density * w * (1 + 2 * k * c) ** (-1 / k) / information[:, None]
    inner = slice(8, -8)  # the outermost cells have no finite width
    drawn = c[inner] > 0.05
    mu = float(gain[inner][drawn].median())
    assert (gain[inner][drawn] / mu - 1).abs().max() < 0.06
    assert (gain[inner][~drawn] < 1.06 * mu).all()
    width = torch.diff(
        LEVELS.quantile(sampler._low_share + (1 - sampler._low_share) * torch.arange(cells + 1) / cells).log()
    )
    total = float((c.sum(1) * width * sampler.presentations)[1:-1].sum())
    assert (
        abs(total / n_images - 1) < (0.05 + 0.03 * (memorised > 0) if len(torch.unique(s)) < 64 else 0.1)
    )  # of very many levels, bins share a typical worth; what is known by heart is drawn more in the outermost cells, left out here


def test_levels_follow_the_allocation() -> None:
    sampler = make_sampler(SETS["two levels"], 3_000)
    mass = torch.diff(sampler._cumulative) / sampler._cumulative[-1]
    pairs = sampler.draw(3, torch.arange(N))
    cell = (LEVELS.share_below(pairs.sigma) * len(mass)).long().clamp(max=len(mass) - 1)
    observed = torch.bincount(cell, minlength=len(mass)) / N
    # Evenly spread: the share of any interval is off by about ln(N) / N, where independent draws would be off
    # by its root.
    assert (observed - mass).abs().max() < 10 / N
    assert ((observed - mass).abs() < 0.3 * (mass / N).sqrt() + 2 / N).double().mean() > 0.9


def test_little_training_follows_the_levels_and_the_cleanest_images() -> None:
    pairs = make_sampler(SETS["two levels"], 1).draw(0, torch.arange(N))
    log_sigma = pairs.sigma.log()
    assert abs(float(log_sigma.mean()) - LEVELS.mean) < 0.02
    assert abs(float(log_sigma.std()) - LEVELS.std) < 0.02
    assert (pairs.index < 3).all()
    assert float(pairs.weight.std()) < 0.01


def test_much_training_follows_the_data() -> None:
    """Levels follow sqrt(p / N_eff) sum sqrt(w): a closed form of the limit."""
    sampler = make_sampler(SETS["two levels"], 10**9)
    sigma = sampler.draw(0, torch.arange(N)).sigma
    edges = torch.linspace(math.log(0.12), math.log(2.0), 9, dtype=torch.float64)
    observed = torch.histc(sigma.log(), 8, float(edges[0]), float(edges[-1]))
    fine = (edges[0] + (edges[-1] - edges[0]) * (torch.arange(8000) + 0.5) / 8000).exp()
    w = worth(fine[:, None], sampler.s[None], sampler.v(fine)[:, None])
    density = (
        torch.exp(-0.25 * ((fine.log() - LEVELS.mean) / LEVELS.std) ** 2) * w.sqrt().sum(1) / w.sum(1).sqrt()
    )
    expected = density.reshape(8, 1000).sum(1)
    assert ((observed / observed.sum()) / (expected / expected.sum()) - 1).abs().max() < 0.05


def test_of_what_is_known_by_heart_levels_follow_the_images_that_speak() -> None:
    """A level at which a quarter of the images speaks is trained a quarter as much, nearly; of unknown images, nearer to its root."""
    s = SETS["two levels"]
    edges = torch.log(torch.tensor([0.2, 0.4, 0.9, 1.8])).double()
    shares = {}
    for memorised in (0.0, 1.0):
        sigma = make_sampler(s, 10**5, memorised=memorised).draw(0, torch.arange(N)).sigma.log()
        low, _, high = (
            ((sigma > a) & (sigma < b)).double().sum() / (b - a) for a, b in itertools.pairwise(edges)
        )
        shares[memorised] = float(low / high)
    assert shares[1.0] < 0.4 < 0.7 * shares[0.0]


def test_imputed_images_are_drawn_below_their_noise_only() -> None:
    s = SETS["two levels"]
    sampler = make_sampler(s, 3_000, imputed=torch.arange(5, 9))
    pairs = sampler.draw(0, torch.arange(N))
    assert pairs.imputed.any()
    chosen = pairs.sigma[pairs.imputed]
    assert (chosen < 0.5 / (1 - MIN_A) ** 0.5).all()
    assert set(pairs.index[pairs.imputed].tolist()) == {5, 6, 7, 8}
    # In proportion to c: lambda is known from the clean images, whose worth is 1.
    inside = (pairs.sigma > 0.3) & (pairs.sigma < 0.31)
    level = torch.tensor([0.305]).double()
    depth = sampler._depth[(LEVELS.share_below(level) * len(sampler._depth)).long()]
    c = torch.expm1((depth + imputed_worth(level, torch.tensor([0.5]).double()).log()) / 2)
    expected = float(4 * c / (4 * c + 3 * torch.expm1(depth / 2)))
    share_imputed = pairs.imputed[inside].double()
    assert (
        abs(float(share_imputed.mean()) - expected)
        < 4.5 * (expected * (1 - expected) / len(share_imputed)) ** 0.5 + 0.01
    )


def test_imputed_images_of_all_different_noise_follow_the_distribution() -> None:
    """No group's bound is too low, also where a group's cleanest image gives a target itself and is not imputed any more."""
    s = torch.linspace(0.2, 1.5, 400)
    sampler = make_sampler(s, 20_000, imputed=torch.arange(400))
    pairs = sampler.draw(5, torch.arange(N))
    cell = torch.bucketize(pairs.sigma, LEVELS.quantile(torch.arange(1, 6) / 6))
    w = torch.cat(
        [
            worth(pairs.sigma[:, None], s[None], sampler.v(pairs.sigma)[:, None]),
            imputed_worth(pairs.sigma[:, None], s[None]),
        ],
        1,
    )
    share = LEVELS.share_below(pairs.sigma)
    log_lambda = sampler._depth[(share * len(sampler._depth)).long()] - sampler._log_worth(
        pairs.sigma, "lowest"
    ).amax(1)
    c = torch.expm1((log_lambda[:, None] + torch.log(w)).clamp(min=0) / 2)
    expected = torch.zeros(6, 800, dtype=torch.float64).index_add_(0, cell, c / c.sum(1, keepdim=True))
    observed = torch.bincount(cell * 800 + pairs.index + 400 * pairs.imputed, minlength=4800)
    assert abs(_chi_square(observed.numpy(), expected.flatten().numpy())) < 4.5


def test_a_million_noise_levels_cost_nothing() -> None:
    """All different: the sampler still holds (only images that are worth something are drawn), and a batch is quick to draw."""
    s = torch.cat([torch.zeros(1000), torch.linspace(0.05, 1.5, 999_000)])
    sampler = make_sampler(s, 100_000)
    began = time.perf_counter()
    pairs = [sampler.draw(0, torch.arange(first, first + 128)) for first in range(0, 1280, 128)]
    assert time.perf_counter() - began < 1.0
    sigma, index = torch.cat([p.sigma for p in pairs]), torch.cat([p.index for p in pairs])
    assert (worth(sigma, sampler.s[index], sampler.v(sigma)) > 0).all()
    assert len(torch.unique(sampler.s[index])) > 100


def test_an_outlying_cleanest_image_is_drawn_where_it_alone_counts() -> None:
    """All noisy, one image a little below a crowd: rejection would take for ever, and the direct draw takes over."""
    crowd = torch.linspace(0.5001, 0.502, 200_000)
    s = torch.cat([torch.tensor([0.5]), crowd, torch.linspace(0.6, 60.0, 1000)])
    sampler = PairSampler(s, LogNormalLevels(math.log(0.51303), 1e-5), PosteriorVariance(torch.ones(4)))
    sampler.refresh(10_000_000)
    pairs = sampler.draw(0, torch.arange(64))
    assert (worth(pairs.sigma, sampler.s[pairs.index], sampler.v(pairs.sigma)) > 0).all()
    assert (pairs.index == 0).any()


def test_draws_are_a_function_of_seed_and_slot() -> None:
    sampler = PairSampler(torch.linspace(0, 1, 2000), LEVELS, PosteriorVariance(torch.ones(4)))
    whole = sampler.draw(0, torch.arange(100, 164))
    for start in (100, 132):
        half = sampler.draw(0, torch.arange(start, start + 32))
        assert torch.equal(half.index, whole.index[start - 100 : start - 68])
        assert torch.equal(half.sigma, whole.sigma[start - 100 : start - 68])


def test_levels_out_of_reach_are_refused() -> None:
    with pytest.raises(UserError, match="above almost every training level"):
        PairSampler(torch.full((4,), 1e4), LEVELS, PosteriorVariance(torch.ones(4)))


def test_spectrum_removes_the_noise_and_bounds_the_posterior_variance(mixture: GaussianMixture) -> None:
    """The bound from mixed noisy images agrees with the bound from clean ones, and is never below the exact v(sigma)."""
    n = 40_000
    generator = torch.Generator().manual_seed(0)
    x = mixture.sample(n, generator)
    s = torch.where(torch.arange(n) % 4 == 0, 0.0, 0.5).double()
    y = x + s[:, None] * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    clean, sigma_data = spectrum(x.reshape(n, 1, 2, 2), torch.zeros(n))
    estimated, estimated_sigma_data = spectrum(y.reshape(n, 1, 2, 2), s)
    # The standard error of a variance l from n values of noise s^2 is (l + s^2) sqrt(2 / n); both spectra
    # have one.
    assert ((clean - estimated).abs() < 4.5 * (clean + 0.25) * math.sqrt(4 / n)).all()
    exact = float((mixture.weights[:, None] * (mixture.means**2 + mixture.tau**2)).sum() / 4)
    assert abs(sigma_data**2 - exact) < 4.5 * float(x.square().mean(1).std()) / n**0.5
    assert abs(estimated_sigma_data**2 - exact) < 4.5 * float(y.square().mean(1).std()) / n**0.5
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


@pytest.mark.parametrize("s", [0.2, 0.3, 0.32])  # each inside a cell of levels
def test_weights_are_bounded_where_targets_are_worth_nothing(s: float) -> None:
    """All images at one level and a v of nearly 0: in the cell where imputed images end, worth leaps by 1e37."""
    sampler = PairSampler(
        torch.tensor([s]), LogNormalLevels(-1.6, 1.2), PosteriorVariance(torch.zeros(1, 8, 8))
    )
    sampler.set_imputed(torch.arange(1))
    sampler.refresh(200)
    weight = sampler.draw(0, torch.arange(20_000)).weight
    assert 100 < float(weight.max()) < 1e4
    assert float(weight.mean()) < 4
    level = torch.tensor(s)
    cell = int((sampler.levels.share_below(level) * 256).floor())
    image, real = torch.zeros(9, dtype=torch.int64), torch.zeros(9, dtype=torch.bool)
    for imputed in (real, ~real):
        given = sampler.pairs_at(torch.full((9,), cell), torch.linspace(0, 1, 9), image, imputed)
        assert float(given.weight.max()) < 1e4


@pytest.mark.parametrize(("count", "noise"), [(1, 0.3), (1, 3.0), (50, 0.3), (2, 0.0)])
def test_the_spectrum_of_copies_of_one_image_is_as_large_as_its_error(count: int, noise: float) -> None:
    """Noise alone makes the mean of d variances of N images uncertain by s^2 sqrt(2 / (N d))."""
    image = 0.2 * torch.sin(torch.arange(256.0)).reshape(1, 1, 16, 16).expand(count, -1, -1, -1)
    noisy = image + noise * normal(0, Stream.NOISE, torch.arange(count), (1, 16, 16))
    variance, sigma_data = spectrum(noisy, torch.full((count,), noise))
    error = noise**2 * (2 / (count * 256)) ** 0.5
    assert float(variance.mean()) >= error * (1 - 1e-9)
    assert float(variance.mean()) <= noise**2 * (2 / count) ** 0.5 + 1e-12  # that of one variance alone
    assert sigma_data**2 >= max(error * (1 - 1e-9), 1e-6 - 1e-12)
