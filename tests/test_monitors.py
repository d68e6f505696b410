"""Each monitor fires on the failure that it is there for, provoked in a real training, and is silent on a healthy one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import noiseworth as nw
from noiseworth.data.corrupt import corrupt, mix
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.pack import pack
from noiseworth.evaluate.risk import DEFAULT_LEVELS, denoising_risk
from noiseworth.records import MonitorRecord, StepRecord, load_lines
from noiseworth.runs.model import load_run
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training


def _train(data: Path, digits: Path, out: Path, n_images: int, **settings: object) -> MonitorRecord:
    config = TrainConfig(
        data=str(data), out=str(out), batch=64, n_images=n_images, held_out=str(digits / "held-out"), monitor_every=n_images,
        device="cpu", **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    run_training(config)
    records = [r.monitor for r in load_lines(StepRecord, out / "metrics.jsonl") if r.monitor is not None]
    assert records[-1] is not None
    return records[-1]


def _declared(mixed: Path, directory: Path, sigma: float) -> Path:
    """The mixed digits (sigma 0.5) with another noise level declared."""
    data = open_dataset(mixed)
    declared = np.where(data.sigma > 0, sigma, 0).astype(np.float32)
    np.savez(directory.with_suffix(".npz"), images=data.read(np.arange(len(data))), sigma=declared)
    pack(str(directory.with_suffix(".npz")), directory, range=(-1.0, 1.0))
    return directory


def _warned(record: MonitorRecord) -> set[str]:
    words = ("mode collapse", "learned noise", "wrong noise level", "unstable", "memorised")
    return {word for word in words if any(word in warning for warning in record.warnings)}


def test_few_clean_images_collapse_and_are_memorised(digits: Path, tmp_path: Path) -> None:
    mix(digits / "train", tmp_path / "few", clean=6, noisy=[], seed=0)
    record = _train(tmp_path / "few", digits, tmp_path / "run", 16000)
    assert {"mode collapse", "memorised"} <= _warned(record)
    assert record.distinct < 10  # six images
    assert (tmp_path / "run" / "samples-while-training").is_dir()


def test_noise_declared_too_small_is_learned(mixed: Path, digits: Path, tmp_path: Path) -> None:
    record = _train(_declared(mixed, tmp_path / "wrong", 0.05), digits, tmp_path / "run", 8000)
    assert "learned noise" in _warned(record)


def test_noise_declared_too_large_is_found(mixed: Path, digits: Path, tmp_path: Path) -> None:
    record = _train(_declared(mixed, tmp_path / "wrong", 1.0), digits, tmp_path / "run", 5000)
    assert "wrong noise level" in _warned(record)
    assert record.calibration[0] < 0.8


def test_extreme_noise_takes_the_published_objective_to_one_end(digits: Path, tmp_path: Path) -> None:
    """Every noisy image is trained at its own level, where the published loss has no gradient; ours does not draw such pairs."""
    corrupt(digits / "train", tmp_path / "loud", clean_fraction=0.1, sigma=20.0)
    record = _train(tmp_path / "loud", digits, tmp_path / "published", 2500, objective="published")
    assert "unstable" in _warned(record)
    ours = _train(tmp_path / "loud", digits, tmp_path / "ours", 2500)
    assert "unstable" not in _warned(ours)


def test_silence_on_a_healthy_run_and_no_trace_in_training(mixed: Path, digits: Path, tmp_path: Path) -> None:
    """A tenth of the demo's length; `make demo` itself is looked at in bench/engine.py."""
    record = _train(mixed, digits, tmp_path / "run", 10_048)
    assert _warned(record) <= {"learned noise"}  # training is short still
    assert record.calibration == pytest.approx([1.0], abs=0.1)
    assert record.risk is not None
    assert record.risk < 0.35
    plain = TrainConfig(
        data=str(mixed), out=str(tmp_path / "plain"), batch=64, n_images=256, device="cpu", monitor_every=0
    )
    monitored = replace(plain, out=str(tmp_path / "monitored"), monitor_every=128)
    weights = [run_training(config).weights["model.safetensors"] for config in (plain, monitored)]
    assert weights[0] == weights[1]


def test_training_from_python_runs_the_monitors(
    mixed: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim house/monitors: `noiseworth.run_training` with its defaults writes the monitors' record at the end, and warns."""
    nw.run_training(
        nw.TrainConfig(data=str(mixed), out=str(tmp_path / "run"), n_images=640, batch=64, device="cpu")
    )
    records = load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")
    assert [record.step for record in records if record.monitor is not None] == [10]
    monitor = records[-1].monitor
    assert monitor is not None
    assert monitor.sigmas == [0.5]
    assert monitor.warnings  # ten steps are too few for a good model
    warned = capsys.readouterr().err
    assert all(f"at 640 images: {warning}" in warned for warning in monitor.warnings)
    with nw.quiet():
        nw.run_training(
            nw.TrainConfig(data=str(mixed), out=str(tmp_path / "quiet"), n_images=640, device="cpu")
        )
    assert capsys.readouterr().err == ""


def test_held_out_noisy_images_tell_the_risk(digits: Path, mixed: Path, tmp_path: Path) -> None:
    """At levels above their noise, and nothing of clean images: what is memorised, or whether noise levels are right, is unknown."""
    corrupt(digits / "held-out", tmp_path / "noisy", clean_fraction=0.0, sigma=0.5)
    config = TrainConfig(
        data=str(mixed),
        out=str(tmp_path / "run"),
        batch=64,
        n_images=64 * 20,
        device="cpu",
        held_out=str(tmp_path / "noisy"),
    )
    run_training(config)
    record = load_lines(StepRecord, tmp_path / "run" / "metrics.jsonl")[-1].monitor
    assert record is not None
    assert record.memorised is None
    assert record.risk is not None
    held_out = open_dataset(digits / "held-out")
    levels = [level for level in DEFAULT_LEVELS if level > 0.5 / 0.95**0.5]
    on_clean = denoising_risk(load_run(tmp_path / "run").denoiser, read_all(held_out), levels)
    assert record.risk == pytest.approx(on_clean.relative, abs=0.02)  # of 128 images against 297
