"""Noise models, missing pixels and blur in data sets: packed, simulated, kept by views, said, trained on, or refused in a line."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.fingerprint import verify_fingerprint
from noiseworth.data.hide_damage import hide_damage
from noiseworth.data.inspect import inspect
from noiseworth.data.pack import pack
from noiseworth.data.views import join, split, subset
from noiseworth.noise.models import CorrelatedNoise, VariableNoise
from noiseworth.noise.sensors import PoissonGaussianNoise
from noiseworth.noise.telling import least_levels, level_that_hides_all
from noiseworth.records import DoneRecord, load_record
from noiseworth.train.config import TrainConfig
from noiseworth.train.trainer import Trainer

SIDE = 8
SPECTRUM = 1 / (0.1 + np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])) ** 2


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Clean digits."""
    pack("sklearn:digits", tmp_path / "digits", sigma=0.0)
    return tmp_path / "digits"


def _save(path: Path, model: object) -> Path:
    path.write_text(json.dumps(model.to_json()))  # type: ignore[attr-defined]
    return path


def test_coloured_noise_is_simulated_kept_by_views_and_said(digits: Path, tmp_path: Path) -> None:
    model = CorrelatedNoise(0.16 * SPECTRUM / SPECTRUM.mean())
    corrupt(digits, tmp_path / "c", clean_fraction=0.2, noise=_save(tmp_path / "m.json", model))
    data = open_dataset(tmp_path / "c")
    noisy = ~data.is_clean
    assert np.allclose(data.sigma[noisy], 0.4)
    noise = (read_all(data) - read_all(open_dataset(digits))[data.ids])[noisy]
    power = (np.abs(np.fft.fft2(noise[:, 0], norm="ortho")) ** 2).mean(0)
    assert (np.abs(power / model.spectrum - 1) < 4.5 * (2 / noisy.sum()) ** 0.5).all()
    verify_fingerprint(data)
    split(tmp_path / "c", tmp_path / "s", held_out=100)
    subset(tmp_path / "c", tmp_path / "n", use="noisy")
    join([tmp_path / "n", digits], tmp_path / "j")
    for name, count in (("c", noisy.sum()), ("n", noisy.sum()), ("j", noisy.sum())):
        opened = open_dataset(tmp_path / name)
        ((words, rows),) = opened.unusual()
        assert words == "correlated noise"
        assert len(rows) == count
        kept = opened.noise_models[1]
        assert isinstance(kept, CorrelatedNoise)
        assert kept.sigma == pytest.approx(1)
    assert inspect(data).other_noise == [f"correlated noise, sigma 0.4 ({noisy.sum():,} images)"]
    assert [g.sigma for g in inspect(data).noise] == [0.0]
    assert len(open_dataset(tmp_path / "s" / "held-out").noise_models) == 2
    noise_file = next((tmp_path / "c").glob("part-*/noise.json"))
    noise_file.write_text("{}")
    assert main(["inspect", str(tmp_path / "c")]) == 2


def test_missing_pixels_are_simulated_and_worth_their_share(
    digits: Path, tmp_path: Path, capsys: Captured
) -> None:
    corrupt(digits, tmp_path / "m", clean_fraction=0.2, missing=0.5, sigma=0.1)
    data = open_dataset(tmp_path / "m")
    images = read_all(data)
    lost = np.isnan(images[data.may_miss])
    assert abs(lost.mean() - 0.5) < 4.5 * 0.5 / lost.size**0.5
    assert not np.isnan(images[~data.may_miss]).any()
    assert data.is_clean.sum() == (~data.may_miss).sum()
    noise = (images - read_all(open_dataset(digits))[data.ids])[data.may_miss]
    assert np.nanstd(noise) == pytest.approx(0.1, rel=0.02)
    assert "pixels missing" in inspect(data).other_noise[0]
    command = f"train --data {tmp_path / 'm'} --out {tmp_path / 'run'} --n-images 8000 --batch 64 --monitor-every 4000"
    assert main(command.split()) == 0, capsys.readouterr().err
    assert "of the pixels missing: worth" in capsys.readouterr().out
    worth = load_record(DoneRecord, tmp_path / "run" / "DONE.json").worth
    half = next(k for k, words in enumerate(worth.noise) if words == "50% of the pixels missing")
    assert 0.2 < worth.mean_worth[half] < 0.8
    for refused, words in (
        (f"noise estimate {tmp_path / 'm'} {tmp_path / 'x'}", "whole images"),
        (f"train --data {tmp_path / 'm'} --out {tmp_path / 'x'} --objective published", "white Gaussian"),
        (f"evaluate {tmp_path / 'run'} --against {digits} --held-out {tmp_path / 'm'}", "whole images"),
    ):
        assert words in refusal(refused.split(), capsys)


