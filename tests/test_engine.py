"""The engine around the loop: pieces of a batch, averages, locks, full disks, launchers."""

import math
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.errors import UserError
from noiseworth.records import MonitorRecord, StepRecord, load_lines, sha256_of
from noiseworth.runs.sampling import sample_run
from noiseworth.train import checkpoint, driver, run_directory
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from noiseworth.train.ema import PowerEma, coefficients, combine, find_snapshots, gamma_of
from noiseworth.train.guards import SpikeDetector, memory_advice
from noiseworth.train.posthoc_ema import make_average
from noiseworth.train.trainer import Trainer


def _config(data: Path, out: Path, **settings: object) -> TrainConfig:
    return TrainConfig(data=str(data), out=str(out), batch=64, device="cpu", **settings)  # type: ignore[arg-type]


def _weights(run: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(
        sorted(run.glob("checkpoints/step-*"))[-1] / "model.safetensors"
    )
    return weights


def _apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Norm of the difference over the norm, all weights together."""
    squares = sum(float((a[k].double() - b[k].double()).square().sum()) for k in a)
    return math.sqrt(squares / sum(float(v.double().square().sum()) for v in a.values()))


def test_a_batch_in_pieces_is_the_same_training(mixed: Path, tmp_path: Path) -> None:
    """20 steps, accumulation 1 against 4: the sums of the gradients differ by rounding alone.

    Muon makes the smallest directions of a gradient as long as the greatest, and so lets rounding grow faster than
    Adam: 4e-7 after 5 steps, 3e-6 after 20, 1e-5 to 2e-5 after 50.
    """
    for pieces in (1, 4):
        run_training(
            _config(mixed, tmp_path / f"{pieces}", n_images=64 * 20, accumulate=pieces, precision="fp32")
        )
    assert 0 < _apart(_weights(tmp_path / "1"), _weights(tmp_path / "4")) < 1e-5
    with pytest.raises(UserError, match="is not a multiple of the 1 processes times --accumulate 5"):
        Trainer(_config(mixed, tmp_path / "no", n_images=640, accumulate=5))


def test_widths_and_exponents_are_inverse() -> None:
    for gamma in (0.0, 0.5, 6.94, 16.97, 100.0):
        width = math.sqrt(gamma + 1) / ((gamma + 2) * math.sqrt(gamma + 3))
        assert gamma_of(width) == pytest.approx(gamma, abs=1e-6 * (1 + gamma))
    assert gamma_of(0.10) == pytest.approx(6.94, abs=0.005)  # the paper's
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.005)
    with pytest.raises(UserError, match="relative width"):
        gamma_of(0.4)


def test_a_saved_average_is_its_own_best_combination() -> None:
    saved = [(gamma, t) for t in (1e5, 2e5, 3e5) for gamma in (6.94, 16.97)]
    np.testing.assert_allclose(coefficients(saved, saved[4]), np.eye(6)[4], atol=1e-6)


def test_the_running_average_is_the_integral() -> None:
    """Weights that grow linearly with the images: the average is (gamma + 1) / (gamma + 2) of the last value, up to a step."""
    module = torch.nn.Linear(1, 1, bias=False)
    average = PowerEma(module, 0.1)
    for n in range(64, 64 * 2001, 64):
        with torch.no_grad():
            module.weight.fill_(float(n))
        average.update(n, 64)
    g = average.gamma
    weight = next(average.module.parameters())
    assert float(weight) == pytest.approx(64 * 2000 * (g + 1) / (g + 2), rel=1e-3)


def test_an_average_made_afterwards_is_the_one_tracked(mixed: Path, tmp_path: Path) -> None:
    """Within 1% of the distance of that one from the raw weights, from 60 saved pairs (the profile is then met within 0.03%)."""
    config = _config(
        mixed, tmp_path / "run", n_images=64 * 240, power_ema=[0.05, 0.1], checkpoint_every=64 * 4
    )
    trainer = Trainer(config)
    direct = PowerEma(trainer.denoiser, 0.075)
    for record in trainer.steps():
        direct.update(trainer.n_images, config.batch)
        if record.step % 4 == 0:
            trainer.save()
    combined = combine(find_snapshots(tmp_path / "run"), 0.075, trainer.n_images)
    tracked = {k: v for k, v in direct.module.state_dict().items() if k in combined}
    raw = {k: v for k, v in trainer.denoiser.state_dict().items() if k in combined}
    difference = math.sqrt(sum(float((tracked[k] - combined[k]).double().square().sum()) for k in combined))
    scale = math.sqrt(sum(float((tracked[k] - raw[k]).double().square().sum()) for k in combined))
    assert difference < 0.01 * scale
    (tmp_path / "run" / "config.yaml").write_text("")  # the loop alone writes none
    run_directory.begin(replace(trainer.config, out=str(tmp_path / "other")))
    (tmp_path / "run" / "config.yaml").write_bytes((tmp_path / "other" / "config.yaml").read_bytes())
    assert main(["ema", str(tmp_path / "run"), str(tmp_path / "wide"), "--sigma-rel", "0.15"]) == 0
    assert len(sample_run(tmp_path / "wide", tmp_path / "made", n=3, steps=4)) == 3
    with pytest.raises(UserError, match="stands at"):
        make_average(tmp_path / "run", tmp_path / "no", sigma_rel=0.1, n_images=10**9)


def test_several_half_lives_and_lasting_checkpoints(mixed: Path, tmp_path: Path) -> None:
    config = _config(
        mixed,
        tmp_path / "run",
        n_images=64 * 12,
        more_ema=[10, 30],
        checkpoint_every=64,
        keep=1,
        keep_every=64 * 4,
    )
    done = run_training(config)
    assert {"ema.safetensors", "ema-10.safetensors", "ema-30.safetensors"} <= done.weights.keys()
    assert len({done.weights[f"ema{k}.safetensors"] for k in ("", "-10", "-30")}) == 3
    kept = [int(p.name.removeprefix("step-")) for p in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert kept == [4, 8, 12]


@pytest.mark.parametrize(
    "settings", [{"channels_last": True}, {"power_ema": [0.0567], "augment": "turns", "accumulate": 2}]
)
def test_unusual_settings_resume_to_the_same_bits(
    settings: dict[str, object], mixed: Path, tmp_path: Path
) -> None:
    config = _config(mixed, tmp_path / "whole", n_images=64 * 8, **settings)
    expected = run_training(config).weights
    first = Trainer(replace(config, out=str(tmp_path / "run")))
    for record in first.steps():
        if record.step == 5:
            break
    first.save()
    second = Trainer(first.config)
    assert second.restore() == []
    for _ in second.steps():
        pass
    second.save()
    for name in ("model", "ema", "optimizer"):
        assert (
            sha256_of(tmp_path / "run" / "checkpoints" / "step-00000008" / f"{name}.safetensors")
            == expected[f"{name}.safetensors"]
        )


def test_monitors_that_fail_do_not_stop_training(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(trainer: Trainer) -> MonitorRecord:
        raise RuntimeError("broken")

    monkeypatch.setattr(driver, "monitor", fails)
    assert run_training(_config(mixed, tmp_path / "run", n_images=640, monitor_every=640)).n_images == 640
    assert "the monitors failed (RuntimeError: broken); training goes on" in capsys.readouterr().err
    corrupt(mixed.parent / "digits" / "train", tmp_path / "noisy", clean_fraction=0.0, sigma=9.0)
    with pytest.raises(
        UserError, match="at least 2 clean ones"
    ):  # before training, not when the monitors first run
        run_training(_config(mixed, tmp_path / "no", n_images=640, held_out=str(tmp_path / "noisy")))


def test_a_damaged_newer_checkpoint_does_not_outlive_a_new_one(mixed: Path, tmp_path: Path) -> None:
    config = _config(mixed, tmp_path / "run", n_images=64 * 9, checkpoint_every=64 * 2, keep=2)
    trainer = Trainer(config)
    for record in trainer.steps():
        if record.step in (2, 4):
            trainer.save()
        if record.step == 4:
            break
    (tmp_path / "run" / "checkpoints" / "step-00000004" / "model.safetensors").write_bytes(b"damaged")
    again = Trainer(config)
    assert len(again.restore()) == 1
    next(again.steps())
    again.save()
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000002",
        "step-00000003",
    ]


def test_two_writers_on_one_run_are_kept_apart(mixed: Path, tmp_path: Path) -> None:
    config = _config(mixed, tmp_path / "run", n_images=640)
    with (
        run_directory.hold(tmp_path / "run"),
        pytest.raises(UserError, match="is being trained by another process"),
    ):
        run_training(config)
    assert run_training(config).n_images == 640


def test_a_spike_is_noted_with_its_images_however_the_run_was_interrupted() -> None:
    rng = np.random.default_rng(0)
    losses = np.abs(1 + 0.2 * rng.standard_normal(400))
    losses[[250, 333]] = 9
    whole = SpikeDetector()
    noted = [i for i, loss in enumerate(losses) if whole.note(float(loss))]
    assert noted == [250, 333]
    first, rest = SpikeDetector(), []
    for loss in losses[:300]:
        first.note(float(loss))
    second = SpikeDetector(first.mean, first.steps)
    rest = [i + 300 for i, loss in enumerate(losses[300:]) if second.note(float(loss))]
    assert rest == [333]
    assert second.mean == whole.mean


def test_a_spike_is_in_the_metrics(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseworth.train.guards._WARM_UP", 3)
    monkeypatch.setattr("noiseworth.train.guards._SPIKE", 0.1)  # every loss is one
    run_training(_config(mixed, tmp_path / "run", n_images=64 * 5))
    records = load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")
    assert [r.spike is not None for r in records] == [False, False, False, True, True]
    assert all(len(r.spike) == 64 for r in records if r.spike is not None)


def test_memory_that_runs_out_says_which_setting_to_change() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    ):
        with pytest.raises(UserError, match="raise --accumulate to 4"), memory_advice("runs/x", 64, 2):
            raise error
    with pytest.raises(RuntimeError, match="shape"), memory_advice("runs/x", 64, 2):
        raise RuntimeError("shape mismatch")


def test_a_full_disk_while_saving_leaves_the_checkpoint_before(mixed: Path, tmp_path: Path) -> None:
    """Files cannot grow beyond a limit from the second checkpoint on, as on a full disk."""
    whole = _config(mixed, tmp_path / "whole", n_images=64 * 6, checkpoint_every=64 * 2)
    expected = run_training(whole)
    run_training(replace(whole, out=str(tmp_path / "run"), n_images=64 * 6))
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);from noiseworth.train"
        " import checkpoint, driver; from noiseworth.cli import main; save = checkpoint.save\ndef"
        " limited(folder, state, tensors, **k):\n    if state.step > 2:"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n    return save(folder, state,"
        " tensors, **k)\ncheckpoint.save = limited; sys.exit(main(sys.argv[1:]))"
    )
    words = [
        "train",
        "--data",
        str(mixed),
        "--out",
        str(tmp_path / "full"),
        "--batch",
        "64",
        "--n-images",
        str(64 * 6),
    ]
    words += ["--checkpoint-every", "128", "--device", "cpu", "--monitor-every", "0"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.replace("\r", "\n").splitlines() if "error" in line]
    assert len(errors) == 1
    assert "could not be written" in errors[0]
    assert "earlier checkpoints are intact" in errors[0]
    assert [p.name for p in (tmp_path / "full" / "checkpoints").iterdir()] == ["step-00000002"]
    checkpoint.load(tmp_path / "full" / "checkpoints" / "step-00000002")
    assert main(words) == 0
    assert (
        sha256_of(tmp_path / "full" / "checkpoints" / "step-00000006" / "model.safetensors")
        == expected.weights["model.safetensors"]
    )


SRUN = """#!/usr/bin/env bash
# Stands in for Slurm's srun: two nodes, one task each, on this machine.
export SLURM_NNODES=2 SLURM_JOB_ID=4711 SLURM_JOB_NODELIST=localhost
for node in 0 1; do SLURM_NODEID=$node SLURM_PROCID=$node "$@" & pids="$pids $!"; done
code=0; for pid in $pids; do wait $pid || code=$?; done; exit $code
"""


@pytest.mark.parametrize("launcher", ["accelerate", "srun"])
def test_launchers(launcher: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command lines of docs/training.md, on two processes, against one: torchrun's is in test_train.py."""
    programs = Path(sys.executable).parent
    train = [
        "-m",
        "noiseworth.cli",
        "train",
        f"--data={mixed}",
        f"--out={tmp_path / 'run'}",
        "--batch=64",
        "--n-images=1280",
        "--precision=fp32",
    ]  # without --device: on a machine without a GPU processes still find each other
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    port = 20_000 + os.getpid() % 20_000
    if launcher == "accelerate":
        words = [str(programs / "accelerate"), "launch", "--cpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no",
                 "--dynamo_backend=no", f"--main_process_port={port}", *train]  # fmt: skip
    else:
        (tmp_path / "srun").write_text(SRUN)
        (tmp_path / "srun").chmod(stat.S_IRWXU)
        words = [str(tmp_path / "srun"), str(programs / "torchrun"), "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
                 f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=4711", *train]  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    run_training(_config(mixed, tmp_path / "one", n_images=1280, precision="fp32"))
    assert _apart(_weights(tmp_path / "one"), _weights(tmp_path / "run")) < 1e-5
    steps = [r.step for r in load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")]
    assert steps == list(range(1, 21))


def test_two_interruptions_within_one_stretch(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM twice before the data could have been seen once; the weights are those of a run without."""
    corrupt(mixed.parent / "digits" / "train", tmp_path / "data", clean_fraction=0.1, sigma=0.5)
    words = [
        "train",
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "run"),
        "--batch",
        "64",
        "--n-images",
        "1280",
        "--device",
        "cpu",
    ]
    expected = run_training(_config(tmp_path / "data", tmp_path / "whole", n_images=1280))
    code = (
        "import os, signal, sys; from noiseworth.train import driver; from noiseworth.cli import main;"
        " inner = driver.Trainer._step\ndef step(self):\n    record = inner(self)\n    if record.step =="
        " int(os.environ['AT']): os.kill(os.getpid(), signal.SIGTERM)\n    return"
        " record\ndriver.Trainer._step = step; sys.exit(main(sys.argv[1:]))"
    )
    for at in ("5", "12"):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "AT": at},
        )
        assert done.returncode == 128 + signal.SIGTERM
        assert "the same command goes on from there" in done.stderr
    assert main(words) == 0
    assert (
        sha256_of(tmp_path / "run" / "checkpoints" / "step-00000020" / "model.safetensors")
        == expected.weights["model.safetensors"]
    )
    assert [r.step for r in load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")] == list(range(1, 21))
