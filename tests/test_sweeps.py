"""Sweeps: plans that people edit, trials that survive interruptions, the same records by any means, failures that stop nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt, mix
from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError
from noiseworth.experiments.config import SweepConfig, recipe, recipes
from noiseworth.experiments.sweep.collect import collect
from noiseworth.experiments.sweep.plan import load_plan, make_plan, plan_text, save_plan
from noiseworth.experiments.sweep.run import run_sweep
from noiseworth.experiments.sweep.trial import load_trial, try_trial
from noiseworth.laws.observations import predicted_worth, read_observations
from noiseworth.records import NoisyPart, SweepPlan, Trial, load_record

TRAIN: dict[str, Any] = {"n_images": 1280, "batch": 64}
TRIALS = [Trial(40), Trial(20, [NoisyPart(0.5, 60)]), Trial(20, [NoisyPart(0.2, 30), NoisyPart(0.5, 30)])]


def config(digits: Path, out: Path, **changes: Any) -> SweepConfig:
    return SweepConfig(out=str(out), data=str(digits / "train"), held_out=str(digits / "held-out"), **changes)


def plan(digits: Path, trials: list[Trial] = TRIALS, **changes: Any) -> SweepPlan:
    settings: dict[str, Any] = {"data": str(digits / "train"), "held_out": str(digits / "held-out"), "train": TRAIN}
    return SweepPlan(trials=trials, **(settings | changes))


def records(out: Path) -> dict[str, Any]:
    """What the trials found, without the time that they took."""
    return {f.parent.name: json.loads(f.read_text()) | {"seconds": 0} for f in sorted((out / "trials").glob("*/trial.json"))}


@pytest.fixture(scope="module")
def done(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three trials by one worker, undisturbed."""
    out = tmp_path_factory.mktemp("sweeps") / "done"
    save_plan(plan(digits), out)
    status = run_sweep(out, jobs=1, quiet=True)
    assert (status.done, status.failed, status.hours_left) == (3, 0, 0.0)
    return out


# ---- data --------------------------------------------------------------------------------------------------------------


