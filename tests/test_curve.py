"""The worth of noise as a curve: recovered from known laws, also without clean images; its intervals cover; what is vague is refused."""

import numpy as np
import pytest

from noiseworth.errors import UserError
from noiseworth.laws.fit import fit_law, jacobian
from noiseworth.laws.law import Law
from noiseworth.laws.marginal import mixes
from noiseworth.laws.observations import Observations, from_rows
from noiseworth.laws.profile import profile_interval
from noiseworth.laws.quality import log_quality, log_quality_slopes

S0, POWER = 0.4, 2.5
LEVELS = (0.1, 0.25, 0.6, 1.2)


def worth(s: float) -> float:
    return float(1 / (1 + (s / S0) ** POWER))


def models(scatter: float, seed: int, clean: tuple[float, ...] = (0.0, 0.1, 1.0)) -> Observations:
    """Quality 1.2 + 0.8 (n_eff / 10,000)^-0.8, of models of one noise level each, with these shares of clean images."""
    rng = np.random.default_rng(seed)
    rows = []
    for share in clean:
        for total in (300.0, 1500.0, 8000.0):
            for s in LEVELS:
                noisy = total * (1 - share)
                effective = (total * share + noisy * worth(s)) / 10_000
                quality = (1.2 + 0.8 * effective**-0.8) * float(np.exp(scatter * rng.standard_normal()))
                rows.append((total * share, noisy, s if noisy else 0.0, quality))
    return from_rows(rows)


@pytest.mark.parametrize("clean", [(0.0, 0.1, 1.0), (0.0,)])
def test_a_curve_is_recovered_and_holds_at_levels_that_were_not_observed(clean: tuple[float, ...]) -> None:
    """Without clean images it is what noisy ones of several levels leave: their worth goes to 1 as their noise goes to 0."""
    law = fit_law(models(0.0, 0, clean), "curve")
    others = (0.15, 0.4, 0.9)
    np.testing.assert_allclose(law.at(others).rates(), [worth(s) for s in others], rtol=0.05)
    model = mixes(law.at(others), np.array([0.0]), np.array([4000.0]), 1)
    expected = 1.2 + 0.8 * (4000 * worth(0.4) / 10_000) ** -0.8
    assert law.at(others).predict(model)[0] == pytest.approx(expected, rel=0.01)


def test_intervals_cover_and_are_no_wider_than_they_must_be() -> None:
    """Of 60 repeats at 95%, at least 81% cover: five binomial standard errors below. `bench/exposure.py` has 200 worlds."""
    hits, wide = np.zeros(len(LEVELS)), []
    for seed in range(60):
        law = fit_law(models(0.02, seed), "curve")
        intervals = law.rate_intervals()
        hits += [low <= worth(s) <= high for s, (low, high) in zip(LEVELS, intervals, strict=True)]
        wide.append(intervals[:, 1] - intervals[:, 0])
    assert (hits / 60 >= 0.81).all()
    assert hits.mean() < 60
    assert np.mean(wide) < 0.15


def test_profile_intervals_are_those_of_the_curvature_where_scatter_is_small() -> None:
    o = models(0.003, 0)
    law = fit_law(o, "curve")
    for index in range(5):
        half = law.quantile() * float(np.sqrt(law.covariance[index, index]))
        low, high = profile_interval(law, o, index)
        assert (high - low) / 2 == pytest.approx(half, rel=0.15)
        assert low < law.parameters[index] < high


def test_profile_intervals_cover() -> None:
    """Of the logarithms of s_0 and q; of 20 repeats at 95%, at least 75%, four binomial standard errors below."""
    truth = np.log([S0, POWER])
    hits = np.zeros(2)
    for seed in range(20):
        o = models(0.03, 100 + seed)
        law = fit_law(o, "curve")
        for k, index in enumerate((3, 4)):
            low, high = profile_interval(law, o, index)
            hits[k] += low <= truth[k] <= high
    assert (hits / 20 >= 0.75).all()


def test_slopes_are_derivatives() -> None:
    o = models(0.0, 0)
    at = np.array([0.1, -0.2, -0.3, np.log(0.3), np.log(1.7)])
    exact = log_quality_slopes("curve", at, o, 5000.0)
    np.testing.assert_allclose(
        exact, jacobian(lambda p: log_quality("curve", p, o, 5000.0), at), rtol=1e-5, atol=1e-8
    )


def test_what_does_not_determine_a_curve_is_refused() -> None:
    o = models(0.02, 1)
    with pytest.raises(UserError, match="cannot determine 5 parameters: train 7"):
        fit_law(o.take(np.arange(5)), "curve")
    one_level = [(c, n, 0.25, 1 + 10 / (c + n)) for c in (100, 200, 300) for n in (100, 500, 900)]
    with pytest.raises(UserError, match="images of 2 noise levels"):
        fit_law(from_rows(one_level), "curve")
    alike = [
        (0.0, n, s, 1 + 0.01 * k) for k, s in enumerate((0.2, 0.21, 0.22)) for n in (100.0, 110.0, 120.0)
    ]
    with pytest.raises(UserError):
        fit_law(from_rows(alike), "curve")
    law = fit_law(models(0.01, 2), "one")
    with pytest.raises(ValueError, match="its own levels alone"):
        law.at((0.5,))
    assert isinstance(law, Law)
