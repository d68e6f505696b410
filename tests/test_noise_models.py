"""Noise models against closed forms: mean, variance, and what neighbouring pixels have in common."""

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest, rice
from scipy.stats import poisson as poisson_law

from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.noise.models import CorrelatedNoise, GaussianNoise, VariableNoise, from_json
from noiseworth.noise.sensors import PoissonGaussianNoise, RicianNoise, poisson

N, SIZE = 4000, 6
IDS = np.arange(N)
RAMP = np.linspace(0.5, 40, SIZE * SIZE).reshape(1, SIZE, SIZE)
MAP = np.linspace(0.1, 2.0, SIZE * SIZE).reshape(SIZE, SIZE)


def _spectrum() -> NDArray[np.float64]:
    f = np.fft.fftfreq(SIZE)
    spectrum: NDArray[np.float64] = 4 * np.exp(-8 * (f[:, None] ** 2 + f[None] ** 2))
    return spectrum


MODELS: dict[str, NoiseModel] = {
    "gaussian": GaussianNoise(0.7),
    "variable": VariableNoise(MAP),
    "correlated": CorrelatedNoise(_spectrum()),
    "camera": PoissonGaussianNoise(0.5, -3.0, 1.5),
    "camera with maps": PoissonGaussianNoise(0.1 + MAP, -MAP, MAP / 2),
    "rician": RicianNoise(2.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_mean_and_variance_of_the_draws(name: str) -> None:
    """Each pixel's, within 4.5 standard errors: 36 pixels in 6 models cross that once in 300 suites."""
    model = MODELS[name]
    signal = np.broadcast_to(RAMP, (N, 1, SIZE, SIZE))
    y = model.sample(signal, 3, IDS)
    variance = model.variance(signal[:1])[0]
    mean = model.mean(RAMP) if isinstance(model, RicianNoise) else RAMP
    assert np.abs((y.mean(0) - mean) / np.sqrt(variance / N)).max() < 4.5
    fourth = ((y - mean) ** 4).mean(0)
    error = np.sqrt((fourth - variance**2) / N)
    assert np.abs((((y - mean) ** 2).mean(0) - variance) / error).max() < 4.5


def test_correlated_noise_has_its_spectrum() -> None:
    model = CorrelatedNoise(_spectrum())
    y = model.sample(np.zeros((N, 2, SIZE, SIZE)), 0, IDS)
    power = (np.abs(np.fft.fft2(y, norm="ortho")) ** 2).mean((0, 1))
    # A coefficient's power has a standard deviation of its mean, or root 2 of that where it is real.
    assert np.abs(power / _spectrum() - 1).max() < 4.5 * math.sqrt(2 / (2 * N))
    assert abs((y[:, 0] * y[:, 1]).mean()) < 4.5 * _spectrum().mean() / math.sqrt(N * SIZE)


def test_poisson_numbers_have_poissons_law() -> None:
    """Exactly: the number is the smallest k of which P(K <= k) >= u, also where means are tiny or a billion."""
    u = (np.arange(2000) + 0.5) / 2000
    for mean in (1e-6, 0.3, 7.0, 200.0, 1e4):
        assert (poisson(u, np.array(mean)) == poisson_law.ppf(u, mean)).all()
    assert (poisson(u, np.array(0.0)) == 0).all()
    large = poisson(u, np.array(1e9))
    assert abs(large.mean() - 1e9) < 5e2
    assert abs(large.std() / math.sqrt(1e9) - 1) < 0.01


def test_rician_noise_is_rices() -> None:
    y = RicianNoise(2.0).sample(np.full((N, 1, 1, 1), 3.0), 1, IDS).ravel()
    assert kstest(y, rice(3.0 / 2.0, scale=2.0).cdf).pvalue > 1e-3
    model, signal = RicianNoise(2.0), np.array([0.0, 3.0, 1e3, 1e7])
    exact = [rice(s / 2.0, scale=2.0) for s in signal[:2]]
    assert model.mean(signal)[:2] == pytest.approx([r.mean() for r in exact])
    assert model.variance(signal)[:2] == pytest.approx([r.var() for r in exact])
    assert model.variance(signal)[2:] == pytest.approx([4, 4], rel=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_draws_belong_to_ids_and_models_to_json(name: str) -> None:
    model = MODELS[name]
    signal = np.broadcast_to(RAMP, (20, 1, SIZE, SIZE))
    y = model.sample(signal, 3, np.arange(20))
    again = from_json(json.loads(json.dumps(model.to_json())))
    assert again.describe() == model.describe()
    assert "\n" not in model.describe()
    some = np.array([17, 2])
    assert (again.sample(signal[:2], 3, some) == y[some]).all()
    assert not np.allclose(model.sample(signal, 4, np.arange(20)), y)


def test_missing_pixels_are_nan() -> None:
    table = MAP.copy()
    table[2, 3] = np.inf
    model = from_json(json.loads(json.dumps(VariableNoise(table).to_json())))
    y = model.sample(np.zeros((2, 1, SIZE, SIZE)), 0, np.arange(2))
    assert np.isnan(y[:, 0, 2, 3]).all()
    assert np.isnan(y).sum() == 2
    assert "2.8% of the pixels missing" in model.describe()


def _skew() -> NDArray[np.float64]:
    spectrum = _spectrum()
    spectrum[1, 2] *= 2
    return spectrum


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GaussianNoise(-1.0), "sigma -1"),
        (lambda: VariableNoise([[1.0, -0.5]]), r"-0.5 at pixel \(0, 1\)"),
        (lambda: VariableNoise([[1.0, math.nan]]), r"nan at pixel \(0, 1\)"),
        (lambda: CorrelatedNoise(-_spectrum()), "0 or more everywhere"),
        (lambda: CorrelatedNoise(_skew()), "opposite frequencies"),
        (lambda: PoissonGaussianNoise(0.0), "gain 0 must be above 0"),
        (lambda: PoissonGaussianNoise(math.nan), "gain nan must be above 0"),
        (lambda: PoissonGaussianNoise(1.0, read_noise=-1), "read noise -1"),
        (lambda: RicianNoise(0.0), "sigma 0"),
        (lambda: from_json({"kind": "pink"}), "'pink': must be one of"),
        (lambda: from_json({"kind": "gaussian"}), "sigma"),
        (lambda: VariableNoise(MAP).variance(np.zeros((1, 1, 8, 8))), "a map of 6x6, and images of 8x8x1"),
    ],
)
def test_wrong_models_are_refused_in_a_line(make: "object", says: str) -> None:
    with pytest.raises(UserError, match=says) as refused:
        make()  # type: ignore[operator]
    assert "\n" not in str(refused.value)
