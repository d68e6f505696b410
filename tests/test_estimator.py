"""Moments, subspace, estimator and likelihood, against closed forms and independent solvers."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.theory import bounds
from noiseworth.theory.estimator import AtomicDistribution, estimate, farthest, signal_scale
from noiseworth.theory.likelihood import fit_em, fit_npmle
from noiseworth.theory.moments import (
    denoised_moments,
    hermite_moments,
    in_moment_space,
    inverse_power_weights,
    moment_noise,
    project_moments,
    quadrature,
    weighted_moments,
)
from noiseworth.theory.subspace import find_subspace, top_eigenvectors, weighted_mean
from noiseworth.theory.wasserstein import w1, w1_on_line

Array = NDArray[np.float64]


def _moments(atoms: Array, weights: Array, order: int) -> Array:
    return np.array([np.sum(weights * atoms**r) for r in range(order + 1)])


# ---- moments -----------------------------------------------------------------------------------------------


def test_hermite_moments_are_the_published_sum() -> None:
    x, s = np.linspace(-3, 3, 13), 0.7
    for r, row in enumerate(hermite_moments(x, s, 7)):
        terms = [
            math.factorial(r)
            * (-0.5) ** j
            / (math.factorial(j) * math.factorial(r - 2 * j))
            * s ** (2 * j)
            * x ** (r - 2 * j)
            for j in range(r // 2 + 1)
        ]
        np.testing.assert_allclose(row, np.sum(terms, axis=0), rtol=1e-11, atol=1e-11)


def test_hermite_moments_undo_the_noise_exactly() -> None:
    """`E[gamma_r(u + s z)] = u^r`, by Gauss-Hermite quadrature, which is exact for these polynomials."""
    nodes, mass = np.polynomial.hermite_e.hermegauss(12)
    for u, s in ((0.3, 1.0), (-1.2, 0.4), (0.9, 2.0)):
        mean = hermite_moments(u + s * nodes, s, 7) @ (mass / mass.sum())
        np.testing.assert_allclose(mean, [u**r for r in range(8)], rtol=1e-9, atol=1e-9)


def test_weighted_moments_are_unbiased_with_the_stated_noise() -> None:
    """For `D = delta_0` the mean is 0, the standard deviation `moment_noise`; mixed noise, in chunks."""
    rng = np.random.default_rng(0)
    repeats, order = 4000, 5
    sigma = rng.choice([1.0, 1.5, 2.0], 60)
    weights = inverse_power_weights(sigma, 6)
    x = sigma[:, None] * rng.standard_normal((60, repeats))
    measured = weighted_moments(x, sigma, weights, order, np.eye(repeats), values=7 * 6 * repeats)[:, 1:]
    np.testing.assert_allclose(weighted_moments(x[:, 0], sigma, weights, order)[1:], measured[0])
    noise = moment_noise(sigma, weights, order)[1:]
    assert (np.abs(measured.mean(axis=0)) < 4 * noise / math.sqrt(repeats)).all()
    # The standard error of a variance from its fourth moment, which is large for high orders.
    square = (measured / noise) ** 2
    assert (np.abs(square.mean(axis=0) - 1) < 4 * square.std(axis=0) / math.sqrt(repeats)).all()


def test_weights() -> None:
    weights = inverse_power_weights(np.array([1.0, 2.0, 0.1]), 4, floor=1.0)
    np.testing.assert_allclose(weights, np.array([1, 1 / 16, 1]) / (2 + 1 / 16))
    with pytest.raises(ValueError, match="floor"):
        inverse_power_weights(np.array([0.0, 1.0]), 4)


# ---- moment space ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_quadrature_recovers_every_distribution_of_k_atoms(k: int) -> None:
    rng = np.random.default_rng(k)
    atoms = np.sort(np.linspace(-0.9, 0.9, k) + rng.uniform(-0.1, 0.1, (20, k)), axis=1)
    weights = rng.dirichlet(np.full(k, 4.0), 20)
    moments = np.stack([_moments(a, w, 2 * k - 1) for a, w in zip(atoms, weights, strict=True)])
    nodes, mass = quadrature(moments)
    np.testing.assert_allclose(nodes, atoms, atol=1e-7)
    np.testing.assert_allclose(mass, weights, atol=1e-6)


def test_moments_of_distributions_are_in_the_moment_space_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    inside = np.stack([_moments(rng.uniform(-1.9, 1.9, 9), rng.dirichlet(np.ones(9)), 5) for _ in range(50)])
    assert in_moment_space(inside, 2.0).all()
    assert not in_moment_space(np.array([1.0, 0.5, 0.2, 0.1]), 2.0)  # a negative variance
    assert not in_moment_space(np.array([1.0, 0.0, 1.1, 0.0]), 1.0)  # atoms outside


def test_projection_is_the_nearest_point_by_an_independent_solver() -> None:
    """Nonnegative least squares over 4,001 atoms solves the same problem, on a grid."""
    from scipy.optimize import nnls

    rng = np.random.default_rng(2)
    radius = 1.5
    grid = np.linspace(-radius, radius, 4001)
    for k in (2, 3, 4):
        noise = rng.uniform(0.05, 0.3, 2 * k) * radius ** np.arange(2 * k)
        targets = rng.standard_normal((6, 2 * k)) * noise
        targets[:, 0] = 1
        projected = project_moments(targets, noise, radius)
        assert in_moment_space(projected, radius).all()
        for target, projection in zip(targets, projected, strict=True):
            design = grid ** np.arange(2 * k)[:, None] / noise[:, None]
            design[0] = 1e4  # total mass 1
            mass, _ = nnls(design, np.concatenate([[1e4], target[1:] / noise[1:]]), maxiter=10_000)
            best = np.sum((design[1:] @ mass - target[1:] / noise[1:]) ** 2)
            assert np.sum(((projection - target)[1:] / noise[1:]) ** 2) == pytest.approx(
                best, rel=1e-3, abs=1e-5
            )


def test_projection_leaves_moments_of_distributions_as_they_are() -> None:
    moments = _moments(np.array([-0.5, 0.1, 0.8]), np.array([0.2, 0.5, 0.3]), 3)
    np.testing.assert_array_equal(project_moments(moments, np.ones(4), 1.0), moments)


def test_denoised_moments_of_pure_noise_are_still_a_distribution() -> None:
    rng = np.random.default_rng(3)
    for k in (2, 3, 4):
        moments = rng.standard_normal((200, 2 * k)) * 10.0
        moments[:, 0] = 1
        atoms, weights = denoised_moments(moments, np.full(2 * k, 1e-3), 1.0)
        assert (np.abs(atoms) <= 1 + 1e-9).all()
        assert (weights >= -1e-12).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-9)


# ---- distances and bounds ----------------------------------------------------------------------------------


def test_w1_on_the_line_against_scipy() -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((30, 3)), rng.standard_normal((30, 4))
    p, q = rng.dirichlet(np.ones(3), 30), rng.dirichlet(np.ones(4), 30)
    expected = [wasserstein_distance(*pair) for pair in zip(a, b, p, q, strict=True)]
    np.testing.assert_allclose(w1_on_line(a, p, b, q), expected, rtol=1e-12)


def test_w1_in_space() -> None:
    """W1 to a shifted distribution is the length of the shift; on a line in space it is W1 on the line."""
    rng = np.random.default_rng(5)
    atoms, weights = rng.standard_normal((3, 5)), rng.dirichlet(np.ones(3))
    shift = rng.standard_normal(5)
    assert w1(atoms, weights, atoms + shift, weights) == pytest.approx(np.linalg.norm(shift))
    direction = shift / np.linalg.norm(shift)
    a, b, q = rng.standard_normal(3), rng.standard_normal(2), np.array([0.4, 0.6])
    expected = float(w1_on_line(a, weights, b, q))
    assert w1(a[:, None] * direction, weights, b[:, None] * direction, q) == pytest.approx(expected)
    with pytest.raises(ValueError, match="dimensions must agree"):
        w1(atoms, weights, atoms[:, :2], weights)


def test_bounds_are_the_published_formulas() -> None:
    p, n, s, k, d, delta = 0.1, 5000.0, 2.0, 3, 20, 0.05
    samples = bounds.Samples.mixed(n, p, s)
    assert samples.subspace == pytest.approx(n * (p + (1 - p) * s**-4))  # Corollary 4.3
    assert samples.separation(k) == pytest.approx(n * (p + (1 - p) * s**-10))
    log = math.log(1 / delta)
    first, second = (
        ((d + log) / samples.subspace) ** 0.25,
        ((k * math.log(k) + log) / samples.separation(k)) ** 0.1,
    )
    assert bounds.upper_bound(samples, k, d, delta) == pytest.approx(k * first + k**3 * second)
    lower = (samples.separation(k) / log) ** -0.1 / k
    assert bounds.lower_bound(samples, k, d, delta) == pytest.approx(max(first, lower))
    assert bounds.lower_bound(samples, k, 1, delta) == pytest.approx(lower)
    assert bounds.upper_bound(samples, k, d, delta) > bounds.lower_bound(samples, k, d, delta)
    assert bounds.exchange_rate(s, k, "separation") == pytest.approx(2**-10)
    assert bounds.exchange_rate(s, k, "subspace") == pytest.approx(2**-4)
    with pytest.raises(ValueError, match="separation"):
        bounds.exchange_rate(s, k, "else")
    with pytest.raises(ValueError, match="above 0"):
        bounds.Samples([1.0], [0.0])


def test_the_factor_of_equal_weights_is_that_of_the_variances() -> None:
    """The factor against the variances of the two weighted means, computed sample by sample."""
    sigma = np.repeat([1.0, 3.0], [20, 180])
    samples, power = bounds.Samples([20, 180], [1.0, 3.0]), 6
    best = inverse_power_weights(sigma, power)
    equal = np.full(200, 1 / 200)
    variance = [np.sum(w**2 * sigma**power) for w in (equal, best)]
    assert bounds.uniform_weights_factor(samples, power) == pytest.approx(
        (variance[0] / variance[1]) ** (1 / power)
    )
    assert bounds.uniform_weights_factor(bounds.Samples([5], [2.0]), 4) == pytest.approx(1)


# ---- subspace ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "q"), [(3, 2), (40, 3), (300, 1)])
def test_top_eigenvectors_against_the_dense_solver(d: int, q: int) -> None:
    rng = np.random.default_rng(d)
    root = rng.standard_normal((d, 2 * d))
    matrix = root @ root.T / (2 * d) - np.eye(d)
    values, vectors = top_eigenvectors(lambda v: matrix @ v, d, q)
    expected, other = np.linalg.eigh(matrix)
    np.testing.assert_allclose(values, expected[::-1][:q], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(vectors * other[:, ::-1][:, :q], axis=0)), 1, atol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(q), atol=1e-10)


def test_subspace_is_unbiased_in_chunks_and_subtracts_the_noise() -> None:
    rng = np.random.default_rng(6)
    n = 40_000
    atoms = np.array([[2.0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0]]) + 0.5
    sigma = rng.choice([1.0, 2.0], n)
    x = (atoms[rng.integers(2, size=n)] + sigma[:, None] * rng.standard_normal((n, 5))).astype(np.float32)
    weights = inverse_power_weights(sigma, 4)
    space = find_subspace(x, sigma, 2, weights, weighted_mean(x, weights))
    assert abs(space.directions[0, 0]) > 0.999
    # Var of the second moment along e1 is about 2 (4 + s^2)^2 sum a^2 < 80 sum a^2; the second direction
    # holds noise alone.
    error = math.sqrt(80 * np.sum(weights**2))
    assert abs(space.variances[0] - 4) < 4 * error
    assert abs(space.variances[1]) < 4 * error
    np.testing.assert_allclose(
        space.lift(space.project(x[:3])) @ space.directions, x[:3] @ space.directions, atol=1e-5
    )


# ---- estimator ---------------------------------------------------------------------------------------------


def _draw(truth: AtomicDistribution, sigma: Array, rng: np.random.Generator) -> Array:
    which = rng.choice(len(truth.weights), len(sigma), p=truth.weights)
    return np.asarray(
        truth.atoms[which] + sigma[:, None] * rng.standard_normal((len(sigma), truth.atoms.shape[1]))
    )


DISTRIBUTIONS = {
    "1 in 3": AtomicDistribution(np.array([[0.5, -1.0, 2.0]]), np.ones(1)),
    "2 on the line": AtomicDistribution(np.array([[-1.0], [1.5]]), np.array([0.4, 0.6])),
    "3 in the plane": AtomicDistribution(
        np.array([[0.0, 3.0], [-3.0, -1.0], [2.5, -2.0]]), np.array([0.3, 0.3, 0.4])
    ),
    "3 in 20": AtomicDistribution(np.eye(20)[:3] * 3.0, np.array([0.2, 0.5, 0.3])),
    "4 in 5": AtomicDistribution(
        np.vstack([np.eye(5)[:3] * 4.0, -np.ones((1, 5))]), np.array([0.3, 0.25, 0.25, 0.2])
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_estimate_finds_separated_atoms(name: str) -> None:
    """For separated atoms the error is below a fifth of the noise, far less than the atoms' distance."""
    truth = DISTRIBUTIONS[name]
    rng = np.random.default_rng(7)
    sigma = rng.choice([1.0, 1.5], 60_000)
    estimated = estimate(_draw(truth, sigma, rng), sigma, len(truth.weights))
    assert estimated.w1(truth) < 0.2


