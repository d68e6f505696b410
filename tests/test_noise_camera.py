"""A camera's numbers from simulated frames: right, with intervals that cover, and refused where frames cannot say."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.errors import UserError
from noiseworth.noise.camera import Camera, measure_camera
from noiseworth.noise.models import from_json
from noiseworth.noise.sensors import PoissonGaussianNoise
from noiseworth.records import CameraRecord, load_record

Array = NDArray[np.float64]
SIZE = 48


def _frames(model: PoissonGaussianNoise, light: float, count: int, seed: int, stripes: float = 0.0) -> Array:
    """Raw frames (N, H, W) of even light (raw units above the offset), rounded as a camera does."""
    signal = np.broadcast_to(model.offset + light, (count, 1, SIZE, SIZE))
    raw = model.sample(signal, seed, np.arange(count))[:, 0]
    rows = stripes * np.random.default_rng(seed).standard_normal((count, SIZE, 1))
    return np.round(raw + rows)


def _measure(model: PoissonGaussianNoise, seed: int = 0, count: int = 16, stripes: float = 0.0) -> Camera:
    dark = _frames(model, 0.0, count, 100 * seed, stripes)
    flats = [
        _frames(model, light, count, 100 * seed + k + 1, stripes) for k, light in enumerate((200.0, 800.0))
    ]
    return measure_camera(dark, flats)


def test_gain_offset_and_read_noise_with_intervals_that_cover() -> None:
    """40 cameras: each 95% interval misses two on average, and over six once in 70 suites."""
    rng = np.random.default_rng(0)
    missed = np.zeros(3)
    for seed in range(40):
        gain, offset, read = np.exp(rng.uniform(-1, 1)), rng.uniform(90, 110), rng.uniform(2, 6)
        camera = _measure(PoissonGaussianNoise(gain, offset, read), seed)
        # A camera rounds, which adds a variance of a twelfth.
        truth = (gain, offset, np.sqrt(read**2 + 1 / 12))
        for k, (number, value) in enumerate(
            zip((camera.gain, camera.offset, camera.read_noise), truth, strict=True)
        ):
            missed[k] += not number.low < value < number.high
            assert abs(number.value / value - 1) < 0.1
    assert (missed <= 6).all()
    assert missed.sum() > 0


def test_stripes_are_seen_and_only_where_they_are() -> None:
    model = PoissonGaussianNoise(0.7, 100.0, 3.0)
    assert [_measure(model, seed).stripes for seed in range(10)] == [0.0] * 10
    seen = [_measure(model, seed, stripes=1.2).stripes for seed in range(10)]
    assert min(seen) > 0
    assert abs(np.mean(seen) - 1.44 / (9 + 1.44)) < 0.03


def test_maps_and_hot_pixels() -> None:
    rng = np.random.default_rng(1)
    gain = 0.6 * np.exp(0.1 * rng.standard_normal((SIZE, SIZE)))
    read = 2 * np.exp(0.2 * rng.standard_normal((SIZE, SIZE)))
    read[5, 7], read[20, 30] = 60.0, 80.0
    model = PoissonGaussianNoise(gain, 100 + 3 * rng.standard_normal((SIZE, SIZE)), read)
    camera = _measure(model, count=100)
    assert camera.hot[5, 7]
    assert camera.hot[20, 30]
    assert camera.hot.sum() < 5
    assert np.corrcoef(camera.model.gain.ravel(), gain.ravel())[0, 1] > 0.4
    assert np.corrcoef(camera.model.read_noise.ravel(), read.ravel())[0, 1] > 0.9
    signal = np.full((1, 1, SIZE, SIZE), 400.0)
    ratio = np.sqrt(camera.model.variance(signal) / model.variance(signal))
    assert abs(np.median(ratio) - 1) < 0.02


@pytest.mark.parametrize(
    ("dark", "flats", "says"),
    [
        (np.zeros((2, 32, 32)), [np.zeros((3, 32, 32))], "dark frames: 3 frames or more"),
        (np.zeros((3, 32, 32)), [np.zeros((3, 32, 48))], "flat 1: 48x32 pixels"),
        (np.zeros((3, 8, 8)), [np.zeros((3, 8, 8))], "at least 16x16"),
        (np.ones((3, 32, 32)), [np.full((3, 32, 32), 255.0)], "saturated"),
        (np.ones((3, 32, 32)), [], "there is none"),
        (np.abs(np.random.default_rng(0).standard_normal((3, 32, 32)).round()), [], "black level"),
    ],
)
def test_frames_that_cannot_say_are_refused(dark: Array, flats: list[Array], says: str) -> None:
    with pytest.raises(UserError, match=says) as refused:
        measure_camera(dark, flats)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("light", "count"), [(4.0, 4), (6.0, 16)])
def test_little_light_and_few_frames_do_not_make_the_gain_small(light: float, count: int) -> None:
    """The mean of a pixel has an error, too: 20 cameras of gain 1 and read noise 5."""
    model = PoissonGaussianNoise(1.0, 100.0, 5.0)
    gains = [
        measure_camera(
            _frames(model, 0.0, count, 20 * seed), [_frames(model, light, count, 20 * seed + 1)]
        ).gain.value
        for seed in range(20)
    ]
    assert abs(np.mean(gains) - 1) < 4 * np.std(gains) / np.sqrt(20)
    assert np.std(gains) / np.sqrt(20) < 0.06


def test_few_frames_of_whole_numbers_have_no_hot_pixels() -> None:
    model = PoissonGaussianNoise(0.5, 100.0, 0.8)
    camera = _measure(model, count=3)
    assert camera.hot.mean() < 0.002
    assert camera.read_noise.low < np.sqrt(0.64 + 1 / 12) < camera.read_noise.high


def test_a_dead_pixel_and_a_flickering_lamp() -> None:
    model = PoissonGaussianNoise(1.0, 100.0, 3.0)
    dark = _frames(model, 0.0, 60, 0)
    flicker = 1 + 0.01 * np.random.default_rng(3).standard_normal(60)
    flat = np.concatenate([_frames(model, 8000.0 * f, 1, 10 + i) for i, f in enumerate(flicker)])
    dark[:, 3, 4] = flat[:, 3, 4] = 100.0
    camera = measure_camera(dark, [flat])
    assert abs(camera.gain.value - 1) < 0.03
    assert np.isfinite(camera.model.gain).all()
    assert np.std(camera.model.gain) < 0.05  # pixels are alike


def test_light_that_adds_no_noise_is_refused() -> None:
    model = PoissonGaussianNoise(0.01, 100.0, 20.0)
    with pytest.raises(UserError, match="more light"):
        measure_camera(_frames(model, 0.0, 8, 0), [_frames(model, 5.0, 8, 1)])


def test_the_command_from_files(tmp_path: Path, capsys: Captured) -> None:
    model = PoissonGaussianNoise(0.5, 100.0, 3.0)
    for k, (name, light) in enumerate((("dark", 0.0), ("dim", 300.0), ("bright", 1200.0))):
        np.savez(tmp_path / f"{name}.npz", images=_frames(model, light, 12, k)[:, None].astype(np.uint16))
        words = ["pack", str(tmp_path / f"{name}.npz"), str(tmp_path / name), "--measured-range"]
        assert main(words) == 0
    capsys.readouterr()
    out = tmp_path / "camera.json"
    flats = [str(tmp_path / "dim"), str(tmp_path / "bright")]
    assert main(["noise", "calibrate", *flats, "--dark", str(tmp_path / "dark"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "raw units an electron" in printed
    record = load_record(CameraRecord, out)
    assert record.gain is not None
    assert record.gain[1] < 0.5 < record.gain[2]
    assert isinstance(from_json(record.model), PoissonGaussianNoise)
    wrong = [
        "noise",
        "calibrate",
        str(tmp_path / "dark"),
        "--dark",
        str(tmp_path / "dark"),
        "--out",
        str(tmp_path / "no.json"),
    ]
    assert "more light" in refusal(wrong, capsys)
    assert not (tmp_path / "no.json").exists()


def test_headers_state_a_camera(tmp_path: Path, capsys: Captured) -> None:
    """Electrons for each raw unit are the inverse of our gain, and read noise is in electrons; nothing is guessed."""
    fits = pytest.importorskip("astropy.io.fits")
    frame = fits.PrimaryHDU(np.zeros((8, 8), np.uint16))
    frame.header.update({"EGAIN": 2.5, "RDNOISE": 5.0, "GAIN": 139, "PEDESTAL": 100})
    frame.writeto(tmp_path / "a.fits")
    frame.header["EGAIN"] = 1.25
    frame.writeto(tmp_path / "b.fits")
    words = ["noise", "calibrate", str(tmp_path / "a.fits"), "--out", str(tmp_path / "camera.json")]
    assert main([*words, "--header", "egain,RDNOISE,PEDESTAL"]) == 0
    assert "as stated" in capsys.readouterr().out
    model = from_json(json.loads((tmp_path / "camera.json").read_text())["model"])
    # 1,000 electrons are 400 raw units above the offset; their variance is 1,000 + 5^2 electrons^2.
    assert np.allclose(model.variance(np.array([500.0])), (1000 + 25) / 2.5**2)
    for keywords, answer in (
        ("EGAIN", "two or three keywords"),
        ("EGAIN,RON", "has no number under RON (read noise in electrons); it has EGAIN = 2.5, RDNOISE = 5.0"),
    ):
        assert answer in refusal([*words, "--header", keywords], capsys)
    assert "each setting by itself" in refusal(
        [*words, str(tmp_path / "b.fits"), "--header", "EGAIN,RDNOISE"], capsys
    )
    assert "exclude each other" in refusal([*words, "--header", "EGAIN,RDNOISE", "--magnitude"], capsys)
