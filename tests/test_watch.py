"""Each monitor fires on the failure that it is there for, provoked in a real training, and is silent on a healthy one."""

from pathlib import Path

import numpy as np
import pytest

from noiseworth.data.corrupt import corrupt, mix
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.experiments.watch import watch
from noiseworth.records import StepRecord, WatchRecord, load_lines
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training


def _train(data: Path, digits: Path, out: Path, n_images: int, **settings: object) -> WatchRecord:
    config = TrainConfig(
        data=str(data), out=str(out), batch=64, n_images=n_images, held_out=str(digits / "held-out"), watch_every=n_images,
        device="cpu", **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    run_training(config, watch=watch, quiet=True)
    found = [r.watch for r in load_lines(StepRecord, out / "metrics.jsonl") if r.watch is not None]
    assert found[-1] is not None
    return found[-1]


def _declared(mixed: Path, place: Path, sigma: float) -> Path:
    """The mixed digits (sigma 0.5) with another noise level declared."""
    data = open_dataset(mixed)
    declared = np.where(data.sigma > 0, sigma, 0).astype(np.float32)
    np.savez(place.with_suffix(".npz"), images=data.read(np.arange(len(data))), sigma=declared)
    pack(str(place.with_suffix(".npz")), place, value_range=(-1.0, 1.0))
    return place


def _warned(found: WatchRecord) -> set[str]:
    words = ("mode collapse", "it makes noise", "declared to have sigma", "unstable", "memorises")
    return {word for word in words if any(word in warning for warning in found.warnings)}


def test_few_clean_images_collapse_and_are_memorised(digits: Path, tmp_path: Path) -> None:
    mix(digits / "train", tmp_path / "few", clean=6, noisy=[], seed=0)
    found = _train(tmp_path / "few", digits, tmp_path / "run", 8000)
    assert {"mode collapse", "memorises"} <= _warned(found)
    assert found.distinct < 10  # six images
    assert (tmp_path / "run" / "looks").is_dir()


def test_noise_declared_too_small_is_learned(mixed: Path, digits: Path, tmp_path: Path) -> None:
    found = _train(_declared(mixed, tmp_path / "wrong", 0.05), digits, tmp_path / "run", 4000)
    assert "it makes noise" in _warned(found)


def test_noise_declared_too_large_is_found(mixed: Path, digits: Path, tmp_path: Path) -> None:
    found = _train(_declared(mixed, tmp_path / "wrong", 1.0), digits, tmp_path / "run", 5000)
    assert "declared to have sigma" in _warned(found)
    assert found.calibration[0] < 0.8


def test_extreme_noise_takes_the_published_objective_to_one_end(digits: Path, tmp_path: Path) -> None:
    """Every noisy image is trained at its own level, where the published loss has no gradient; ours does not draw such pairs."""
    corrupt(digits / "train", tmp_path / "loud", clean_fraction=0.1, sigma=20.0)
    found = _train(tmp_path / "loud", digits, tmp_path / "published", 2500, objective="published")
    assert "unstable" in _warned(found)
    ours = _train(tmp_path / "loud", digits, tmp_path / "ours", 2500)
    assert "unstable" not in _warned(ours)


def test_silence_on_a_healthy_run_and_no_trace_in_training(mixed: Path, digits: Path, tmp_path: Path) -> None:
    """A tenth of the demo's length; `make demo` itself is looked at in bench/engine.py."""
    found = _train(mixed, digits, tmp_path / "run", 10_048)
    assert _warned(found) <= {"it makes noise"}  # training is short still
    assert found.calibration == pytest.approx([1.0], abs=0.1)
    assert found.risk is not None
    assert found.risk < 0.35
    plain = TrainConfig(data=str(mixed), out=str(tmp_path / "plain"), batch=64, n_images=256, device="cpu")
    looked = TrainConfig(data=str(mixed), out=str(tmp_path / "looked"), batch=64, n_images=256, device="cpu", watch_every=128)
    weights = [
        run_training(config, watch=look, quiet=True).weights["model.safetensors"] for config, look in ((plain, None), (looked, watch))
    ]
    assert weights[0] == weights[1]
