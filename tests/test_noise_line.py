"""How a camera's noise grows with brightness, from ordinary pictures: against the line that they were made with."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.damage import read_noise_model
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.noise.line import measure_scenes, measure_singles
from noiseworth.noise.magnitude import measure_magnitude
from noiseworth.noise.sensors import PoissonGaussianNoise, RicianNoise

Array = NDArray[np.float64]
CAMERA = PoissonGaussianNoise(1.4, 100.0, 5.0)


def _scenes(count: int, size: int, seed: int) -> Array:
    """Pictures with flat parts, edges and some texture, from dark to bright."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((count, size, size))
    for picture in pictures:
        picture[:] = rng.uniform(0, 1)
        for _ in range(25):
            y, x, r = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(3, size / 3)
            inside = np.hypot(np.arange(size)[:, None] - y, np.arange(size)[None] - x) < r
            picture[inside] = rng.uniform(0, 1) + (rng.random() < 0.3) * 0.1 * rng.standard_normal(
                inside.sum()
            )
    scenes: Array = 100 + 600 * np.clip(gaussian_filter(pictures, (0, 0.8, 0.8)), 0, 1)
    return scenes


def _truth(signal: Array) -> Array:
    sigma: Array = np.sqrt(CAMERA.variance(np.asarray(signal)[None])[0] + 1 / 12)
    return sigma


def _taken(clean: Array, seed: int) -> Array:
    raw: Array = np.round(CAMERA.sample(clean[:, None], seed, np.arange(len(clean)))[:, 0])
    return raw


def test_single_pictures_say_how_noise_grows() -> None:
    clean = _scenes(100, 64, 0)
    line = measure_singles(_taken(clean, 1))
    signal = np.linspace(150, 650, 11)
    error = np.sqrt(line.model.variance(signal[None])[0]) / _truth(signal) - 1
    assert np.abs(error).max() < 0.05
    assert line.gain.low < 1.4 < line.gain.high
    for at, measured in zip(line.signals, line.sigma, strict=True):
        assert measured.low < float(_truth(np.array([at]))[0]) < measured.high


def test_few_large_pictures_have_intervals_too() -> None:
    """Parts of one are left out, where there are too few to leave out whole ones."""
    line = measure_singles(_taken(_scenes(2, 480, 4), 1))
    assert line.gain.low < 1.4 < line.gain.high < 2 * line.gain.low
    measured = measure_magnitude(_slices(1, 5.0))
    assert measured.low < measured.value < measured.high


def test_pairs_of_scenes_say_it_better_whatever_the_texture() -> None:
    rng = np.random.default_rng(3)
    clean = _scenes(6, 64, 2) + 30 * rng.standard_normal((6, 64, 64))  # as fine as texture can be
    stacks = [_taken(np.stack([c, c]), k) for k, c in enumerate(clean)]
    line = measure_scenes(stacks)
    signal = np.linspace(150, 650, 11)
    error = np.sqrt(line.model.variance(signal[None])[0]) / _truth(signal) - 1
    assert np.abs(error).max() < 0.04
    flicker = measure_scenes([s * np.array([1.0, 1.02])[:, None, None] for s in stacks])
    assert flicker.gain.value == pytest.approx(line.gain.value, rel=0.1)


def test_what_cannot_be_said_is_refused() -> None:
    rng = np.random.default_rng(0)
    white = _scenes(60, 64, 1) + 10 * rng.standard_normal((60, 64, 64))
    with pytest.raises(UserError, match="does not grow"):
        measure_singles(white)
    with pytest.raises(UserError, match="too few flat"):
        measure_singles(_taken(_scenes(2, 24, 1), 0))
    with pytest.raises(UserError, match="24x24"):
        measure_singles(np.zeros((5, 8, 8)))
    with pytest.raises(UserError, match="taken once"):
        measure_scenes([np.zeros((1, 32, 32))])
    clean = _scenes(60, 64, 5)
    gamma = 700 * (np.clip(_taken(clean, 1) - 60, 0, None) / 700) ** 0.3
    with pytest.raises(UserError, match=r"gamma|does not grow"):
        measure_singles(gamma)


def test_the_command_writes_a_model_that_packing_takes(tmp_path: Path, capsys: Captured) -> None:
    frames = _taken(_scenes(100, 64, 0), 1)
    np.save(tmp_path / "pictures.npy", frames.astype(np.uint16))
    pack(tmp_path / "pictures.npy", tmp_path / "pictures", measured_range=True)
    out = tmp_path / "camera.json"
    assert main(["noise", "calibrate", str(tmp_path / "pictures"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "raw units where pixels are" in printed
    model = read_noise_model(out)
    assert isinstance(model, PoissonGaussianNoise)
    assert math.isclose(float(model.gain), 1.4, rel_tol=0.1)
    both = ["noise", "calibrate", str(tmp_path / "pictures"), "--out", str(tmp_path / "x.json")]
    assert "exclude" in refusal([*both, "--same-scene", "--dark", str(tmp_path / "pictures")], capsys)
    twins = np.stack([_taken(_scenes(1, 64, 9), k)[0] for k in range(2)]).astype(np.uint16)
    np.save(tmp_path / "scene.npy", twins)
    pack(tmp_path / "scene.npy", tmp_path / "scene", measured_range=True)
    words = ["noise", "calibrate", str(tmp_path / "scene"), "--out", str(tmp_path / "y.json"), "--same-scene"]
    assert main(words) == 0


def _slices(count: int, sigma: float) -> Array:
    """Magnitude images of bright discs in air."""
    y, x = np.mgrid[:64, :64]
    signal = np.where(np.hypot(y - 32, x - 32) < 22, 60.0 + x, 0.0)[None, None].repeat(count, 0)
    return RicianNoise(sigma).sample(signal, 3, np.arange(count))[:, 0]


def test_the_noise_of_magnitudes_is_measured_in_their_background() -> None:
    covered = 0
    for sigma in (2.0, 5.0, 12.0, 25.0):
        measured = measure_magnitude(_slices(20, sigma))
        assert measured.value == pytest.approx(sigma, rel=0.02)
        covered += measured.low < sigma < measured.high
    assert covered >= 3


def test_a_background_that_says_nothing_is_refused() -> None:
    images = _slices(20, 5.0)
    with pytest.raises(UserError, match="set to 0"):
        measure_magnitude(np.where(images < 30, 0, images))
    with pytest.raises(UserError, match="without signal"):
        measure_magnitude(_slices(20, 5.0) + 40)
    with pytest.raises(UserError, match="negative"):
        measure_magnitude(images - 10)
    with pytest.raises(UserError, match="24x24"):
        measure_magnitude(images[:, :10, :10])
