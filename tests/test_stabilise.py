"""Noise that depends on the signal, made Gaussian: mean, variance and way back against draws; and the command."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.pack import pack
from noiseworth.data.stabilise_noise import stabilise_noise
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.noise.models import GaussianNoise
from noiseworth.noise.sensors import PoissonGaussianNoise, RicianNoise
from noiseworth.noise.stabilise import Stabiliser

MODELS: dict[str, NoiseModel] = {
    "camera": PoissonGaussianNoise(0.5, 3.0, 0.7),
    "counts": PoissonGaussianNoise(2.0),
    "read noise": PoissonGaussianNoise(1.0, 100.0, 30.0),
    "magnitude": RicianNoise(2.0),
}
N = 100_000


def _unit(model: NoiseModel) -> tuple[float, float]:
    return (float(model.offset), float(model.gain)) if isinstance(model, PoissonGaussianNoise) else (0.0, 2.0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("electrons", [0.0, 0.3, 1.0, 3.0, 10.0, 39.9, 40.1, 399.0, 401.0, 3000.0])
def test_mean_and_variance_are_those_of_draws_and_the_inverse_undoes_the_mean(
    name: str, electrons: float
) -> None:
    model = MODELS[name]
    stabiliser, (zero, unit) = Stabiliser(model), _unit(model)
    signal = np.full((N // 1000, 1, 20, 50), zero + electrons * unit)
    transformed = stabiliser.forward(model.sample(signal, 1, np.arange(len(signal))))
    mean, variance = (float(f(signal[:1, :, :1, :1]).item()) for f in (stabiliser.mean, stabiliser.variance))
    spread = transformed.std()
    assert abs(transformed.mean() - mean) < 4.5 * spread / N**0.5 + 1e-9
    squared = (transformed - transformed.mean()) ** 2
    assert abs(transformed.var() - variance) < 4.5 * squared.std() / N**0.5 + 2e-3
    if electrons >= 4:
        assert 0.97 < variance < 1.07
    back = stabiliser.inverse(stabiliser.mean(signal[:1]))
    assert np.allclose(back, signal[:1], atol=1e-8 * max(unit, zero + electrons * unit))


def test_what_lies_below_no_signal_comes_back_as_none() -> None:
    stabiliser = Stabiliser(MODELS["camera"])
    low = stabiliser.mean(np.array(3.0)) - 1
    assert stabiliser.inverse(low) == 3.0
    assert stabiliser.mean(np.array(-5.0)) == stabiliser.mean(np.array(3.0))
    assert np.isfinite(stabiliser.forward(np.array(-1e3)))


def test_only_noise_of_one_law_that_depends_on_the_signal_is_stabilised() -> None:
    with pytest.raises(UserError, match="does not depend on the signal"):
        Stabiliser(GaussianNoise(0.1))
    with pytest.raises(UserError, match="numbers in place of maps"):
        Stabiliser(PoissonGaussianNoise(np.ones((2, 2))))


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """Digits, a tenth clean, the others by a camera with up to 64 electrons."""
    pack("sklearn:digits", tmp_path / "digits", sigma=0.0, held_out=100)
    (tmp_path / "camera.json").write_text(json.dumps(PoissonGaussianNoise(0.25, 0.0, 0.5).to_json()))
    corrupt(
        tmp_path / "digits" / "train", tmp_path / "camera", clean_fraction=0.1, noise=tmp_path / "camera.json"
    )
    return tmp_path


def test_the_noise_of_a_stabilised_data_set_is_white_of_the_level_that_it_says(camera: Path) -> None:
    record = stabilise_noise(camera / "camera", camera / "stable")
    data = open_dataset(camera / "stable")
    assert data.is_white
    is_clean = data.sigma == 0
    assert (record.clean, record.noisy) == (int(is_clean.sum()), int((~is_clean).sum()))
    stabilise_noise(camera / "digits" / "train", camera / "twins", noise=camera / "camera.json")
    twins = open_dataset(camera / "twins")
    assert np.allclose(read_all(twins)[:, :, ::7].min(), -1, atol=0.2)
    clean = dict(zip(twins.ids.tolist(), read_all(twins), strict=True))
    difference = read_all(data) - np.stack([clean[i] for i in data.ids.tolist()])
    assert np.abs(difference[is_clean]).max() == 0
    noise = difference[~is_clean] / record.sigma
    assert abs(noise.mean()) < 4.5 / noise.size**0.5
    assert noise.std() == pytest.approx(1, abs=0.1)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean()
    assert abs(neighbours) < 4.5 / noise[..., 1:].size ** 0.5


def test_a_run_on_it_gives_samples_in_the_units_before(camera: Path, capsys: Captured) -> None:
    commands = (
        f"noise stabilise {camera / 'camera'} {camera / 'stable'}",
        f"noise stabilise {camera / 'digits' / 'held-out'} {camera / 'held'} --noise {camera / 'camera.json'}",
        f"train --data {camera / 'stable'} --out {camera / 'run'} --n-images 1280 --held-out {camera / 'held'}",
        f"sample {camera / 'run'} {camera / 'made'} --n 8 --steps 4",
        f"subset {camera / 'stable'} {camera / 'some'} --take 100",
    )
    for command in commands:
        assert main(command.split()) == 0, capsys.readouterr().err
    capsys.readouterr()
    made, digits = open_dataset(camera / "made").record, open_dataset(camera / "digits" / "train").record
    assert (made.offset, made.scale, made.stabilised) == (digits.offset, digits.scale, None)
    raw = open_dataset(camera / "made").read_raw(np.arange(8))
    assert raw.min() >= -1e-3
    assert raw.max() <= 16.001
    assert (
        open_dataset(camera / "some").record.stabilised == open_dataset(camera / "stable").record.stabilised
    )
    against = f"evaluate {camera / 'run'} --n 64 --steps 4 --against"
    assert "stabilised units" in refusal(f"{against} {camera / 'held'}".split(), capsys)
    digits_too = f"{against} {camera / 'digits' / 'held-out'} --held-out {camera / 'digits' / 'held-out'}"
    assert "not in the units" in refusal(digits_too.split(), capsys)
    wrong_units = (
        f"train --data {camera / 'stable'} --out {camera / 'x'} --held-out {camera / 'digits' / 'held-out'}"
    )
    assert "stabilise both" in refusal(wrong_units.split(), capsys)
    assert "stabilised" in refusal(f"unpack {camera / 'stable'} {camera / 'files'}".split(), capsys)
    joined = f"join {camera / 'stable'} {camera / 'digits' / 'train'} {camera / 'joined'}"
    assert "stabilised" in refusal(joined.split(), capsys)


def test_bad_input_is_refused_in_a_line(camera: Path, capsys: Captured) -> None:
    out = str(camera / "new")
    assert "noise stabilise" in refusal(["train", "--data", str(camera / "camera"), "--out", out], capsys)
    assert "says no noise model" in refusal(
        ["noise", "stabilise", str(camera / "digits" / "train"), out], capsys
    )
    other = camera / "other.json"
    other.write_text(json.dumps(RicianNoise(1.0).to_json()))
    assert "several noise models" in refusal(
        ["noise", "stabilise", str(camera / "camera"), out, "--noise", str(other)], capsys
    )
    corrupt(camera / "digits" / "train", camera / "white", clean_fraction=0.1, sigma=0.2)
    white = ["noise", "stabilise", str(camera / "white"), out, "--noise", str(other)]
    assert "white noise" in refusal(white, capsys)
    gaussian = ["noise", "stabilise", str(camera / "white"), out, "--noise", str(_gaussian(camera))]
    assert "does not depend on the signal" in refusal(gaussian, capsys)
    dark = camera / "dark.json"
    dark.write_text(json.dumps(PoissonGaussianNoise(1.0, 100.0).to_json()))
    below = ["noise", "stabilise", str(camera / "digits" / "train"), out, "--noise", str(dark)]
    assert "no light is 100" in refusal(below, capsys)
    stabilise_noise(camera / "camera", camera / "stable")
    assert "already" in refusal(["noise", "stabilise", str(camera / "stable"), out], capsys)
    assert not Path(out).exists()


def _gaussian(folder: Path) -> Path:
    path = folder / "gaussian.json"
    path.write_text(json.dumps(GaussianNoise(0.1).to_json()))
    return path
