"""Training on noise that is not white: to the exact denoiser, on the right spectrum, or refused in a line."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import noise_exact
from noiseworth.data.dataset import open_dataset
from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.errors import UserError
from noiseworth.noise.models import CorrelatedNoise, VariableNoise
from noiseworth.noise.sensors import PoissonGaussianNoise
from noiseworth.train.config import TrainConfig
from noiseworth.train.structure import NoiseStructure


@pytest.mark.parametrize("kind", ["variance map", "coloured", "missing pixels"])
def test_training_leads_to_the_exact_denoiser(kind: str) -> None:
    assert noise_exact.excess_of(kind) < 0.04


def test_coloured_noise_that_is_taken_for_white_does_not(tmp_path: Path) -> None:
    """The test above can fail."""
    data = noise_exact.make_data(tmp_path / "data", "coloured")
    images, sigma = data.read(np.arange(len(data))), data.sigma
    with new_directory(tmp_path / "white") as out:
        # One image with a noise model keeps the training the same.
        model = CorrelatedNoise(np.ones((2, 2)))
        parts = [Part(Columns(sigma[:-1], np.arange(len(data) - 1)), images[:-1])]
        parts.append(Part(Columns(sigma[-1:], np.array([len(data) - 1])), images[-1:], noise=model))
        write_dataset(
            out, parts, name="w", offset=0.0, scale=1.0, units="model", provenance=[{"command": "t"}]
        )
    assert noise_exact.excess(noise_exact.train(open_dataset(tmp_path / "white"))) > 0.06


def _write(folder: Path, images: NDArray[np.float64], sigma: float, **of_part: object) -> Path:
    with new_directory(folder) as out:
        columns = Columns(np.full(len(images), sigma, np.float32), np.arange(len(images)))
        part = Part(columns, images.astype(np.float32), **of_part)  # type: ignore[arg-type]
        write_dataset(
            out, [part], name="d", offset=0.0, scale=1.0, units="model", provenance=[{"command": "t"}]
        )
    return folder


def _structure(data: Path, **settings: object) -> NoiseStructure:
    opened = open_dataset(data)
    config = TrainConfig(data=str(data), out="unused", n_images=1000, **settings)  # type: ignore[arg-type]
    return NoiseStructure(opened, config, np.arange(len(opened)))


def test_the_spectrum_of_the_signal_is_found_below_coloured_noise_and_missing_pixels(tmp_path: Path) -> None:
    """Without one clean image; within what noise leaves of the variance of the mean."""
    n, power = 4000, np.array([[2.0, 0.5, 0.5], [0.5, 0.2, 0.2], [0.5, 0.2, 0.2]])
    signal = CorrelatedNoise(power)
    x = signal.sample(np.zeros((n, 1, 3, 3)), 0, np.arange(n))
    model = CorrelatedNoise(np.array([[3.0, 1.0, 1.0], [1.0, 0.5, 0.5], [1.0, 0.5, 0.5]]) / 1.0)
    unit = model.scaled(1 / model.sigma)
    y = x + unit.scaled(0.7).sample(np.zeros_like(x), 1, np.arange(n))
    structure = _structure(_write(tmp_path / "coloured", y, 0.7, noise=unit))
    assert float(structure.eigenvalues.mean()) == pytest.approx(power.mean(), rel=0.1)
    assert structure.sigma_data == pytest.approx(math.sqrt(power.mean()), rel=0.05)
    assert torch.allclose(structure._signal[0], torch.from_numpy(power).float(), rtol=0.2)
    lost = np.random.default_rng(0).random(x.shape) < 0.4
    lost[lost.all(axis=(1, 2, 3))] = False
    masked = _structure(_write(tmp_path / "masked", np.where(lost, np.nan, x), 0.0, missing=True))
    assert float(masked.eigenvalues.mean()) == pytest.approx(power.mean(), rel=0.1)


def test_what_cannot_be_trained_on_is_refused_in_a_line(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 1, 4, 4))
    camera = _write(tmp_path / "camera", x, 0.1, noise=PoissonGaussianNoise(1.0))
    with pytest.raises(UserError, match="noise stabilise"):
        _structure(camera)
    coloured = CorrelatedNoise(np.ones((4, 4)))
    x[:, :, 0, 0] = np.nan
    both = _write(tmp_path / "both", x, 0.1, noise=coloured, missing=True)
    with pytest.raises(UserError, match="one or the other"):
        _structure(both)
    missing = _write(tmp_path / "missing", x, 0.1, missing=True)
    for settings, words in (
        ({"objective": "published"}, "white Gaussian"),
        ({"below_noise": "consistency"}, "white noise alone"),
        ({"below_noise": "none"}, "imputed"),
    ):
        with pytest.raises(UserError, match=words):
            _structure(missing, **settings)
    x[3] = np.nan
    with pytest.raises(UserError, match="no pixel of image 3"):
        _structure(_write(tmp_path / "empty", x, 0.0, missing=True))
    with pytest.raises(UserError, match="2x2, and images of 4x4"):
        _structure(_write(tmp_path / "size", x[4:], 0.1, noise=VariableNoise(np.ones((2, 2)))))
