"""Distances between images, risk and likelihood, against closed forms."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.views import split
from noiseworth.errors import UserError
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.features import train_classifier
from noiseworth.evaluate.frechet import Moments, MomentSums, frechet_distance, frechet_estimate, moments
from noiseworth.evaluate.intervals import half_width, jackknife_variance, share_interval
from noiseworth.evaluate.kernel import kernel_distance
from noiseworth.evaluate.likelihood import LIKELIHOOD_LEVELS, bits_by_flow, bits_from_risk, bits_in_raw_units
from noiseworth.evaluate.neighbours import NeighbourScores, memorisation, neighbour_scores
from noiseworth.evaluate.risk import denoising_risk, noisy_risk
from noiseworth.evaluate.sliced import sliced_wasserstein
from noiseworth.runs.evaluation import run_evaluation
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

    x = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6))
    y = RNG.normal(size=(200, 6)) + 0.3
    a, b = moments(x), moments(y)
    np.testing.assert_allclose(a.covariance, np.cov(x.T), rtol=1e-10)
    independent = np.sum((a.mean - b.mean) ** 2) + np.trace(
        a.covariance + b.covariance - 2 * sqrtm(a.covariance @ b.covariance).real
    )
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
        noisy = x.flatten(1).double() + level * torch.randn(
            n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        v = mixture.posterior_variance(noisy, sigma)
        assert abs(risk - float(v.mean())) < 4.5 * math.hypot(error, float(v.std()) / n**0.5)
    assert curve.relative == pytest.approx(
        np.mean([r / s**2 for r, s in zip(curve.risk, curve.levels, strict=True)])
    )


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
    blurred = [
        distance((1 - b) * images + b * (np.roll(images, 1, 3) + np.roll(images, -1, 3)) / 2)
        for b in (0.0, 0.15, 0.3, 0.6)
    ]
    dropped = [distance(images[labels < keep]) for keep in (10, 8, 6, 3)]
    for values in (noisy, blurred, dropped):
        assert values[0] < 1e-6
        assert all(a < b for a, b in pairwise(values)), values


def test_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="two classes"):
        train_classifier(np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64))


def test_sums_by_batches_and_processes_are_those_of_all() -> None:
    # With such an offset, plain sums of squares would lose all digits of the variance.
    x = RNG.normal(size=(1001, 7)) @ RNG.normal(size=(7, 7)) + 1e4
    parts = [MomentSums().add(piece) for piece in np.array_split(x, 3)]
    by_batches = parts[0].merge(parts[1]).merge(parts[2]).merge(MomentSums()).moments()
    whole = moments(x)
    np.testing.assert_allclose(by_batches.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(by_batches.covariance, np.cov(x.T), rtol=1e-9)
    with pytest.raises(UserError, match="cannot be added"):
        MomentSums().add(x).add(np.zeros((2, 3)))
    with pytest.raises(UserError, match="first: image 1003"):
        MomentSums().add(x).add(np.array([[0.0] * 7, [1.0] * 7, [np.inf] * 7]))


def shifted_normals(
    rng: np.random.Generator, n: int, d: int = 8, shift: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(n, d)), 1.2 * rng.normal(size=(n, d)) + shift


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.2), (0.0, 1.0)])
def test_the_limit_of_the_frechet_distance_is_unbiased_and_its_interval_covers(
    shift: float, scale: float
) -> None:
    """Of 60 repeats at nominal 95% at least 81% hold the truth, five binomial standard errors below.

    The reference is exact.
    """
    reference = Moments(np.zeros(8), np.eye(8), 10**9)
    true = 8 * (shift**2 + (scale - 1) ** 2)
    estimates = []
    for seed in range(60):
        estimates.append(
            frechet_estimate(scale * np.random.default_rng(seed).normal(size=(400, 8)) + shift, reference)
        )
    limits = np.array([e.limit for e in estimates])
    plain = np.array([e.distance for e in estimates])
    rest = 0.02 * (plain.mean() - true)  # the bias beyond order 1 / n
    assert abs(limits.mean() - true) < 4.5 * limits.std() / 60**0.5 + rest
    if not shift:
        assert plain.mean() > 4.5 * plain.std() / 60**0.5  # the plain distance is biased
    assert np.mean([e.low <= true <= e.high for e in estimates]) >= 0.81
    assert all(e.low < e.limit < e.high for e in estimates)
    if shift:
        assert 0.7 < np.mean([e.high - e.low for e in estimates]) / (2 * 1.96 * limits.std()) < 1.4


def test_the_first_bad_image_is_named_whatever_the_order() -> None:
    x = RNG.normal(size=(500, 4))
    x[123, 2] = np.nan
    with pytest.raises(UserError, match=r"1 of 500 images are NaN or infinite \(first: image 123\)"):
        frechet_estimate(x, moments(RNG.normal(size=(50, 4))))
    with pytest.raises(UserError, match="do not fit into memory"):
        frechet_estimate(np.zeros((4, 20_000), np.float32), Moments(np.zeros(1), np.zeros((1, 1)), 2))


def test_the_kernel_distance_is_unbiased_and_exact() -> None:
    x, y = shifted_normals(np.random.default_rng(0), 300)
    kernel = [((a @ b.T) / 8 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    own = [(k.sum() - np.trace(k)) / (300 * 299) for k in kernel[:2]]
    assert kernel_distance(x, y).distance == pytest.approx(own[0] + own[1] - 2 * kernel[2].mean(), rel=1e-10)
    same = [
        kernel_distance(*shifted_normals(np.random.default_rng(s), 60, shift=0.0)[:1] * 2).distance
        for s in range(3)
    ]
    assert max(same) < 0  # against themselves the diagonal, which is left out, would make it 0
    nothing = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        nothing.append(kernel_distance(rng.normal(size=(50, 8)), rng.normal(size=(70, 8))).distance)
    assert abs(np.mean(nothing)) < 4.5 * np.std(nothing) / 200**0.5
    pieces = kernel_distance(x, y[:80], subset_size=100)
    assert pieces.distance == pytest.approx(kernel_distance(x, y[:80]).distance, rel=0.2)
    assert pieces.low < pieces.distance < pieces.high


@pytest.mark.parametrize("shift", [0.5, 0.0])
def test_the_kernel_distances_interval_covers_and_is_no_wider_than_it_must_be(shift: float) -> None:
    """Unequal sizes; the truth from 8,000 samples, with a small error (0 for equal distributions)."""
    scale = 1.2 if shift else 1.0
    truth = shifted_normals(np.random.default_rng(10**6), 8000)
    true = kernel_distance(*truth).distance if shift else 0.0
    estimates = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        estimates.append(
            kernel_distance(rng.normal(size=(400, 8)), scale * rng.normal(size=(250, 8)) + shift)
        )
    assert np.mean([e.low <= true <= e.high for e in estimates]) >= 0.81
    spread = np.std([e.distance for e in estimates])
    width = np.mean([e.high - e.low for e in estimates]) / (2 * 1.96 * spread)
    # Where the distributions are equal, the first order vanishes, and the intervals of the jackknife are
    # wider.
    assert 0.7 < width < (1.4 if shift else 2.2)


def test_neighbour_scores_against_all_pairs() -> None:
    rng = np.random.default_rng(3)
    x, y, k = rng.normal(size=(120, 5)), rng.normal(size=(90, 5)) + 0.4, 3

    def radii(a: np.ndarray) -> np.ndarray:
        return np.sort(np.linalg.norm(a[:, None] - a[None], axis=2), axis=1)[:, k]

    between = np.linalg.norm(x[:, None] - y[None], axis=2)
    scores = neighbour_scores(x, y, k)
    in_real = between <= radii(y)[None]
    in_generated = between <= radii(x)[:, None]
    assert scores.precision == pytest.approx(in_real.any(axis=1).mean())
    assert scores.recall == pytest.approx(in_generated.any(axis=0).mean())
    assert scores.density == pytest.approx(in_real.sum() / (k * 120))
    assert scores.coverage == pytest.approx(in_real.any(axis=0).mean())
    assert neighbour_scores(x, x, k).precision == 1
    assert neighbour_scores(x + 100, x, k) == NeighbourScores(0.0, 0.0, 0.0, 0.0)


def test_copies_are_detected() -> None:
    rng = np.random.default_rng(4)
    train, held_out, fresh = (rng.normal(size=(n, 6)) for n in (300, 200, 200))
    copies = fresh.copy()
    copies[:50] = train[:50] + 1e-3
    honest = memorisation(fresh, train, held_out)
    copied = memorisation(copies, train, held_out)
    assert abs(honest.share - honest.by_chance) < 4.5 * (0.5 / 200) ** 0.5
    assert copied.share > honest.share + 0.1
    assert all(i == j for i, j in copied.pairs)
    twice = np.concatenate([train, train[:50]])  # duplicates are copied first
    assert memorisation(copies, twice, held_out).share == pytest.approx(copied.share, abs=0.02)
    exact_copies = memorisation(train[:50].copy(), twice, held_out)
    assert exact_copies.share == 1
    with pytest.raises(UserError, match="all the same"):
        memorisation(fresh, np.ones((5, 6)), held_out)


def test_sliced_wasserstein_of_a_shift_is_known() -> None:
    """A shift by m moves every projection by u.m, whose mean square over directions is |m|^2 / d.

    (u.m)^2 has a relative standard deviation of sqrt(2 (d - 1) / (d + 2)) = 1.07 over directions, so that of
    the root of the mean over 500 is 0.024; 4.5 times this is 0.11. Sizes may differ. Different samples have a
    greater tolerance.
    """
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 5))
    m = np.array([1.0, -2.0, 0.5, 0.0, 1.0])
    expected = np.linalg.norm(m) / 5**0.5
    assert sliced_wasserstein(x, x) == 0
    assert sliced_wasserstein(x, x + m) == pytest.approx(expected, rel=0.11)
    assert sliced_wasserstein(x, rng.normal(size=(1500, 5)) + m) == pytest.approx(expected, rel=0.15)


def test_bad_features_are_refused_by_every_distance() -> None:
    good, bad = np.zeros((5, 2)), np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 1.0], [2.0, 2.0]])
    for distance in (kernel_distance, sliced_wasserstein, neighbour_scores):
        with pytest.raises(UserError, match="first: image 1"):
            distance(good, bad)
        with pytest.raises(UserError, match="dimension 2 cannot"):
            distance(good, np.zeros((5, 3)))
        with pytest.raises(UserError, match="at least"):
            distance(good, np.zeros((1, 2)))
    assert frechet_distance(moments(good), moments(good)) == 0  # all images are the same


def exact(mixture: GaussianMixture) -> Any:
    def denoiser(noisy: Tensor, sigma: Tensor) -> Tensor:
        return mixture.posterior_mean(noisy.flatten(1).double(), sigma.double()).reshape(noisy.shape).float()

    return denoiser


def test_the_risk_on_noisy_images_is_that_on_clean_ones(mixture: GaussianMixture) -> None:
    n = 20_000
    x = mixture.sample(n, torch.Generator().manual_seed(2)).float().reshape(n, 1, 2, 2)
    s = torch.rand(n, generator=torch.Generator().manual_seed(3)) * 0.8
    y = x + s[:, None, None, None] * torch.randn(x.shape, generator=torch.Generator().manual_seed(4))

    def biased(noisy: Tensor, sigma: Tensor) -> Any:  # it holds for any denoiser, not only for the best
        return 0.9 * exact(mixture)(noisy, sigma)

    levels = [0.3, 0.7, 2.0]
    clean = denoising_risk(biased, x.numpy(), levels)
    noisy = noisy_risk(biased, y.numpy(), s.numpy(), [0.0001, *levels])
    assert noisy.levels == levels
    for number in range(3):
        error = math.hypot(clean.standard_error[number], noisy.standard_error[number])
        assert abs(clean.risk[number] - noisy.risk[number]) < 4.5 * error
        assert error < 0.1 * clean.risk[number]
    with pytest.raises(UserError, match="no level of"):
        noisy_risk(biased, y.numpy(), np.full(n, 9.0), levels)
    with pytest.raises(UserError, match="needs the noise of each"):
        noisy_risk(biased, y.numpy(), np.full(n, np.nan), levels)


def test_the_likelihood_of_a_mixture_is_that_of_its_density(mixture: GaussianMixture) -> None:
    """Within 0.01 bits per dimension, by the risk (an average) and by the flow (each image)."""
    n = 4000
    x = mixture.sample(n, torch.Generator().manual_seed(5)).float()
    true = -mixture.log_density(x.double(), torch.full((n,), 0.002).double()) / (4 * math.log(2))
    variance = float(x.var(dim=0).mean())
    levels = LIKELIHOOD_LEVELS
    risk = [mixture.risk(level) for level in levels]
    every = torch.full((50_000,), 0.002).double()
    many = mixture.sample(50_000, torch.Generator().manual_seed(6))
    expected = float(-mixture.log_density(many.double(), every).mean() / (4 * math.log(2)))
    assert bits_from_risk(levels, risk, variance) == pytest.approx(expected, abs=0.01)
    bits = bits_by_flow(exact(mixture), x[:64].reshape(64, 1, 2, 2).numpy(), variance=variance)
    # The noise of the lowest level moves images in the tails.
    np.testing.assert_allclose(bits, true[:64].numpy(), atol=0.08)
    assert float(bits.mean()) == pytest.approx(float(true[:64].mean()), abs=0.01)
    estimated = bits_by_flow(exact(mixture), x[:64].reshape(64, 1, 2, 2).numpy(), variance=variance, probes=8)
    assert float(estimated.mean()) == pytest.approx(float(true[:64].mean()), abs=0.1)
    assert bits_in_raw_units(1.0, 127.5) == pytest.approx(1 + math.log2(127.5))
    # A normal distribution of variance 1, blurred by the lowest level, in nats.
    short = np.geomspace(0.5, 80, 65)
    nats = bits_from_risk(short.tolist(), (1 / (1 + short**-2.0)).tolist(), 1.0) * math.log(2)
    assert nats == pytest.approx(0.5 * math.log(2 * math.pi * math.e * (1 + 0.5**2)), abs=1e-6)
    with pytest.raises(UserError, match="at least 8"):
        bits_from_risk([1.0, 2.0], [0.1, 0.2], 1.0)


def test_too_few_images_tell_no_limit() -> None:
    """With 5 images a feature the limit is right within a tenth; with 2 it is not, and is not told.

    Scores of neighbours are told from 10 a feature on, and no interval with fewer than 200 images.
    """
    reference, true = Moments(np.zeros(50), np.eye(50), 10**9), 50 * 0.2**2 + 50 * 0.1**2
    means = {}
    for count in (100, 250):
        limits = []
        for seed in range(40):
            x = 1.2 * np.random.default_rng(seed).normal(size=(count, 50)) + 0.1
            limits.append(frechet_estimate(x, reference).limit)
        means[count] = np.mean(limits)
    assert means[250] == pytest.approx(true, rel=0.1)
    assert means[100] < 0.7 * true
    rng = np.random.default_rng(0)
    few, more, enough = (
        distances(rng.normal(size=(n, 50)), rng.normal(size=(900, 50))) for n in (249, 250, 500)
    )
    assert (few.frechet_limit, few.frechet_low, few.frechet_high) == (None, None, None)
    assert "249 images are too few to tell the limit" in few.warnings[0]
    assert "at least 250 are needed" in few.warnings[0]
    assert few.kernel_low is not None
    assert more.frechet_limit is not None
    assert more.precision is None
    assert any(
        w.startswith("250 generated images are too few to tell precision, recall, density and coverage")
        for w in more.warnings
    )
    assert enough.precision is not None
    assert not any("too few" in warning for warning in enough.warnings)
    small = distances(rng.normal(size=(199, 3)), rng.normal(size=(900, 3)))
    assert (small.kernel_low, small.kernel_high, small.frechet_low) == (None, None, None)
    assert small.precision is not None


def test_intervals_are_those_of_closed_forms() -> None:
    """The jackknife of a mean is its usual variance; Student's quantile; Wilson's interval solves its equation."""
    x = RNG.normal(size=15)
    without = np.array([np.delete(x, k).mean() for k in range(len(x))])
    assert jackknife_variance(without) == pytest.approx(x.var(ddof=1) / len(x))
    assert half_width(4.0, 10) == pytest.approx(2 * 2.228139, rel=1e-6)
    assert half_width(4.0, np.inf) == pytest.approx(2 * 1.959964, rel=1e-6)
    for hits, count in ((3, 20), (0, 50), (50, 50)):
        for p in share_interval(hits, count):
            if 0 < p < 1:  # |share - p| = z sqrt(p (1 - p) / n)
                assert abs(hits / count - p) == pytest.approx(
                    1.959964 * (p * (1 - p) / count) ** 0.5, rel=1e-6
                )
    assert share_interval(0, 50)[0] == 0.0
    assert share_interval(50, 50)[1] == 1.0


def test_a_noisy_reference_is_compared_with_noised_images(digits: Path, tmp_path: Path) -> None:
    """Images of the reference's own distribution are as near to its noisy images as others with that noise are; bare ones are far."""
    split(digits / "train", tmp_path / "parts", held_out=0.5, seed=1)
    real, other = tmp_path / "parts" / "train", tmp_path / "parts" / "held-out"
    corrupt(real, tmp_path / "noisy", clean_fraction=0.0, sigma="choice:0.3,0.6")
    result = run_evaluation(other, tmp_path / "noisy", features="pixels")
    assert result.distances is not None
    assert any("its noise was added" in warning for warning in result.distances.warnings)
    bare = moments(read_all(open_dataset(other)).reshape(750, -1))
    noisy = moments(read_all(open_dataset(tmp_path / "noisy")).reshape(750, -1))
    assert result.frechet_distance < 0.2 * frechet_distance(bare, noisy)
    corrupt(other, tmp_path / "same", clean_fraction=0.0, sigma="choice:0.3,0.6", seed=5)
    same = moments(read_all(open_dataset(tmp_path / "same")).reshape(750, -1))
    assert result.frechet_distance == pytest.approx(frechet_distance(same, noisy), rel=0.1)
    assert result.distances.learned_noise is not None
    assert abs(result.distances.learned_noise) < 0.1


def test_of_a_mixed_reference_the_clean_images_are_taken(digits: Path, mixed: Path) -> None:
    result = run_evaluation(digits / "held-out", mixed, features="pixels")
    assert result.n_reference == 150
    assert result.distances is not None
    assert any(f"the 150 clean images of {mixed}" in warning for warning in result.distances.warnings)


def test_an_all_noisy_run_is_evaluated_without_a_clean_image(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "held-out"):
        corrupt(digits / part, tmp_path / part, clean_fraction=0.0, sigma=0.5)
    words = ["--batch", "64", "--n-images", "640", "--device", "cpu", "--monitor-every", "0"]
    assert main(["train", "--data", str(tmp_path / "train"), "--out", str(tmp_path / "run"), *words]) == 0
    words = ["--held-out", str(tmp_path / "held-out"), "--features", "pca", "--n", "40", "--steps", "4"]
    assert main(["evaluate", str(tmp_path / "run"), "--against", str(tmp_path / "train"), *words]) == 0
    out, error = capsys.readouterr()
    assert "by held-out noisy images" in out
    assert "of infinitely many images: too few to tell" in out
    assert "the reference has no clean images" in error
