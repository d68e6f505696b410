"""Training goes on after any interruption to the same bits; damage is passed over; other data or settings are refused."""

import json
import os
import random
import shutil
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

from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.options import flag_of
from noiseworth.records import DoneRecord, StepRecord, load_lines, load_record, sha256_of, write_atomically
from noiseworth.runs.model import load_run
from noiseworth.runs.sampling import sample_run, samples_of
from noiseworth.train import checkpoint, run_directory
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from noiseworth.train.ema import Ema
from noiseworth.train.model import make_denoiser
from noiseworth.train.trainer import Trainer

SETTINGS = {
    "n_images": 64 * 90,
    "batch": 64,
    "checkpoint_every": 64 * 20,
    "warmup": 640,
    "device": "cpu",
    "precision": "fp32",
}


def _config(data: Path, out: Path, **changes: object) -> TrainConfig:
    return TrainConfig(data=str(data), out=str(out), **(SETTINGS | changes))  # type: ignore[arg-type]


def _command(data: Path, out: Path) -> list[str]:
    options = [f"--{key}={value}" for key, value in SETTINGS.items()]
    return [sys.executable, "-m", "noiseworth.cli", "train", f"--data={data}", f"--out={out}", *options]


@pytest.fixture(scope="module")
def finished(mixed: Path) -> Path:
    """An uninterrupted run, in a process of its own."""
    run = mixed.parent / "finished"
    subprocess.run(_command(mixed, run), check=True, capture_output=True)
    return run


def _weights(run: Path) -> dict[str, str]:
    return load_record(DoneRecord, run / "DONE.json").weights


