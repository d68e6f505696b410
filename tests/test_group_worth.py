"""Worth of groups: closed forms, images of one scene, the command, its page, refusals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from browser import CHROMIUM, Page
from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.repeats import same_scene
from noiseworth.diffusion.replaced import replaced_by, risk_levels
from noiseworth.diffusion.worth import imputed_worth, worth
from noiseworth.records import WorthRecord
from noiseworth.runs.group_worth import measure_groups

Array = NDArray[np.float64]
SIDE = 16


def packed(folder: Path, scenes: NDArray[np.int64], sigma: Array) -> Dataset:
    """Images of smooth random scenes by number, each with noise of its own."""
    rng = np.random.default_rng(0)
    waves = np.cumsum(np.cumsum(rng.standard_normal((scenes.max() + 1, SIDE, SIDE)), 1), 2)
    pictures = np.tanh(waves / waves.std())
    images = pictures[scenes] + sigma[:, None, None] * rng.standard_normal((len(sigma), SIDE, SIDE))
    np.save(folder / "images.npy", images.astype(np.float32))
    (folder / "sigma.csv").write_text("sigma\n" + "\n".join(f"{s:g}" for s in sigma) + "\n")
    pack(
        str(folder / "images.npy"),
        folder / "data",
        sigma=str(folder / "sigma.csv"),
        by_row=True,
        range=(-1.0, 1.0),
    )
    return open_dataset(folder / "data")


def record_of_run(v: float) -> WorthRecord:
    """A run that imputed nothing, with v = `v` sigma^2 / (v + sigma^2)."""
    levels = np.geomspace(0.01, 30, 60)
    variance = (v * levels**2 / (v + levels**2)).tolist()
    return WorthRecord(levels.tolist(), variance, [], [], [], [0.0] * 60, [], [])


def test_images_of_one_scene_are_found_and_no_others(tmp_path: Path) -> None:
    scenes = np.concatenate([np.arange(200), np.arange(30), np.arange(30, 60)])
    sigma = np.concatenate([np.full(100, 0.0), np.full(100, 0.1), np.zeros(30), np.full(30, 0.1)])
    found = same_scene(packed(tmp_path, scenes, sigma))
    pairs = {(i, j) for i in range(260) for j in range(i + 1, 260) if found[i] == found[j]}
    expected = {(i, 200 + i) for i in range(60)}
    assert expected <= pairs
    assert len(pairs - expected) <= 2  # scenes that chance made alike


def test_groups_without_repeats_are_worth_what_training_says(tmp_path: Path) -> None:
    sigma = np.repeat([0.0, 0.3, 1.0], [40, 100, 60])
    data = packed(tmp_path, np.arange(200), sigma)
    run = record_of_run(0.5)
    found = measure_groups(data, np.repeat([0, 1, 2], [40, 100, 60]), ["a", "b", "c"], run)
    levels = risk_levels()
    v = 0.5 * levels**2 / (0.5 + levels**2)
    table = torch.stack([worth(levels, torch.tensor(s), v) for s in (0.0, 0.3, 1.0)])
    expected = replaced_by(table, torch.tensor([40, 100, 60]), v, WorthRecord.FEWEST)
    by_name = {group.name: group.worth for group in found.groups}
    assert [by_name[name] for name in "abc"] == pytest.approx(expected.tolist(), rel=0.01)
    # Without a run, imputed images count below their noise, and everything is worth more.
    alone = {
        g.name: g for g in measure_groups(data, np.repeat([0, 1, 2], [40, 100, 60]), ["a", "b", "c"]).groups
    }
    assert alone["c"].worth > by_name["c"]
    assert max(alone["b"].by_level) <= 1
    assert float(imputed_worth(levels, torch.tensor(0.3)).max()) > 0


def test_repeats_add_what_they_average_out_and_nothing_beside_clean_ones(tmp_path: Path) -> None:
    """Four images of one scene of noise 0.1 do what one of noise 0.05 does; a clean twin makes noisy ones worthless."""
    scenes = np.concatenate([np.arange(50), np.repeat(np.arange(50, 60), 4), np.arange(10)])
    sigma = np.concatenate([np.zeros(50), np.full(40, 0.1), np.full(10, 0.1)])
    data = packed(tmp_path, scenes, sigma)
    groups = np.repeat([0, 1, 2], [50, 40, 10])
    found = {
        g.name: g for g in measure_groups(data, groups, ["clean", "four", "twins"], record_of_run(0.5)).groups
    }
    assert found["twins"].replaced_by == pytest.approx(0, abs=1e-6)
    assert found["twins"].repeated == 10
    assert found["four"].repeated == 40
    levels = risk_levels()
    v = 0.5 * levels**2 / (0.5 + levels**2)
    table = torch.stack([torch.ones_like(levels), worth(levels, torch.tensor(0.05), v)])
    expected = 10 * float(replaced_by(table, torch.tensor([50, 10]), v, WorthRecord.FEWEST)[1])
    assert found["four"].replaced_by == pytest.approx(expected, rel=0.02)


def test_the_cheapest_images_are_repeats_and_then_the_noisiest(tmp_path: Path) -> None:
    scenes = np.concatenate([np.arange(100), np.arange(3)])
    sigma = np.concatenate([np.zeros(50), np.full(45, 0.2), np.full(5, 1.5), np.zeros(3)])
    data = packed(tmp_path, scenes, sigma)
    found = measure_groups(data, np.zeros(103, np.int64), ["all"], record_of_run(0.5)).cheapest
    positions = [image.position for image in found]
    repeats = {i for i in positions if sigma[i] == 0}
    assert len(repeats) == 3  # one image of each scene stays
    assert {i % 100 for i in repeats} == {0, 1, 2}
    assert set(range(95, 100)) <= set(positions[:8])
    assert found[0].worth == pytest.approx(0, abs=1e-9)


def test_the_command(tmp_path: Path, capsys: Captured) -> None:
    packed(tmp_path, np.arange(120), np.repeat([0.0, 0.1, 0.5], 40))
    data = str(tmp_path / "data")
    assert main(["worth", data, "--page", str(tmp_path / "worth.html")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("clean ") < printed.index("noise 0.1") < printed.index("noise 0.5")
    assert "cheapest to drop: images" in printed
    text = (tmp_path / "worth.html").read_text(encoding="utf-8")
    assert "Clean matters most" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    np.save(tmp_path / "groups.npy", np.arange(120) % 7)
    assert main(["worth", data, "--by", str(tmp_path / "groups.npy"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["groups"]) == 7


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_fits_a_telephone(tmp_path: Path) -> None:
    """Also with a long name, which has nowhere to break."""
    folder = tmp_path / ("a" * 60)
    folder.mkdir()
    packed(folder, np.arange(60), np.repeat([0.0, 0.1], 30))
    assert main(["worth", str(folder / "data"), "--page", str(tmp_path / "worth.html")]) == 0
    with Page(tmp_path / "worth.html", 390, 844) as browser:
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert browser.errors == []


def test_bad_words_are_one_line(tmp_path: Path, capsys: Captured) -> None:
    packed(tmp_path, np.arange(20), np.repeat([0.0, 0.1], 10))
    data = str(tmp_path / "data")
    np.save(tmp_path / "short.npy", np.arange(5))
    (tmp_path / "words.npy").write_text("a b c")
    for options, answer in (
        (["--by", "colour"], "must be noise, label, image or a .npy file"),
        (["--by", "label"], "has no labels"),
        (["--by", str(tmp_path / "short.npy")], "a whole number for each of 20 images"),
        (["--by", str(tmp_path / "words.npy")], "cannot be read"),
        ([str(tmp_path)], "no run that has ended"),
    ):
        assert answer in refusal(["worth", data, *options], capsys)
    np.save(tmp_path / "unknown.npy", np.random.default_rng(0).random((20, 8, 8)).astype(np.float32))
    pack(str(tmp_path / "unknown.npy"), tmp_path / "unknown", range=(0.0, 1.0))
    assert "noise" in refusal(["worth", str(tmp_path / "unknown")], capsys)
