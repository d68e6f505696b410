"""The commands of docs/noise.md and docs/other-noise.md, as they stand, on made pictures, camera frames, scans and arrays."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main

DOCS = Path(__file__).parent.parent / "docs"
OTHER = (DOCS / "other-noise.md").read_text(encoding="utf-8")


def _commands(page: str) -> list[str]:
    return [
        line
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
        if line
    ]


COMMANDS = _commands((DOCS / "noise.md").read_text(encoding="utf-8"))


def _save(folder: Path, images: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(np.clip(image.round(), 0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")


def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = np.arange(12)
    centre = rng.uniform(2, 9, (2, 700, 1, 1))
    pictures = 90 + 80 * np.exp(-((x[:, None] - centre[0]) ** 2 + (x - centre[1]) ** 2) / 9)
    noisy = pictures[400:] + 15 * rng.standard_normal((300, 12, 12))
    _save(tmp_path / "scope" / "clean", pictures[:400])
    _save(tmp_path / "scope" / "noisy", noisy)
    _save(tmp_path / "photos", _blobs(rng, 6, 64) * 150 + 50 + 12 * rng.standard_normal((6, 64, 64)))
    _save(tmp_path / "everything", np.concatenate([pictures[:400], noisy]))
    for name, light in (("dark", 0), ("flat-dim", 30), ("flat-bright", 120)):
        _save(tmp_path / name, 20 + rng.poisson(light, (6, 32, 32)) + 3 * rng.standard_normal((6, 32, 32)))
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 11
    for command in COMMANDS:
        words = command.split()[1:]
        if words[0] == "train":
            words += ["--n-images", "640"]
        if (
            words[-1] == "data/measured"
            and (tmp_path / "data" / "measured").exists()
            and words[1] == "estimate"
        ):
            words[-1] += "-again"  # a page has two such data sets, a directory one
        assert main(words) == 0, command


def _blobs(
    rng: np.random.Generator, count: int, size: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Pictures in [0, 1] of discs on a dark ground."""
    y, x = np.mgrid[:size, :size]
    pictures = np.zeros((count, size, size))
    for picture in pictures:
        for _ in range(6):
            centre, radius = rng.uniform(0, size, 2), rng.uniform(size / 10, size / 3)
            picture[np.hypot(y - centre[0], x - centre[1]) < radius] = rng.uniform(0.1, 1)
    return pictures


def test_the_commands_on_other_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera has ten bits, so that its pictures are TIFFs."""
    rng = np.random.default_rng(1)
    for name, count, size in (("pictures", 100, 64), ("long", 120, 16), ("short", 120, 16)):
        light = 700 * _blobs(rng, count, size)
        raw = (
            light + 60
            if name == "long"
            else 60 + 2 * rng.poisson(light / 2) + 4 * rng.standard_normal(light.shape)
        )
        (tmp_path / name).mkdir()
        for number, picture in enumerate(raw):
            Image.fromarray(np.clip(picture.round(), 0, 1023).astype(np.uint16)).save(
                tmp_path / name / f"{number:04d}.tif"
            )
    body = np.hypot(*(np.mgrid[:48, :48] - 24)) < 15
    for name, sigma in (("averaged", 0.1), ("scans", 9.0)):
        signal = 60 * body + 120 * _blobs(rng, 40, 48) * body
        parts = [
            signal + sigma * rng.standard_normal(signal.shape),
            sigma * rng.standard_normal(signal.shape),
        ]
        _save(tmp_path / name, np.hypot(*parts))
    noise = rng.standard_normal((60, 16, 16))
    noise = 10 * (noise + np.roll(noise, 1, 2))
    np.save(tmp_path / "noise.npy", noise)
    blobs = 255 * _blobs(rng, 240, 16)
    _save(tmp_path / "sharp", blobs[:60])
    _save(tmp_path / "thermal", blobs[60:120] * 0.7 + 40 + noise)
    maps = _blobs(rng, 60, 16)
    np.save(tmp_path / "maps.npy", np.where(rng.random(maps.shape) < 0.3, np.nan, maps).astype(np.float32))
    _save(tmp_path / "good", 0.5 * blobs[:120] + 60)
    _save(tmp_path / "bad", (0.5 * blobs[120:] + 60) + 1.5 * np.sign(rng.standard_normal((120, 16, 16))))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("noiseworth.noise.telling._STEPS", 150)  # which tells less well, and takes less long
    (script,) = re.findall(r"```python\n(.*?)```", OTHER, re.DOTALL)
    exec(compile(script, "other-noise.md", "exec"), {})
    commands = _commands(OTHER)
    assert len(commands) >= 21
    for command in commands:
        words = command.split()[1:]
        if words[0] == "train":
            words += ["--n-images", "640", "--monitor-every", "0"]
        if words[0] == "sample":
            words += ["--steps", "3"]
        assert main(words) == 0, command
    assert (tmp_path / "my-shots" / "grid.png").is_file()
