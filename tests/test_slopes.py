"""Derivatives of the laws against differences."""

import numpy as np
import pytest

from noiseworth.laws.fit import jacobian
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import log_quality, log_quality_slopes


@pytest.mark.parametrize(("name", "count"), [("one", 5), ("two", 9)])
def test_slopes_are_those_of_the_formulas(name: str, count: int) -> None:
    rng = np.random.default_rng(0)
    n = 40
    noisy = rng.integers(0, 5000, (n, 2)).astype(float)
    observations = Observations(rng.integers(1, 5000, n).astype(float), noisy, (0.2, 0.7), np.ones(n))
    for _ in range(10):
        parameters = rng.normal(size=count)
        slopes = log_quality_slopes(name, parameters, observations, 5000.0)
        expected = jacobian(lambda p: log_quality(name, p, observations, 5000.0), parameters)
        np.testing.assert_allclose(slopes, expected, rtol=1e-5, atol=1e-8)