def test_mixes_are_nested_and_their_noise_is_the_images_own(digits: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    mix(digits / "train", small, clean=10, noisy=[(0.5, 20)], seed=3)
    mix(digits / "train", large, clean=30, noisy=[(0.5, 50)], seed=3)
    found = {}
    for name in (small, large):
        data = open_dataset(name)
        images = data.read(np.arange(len(data)))
        found[name] = {(int(i), float(s)): images[k] for k, (i, s) in enumerate(zip(data.ids, data.sigma, strict=True))}
    assert [sum(s == 0 for _, s in found[name]) for name in (small, large)] == [10, 30]
    assert [len(found[name]) for name in (small, large)] == [30, 80]
    assert found[small].keys() <= found[large].keys()
    for key, image in found[small].items():
        np.testing.assert_array_equal(image, found[large][key])
    other = mix(digits / "train", tmp_path / "other", clean=10, noisy=[(0.5, 20)], seed=4)
    assert other.fingerprint != open_dataset(small).record.fingerprint


def test_a_mix_of_everything_is_what_corrupt_makes(digits: Path, tmp_path: Path) -> None:
    by_count = mix(digits / "train", tmp_path / "a", clean=150, noisy=[(0.5, 1350)], seed=1)
    by_share = corrupt(digits / "train", tmp_path / "b", clean_fraction=0.1, sigma=0.5, seed=1)
    assert by_count.fingerprint == by_share.fingerprint


# ---- plans -------------------------------------------------------------------------------------------------------------


def test_grids_are_all_combinations_once(digits: Path, tmp_path: Path) -> None:
    made, too_many = make_plan(config(digits, tmp_path, total="100", share="1,0.1", clean="5,2000", sigma="0.2,0.2+0.5", seeds=2))
    assert too_many == 2  # 2,000 images are not there, for either kind of noise
    names = [trial.name for trial in made.trials]
    assert names == ["c100-r0", "c100-r1", *(f"c10-{n}-r{r}" for n in ("s0.2x90", "s0.2x45-s0.5x45") for r in (0, 1)), "c5-r0", "c5-r1"]
    lengths, _ = make_plan(config(digits, tmp_path, clean="5", n_images="1000,2000", preset="digits,mini"))
    assert [trial.train for trial in lengths.trials] == [{"n_images": n, "preset": p} for n in (1000, 2000) for p in ("digits", "mini")]
    chosen, _ = make_plan(config(digits, tmp_path, total="100", seeds=50, choose=7))
    assert len({trial.name for trial in chosen.trials}) == 7


def test_plans_are_read_as_they_were_written_and_as_people_edit_them(digits: Path, tmp_path: Path) -> None:
    before = plan(digits, [*TRIALS, Trial(7, seed=3, train={"lr": 0.001})])
    save_plan(before, tmp_path)
    assert load_plan(tmp_path) == before
    text = (tmp_path / "sweep.yaml").read_text()
    (tmp_path / "sweep.yaml").write_text(text + "- {clean: 9, noisy: [{sigma: 1, count: 3}]}\n")
    assert load_plan(tmp_path).trials[-1] == Trial(9, [NoisyPart(1.0, 3)])
    with pytest.raises(UserError, match="exists already"):
        save_plan(before, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": []}, "has no trials"),
        ({"trials": [Trial(40), Trial(40)]}, "c40-r0 is listed twice"),
        ({"trials": [Trial(1501)]}, "c1501-r0 needs 1,501 images"),
        ({"train": {"n_imagse": 5}}, "unknown key 'n_imagse'"),
        ({"train": {"seed": 5}}, "'seed' is the sweep's own"),
        ({"train": {"batch": 0}}, "--batch 0"),
        ({"threads": 0}, "must be at least 1"),
        ({"n_generated": 3}, "n_generated 0 or at least 8"),
        ({"held_out": "nowhere"}, "nowhere: not a packed data set"),
    ],
)
def test_wrong_plans_are_refused_whole(change: dict[str, Any], message: str, digits: Path, tmp_path: Path) -> None:
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
        (["--clean", "99999"], "too few for any combination"),
        (["--recipe", "nothing"], "there is no such recipe; they are capacity"),
        (["--clean", "10", "--n-images", "1"], "less than one batch"),
    ],
)
def test_bad_options_end_in_one_line(
    options: list[str], message: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "plan", "--out", str(tmp_path / "s"), "--data", str(digits / "train"), "--held-out", str(digits / "held-out")]
    assert main([*words, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_options_override_recipes_wherever_they_stand(digits: Path, tmp_path: Path) -> None:
    words = ["--out", str(tmp_path / "s"), "--data", str(digits / "train"), "--held-out", str(digits / "held-out")]
    assert main(["sweep", "plan", "--total", "500", "--recipe", "small-study", *words]) == 0
    made = load_plan(tmp_path / "s")
    assert {trial.clean + sum(part.count for part in trial.noisy) for trial in made.trials} == {500}


def test_recipes_are_plans(digits: Path) -> None:
    assert len(recipes()) >= 8
    for name in recipes():
        values = yaml.safe_load(recipe(name).read_text(encoding="utf-8"))
        assert list(config(digits, Path("x"), **values).mixes())
    table = {name: yaml.safe_load(recipe(name).read_text()) for name in recipes() if name.startswith("table3")}
    assert {name: int(values["total"]) for name, values in table.items()} == {
        "table3-cifar10": 50_000,
        "table3-celeba-hq-64": 27_000,
        "table3-imagenet-64": 1_281_167,
    }
    mixes = set(config(digits, Path("x"), **yaml.safe_load(recipe("table1-cifar10").read_text())).mixes())
    assert {(c, n) for c, n, _ in mixes} == {(50_000, 0), (5_000, 45_000), (0, 50_000), (5_000, 0)}


# ---- running -----------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again_and_other_settings_are_refused(done: Path, tmp_path: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in (done / "trials").rglob("*.json")}
    began = time.monotonic()
    assert run_sweep(done, quiet=True).done == 3
    assert time.monotonic() - began < 5
    assert {f: f.stat().st_mtime_ns for f in (done / "trials").rglob("*.json")} == before
    assert not list((done / "trials").glob("*/data"))
    text = (done / "sweep.yaml").read_text()
    try:
        (done / "sweep.yaml").write_text(text.replace("batch: 64", "batch: 32"))
        with pytest.raises(UserError, match="batch was 64, is 32"):
            run_sweep(done, quiet=True)
    finally:
        (done / "sweep.yaml").write_text(text)


@pytest.mark.parametrize("how", [["--jobs", "2"], ["--on", "ray"]])
def test_a_killed_worker_is_replaced_and_the_records_are_the_same(how: list[str], digits: Path, done: Path, tmp_path: Path) -> None:
    """The first worker that trains is killed outright, as by a machine without memory; on this machine and on Ray."""
    if "ray" in how:
        pytest.importorskip("ray")
    save_plan(plan(digits), tmp_path)
    command = [sys.executable, "-m", "noiseworth.cli", "sweep", "run", str(tmp_path), "--json", *how]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        victim = 0
        while not victim and process.poll() is None:
            for begun in (tmp_path / "trials").glob("*/run/config.yaml"):
                words = (begun.parent.parent / "lock").read_text().split()
                victim = int(words[1]) if words else 0
            time.sleep(0.02)
        assert victim, process.poll()
        os.kill(victim, signal.SIGKILL)
        out, _ = process.communicate(timeout=220)
    assert process.returncode == 0
    assert json.loads(out)["done"] == 3
    assert records(tmp_path) == records(done)


def test_interrupted_sweeps_go_on(digits: Path, done: Path, tmp_path: Path) -> None:
    save_plan(plan(digits), tmp_path)
    command = [sys.executable, "-m", "noiseworth.cli", "sweep", "run", str(tmp_path), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not list((tmp_path / "trials").glob("*/trial.json")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"the same command goes on" in error
    assert 1 <= len(records(tmp_path)) < 3
    assert run_sweep(tmp_path, jobs=1, quiet=True).done == 3
    assert records(tmp_path) == records(done)


def test_failures_are_told_and_stop_nothing(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Noise above almost every training level cannot be trained on; that is known only from the data."""
    save_plan(plan(digits, [Trial(0, [NoisyPart(500.0, 30)]), Trial(40)]), tmp_path)
    assert main(["sweep", "run", str(tmp_path), "--jobs", "1", "--json"]) == 1
    status = json.loads(capsys.readouterr().out)
    assert (status["done"], status["failed"]) == (1, 1)
    assert "above almost every training level" in status["trials"][0]["error"]
    assert main(["sweep", "status", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("failed   c0-s500x30-r0: the cleanest image has sigma 500")


def test_a_trial_that_kills_its_workers_fails_alone(digits: Path, tmp_path: Path) -> None:
    """A worker that is killed whenever it begins, as by a training that needs too much memory; the other trial is done."""
    save_plan(plan(digits, [TRIALS[0], TRIALS[1]]), tmp_path)
    command = [sys.executable, "-m", "noiseworth.cli", "sweep", "run", str(tmp_path), "--jobs", "1", "--json"]
    place = tmp_path / "trials" / TRIALS[0].name
    killed: set[int] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None and not (place / "failed.txt").is_file():
            words = (place / "lock").read_text().split() if (place / "lock").is_file() else []
            if words and int(words[1]) not in killed:
                killed.add(int(words[1]))
                os.kill(int(words[1]), signal.SIGKILL)
            time.sleep(0.01)
        out, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    assert len(killed) == 3
    status = json.loads(out)
    assert (status["done"], status["failed"]) == (1, 1)
    assert "its worker died 3 times (signal 9" in status["trials"][0]["error"]
    assert run_sweep(tmp_path, jobs=1, quiet=True).done == 2  # tried again, undisturbed


def test_what_a_killed_process_left_is_cleared(done: Path) -> None:
    place = done / "trials" / TRIALS[0].name
    for name in ("data", ".data.1.partial"):
        (place / name).mkdir()
    assert try_trial(done, load_plan(done), TRIALS[0]) == "done"
    assert not (place / "data").exists()
    assert not (place / ".data.1.partial").exists()


def test_records_of_other_held_out_images_are_not_mixed_in(done: Path, digits: Path, tmp_path: Path) -> None:
    mix(digits / "held-out", tmp_path / "others", clean=100, noisy=[], seed=0)
    with pytest.raises(UserError, match=r"was measured otherwise than sweep\.yaml says now"):
        load_trial(done, plan(digits, held_out=str(tmp_path / "others")), TRIALS[0])


def test_plans_for_gpus_are_not_run_without(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_plan(plan(digits, gpus=1.0), tmp_path)
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["sweep", "run", str(tmp_path)]) == 2
    assert "a training wants 1 GPUs, here are 0" in capsys.readouterr().err
    assert main(["sweep", "run", str(tmp_path), "--jobs", "-1"]) == 2
    assert "--jobs -1: must be at least 1" in capsys.readouterr().err


# ---- what it found -----------------------------------------------------------------------------------------------------


def test_the_table_says_what_the_trials_found(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, rows, missing = collect(done)
    assert (rows, missing) == (3, 0)
    read = read_observations(str(done))
    assert read.sigmas == (0.2, 0.5)
    np.testing.assert_array_equal(read.n_clean, [40, 20, 20])
    np.testing.assert_array_equal(read.n_noisy, [[0, 0], [0, 60], [30, 30]])
    relative = [np.mean(np.array(r["risk"]["risk"]) / np.array(r["risk"]["levels"]) ** 2) for r in records(done).values()]
    np.testing.assert_allclose(sorted(read.quality), sorted(relative))
    ((trial, clean, noisy, sigma, worth),) = predicted_worth(str(path))
    assert (trial, clean, noisy, sigma) == ("c20-s0.5x60-r0", 20, 60, 0.5)
    assert 0 < worth < 1
    assert main(["fit", str(done)]) == 2
    assert "cannot determine" in capsys.readouterr().err
    assert main(["sweep", "status", str(done)]) == 0
    assert capsys.readouterr().out.startswith("3 done, 0 running, 0 failed, 0 waiting")


def test_frechet_distances_are_measured_where_they_are_wanted(digits: Path, tmp_path: Path) -> None:
    save_plan(plan(digits, [Trial(40)], n_generated=32, steps=4), tmp_path)
    assert run_sweep(tmp_path, jobs=1, quiet=True).done == 1
    collect(tmp_path)
    (record,) = records(tmp_path).values()
    assert read_observations(str(tmp_path), quality="frechet_distance").quality[0] == pytest.approx(record["frechet_distance"])
    assert record["features"]["name"] == "classifier"


def test_records_are_exact(done: Path) -> None:
    from noiseworth.records import TrialRecord

    for file in (done / "trials").glob("*/trial.json"):
        assert load_record(TrialRecord, file).trial.name == file.parent.name