@pytest.mark.parametrize("clean", [0.0, 0.2])
def test_a_run_on_missing_pixels_goes_on_to_the_same_weights(
    digits: Path, tmp_path: Path, clean: float
) -> None:
    """Also where no image is whole; stopped before the model first imputes, and after."""
    subset(digits, tmp_path / "few", take=200)
    corrupt(tmp_path / "few", tmp_path / "m", clean_fraction=clean, missing=0.4)
    settings = {"data": str(tmp_path / "m"), "n_images": 1280, "batch": 16, "checkpoint_every": 64}

    def go_on(out: str, steps: int) -> Trainer:
        (tmp_path / out).mkdir(exist_ok=True)
        trainer = Trainer(TrainConfig(out=str(tmp_path / out), **settings))  # type: ignore[arg-type]
        trainer.restore()
        for _ in itertools.islice(trainer.steps(), steps):
            pass
        trainer.save()
        return trainer

    once = go_on("once", 80)
    for steps in (15, 60, 5):
        twice = go_on("twice", steps)
    assert once.n_images == twice.n_images == 1280
    assert len(once.imputation.rows) > 0
    for one, two in zip(once.denoiser.parameters(), twice.denoiser.parameters(), strict=True):
        assert torch.equal(one, two)


def _frames(folder: Path, images: NDArray[np.float32]) -> Path:
    np.save(folder / "images.npy", images)
    return folder / "images.npy"


def test_packing_keeps_what_was_not_measured_and_takes_a_noise_model(
    tmp_path: Path, capsys: Captured
) -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(-0.9, 0.9, (30, SIDE, SIDE)).astype(np.float32)
    images[10:, 2, 3] = np.nan
    source = _frames(tmp_path, images)
    assert "keep" in refusal(["pack", str(source), str(tmp_path / "x"), "--range", "-1", "1"], capsys)
    model = VariableNoise(np.linspace(0.01, 0.09, SIDE * SIDE).reshape(SIDE, SIDE))
    path = _save(tmp_path / "map.json", model)
    pack(source, tmp_path / "d", range=(-1.0, 1.0), missing="keep", noise=path)
    data = open_dataset(tmp_path / "d")
    assert (data.ids == np.arange(30)).all()
    assert np.array_equal(read_all(data)[:, 0], images, equal_nan=True)
    assert (data.may_miss == (np.arange(30) >= 10)).all()
    assert np.allclose(data.sigma, model.sigma)
    assert not data.is_white
    pack(
        source, tmp_path / "zero", range=(-1.0, 1.0), missing=0, sigma=0.0
    )  # a whole number, as Python has it
    assert (read_all(open_dataset(tmp_path / "zero"))[10:, 0, 2, 3] == 0).all()
    small = _save(tmp_path / "small.json", VariableNoise(np.ones((4, 4))))
    command = ["pack", str(source), str(tmp_path / "x"), "--range", "-1", "1", "--missing", "keep", "--noise"]
    assert "map of 4x4" in refusal([*command, str(small)], capsys)
    (tmp_path / "other.json").write_text("[1, 2]")
    assert "no noise model" in refusal([*command, str(tmp_path / "other.json")], capsys)
    images[3] = np.nan
    _frames(tmp_path, images)
    assert "none that was measured" in refusal([*command, str(path)], capsys)
    assert not (tmp_path / "x").exists()