def test_error_falls_with_samples() -> None:
    truth, errors = DISTRIBUTIONS["3 in 20"], []
    for n in (2_000, 200_000):
        rng = np.random.default_rng(8)
        errors.append(
            np.mean([estimate(_draw(truth, np.ones(n), rng), np.ones(n), 3).w1(truth) for _ in range(3)])
        )
    assert errors[1] < errors[0] / 2


def test_samples_without_noise_and_far_from_the_origin() -> None:
    rng = np.random.default_rng(9)
    truth = AtomicDistribution(np.array([[100.0, 1.0], [101.0, -1.0]]), np.array([0.5, 0.5]))
    sigma = np.where(np.arange(4000) < 400, 0.0, 0.5)
    assert estimate(_draw(truth, sigma, rng), sigma, 2).w1(truth) < 0.1
    assert (
        estimate(np.full((40, 2), 3.0), np.zeros(40), 2).w1(
            AtomicDistribution(np.full((1, 2), 3.0), np.ones(1))
        )
        < 1e-9
    )


@pytest.mark.parametrize(("k", "d"), [(2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (2, 5)])
def test_samples_without_any_noise_show_their_atoms(k: int, d: int) -> None:
    rng = np.random.default_rng(20)
    truth = AtomicDistribution(rng.standard_normal((k, d)), np.full(k, 1 / k))
    estimated = estimate(truth.atoms[rng.integers(k, size=4000)], np.zeros(4000), k)
    assert estimated.w1(truth) < 0.15


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_unit_of_length_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(21)
    truth = DISTRIBUTIONS["3 in the plane"]
    sigma = rng.choice([1.0, 2.0], 4000)
    x = _draw(truth, sigma, rng)
    one, other = estimate(x, sigma, 3), estimate(x * scale, sigma * scale, 3)
    assert AtomicDistribution(other.atoms / scale, other.weights).w1(one) < 1e-3


def test_equal_weights_are_equal() -> None:
    """With `weighting=False` weights do not depend on the noise: a plain mean, and greater errors."""
    rng = np.random.default_rng(22)
    truth = DISTRIBUTIONS["1 in 3"]
    sigma = rng.choice([1.0, 5.0], 400)
    x = _draw(truth, sigma, rng)
    np.testing.assert_allclose(estimate(x, sigma, 1, weighting=False).atoms[0], x.mean(axis=0))
    errors = {
        w: np.mean(
            [
                estimate(_draw(DISTRIBUTIONS["3 in 20"], sigma, rng), sigma, 3, weighting=w).w1(
                    DISTRIBUTIONS["3 in 20"]
                )
                for _ in range(30)
            ]
        )
        for w in (True, False)
    }
    assert errors[True] < errors[False]


@pytest.mark.parametrize(
    ("setting", "value"), [("radius", -1.0), ("radius", math.nan), ("floor", -1.0), ("floor", math.inf)]
)
def test_invalid_settings_are_named(setting: str, value: float) -> None:
    with pytest.raises(UserError, match=setting):
        estimate(np.zeros((50, 2)), np.ones(50), 2, **{setting: value})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="floor = 0"):
        estimate(np.zeros((50, 2)), np.zeros(50), 2, floor=0.0)


