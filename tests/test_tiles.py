"""Large pictures as tiles: each knows its picture and its place, and no picture is on both sides of a split."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import Captured, refusal
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.pack import pack
from noiseworth.data.resize import picture_of, tile_number
from noiseworth.data.views import split

SIZES = ((40, 64), (33, 50), (64, 40), (48, 48), (40, 40), (70, 33))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number, (height, width) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(("rule", "tile", "stride"), [("tiles:16", 16, 16), ("tiles:16x20:8", (16, 20), 8)])
def test_every_tile_is_where_its_number_says(
    pictures: Path, tmp_path: Path, rule: str, tile: int | tuple[int, int], stride: int
) -> None:
    height, width = tile if isinstance(tile, tuple) else (tile, tile)
    pack(pictures, tmp_path / "data", sigma=10.0, sigma_units="raw", fit=rule)
    data = open_dataset(tmp_path / "data")
    images = data.read_raw(np.arange(len(data)))
    expected = {}
    for number, (h, w) in enumerate(SIZES):
        pixels = np.asarray(Image.open(pictures / f"{number}.png"))
        for row in range((h - height) // stride + 1):
            for column in range((w - width) // stride + 1):
                top, left = row * stride, column * stride
                place = tile_number(number, (row, column))
                expected[place] = pixels[top : top + height, left : left + width]
    assert len(images) == len(expected) == len(set(data.ids.tolist()))
    for number, image in zip(data.ids.tolist(), images, strict=True):
        assert np.array_equal(image[0], expected[number])
    assert np.allclose(data.sigma, 10 / 127.5)


def test_no_picture_is_on_both_sides(pictures: Path, tmp_path: Path) -> None:
    pack(pictures, tmp_path / "data", sigma=0.0, fit="tiles:16:8", held_out=30)
    pack(pictures, tmp_path / "whole", sigma=0.0, fit="tiles:16:8")
    split(tmp_path / "whole", tmp_path / "later", held_out=30)
    for folder in ("data", "later"):
        sides = [picture_of(open_dataset(tmp_path / folder / side).ids) for side in ("train", "held-out")]
        assert not set(sides[0]) & set(sides[1])
        assert 0 < len(sides[1]) <= 30
    assert read_all(open_dataset(tmp_path / "data" / "train")).shape[2:] == (16, 16)


def test_what_gives_no_tile_is_refused(pictures: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ["pack", str(pictures), str(tmp_path / "data"), "--sigma", "0", "--fit"]
    assert "gives 0x0 tiles" in refusal([*words, "tiles:128"], capsys)
    for rule in ("tiles:0", "tiles:8:0", "crop:8:2", "shrink:2:2"):
        assert "one of crop" in refusal([*words, rule], capsys)
    assert not (tmp_path / "data").exists()
