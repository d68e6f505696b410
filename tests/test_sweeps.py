"""Sweeps: trials that survive interruptions, the same records by any means, failures that stop nothing, and what was found."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseworth.cli import main
from noiseworth.data.corrupt import mix
from noiseworth.errors import UserError
from noiseworth.laws.observations import predicted_worth, read_observations
from noiseworth.records import NoisyPart, Trial, load_record
from noiseworth.sweep.collect import collect
from noiseworth.sweep.plan import load_plan, save_plan
from noiseworth.sweep.run import run_sweep
from noiseworth.sweep.trial import load_trial, try_trial
from sweep_plans import TRIALS, plan


def records(out: Path) -> dict[str, Any]:
    """What the trials found, without the time that they took."""
    return {
        f.parent.name: json.loads(f.read_text()) | {"seconds": 0}
        for f in sorted((out / "trials").glob("*/trial.json"))
    }


@pytest.fixture(scope="module")
def done(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three trials by one worker, undisturbed."""
    out = tmp_path_factory.mktemp("sweeps") / "done"
    save_plan(plan(digits), out)
    status = run_sweep(out, jobs=1)
    assert (status.done, status.failed, status.hours_left) == (3, 0, 0.0)
    return out


# ---- running -----------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again_and_other_settings_are_refused(done: Path, tmp_path: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in (done / "trials").rglob("*.json")}
    began = time.monotonic()
    assert run_sweep(done).done == 3
    assert time.monotonic() - began < 5
    assert {f: f.stat().st_mtime_ns for f in (done / "trials").rglob("*.json")} == before
    assert not list((done / "trials").glob("*/data"))
    text = (done / "sweep.yaml").read_text()
    try:
        (done / "sweep.yaml").write_text(text.replace("batch: 64", "batch: 32"))
        with pytest.raises(UserError, match="batch was 64, is now 32"):
            run_sweep(done)
    finally:
        (done / "sweep.yaml").write_text(text)


@pytest.mark.parametrize("how", [["--jobs", "2"], ["--on", "ray"]])
def test_a_killed_worker_is_replaced_and_the_records_are_the_same(
    how: list[str], digits: Path, done: Path, tmp_path: Path
) -> None:
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
    assert run_sweep(tmp_path, jobs=1).done == 3
    assert records(tmp_path) == records(done)


def test_failures_are_told_and_stop_nothing(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    directory = tmp_path / "trials" / TRIALS[0].name
    killed: set[int] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None and not (directory / "failed.txt").is_file():
            words = (directory / "lock").read_text().split() if (directory / "lock").is_file() else []
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
    assert run_sweep(tmp_path, jobs=1).done == 2  # tried again, undisturbed


def test_what_a_killed_process_left_is_cleared(done: Path) -> None:
    directory = done / "trials" / TRIALS[0].name
    for name in ("data", ".data.1.partial"):
        (directory / name).mkdir()
    assert try_trial(done, load_plan(done), TRIALS[0]) == "done"
    assert not (directory / "data").exists()
    assert not (directory / ".data.1.partial").exists()


def test_records_of_other_held_out_images_are_not_mixed_in(done: Path, digits: Path, tmp_path: Path) -> None:
    mix(digits / "held-out", tmp_path / "others", clean=100, noisy=[], seed=0)
    with pytest.raises(UserError, match=r"was measured with other settings than sweep\.yaml has now"):
        load_trial(done, plan(digits, held_out=str(tmp_path / "others")), TRIALS[0])


def test_plans_for_gpus_are_not_run_without(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_plan(plan(digits, gpus=1.0), tmp_path)
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["sweep", "run", str(tmp_path)]) == 2
    assert "a training needs 1 GPUs, this machine has 0" in capsys.readouterr().err
    assert main(["sweep", "run", str(tmp_path), "--jobs", "-1"]) == 2
    assert "--jobs -1: must be at least 1" in capsys.readouterr().err


# ---- what it found -----------------------------------------------------------------------------------------


def test_the_table_says_what_the_trials_found(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = collect(done)
    assert (table.rows, table.missing) == (3, 0)
    read = read_observations(str(done))
    assert read.sigmas == (0.2, 0.5)
    np.testing.assert_array_equal(read.n_clean, [40, 20, 20])
    np.testing.assert_array_equal(read.n_noisy, [[0, 0], [0, 60], [30, 30]])
    relative = [
        np.mean(np.array(r["risk"]["risk"]) / np.array(r["risk"]["levels"]) ** 2)
        for r in records(done).values()
    ]
    np.testing.assert_allclose(sorted(read.quality), sorted(relative))
    (run,) = predicted_worth(table.table)
    assert (run.trial, run.n_clean, run.n_noisy, run.sigma) == ("c20-s0.5x60-r0", 20, 60, 0.5)
    assert 0 < run.worth < 1
    assert run.price_low is None  # 80 images are too few to tell a price
    assert main(["fit", str(done)]) == 2
    assert "cannot determine" in capsys.readouterr().err
    assert main(["sweep", "status", str(done)]) == 0
    assert capsys.readouterr().out.startswith("3 done, 0 running, 0 failed, 0 waiting")


def test_frechet_distances_are_measured_where_they_are_wanted(digits: Path, tmp_path: Path) -> None:
    save_plan(plan(digits, [Trial(40)], n_generated=32, steps=4), tmp_path)
    assert run_sweep(tmp_path, jobs=1).done == 1
    collect(tmp_path)
    (record,) = records(tmp_path).values()
    assert read_observations(str(tmp_path), quality="frechet_distance").quality[0] == pytest.approx(
        record["frechet_distance"]
    )
    assert record["features"]["name"] == "classifier"


def test_records_are_exact(done: Path) -> None:
    from noiseworth.records import TrialRecord

    for file in (done / "trials").glob("*/trial.json"):
        assert load_record(TrialRecord, file).trial.name == file.parent.name
