"""Sweeps over noisy images that somebody has: nothing is simulated, mixes are chosen among them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.own_noise import OwnNoise, mix_own
from noiseworth.errors import UserError


@pytest.fixture(scope="module")
def own(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 clean digits, and 1,200 of noise 0.2 or 0.5: as if somebody had measured them."""
    folder = tmp_path_factory.mktemp("own") / "own"
    corrupt(digits / "train", folder, clean_fraction=0.2, sigma="choice:0.2,0.5", seed=3)
    return folder


def test_mixes_are_nested_and_hold_the_images_themselves(own: Path, tmp_path: Path) -> None:
    data = open_dataset(own)
    level = data.sigma[data.sigma > 0.3][0].item()
    mix_own(own, tmp_path / "small", clean=20, noisy=[(level, 30)], seed=1)
    mix_own(own, tmp_path / "large", clean=40, noisy=[(0.5, 60)], seed=1)
    small, large = (open_dataset(tmp_path / name) for name in ("small", "large"))
    assert set(small.ids.tolist()) < set(large.ids.tolist())
    assert [(int((d.sigma == 0).sum()), int((d.sigma > 0.3).sum()), len(d)) for d in (small, large)] == [
        (20, 30, 50),
        (40, 60, 100),
    ]
    by_id = {int(i): row for row, i in enumerate(data.ids)}
    rows = np.array([by_id[int(i)] for i in small.ids])
    np.testing.assert_array_equal(small.read(np.arange(50)), data.read(rows))
    np.testing.assert_array_equal(small.sigma, data.sigma[rows])


def test_levels_that_all_differ_are_grouped(digits: Path, tmp_path: Path) -> None:
    corrupt(digits / "train", tmp_path / "d", clean_fraction=0.1, sigma="loguniform:0.1:0.8", seed=0)
    own = OwnNoise(open_dataset(tmp_path / "d"))
    assert own.clean == 150
    assert len(own.counts) == 20
    assert sum(own.counts.values()) == 1350


@pytest.mark.parametrize(("clean", "noisy"), [(301, []), (0, [(0.2, 1000)]), (0, [(0.3, 10)]), (0, [])])
def test_what_is_not_there_cannot_be_taken(
    own: Path, tmp_path: Path, clean: int, noisy: list[tuple[float, int]]
) -> None:
    with pytest.raises(UserError, match=r"cannot take|choose among these|no images are asked for"):
        mix_own(own, tmp_path / "m", clean=clean, noisy=noisy)
    assert not (tmp_path / "m").exists()


def test_a_sweep_over_own_images_simulates_nothing(
    own: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim data/own-images; `bench/own_images.py` goes on to a law and a price."""
    plan = [
        "sweep",
        "plan",
        "--out",
        str(tmp_path / "s"),
        "--data",
        str(own),
        "--held-out",
        str(digits / "held-out"),
    ]
    grid = ["--clean", "40,80", "--noisy", "0,100", "--sigma", "0.5", "--n-images", "256"]
    settings = ["--train", "{batch: 64, preset: digits, ema: 300}"]
    assert main([*plan, *grid, *settings]) == 0
    assert main(["sweep", "run", str(tmp_path / "s"), "--jobs", "1"]) == 0
    assert main(["sweep", "collect", str(tmp_path / "s")]) == 0
    trial = next((tmp_path / "s" / "trials").glob("*/trial.json")).read_text()
    assert open_dataset(own).record.fingerprint in trial
    with (tmp_path / "s" / "observations.csv").open() as file:
        rows = [(int(row["n_clean"]), int(row["n_noisy"]), row["sigma"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [(40, 0, ""), (40, 100, "0.5"), (80, 0, ""), (80, 100, "0.5")]
    capsys.readouterr()
    assert (
        main([*plan[:3], str(tmp_path / "t"), *plan[4:], "--clean", "40", "--noisy", "100", "--sigma", "0.3"])
        == 2
    )
    assert "choose among these" in capsys.readouterr().err