def test_sigkill_and_the_same_command_give_the_same_bits(tmp_path: Path, mixed: Path, finished: Path) -> None:
    """Killed four times, at moments from a step after a checkpoint to the middle of anything."""
    run, chance = tmp_path / "run", random.Random(0)
    for kill in range(4):
        process = subprocess.Popen(_command(mixed, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        target = 20 * (kill + 1)
        deadline = time.monotonic() + 120
        while (
            process.poll() is None
            and time.monotonic() < deadline
            and not (run / f"checkpoints/step-{target:08d}").is_dir()
        ):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed: lengthen it"
        assert not (run / "DONE.json").exists()
    subprocess.run(_command(mixed, run), check=True, capture_output=True)
    assert _weights(run) == _weights(finished)
    mine, theirs = (load_lines(StepRecord, p / "metrics.jsonl") for p in (run, finished))
    assert [r.step for r in mine] == list(range(1, 91))
    assert [replace(r, seconds=0.0) for r in mine] == [replace(r, seconds=0.0) for r in theirs]


def test_sigint_saves_and_says_how_to_go_on(tmp_path: Path, mixed: Path, finished: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(_command(mixed, run), stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoints/step-00000020").is_dir():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command goes on from there" in error
    assert "Traceback" not in error
    assert run_training(_config(mixed, run)).weights == _weights(finished)


def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, mixed: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "DONE.json").unlink()
    newest = max((run / "checkpoints").iterdir()) / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert run_training(_config(mixed, run)).weights == _weights(finished)
    assert "passing over a damaged checkpoint" in capsys.readouterr().err
    for file in (run / "checkpoints").glob("*/model.safetensors"):
        file.unlink()
    (run / "DONE.json").unlink()
    with pytest.raises(UserError, match="no checkpoint is whole"):
        run_training(_config(mixed, run))


def test_a_finished_run_is_returned_as_it_is(mixed: Path, finished: Path) -> None:
    before = sha256_of(finished / "metrics.jsonl")
    done = run_training(_config(mixed, finished))
    assert done.weights == _weights(finished)
    assert sha256_of(finished / "metrics.jsonl") == before


def test_other_settings_and_other_data_are_refused(
    tmp_path: Path, digits: Path, mixed: Path, finished: Path
) -> None:
    with pytest.raises(UserError, match=r"other settings \(lr was None, is 0.5\)"):
        run_training(_config(mixed, finished, lr=0.5))
    with pytest.raises(UserError, match="holds a run already"):
        run_training(_config(mixed, finished, resume="never"))
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for _ in range(2):  # finished, and to be gone on with
        with pytest.raises(UserError, match="was begun on other data"):
            run_training(_config(digits / "train", run))
        (run / "DONE.json").unlink(missing_ok=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        run_training(_config(mixed, tmp_path / "other"))


def test_unknown_noise_is_refused_and_leaves_no_run(tmp_path: Path) -> None:
    pack("sklearn:digits", tmp_path / "unknown")
    with pytest.raises(UserError, match="is unknown"):
        run_training(_config(tmp_path / "unknown", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "setting", [{"n_images": 0}, {"batch": 10**9}, {"lr": float("nan")}, {"presentations": 0.0}, {"seed": -1}]
)
def test_bad_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(UserError, match=flag_of(next(iter(setting)).replace("batch", "n_images"))):
        TrainConfig(data="x", out="y", **setting)  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path, mixed: Path) -> None:
    trainer = Trainer(_config(mixed, tmp_path / "run"))
    steps = trainer.steps()
    next(steps)
    before = {name: t.clone() for name, t in trainer.denoiser.state_dict().items()}
    trainer.sigma_data = float("nan")
    with pytest.raises(
        UserError, match=r"loss nan, gradient norm .* at step 2 \(worst: image \d+, sigma .*, level "
    ):
        next(steps)
    assert all(torch.equal(t, before[name]) for name, t in trainer.denoiser.state_dict().items())


def test_training_lowers_the_risk(digits: Path, mixed: Path, finished: Path) -> None:
    images = open_dataset(digits / "held-out").read(torch.arange(297).numpy())
    model = load_run(finished)
    assert model.trained_from == 0
    assert (
        denoising_risk(model.denoiser, images).relative < 0.6
    )  # leaving the noise in is 1; the preconditioner alone 0.65 and more
    untrained = make_denoiser(model.config, model.shape, 0, model.denoiser.sigma_data).eval()
    assert denoising_risk(untrained, images).relative > denoising_risk(model.denoiser, images).relative + 0.05


def test_all_noisy_runs_say_where_they_were_trained_from(tmp_path: Path, digits: Path) -> None:
    corrupt(digits / "train", tmp_path / "noisy", clean_fraction=0.0, sigma=0.5)
    done = run_training(_config(tmp_path / "noisy", tmp_path / "run", n_images=640, below_noise="none"))
    assert done.trained_from == pytest.approx(0.5 / 0.95**0.5)
    assert all(
        worth == 0 for level, worth in zip(done.worth.levels, done.worth.worth[0], strict=True) if level < 0.5
    )
    made = sample_run(tmp_path / "run", tmp_path / "made", n=3)
    assert made.record.provenance[0]["trained_from"] == done.trained_from
    assert (tmp_path / "made" / "grid.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("below", ["imputation", "consistency"])
def test_levels_below_all_noise_are_trained_too(tmp_path: Path, digits: Path, below: str) -> None:
    """Also after an interruption: the imputed images, and what they change in the law of the pairs, are in the checkpoint."""
    corrupt(digits / "train", tmp_path / "noisy", clean_fraction=0.0, sigma=0.5)
    config = _config(
        tmp_path / "noisy", tmp_path / "run", n_images=64 * 12, below_noise=below, checkpoint_every=64 * 5
    )
    done = run_training(config)
    assert done.trained_from == 0
    w = done.worth
    low = w.levels.index(
        min(w.levels, key=lambda level: abs(level - 0.25))
    )  # half the noise: trusted as `imputed_worth` says
    assert w.worth[0][low] == pytest.approx(1 / (1 + (0.25 / w.levels[low]) ** 2) ** 2)
    again = Trainer(replace(config, out=str(tmp_path / "again")))
    records = again.steps()
    for _ in range(7):
        next(records)
    again.save()
    resumed = Trainer(again.config)
    assert resumed.restore() == []
    assert len(resumed.imputation.rows) == 1500
    for _ in resumed.steps():
        pass
    resumed.save()
    newest = checkpoint.load_newest(tmp_path / "again" / "checkpoints")
    assert newest is not None
    assert {k: v for k, v in newest[0].sha256.items() if k != "below.safetensors"} == {
        k: v for k, v in done.weights.items() if k != "below.safetensors"
    }


def test_the_published_objective_trains(tmp_path: Path, mixed: Path) -> None:
    done = run_training(_config(mixed, tmp_path / "run", n_images=640, objective="published"))
    assert done.trained_from == 0
    assert load_run(tmp_path / "run").n_images == 640


def test_classes_are_conditions(tmp_path: Path, mixed: Path) -> None:
    """Labels change what the denoiser says, sampling wants a class that is there, and a run without labels knows none."""
    run_training(_config(mixed, tmp_path / "run", n_images=64 * 40, labels=True))
    model = load_run(tmp_path / "run")
    assert model.classes == 10
    x, sigma = torch.zeros(10, 1, 8, 8), torch.full((10,), 2.0)
    by_class = model.denoiser(x, sigma, torch.arange(10))
    assert float(by_class.std(0).max()) > 0.01
    assert torch.equal(
        model.denoiser(x, sigma), model.denoiser(x, sigma, torch.full((10,), 10))
    )  # 10: unknown
    made = [
        sample_run(tmp_path / "run", tmp_path / f"s{i}", n=4, steps=4, label=3, guidance=g)
        for i, g in ((0, 1.0), (1, 2.0))
    ]
    four = np.arange(4)
    assert made[0].record.provenance[-1]["label"] == 3
    assert not np.array_equal(made[0].read(four), made[1].read(four))
    with pytest.raises(UserError, match="classes are 0 to 9"):
        sample_run(tmp_path / "run", tmp_path / "other", n=4, label=10)
    with pytest.raises(UserError, match="needs a worse model"):
        sample_run(tmp_path / "run", tmp_path / "other", n=4, guidance=2.0)


def test_labels_that_are_not_there_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.zeros((20, 8, 8), np.uint8))
    pack(str(tmp_path / "plain.npy"), tmp_path / "plain", sigma=0.0)
    with pytest.raises(UserError, match="has no labels"):
        run_training(_config(tmp_path / "plain", tmp_path / "run", labels=True))
    assert not (tmp_path / "run").exists()


def test_samples_are_kept_and_renewed(tmp_path: Path, finished: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    model = load_run(run)
    settings: dict[str, Any] = {"steps": 18, "seed": 0}
    first = samples_of(model, run, n=4, **settings)
    stamp = (run / "samples" / "dataset.json").stat().st_mtime_ns
    assert samples_of(model, run, n=4, **settings).record == first.record
    assert (run / "samples" / "dataset.json").stat().st_mtime_ns == stamp
    assert samples_of(model, run, n=5, **settings).record.count == 5


def test_ema_is_the_weighted_mean_of_the_weights() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    ema, expected = Ema(module, half_life=1000), 0.0
    for step in range(1, 200):
        torch.nn.init.constant_(module.weight, step)
        ema.update(step * 100, 100)
        keep = 0.5 ** (100 / min(1000, step * 100 * 0.1))
        expected = keep * expected + (1 - keep) * step
    assert float(ema.module.weight) == pytest.approx(expected, rel=1e-5)  # type: ignore[arg-type]


def test_two_processes_see_the_same_images_and_learn_the_same(
    tmp_path: Path, mixed: Path, finished: Path
) -> None:
    """One and two ranks (gloo): the same loss at each of the first steps, to rounding."""
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port=0",
        "--rdzv-backend=c10d",
    ]
    command += [
        "--rdzv-endpoint=localhost:0",
        "-m",
        "noiseworth.cli",
        "train",
        f"--data={mixed}",
        f"--out={run}",
    ]
    command += [f"--{key}={value}" for key, value in SETTINGS.items()]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    two, one = (load_lines(StepRecord, p / "metrics.jsonl") for p in (run, finished))
    assert [r.step for r in two] == list(range(1, 91))
    for a, b in zip(two[:20], one[:20], strict=True):
        assert a.loss == pytest.approx(
            b.loss, rel=1e-3
        )  # float32 rounding, grown by twenty steps; other images would differ by 10%


@pytest.mark.parametrize("kind", ["one", "copies", "flat", "two levels"])
def test_a_few_noisy_images_train(kind: str, tmp_path: Path) -> None:
    """One noisy image, or copies of one, say next to nothing of v; losses stay within bounds, with imputed images too."""
    count = 1 if kind == "one" else 6
    image = np.zeros((8, 8)) if kind == "flat" else np.sin(np.arange(64.0)).reshape(8, 8)
    sigma = np.full(count, 0.3)
    sigma[1::2] = 0.6 if kind == "two levels" else 0.3
    noise = np.random.default_rng(0).standard_normal((count, 8, 8))
    np.save(tmp_path / "x.npy", (image + sigma[:, None, None] * noise).astype(np.float32))
    (tmp_path / "sigma.csv").write_text("sigma\n" + "".join(f"{s}\n" for s in sigma))
    pack(
        tmp_path / "x.npy",
        tmp_path / "data",
        sigma=str(tmp_path / "sigma.csv"),
        range=(-1.0, 1.0),
        by_row=True,
    )
    done = run_training(_config(tmp_path / "data", tmp_path / "run", n_images=64 * 12, monitor_every=0))
    losses = [record.loss for record in load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")]
    assert len(losses) == 12
    assert max(losses) < 1000
    assert done.trained_from == 0
    assert len(sample_run(tmp_path / "run", tmp_path / "made", n=2, steps=4)) == 2


def test_a_longer_run_goes_on_as_if_it_had_been_so_long_from_the_beginning(
    tmp_path: Path, mixed: Path
) -> None:
    """With a constant rate the longer run has the same bits; with a falling one it goes on, and keeps what it had seen."""
    settings = {"n_images": 64 * 8, "decay": "none", "below_noise": "none", "monitor_every": 0}
    short = _config(mixed, tmp_path / "run", **settings)
    expected = run_training(_config(mixed, tmp_path / "long", **(settings | {"n_images": 64 * 14}))).weights
    run_training(short)
    longer = replace(short, n_images=64 * 14)
    done = run_training(longer)
    groups = expected.keys() - {"below.safetensors"}  # it says when imputing was to begin
    assert {name: done.weights[name] for name in groups} == {name: expected[name] for name in groups}
    assert run_training(longer) == done
    assert [r.step for r in load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")] == list(range(1, 15))
    assert json.loads((tmp_path / "run" / "env.json").read_text())["lengthened"] == [[64 * 8, 64 * 14]]
    with pytest.raises(UserError, match="n_images was 896, is 512"):
        run_training(short)
    with pytest.raises(UserError, match=r"other settings \(lr was None, is 0.5\)"):
        run_training(replace(longer, n_images=64 * 20, lr=0.5))
    assert (tmp_path / "run" / "DONE.json").is_file()


def test_a_run_is_lengthened_after_a_kill_at_any_point(
    tmp_path: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = _config(mixed, tmp_path / "run", n_images=64 * 4, monitor_every=0)
    run_training(short)
    longer = replace(short, n_images=64 * 6)
    inner = write_atomically
    for last in ("env.json", "config.yaml"):

        def killed(path: Path, content: str | bytes, last: str = last) -> None:
            if path.name == last:
                raise KeyboardInterrupt
            inner(path, content)

        monkeypatch.setattr(run_directory, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            run_training(longer)
        monkeypatch.undo()
        assert load_run(tmp_path / "run").n_images == 64 * 4
    assert run_training(longer).n_images == 64 * 6


def test_a_run_begins_with_the_averaged_weights_of_another(tmp_path: Path, digits: Path, mixed: Path) -> None:
    """Another data set, other settings: its first estimates are those of the run that it begins from; it goes on without that run."""
    run_training(_config(mixed, tmp_path / "first", n_images=64 * 20, monitor_every=0))
    config = _config(
        digits / "train", tmp_path / "run", n_images=64 * 6, init=str(tmp_path / "first"), ema=5000, more_ema=[70],
        power_ema=[0.1], batch=32, checkpoint_every=64 * 2, monitor_every=0,
    )  # fmt: skip
    before = load_run(tmp_path / "first")
    trainer = Trainer(config)
    trainer.restore()
    x, sigma = torch.ones(3, 1, 8, 8), torch.tensor([0.1, 0.5, 3.0])
    for average in trainer.averages.values():
        assert torch.equal(average.module(x, sigma), before.denoiser(x, sigma))
    with torch.no_grad():
        assert torch.equal(trainer.denoiser(x, sigma), before.denoiser(x, sigma))
    expected = run_training(replace(config, out=str(tmp_path / "whole"))).weights
    env = json.loads((tmp_path / "whole" / "env.json").read_text())
    assert env["init"] == {"run": str(tmp_path / "first"), "n_images": 64 * 20, "weights": before.sha256}
    for record in trainer.steps():
        if record.step == 5:
            trainer.save()
            break
    run_directory.begin(trainer.config)
    (tmp_path / "first").rename(tmp_path / "moved")
    assert run_training(config).weights == expected
    assert load_run(tmp_path / "run").denoiser.sigma_data == before.denoiser.sigma_data


def test_a_run_that_does_not_fit_is_not_begun_from(tmp_path: Path, digits: Path, mixed: Path) -> None:
    run_training(_config(mixed, tmp_path / "first", n_images=64, monitor_every=0))
    for changes, message in (
        ({"init": str(tmp_path / "first"), "labels": True}, "does not fit the settings and the data"),
        ({"init": str(tmp_path / "first"), "preset": "mini"}, r"preset medium, 1 channels, 0 classes"),
        ({"init": str(tmp_path / "nowhere")}, "not a run"),
    ):
        with pytest.raises(UserError, match=message):
            run_training(_config(mixed, tmp_path / "run", **changes))
        assert not (tmp_path / "run" / "config.yaml").exists()
    with pytest.raises(UserError, match="is this run itself"):
        _config(mixed, tmp_path / "run", init=str(tmp_path / "run"))