def test_buckets_are_robust_to_a_few_bad_samples() -> None:
    rng = np.random.default_rng(10)
    truth, sigma = DISTRIBUTIONS["2 on the line"], np.ones(20_000)
    x = _draw(truth, sigma, rng)
    x[:3] = 200.0  # three of them ruin the third moment
    assert estimate(x, sigma, 2).w1(truth) > 0.3
    assert estimate(x, sigma, 2, buckets=11).w1(truth) < 0.3


def test_scale_and_reach() -> None:
    rng = np.random.default_rng(11)
    truth = DISTRIBUTIONS["2 on the line"]
    sigma = rng.choice([0.0, 0.5, 3.0], 30_000)
    x = _draw(truth, sigma, rng)
    assert signal_scale(x, sigma) == pytest.approx(math.sqrt(0.24) * 2.5, rel=0.05)
    assert 1.5 <= farthest(x, sigma) < 1.5 + 2 * 3.0


def test_the_radius_may_be_left_to_the_samples() -> None:
    """Over random laws no estimate is much worse than with the true radius; with the bare estimate of it, a tenth are."""
    worse = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        k, d, n = int(rng.integers(2, 4)), int(rng.integers(1, 4)), 20_000
        weights = rng.dirichlet(np.ones(k))
        truth = AtomicDistribution(rng.normal(size=(k, d)) * rng.uniform(0.3, 3), weights)
        sigma = rng.choice(rng.uniform(0.3, 2, 2), n)
        x = _draw(truth, sigma, rng)
        radius = float(np.linalg.norm(truth.atoms - weights @ truth.atoms, axis=1).max())
        worse.append(estimate(x, sigma, k).w1(truth) / estimate(x, sigma, k, radius=radius).w1(truth))
    assert abs(np.log(worse).mean()) < 0.05  # the bare estimate has 0.2
    assert np.mean(np.array(worse) > 4) == 0  # and 3 of 40


