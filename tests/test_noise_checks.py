"""The checks of noise: silent where all is well, and each fires where what it is for is wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.pack import pack
from noiseworth.noise.checks import Check, check_noise
from noiseworth.noise.comparison import Comparison, compare
from noiseworth.noise.components import fit_components
from noiseworth.noise.models import CorrelatedNoise, GaussianNoise
from noiseworth.noise.sensors import PoissonGaussianNoise

SIZE, NOISY, CLEAN, SIGMA = 16, 900, 400, 0.3
Images = NDArray[np.float64]


def _pictures(n: int, seed: int) -> Images:
    """Smooth random fields between -1 and 1."""
    rng = np.random.default_rng(seed)
    f = np.fft.fftfreq(SIZE)
    decay = np.exp(-40 * (f[:, None] ** 2 + f[None] ** 2))
    fields = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, 1, SIZE, SIZE))) * decay).real
    pictures: Images = np.tanh(fields / fields.std())
    return pictures


def _check(noisy: Images, declared: float = SIGMA, clipped: float = 0.0) -> dict[str, Check]:
    as_tensor: Callable[[Images], torch.Tensor] = lambda images: torch.from_numpy(images).float()  # noqa: E731
    pictures = _pictures(CLEAN, 11)
    components = fit_components(as_tensor(_pictures(600, 12)))
    checks = check_noise(
        components,
        as_tensor(noisy),
        np.full(len(noisy), declared),
        as_tensor(pictures),
        clipped,
    )
    return {check.name: check for check in checks}


def _fired(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.fires}


IDS = np.arange(NOISY)


def test_silent_on_white_gaussian_noise() -> None:
    for seed in range(3):
        checks = _check(GaussianNoise(SIGMA).sample(_pictures(NOISY, seed), seed, IDS))
        assert _fired(checks) == set()
        assert not any(check.is_blind for check in checks.values() if check.name != "of mean zero")


def _smooth() -> CorrelatedNoise:
    f = np.fft.fftfreq(SIZE)
    spectrum = np.exp(-2 * (f[:, None] ** 2 + f[None] ** 2))
    return CorrelatedNoise(SIGMA**2 * spectrum / spectrum.mean())


def _stripes(pictures: Images) -> Images:
    rng = np.random.default_rng(5)
    rows = 0.35 * SIGMA * rng.standard_normal((NOISY, 1, SIZE, 1))
    return GaussianNoise(0.94 * SIGMA).sample(pictures, 5, IDS) + rows


def _heavy(pictures: Images) -> Images:
    rng = np.random.default_rng(6)
    noise: Images = SIGMA * rng.laplace(size=pictures.shape) / np.sqrt(2)
    return pictures + noise


def _shot(pictures: Images) -> Images:
    return PoissonGaussianNoise(0.09, -1.2).sample(pictures, 7, IDS)


@pytest.mark.parametrize(
    ("name", "make", "declared"),
    [
        ("the declared level", lambda x: GaussianNoise(1.1 * SIGMA).sample(x, 1, IDS), SIGMA),
        ("white", lambda x: _smooth().sample(x, 2, IDS), SIGMA),
        ("free of stripes", _stripes, SIGMA),
        ("Gaussian", _heavy, SIGMA),
        ("independent of the signal", _shot, SIGMA),
        ("of mean zero", lambda x: GaussianNoise(SIGMA).sample(x, 3, IDS) + SIGMA, SIGMA),
    ],
)
def test_each_check_fires(name: str, make: Callable[[Images], Images], declared: float) -> None:
    checks = _check(make(_pictures(NOISY, 3)), declared)
    assert name in _fired(checks)
    assert "\n" not in checks[name].words + checks[name].remedy


def test_clipping_is_told_and_effects_are_measured() -> None:
    assert "whole" in _fired(_check(GaussianNoise(SIGMA).sample(_pictures(NOISY, 3), 1, IDS), clipped=0.1))
    level = _check(GaussianNoise(1.1 * SIGMA).sample(_pictures(NOISY, 3), 1, IDS))["the declared level"]
    assert abs(level.effect - np.log(1.1)) < 4 * level.error
    kurtosis = _check(_heavy(_pictures(NOISY, 3)))["Gaussian"]
    # Of Laplace's distribution 3.
    assert abs(kurtosis.effect - 3) < 4 * kurtosis.error + 0.1


def _compared(noisy: Images) -> dict[str, Comparison]:
    components = fit_components(torch.from_numpy(_pictures(600, 12)).float())
    clean = torch.from_numpy(_pictures(CLEAN, 11)).float()
    return compare(components, torch.from_numpy(noisy).float(), np.full(NOISY, SIGMA), clean)


def test_pictures_show_what_is_checked() -> None:
    """Where all is well, both sides agree; each fault shows in the picture of its check, by as much as it is."""
    pictures = _pictures(NOISY, 3)
    well = _compared(GaussianNoise(SIGMA).sample(pictures, 1, IDS))
    for name in ("the declared level", "white", "free of stripes", "independent of the signal"):
        # Pictures have rows of their own, of which two sets of 900 and 400 differ by chance.
        within = 0.1 if name == "free of stripes" else 0.05
        assert np.allclose(well[name].here, 1, atol=within), name
        assert np.allclose(well[name].ideal, 1, atol=within), name
    for name in ("Gaussian", "whole", "of mean zero"):
        assert abs(sum(well[name].here) - 1) < 1e-3
        assert np.abs(np.array(well[name].here) - well[name].ideal).sum() < (
            0.4 if name == "of mean zero" else 0.05
        )
    louder = _compared(GaussianNoise(1.5 * SIGMA).sample(pictures, 1, IDS))
    assert np.allclose(louder["the declared level"].here, 1.5, atol=0.05)
    smooth = _compared(_smooth().sample(pictures, 2, IDS))["white"].here
    assert smooth[-1] > 1.2 * smooth[0]
    rows = _compared(_stripes(pictures))["free of stripes"].here
    # A row's mean has 0.94^2 s^2 / 16 of white noise and 0.35^2 s^2 of its own.
    assert abs(rows[0] / np.sqrt(0.94**2 + 16 * 0.35**2) - 1) < 0.05
    assert abs(rows[1] - 0.94) < 0.05
    heavy = _compared(_heavy(pictures))["Gaussian"]
    assert sum(heavy.here[:4]) > 3 * sum(heavy.ideal[:4])
    shot = _compared(_shot(pictures))["independent of the signal"].here
    assert shot[1] > 1.1 * shot[0]


def test_the_command_says_what_is_wrong(digits: Path, mixed: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["noise", "check", str(mixed)]) == 0
    assert "fails" not in capsys.readouterr().out
    data = open_dataset(mixed)
    np.savez(tmp_path / "wrong.npz", images=read_all(data))
    table = "\n".join(["name,sigma", *(f"{i},{s * 0.8}" for i, s in enumerate(data.sigma))])
    (tmp_path / "wrong.csv").write_text(table + "\n")
    pack(
        str(tmp_path / "wrong.npz"),
        tmp_path / "wrong",
        range=(-1.0, 1.0),
        sigma=str(tmp_path / "wrong.csv"),
        by_row=True,
    )
    assert main(["noise", "check", str(tmp_path / "wrong")]) == 1
    printed = capsys.readouterr().out
    assert "fails    the declared level" in printed
    assert "noise estimate" in printed
    assert main(["inspect", str(tmp_path / "wrong")]) == 0
    assert "noise fails: the declared level: the noise is 1.2" in capsys.readouterr().out
    assert (
        main(["noise", "check", str(tmp_path / "wrong"), "--page", str(tmp_path / "p" / "check.html")]) == 1
    )
    page = (tmp_path / "p" / "check.html").read_text()
    assert page.count("<svg") == 7
    assert "The declared level: fails" in page
    capsys.readouterr()
    corrupt(digits / "train", tmp_path / "noisy", clean_fraction=0.0, sigma=0.3)
    assert "has no clean images" in refusal(["noise", "check", str(tmp_path / "noisy")], capsys)
