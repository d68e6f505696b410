"""The law of levels: derivatives, recovery, mixes that it has not seen, a floor that numbers do not lower, the choice among laws."""

import numpy as np
import pytest
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.evaluate.risk import DEFAULT_LEVELS
from noiseworth.laws.fit import OF_NOISE, fit_best, fit_law, jacobian, prediction_interval
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import AT, log_quality, log_quality_slopes
from test_curve import models

TRUTH = Law("levels", (), 1350.0, np.log([0.24, 0.5, 1.5, 1.6, 3.0, 0.06]), np.zeros((6, 6)), 1, 0.0, 0.0)
SIGMAS = (0.1, 0.2, 0.4, 0.8)


def observed(scatter: float, seed: int, counts: list[list[float]]) -> Observations:
    """Models of no clean images, and of so many (N, 4) of each noise."""
    table = np.array(counts, np.float64)
    o = Observations(np.zeros(len(table)), table, SIGMAS, np.ones(len(table)))
    noise = np.exp(scatter * np.random.default_rng(seed).standard_normal(len(table)))
    return Observations(o.n_clean, o.n_noisy, SIGMAS, TRUTH.at(SIGMAS).predict(o) * noise)


SINGLES: list[list[float]] = [
    [n * float(k == s) for k in range(4)] for s in range(4) for n in (50, 150, 450, 1350)
]
MIXES: list[list[float]] = [[100.0, 0, 0, 900], [300, 0, 0, 300], [60, 0, 600, 0], [50, 50, 50, 1000]]


def test_its_levels_are_those_of_the_risk() -> None:
    np.testing.assert_allclose(AT, DEFAULT_LEVELS, rtol=1e-3)


def test_slopes_are_derivatives() -> None:
    o = models(0.0, 0)
    at = np.log([1.2, 3.0, 0.9, 1.3, 2.2, 0.03])
    exact = log_quality_slopes("levels", at, o, 5000.0)
    np.testing.assert_allclose(
        exact, jacobian(lambda p: log_quality("levels", p, o, 5000.0), at), rtol=1e-5, atol=1e-8
    )


def test_it_is_recovered_from_single_levels_and_predicts_mixes() -> None:
    law = fit_law(observed(0.0, 0, SINGLES), "levels")
    truth = observed(0.0, 0, MIXES)
    np.testing.assert_allclose(law.predict(truth), truth.quality, rtol=0.01)


def test_prediction_intervals_of_mixes_and_of_other_noise_cover() -> None:
    """Of 12 worlds with 4 mixes each and one between the levels, at 90%: at least 78%, three binomial standard errors below."""
    hits = []
    between = TRUTH.at((0.15, 0.6))
    for seed in range(12):
        o = observed(0.02, seed, SINGLES)
        law = fit_law(o, "levels")
        new = observed(0.02, 1000 + seed, MIXES)
        low, high = prediction_interval(law, o, new).T
        hits += list((low <= new.quality) & (new.quality <= high))
        other = Observations(np.zeros(1), np.array([[120.0, 700.0]]), between.sigmas, np.ones(1))
        low, high = prediction_interval(law, o, other)[0]
        scatter = float(np.exp(0.02 * np.random.default_rng(seed).standard_normal()))
        hits.append(bool(low <= between.predict(other)[0] * scatter <= high))
    assert np.mean(hits) >= 0.78


def test_a_few_good_images_do_what_many_noisy_ones_do_not() -> None:
    """A tenth of noise 0.1 in place of 0.8 lowers the quality more than three times the images do."""
    law = TRUTH.at(SIGMAS)
    table = np.array([[0, 0, 0, 1000], [0, 0, 0, 3000], [100, 0, 0, 900], [0, 0, 0, 1]], np.float64)
    few, many, mix, none = law.predict(Observations(np.zeros(4), table, SIGMAS, np.ones(4)))
    assert mix < many < few < none
    # What images do not teach is bounded.
    assert none == pytest.approx(np.exp(law.parameters[:2]).sum(), rel=0.01)


def test_what_one_more_image_is_worth_is_what_it_improves() -> None:
    law = TRUTH.at(SIGMAS)
    counts = np.array([100.0, 0, 0, 900])
    worth = law.marginal(law.rates() @ counts, law.rates())
    step = 0.01

    def gain(clean: float, noisy: NDArray[np.float64]) -> float:
        o = Observations(np.array([0.0, clean]), np.stack([counts, counts + noisy]), SIGMAS, np.ones(2))
        before, after = law.predict(o)
        return float(before - after)

    found = [gain(0.0, step * np.eye(4)[k]) / gain(step, np.zeros(4)) for k in range(4)]
    np.testing.assert_allclose(worth, found, rtol=1e-3)
    assert (np.diff(worth) < 0).all()
    # Also where a law is so steep that every slope is 0 to rounding.
    steep = Law(
        "levels", SIGMAS, 1350.0, np.log([0.24, 0.5, 2000.0, 1.6, 3.0, 0.06]), np.zeros((6, 6)), 1, 0.0, 0.0
    )
    assert np.isfinite(steep.marginal(steep.rates() @ counts, steep.rates())).all()


def test_the_law_that_fits_best_is_chosen() -> None:
    assert fit_best(observed(0.02, 0, SINGLES + MIXES), OF_NOISE).name == "levels"
    assert fit_best(models(0.02, 0), OF_NOISE).name == "curve"
    with pytest.raises(ValueError, match="several rates"):
        TRUTH.at(SIGMAS).rate_intervals()
    with pytest.raises(UserError, match="cannot determine 5 parameters"):  # the simplest law's words
        fit_best(models(0.02, 0).take(np.arange(4)), OF_NOISE)