def test_a_camera_whose_noise_was_cut_off_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dark = (
        np.random.default_rng(0).poisson(2, (30, SIDE, SIDE)).astype(np.uint8)
    )  # a seventh of the pixels are 0
    np.save(tmp_path / "dark.npy", dark)
    path = _save(tmp_path / "camera.json", PoissonGaussianNoise(1.0))
    pack(tmp_path / "dark.npy", tmp_path / "d", noise=path)
    assert "clipped" in caplog.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "give one of"),
        ("--sigma 0.1 --blur 1", "give one of"),
        ("--missing 1", "below 1"),
        ("--blur 0.5 --missing 0.2", "--sigma alone"),
        ("--noise none.json", "JSON file"),
    ],
)
def test_damage_that_makes_no_sense_is_refused(
    digits: Path, tmp_path: Path, words: str, told: str, capsys: Captured
) -> None:
    out = tmp_path / "out"
    assert told in refusal(
        ["corrupt", str(digits), str(out), "--clean-fraction", "0.5", *words.split()], capsys
    )
    assert not out.exists()


def test_the_level_that_hides_damage() -> None:
    """The least level from which on an image seems clean at all levels."""
    levels = np.array([0.1, 0.2, 0.4, 0.8])
    seems = np.array([[0.1, 0.2, 0.46, 0.5], [0.5, 0.1, 0.5, 0.5], [0.5] * 4, [0.1, 0.2, 0.3, 0.4]])
    assert least_levels(seems, levels, 0.45).tolist() == [0.4, 0.4, 0.1, np.inf]


def test_where_nobody_can_tell_all_are_hidden() -> None:
    """From the level on at which right answers are as frequent as by chance, if there are images enough to be sure of it."""
    levels = np.array([0.1, 0.2, 0.4, 0.8])

    def seem(shares: list[float], count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Of clean images, whose probability is above one half in such shares of them."""
        return (np.arange(count)[:, None] < np.array(shares) * count).astype(float)

    told = [0.95, 0.62, 0.51, 0.50]
    assert level_that_hides_all(seem(told, 4000), 1 - seem(told, 4000), levels, 0.55) == 0.4
    assert level_that_hides_all(seem(told, 60), 1 - seem(told, 60), levels, 0.55) == np.inf
    never = [0.5] * 4
    assert level_that_hides_all(seem(never, 4000), 1 - seem(never, 4000), levels, 0.55) == 0.1
    blind = [0.5, 0.5, 0.62, 0.5]  # the networks know no better at low levels, but something shows
    assert level_that_hides_all(seem(blind, 4000), 1 - seem(blind, 4000), levels, 0.55) == 0.8


def test_blur_is_hidden_by_noise_that_is_really_added(
    digits: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage of which there is little is hidden by less noise; and images of the same kind are not damaged."""
    monkeypatch.setattr("noiseworth.noise.telling._STEPS", 200)
    medians = []
    for name, blur in (("much", 0.6), ("little", 0.45)):
        corrupt(digits, tmp_path / name, clean_fraction=0.4, blur=blur)
        record = hide_damage(tmp_path / name, tmp_path / f"{name}-hidden")
        medians.append(record.quantiles[2])
        before, after = open_dataset(tmp_path / name), open_dataset(tmp_path / f"{name}-hidden")
        noisy = after.sigma > 0
        assert noisy.sum() == record.damaged - record.left_out
        assert after.is_clean.sum() == before.is_clean.sum()
        own = dict(zip(before.ids.tolist(), read_all(before), strict=True))
        added = read_all(after)[noisy] - np.stack([own[i] for i in after.ids[noisy].tolist()])
        ratio = added.std(axis=(1, 2, 3)) / after.sigma[noisy]
        assert abs(ratio.mean() - 1) < 4.5 * (1 / (2 * 64) / noisy.sum()) ** 0.5 + 0.01
        assert record.told_apart[0] > 0.9 > record.told_apart[-1]
    assert medians[1] < medians[0]
    coloured = _save(tmp_path / "m.json", CorrelatedNoise(SPECTRUM))
    corrupt(digits, tmp_path / "coloured", clean_fraction=0.4, noise=coloured)
    words = ["noise", "hide", str(tmp_path / "coloured"), str(tmp_path / "x")]
    assert "correlated noise" in refusal(words, capsys)
    few = subset(tmp_path / "much", tmp_path / "few", take=50)
    assert few[0].count == 50
    words = ["noise", "hide", str(tmp_path / "few"), str(tmp_path / "x")]
    assert "100 of each" in refusal(words, capsys)
