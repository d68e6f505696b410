"""Plans of sweeps: the mixes that they are made of, grids, what people edit, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt, mix
from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError
from noiseworth.records import NoisyPart, Trial
from noiseworth.sweep.config import SweepConfig, grids
from noiseworth.sweep.plan import load_plan, make_plan, plan_text, save_plan
from sweep_plans import TRIALS, plan


def config(digits: Path, out: Path, **changes: Any) -> SweepConfig:
    return SweepConfig(out=str(out), data=str(digits / "train"), held_out=str(digits / "held-out"), **changes)


# ---- data --------------------------------------------------------------------------------------------------


def test_mixes_are_nested_and_their_noise_is_the_images_own(digits: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    mix(digits / "train", small, clean=10, noisy=[(0.5, 20)], seed=3)
    mix(digits / "train", large, clean=30, noisy=[(0.5, 50)], seed=3)
    of_mix = {}
    for name in (small, large):
        data = open_dataset(name)
        images = data.read(np.arange(len(data)))
        of_mix[name] = {
            (int(i), float(s)): images[k] for k, (i, s) in enumerate(zip(data.ids, data.sigma, strict=True))
        }
    assert [sum(s == 0 for _, s in of_mix[name]) for name in (small, large)] == [10, 30]
    assert [len(of_mix[name]) for name in (small, large)] == [30, 80]
    assert of_mix[small].keys() <= of_mix[large].keys()
    for key, image in of_mix[small].items():
        np.testing.assert_array_equal(image, of_mix[large][key])
    other = mix(digits / "train", tmp_path / "other", clean=10, noisy=[(0.5, 20)], seed=4)
    assert other.fingerprint != open_dataset(small).record.fingerprint


def test_a_mix_of_everything_is_what_corrupt_makes(digits: Path, tmp_path: Path) -> None:
    by_count = mix(digits / "train", tmp_path / "a", clean=150, noisy=[(0.5, 1350)], seed=1)
    by_share = corrupt(digits / "train", tmp_path / "b", clean_fraction=0.1, sigma=0.5, seed=1)
    assert by_count.fingerprint == by_share.fingerprint


# ---- plans -------------------------------------------------------------------------------------------------


def test_grids_are_all_combinations_once(digits: Path, tmp_path: Path) -> None:
    made, too_many = make_plan(
        config(digits, tmp_path, total="100", share="1,0.1", clean="5,2000", sigma="0.2,0.2+0.5", seeds=2)
    )
    assert too_many == 2  # 2,000 images are not there, for either kind of noise
    names = [trial.name for trial in made.trials]
    assert names == [
        "c100-r0",
        "c100-r1",
        *(f"c10-{n}-r{r}" for n in ("s0.2x90", "s0.2x45-s0.5x45") for r in (0, 1)),
        "c5-r0",
        "c5-r1",
    ]
    lengths, _ = make_plan(config(digits, tmp_path, clean="5", n_images="1000,2000", preset="digits,mini"))
    assert [trial.train for trial in lengths.trials] == [
        {"n_images": n, "preset": p} for n in (1000, 2000) for p in ("digits", "mini")
    ]
    chosen, _ = make_plan(config(digits, tmp_path, total="100", seeds=50, choose=7))
    assert len({trial.name for trial in chosen.trials}) == 7


def test_plans_are_read_as_they_were_written_and_as_people_edit_them(digits: Path, tmp_path: Path) -> None:
    before = plan(digits, [*TRIALS, Trial(7, seed=3, train={"lr": 0.001})])
    save_plan(before, tmp_path)
    assert load_plan(tmp_path) == before
    text = (tmp_path / "sweep.yaml").read_text()
    (tmp_path / "sweep.yaml").write_text(text + "- {clean: 9, noisy: [{sigma: 1, count: 3}]}\n")
    assert load_plan(tmp_path).trials[-1] == Trial(9, [NoisyPart(1.0, 3)])
    with pytest.raises(UserError, match="exists already, with another plan"):
        save_plan(before, tmp_path)
    assert (
        save_plan(load_plan(tmp_path), tmp_path) == tmp_path / "sweep.yaml"
    )  # the same: it may have been killed after it


@pytest.mark.parametrize("half", [40, 300, 450])
def test_a_plan_that_is_cut_short_says_how_to_get_it_back(half: int, digits: Path, tmp_path: Path) -> None:
    save_plan(plan(digits), tmp_path)
    whole = (tmp_path / "sweep.yaml").read_bytes()
    (tmp_path / "trials" / TRIALS[0].name).mkdir(parents=True)
    (tmp_path / "sweep.yaml").write_bytes(whole[: len(whole) * half // 500])
    for act in (lambda: load_plan(tmp_path), lambda: save_plan(plan(digits), tmp_path)):
        with pytest.raises(UserError, match=r"sweep\.yaml: .*remove it and plan the sweep again"):
            act()
    (tmp_path / "sweep.yaml").unlink()
    save_plan(plan(digits), tmp_path)
    assert (tmp_path / "sweep.yaml").read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": []}, "has no trials"),
        ({"trials": [Trial(40), Trial(40)]}, "c40-r0 is listed twice"),
        ({"trials": [Trial(1501)]}, "1,501 are asked for"),
        ({"train": {"n_imagse": 5}}, "unknown key 'n_imagse'"),
        ({"train": {"seed": 5}}, "'seed' is set by the sweep itself"),
        ({"train": {"batch": 0}}, "--batch 0"),
        ({"threads": 0}, "must be at least 1"),
        ({"format": 9}, "has format 9, this version reads 1"),
        ({"n_generated": 3}, "n_generated 0 or at least 8"),
        ({"held_out": "nowhere"}, "nowhere: not a packed data set"),
    ],
)
def test_wrong_plans_are_refused_whole(
    change: dict[str, Any], message: str, digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "sweep.yaml").write_text(plan_text(replace(plan(digits), **change)))
    with pytest.raises(UserError, match=message):
        load_plan(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--total", "x"], "'x' is not an integer"),
        (["--total", "100", "--share", "1.5"], "1.5 is out of range"),
        (["--total", "100", "--sigma", "-1"], "-1 is out of range"),
        ([], "give --total"),
        (["--total", "99999"], "has 1,500 images, 99,999 are asked for"),
        (["--clean", "99999"], "too few images for any combination"),
        (["--grid", "nothing"], "there is no such grid; they are capacity"),
        (["--clean", "10", "--n-images", "1"], "at least one batch"),
    ],
)
def test_bad_options_end_in_one_line(
    options: list[str], message: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "sweep",
        "plan",
        "--out",
        str(tmp_path / "s"),
        "--data",
        str(digits / "train"),
        "--held-out",
        str(digits / "held-out"),
    ]
    assert main([*words, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_options_override_grids_wherever_they_stand(digits: Path, tmp_path: Path) -> None:
    words = [
        "--out",
        str(tmp_path / "s"),
        "--data",
        str(digits / "train"),
        "--held-out",
        str(digits / "held-out"),
    ]
    assert main(["sweep", "plan", "--total", "500", "--grid", "small-study", *words]) == 0
    made = load_plan(tmp_path / "s")
    assert {trial.clean + sum(part.count for part in trial.noisy) for trial in made.trials} == {500}


def test_grids_are_plans(digits: Path) -> None:
    assert len(grids()) >= 8
    for name in grids():
        values = yaml.safe_load(grids()[name].read_text(encoding="utf-8"))
        assert list(config(digits, Path("x"), **values).mixes())
    table = {name: yaml.safe_load(grids()[name].read_text()) for name in grids() if name.startswith("table3")}
    assert {name: int(values["total"]) for name, values in table.items()} == {
        "table3-cifar10": 50_000,
        "table3-celeba-hq-64": 27_000,
        "table3-imagenet-64": 1_281_167,
    }
    mixes = set(config(digits, Path("x"), **yaml.safe_load(grids()["table1-cifar10"].read_text())).mixes())
    assert {(c, n) for c, n, _ in mixes} == {(50_000, 0), (5_000, 45_000), (0, 50_000), (5_000, 0)}