@pytest.mark.parametrize(
    ("x", "sigma", "k", "message"),
    [
        (np.zeros((50, 2)), np.ones(49), 2, "must have shape"),
        (np.zeros((50, 2, 1)), np.ones(50), 2, "must have shape"),
        (np.zeros((50, 0)), np.ones(50), 2, "must have shape"),
        (np.zeros((50, 2)), np.ones(50), 5, "1 to 4 atoms"),
        (np.zeros((5, 2)), np.ones(5), 2, "too few"),
        (np.zeros((50, 2)), np.r_[np.ones(7), -1.0, np.ones(42)], 2, r"sigma\[7\] is -1"),
        (np.zeros((50, 2)), np.r_[np.nan, np.ones(49)], 2, r"sigma\[0\] is nan"),
        (np.r_[np.zeros((49, 2)), [[0, np.nan]]], np.ones(50), 2, r"x\[49\] is not finite"),
    ],
)
def test_bad_input_is_named(x: Array, sigma: Array, k: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        estimate(x, sigma, k)


# ---- likelihood --------------------------------------------------------------------------------------------


def test_em_finds_the_maximum_of_the_likelihood() -> None:
    """The likelihood is as defined and exceeds that of the truth, and the atoms are near the truth."""
    rng = np.random.default_rng(12)
    truth = DISTRIBUTIONS["3 in the plane"]
    sigma = rng.choice([1.0, 2.0], 3000)
    x = _draw(truth, sigma, rng)

    def log_likelihood(other: AtomicDistribution) -> float:
        square = ((x[:, None] - other.atoms) ** 2).sum(axis=2)
        density = (np.exp(-square / (2 * sigma[:, None] ** 2)) * other.weights).sum(axis=1)
        return float(np.mean(np.log(density) + (x**2).sum(axis=1) / (2 * sigma**2)))

    fit = fit_em(x, sigma, 3, tolerance=1e-10)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(log_likelihood(fit.distribution), abs=1e-6)
    assert fit.log_likelihood > log_likelihood(truth)
    assert fit.distribution.w1(truth) < 0.3


def test_npmle_is_the_best_of_all_distributions_on_the_grid() -> None:
    rng = np.random.default_rng(13)
    truth = DISTRIBUTIONS["2 on the line"]
    sigma = rng.choice([0.5, 1.0], 2000)
    x = _draw(truth, sigma, rng)[:, 0]
    fit = fit_npmle(x, sigma, 4.0, tolerance=1e-4)
    assert fit.converged
    em = fit_em(x[:, None], sigma, 2, tolerance=1e-10)
    assert fit.log_likelihood > em.log_likelihood - 1e-3  # up to the grid's step and the tolerance
    assert fit.distribution.w1(truth) < 0.5


def test_likelihood_refuses_samples_without_noise() -> None:
    sigma = np.array([1.0, 0.0, 1.0])
    with pytest.raises(UserError, match=r"sigma\[1\] is 0"):
        fit_em(np.zeros((3, 1)), sigma, 2)
    with pytest.raises(UserError, match=r"sigma\[1\] is 0"):
        fit_npmle(np.zeros(3), sigma, 1.0)
    assert np.isfinite(fit_em(np.zeros((8, 1)), np.ones(8), 2).distribution.atoms).all()
