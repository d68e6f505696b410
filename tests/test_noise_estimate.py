"""The measurement of noise: without pictures against the law of variances, with pictures against the level that was added."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.estimate_noise import estimate_noise, find_clean
from noiseworth.data.pack import pack
from noiseworth.data.views import subset
from noiseworth.noise.components import fit_components
from noiseworth.noise.estimate import Clipping, Estimate, FloorEstimator, calibrate
from noiseworth.noise.pooling import pool


def _textures(n: int, size: int, seed: int) -> torch.Tensor:
    """Random fields of spectrum 1/f^2 with contrasts of their own: pictures with fine detail, more of it in some than in others."""
    generator = torch.Generator().manual_seed(seed)
    f = torch.fft.fftfreq(size)
    radius = torch.sqrt(f[:, None] ** 2 + f[None] ** 2).clamp(min=1 / size)
    white = torch.randn(n, 1, size, size, generator=generator)
    field = torch.fft.ifft2(torch.fft.fft2(white) / radius**1.5).real
    contrast = torch.exp(0.7 * torch.randn(n, 1, 1, 1, generator=generator))
    textures: torch.Tensor = 0.3 * contrast * field / field.std()
    return textures


def _noise(n: int, size: int, seed: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_noise_alone_is_measured_without_bias(size: int) -> None:
    n = 1000
    noise = 0.3 * _noise(n, size, 1)
    estimate = FloorEstimator(fit_components(_textures(n, size, 2) + 0.3 * _noise(n, size, 3)))(noise)
    ratio = estimate.sigma**2 / 0.09
    # Positions are chosen by patches that overlap, which adds up to 1.5% at 8x8.
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(n) + 0.015
    covered = ((estimate.low < 0.3) & (estimate.high > 0.3)).mean()
    assert 0.9 < covered <= 1


def test_learned_levels_are_right_and_intervals_cover() -> None:
    clean = _textures(2000, 16, 0)
    components = fit_components(_textures(2000, 16, 9))
    estimator = calibrate(components, clean, 0.005, 1.5)
    test, noise = _textures(2000, 16, 5), _noise(2000, 16, 6)
    for sigma in (0.2, 0.6):
        noisy = test + sigma * noise
        estimate, floor = estimator(noisy), FloorEstimator(components)(noisy)
        assert abs(np.median(estimate.sigma) / sigma - 1) < 0.03
        assert np.abs(estimate.sigma / sigma - 1).mean() < 0.7 * np.abs(floor.sigma / sigma - 1).mean()
    # Intervals cover as they say over levels that are drawn as those that were learned from.
    levels = 0.005 * (1.5 / 0.005) ** np.random.default_rng(4).random(2000)
    estimate = estimator(test + torch.from_numpy(levels).float()[:, None, None, None] * noise)
    covered = ((estimate.low < levels) & (levels < estimate.high)).mean()
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000) + 0.01


def test_images_help_each_other_and_outliers_stay_what_they_are() -> None:
    """Two levels, each image known to within 20%, and one image like no other, which the distribution is not taken from."""
    rng = np.random.default_rng(0)
    true = np.where(np.arange(9000) % 3 == 0, 0.1, 0.3)
    true[4444] = 5.0
    error = np.where(true == 5.0, 0.01, 0.2)
    alone = true * np.exp(error * rng.standard_normal(9000))
    together = pool(Estimate(alone, alone * np.exp(-1.96 * error), alone * np.exp(1.96 * error)))
    assert np.isfinite(together.sigma).all()
    ratio = together.sigma / true
    assert np.sqrt(np.square(ratio - 1).mean()) < 0.1
    assert abs(ratio[4444] - 1) < 0.04
    covered = ((together.low < true) & (true < together.high)).mean()
    assert covered > 0.94


def test_many_that_cannot_tell_are_no_evidence() -> None:
    """Of levels below the finest detail each image says: anything up to here. That all say so does not make it a level."""
    low, high = np.full(500, 1e-3), np.full(500, 0.05)
    alone = Estimate(np.sqrt(low * high), low, high)
    together = pool(alone)
    assert (together.low == low).all()
    assert (together.high == high).all()


def test_clipping_is_learned() -> None:
    stored = Clipping(-1.0, 1.0, 2 / 255)
    clean = _textures(1500, 16, 0).clamp(-1, 1)
    noisy = stored(clean + 0.8 * _noise(1500, 16, 3))
    components = fit_components(_textures(1500, 16, 9))
    aware = calibrate(components, clean, 0.05, 2.0, stored=stored)(noisy).sigma
    unaware = calibrate(components, clean, 0.05, 2.0)(noisy).sigma
    assert abs(np.median(aware) / 0.8 - 1) < 0.05
    assert np.median(unaware) < 0.72


def _hidden(digits: Path, out: Path, sigma: float | str, clean: int = 300) -> Path:
    """Digits with noise: of the first `clean` it is told that they are clean, of the others nothing."""
    corrupt(digits / "train", out.with_suffix(".true"), clean_fraction=0.2, sigma=sigma)
    data = open_dataset(out.with_suffix(".true"))
    np.savez(out.with_suffix(".npz"), images=read_all(data))
    known = np.where(data.sigma == 0, 0.0, np.nan)
    table = "".join(f"{i},{'' if math.isnan(s) else 0}\n" for i, s in enumerate(known))
    out.with_suffix(".csv").write_text("name,sigma\n" + table)
    pack(out.with_suffix(".npz"), out, range=(-1.0, 1.0), sigma=f"{out.with_suffix('.csv')}", by_row=True)
    return out


def test_a_data_set_gets_its_levels(digits: Path, tmp_path: Path) -> None:
    """From unknown noise to one that training takes; the intervals stay with the images in what is made of it."""
    data = _hidden(digits, tmp_path / "hidden", "choice:0.2,0.5")
    true = open_dataset(tmp_path / "hidden.true").sigma
    assert np.isnan(open_dataset(data).sigma).sum() == (true > 0).sum()
    record = estimate_noise(data, tmp_path / "measured")
    assert (record.count, record.learned_from) == (1200, 300)
    assert record.unclear < 100
    measured = open_dataset(tmp_path / "measured")
    assert len(measured) == 1500 - record.unclear
    measured.require_known_sigma()
    true = true[measured.ids]
    noisy = true > 0
    assert (measured.sigma[~noisy] == 0).all()
    ratio = measured.sigma[noisy] / true[noisy]
    assert abs(np.median(ratio) - 1) < 0.03
    assert ratio.std() < 0.1  # of an image alone 0.16
    low, high = measured.interval[noisy].T
    assert ((low < true[noisy]) & (true[noisy] < high)).mean() > 0.95
    assert (measured.interval[~noisy] == 0).all()
    (part,) = subset(tmp_path / "measured", tmp_path / "part", take=100)
    assert part.parts[-1].interval
    assert open_dataset(tmp_path / "part").interval.shape == (100, 2)
    again = estimate_noise(data, tmp_path / "measured")
    assert again == record


@pytest.mark.parametrize("sigma", ["0.5", "choice:0.2,0.5"])
def test_clean_images_are_found(digits: Path, tmp_path: Path, sigma: str) -> None:
    """Nobody says which they are; with two levels of noise there are three kinds of images."""
    corrupt(digits / "train", tmp_path / "true", clean_fraction=0.1, sigma=sigma)
    data = open_dataset(tmp_path / "true")
    np.savez(tmp_path / "all.npz", images=read_all(data))
    pack(str(tmp_path / "all.npz"), tmp_path / "all", range=(-1.0, 1.0))
    record = find_clean(tmp_path / "all", tmp_path / "sorted", picture=tmp_path / "order.png")
    parted = open_dataset(tmp_path / "sorted")
    is_right = (parted.sigma == 0) == (data.sigma[parted.ids] == 0)
    assert is_right.mean() > 0.98
    assert len(parted) == 1500 - record.unsure
    assert (tmp_path / "order.png").is_file()


def _packed(folder: Path, name: str, images: torch.Tensor) -> str:
    np.savez(folder / f"{name}.npz", images=images.numpy())
    pack(str(folder / f"{name}.npz"), folder / name, range=(-1.0, 1.0))
    return str(folder / name)


def test_what_cannot_be_measured_is_refused_in_a_line(mixed: Path, tmp_path: Path, capsys: Captured) -> None:
    out = str(tmp_path / "out")

    def says(images: torch.Tensor, command: str = "estimate") -> str:
        data = _packed(tmp_path, f"case{len(list(tmp_path.iterdir()))}", images)
        return refusal(["noise", command, data, out], capsys)

    assert "--again" in refusal(["noise", "estimate", str(mixed), out], capsys)
    assert "nothing to find out" in refusal(["noise", "clean", str(mixed), out], capsys)
    assert "5 are the same everywhere" in says(torch.zeros(5, 1, 16, 16) + 0.5)
    assert "too small" in says(_noise(50, 4, 0))
    assert "a factor of 2" in says(_noise(1, 8, 0))
    assert "too few to part" in says(0.2 * _noise(10, 16, 0), "clean")
    assert "without a gap" in says(_textures(400, 16, 0) + 0.2 * _noise(400, 16, 0), "clean")
    assert not Path(out).exists()


def test_images_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    images = _textures(60, 32, 0) + 0.3 * _noise(60, 32, 1)
    images[7] = 0.25
    record = estimate_noise(_packed(tmp_path, "some", images), tmp_path / "out")
    assert record.unclear == 1
    assert 7 not in open_dataset(tmp_path / "out").ids
    assert abs(record.quantiles[2] / 0.3 - 1) < 0.1


def test_files_are_measured_as_they_are(tmp_path: Path, capsys: Captured) -> None:
    """Their names and levels in raw units, in a table that packing reads; no data set is made."""
    true = np.linspace(4.0, 16.0, 12)
    rng = np.random.default_rng(0)
    (tmp_path / "scope").mkdir()
    for number, level in enumerate(true):
        picture = 120 + 20 * np.sin(np.arange(96) / 9)[:, None] + level * rng.standard_normal((96, 96))
        Image.fromarray(picture.clip(0, 255).round().astype(np.uint8)).save(
            tmp_path / f"scope/im{number:02}.png"
        )
    Image.fromarray(np.full((96, 96), 7, np.uint8)).save(tmp_path / "scope" / "im99.png")
    record = estimate_noise(tmp_path / "scope", table=tmp_path / "levels.csv")
    assert record.path is None
    assert record.count == 13
    assert [level.name for level in record.first][:2] == ["im00.png", "im01.png"]
    measured = np.array([level.sigma for level in record.first[:12]])
    # Pooled over some 9,000 pixels: to within some percent.
    assert np.abs(measured / true - 1).max() < 0.1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["levels.csv", "scope"]
    pack(tmp_path / "scope", tmp_path / "data", sigma=str(tmp_path / "levels.csv"), sigma_units="raw")
    packed = open_dataset(tmp_path / "data")
    assert np.allclose(packed.sigma[:12] * 127.5, measured, rtol=1e-4)
    assert np.isnan(packed.sigma[12])  # the same everywhere: nothing is said
    words = ["noise", "estimate", str(tmp_path / "scope" / "im03.png")]
    assert main(words) == 0
    assert "im03.png  7." in capsys.readouterr().out
    Image.fromarray(np.zeros((50, 96), np.uint8)).save(tmp_path / "scope" / "im50.png")
    assert "pack first" in refusal(["noise", "estimate", str(tmp_path / "scope")], capsys)
