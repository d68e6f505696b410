"""The commands of docs/noise.md, as they stand, on a folder of pictures and on a camera's frames."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main

PAGE = (Path(__file__).parent.parent / "docs" / "noise.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line
]


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
