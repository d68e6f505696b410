"""Saved features, features without labels, learned noise, and the record and output of `evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.corrupt import mix
from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.feature_files import load_features
from noiseworth.evaluate.feature_registry import train_features
from noiseworth.evaluate.features import PixelFeatures, train_rotations
from noiseworth.evaluate.learned_noise import learned_noise
from noiseworth.evaluate.pca import principal_components
from noiseworth.runs.evaluation import run_evaluation
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def few(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 clean digits, which train a classifier in a second."""
    out = tmp_path_factory.mktemp("few") / "few"
    mix(digits / "train", out, clean=200, noisy=[], seed=0)
    return out


@pytest.fixture(scope="module")
def run(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run_training(TrainConfig(data=str(few), out=str(out), n_images=1280, batch=64))
    return out


@pytest.mark.parametrize("kind", ["classifier", "rotations", "pca"])
def test_features_are_saved_exactly(kind: str, few: Path, digits: Path, tmp_path: Path) -> None:
    record = train_features(few, tmp_path / "f", kind=kind, held_out=digits / "held-out")
    data = open_dataset(few)
    images = data.read(np.arange(50))
    loaded = load_features(tmp_path / "f", data.shape)
    assert loaded.describe() == record
    assert record.name == kind
    again = train_features(few, tmp_path / "g", kind=kind, held_out=digits / "held-out")
    assert again == record  # the same data give the same features
    np.testing.assert_array_equal(loaded(images), load_features(tmp_path / "g", data.shape)(images))
    assert loaded(images).shape == (50, record.dimension)
    if kind != "pca":
        assert record.accuracy is not None
        assert record.accuracy > (0.8 if kind == "classifier" else 0.6)


def test_damaged_and_foreign_features_are_refused(few: Path, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    train_features(few, folder, kind="pca")
    with pytest.raises(UserError, match=r"images of shape \(1, 8, 8\); yours have \(3, 8, 8\)"):
        load_features(folder, (3, 8, 8))
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(UserError, match="SHA-256 differs"):
        load_features(folder, (1, 8, 8))
    (folder / "features.json").write_text("{")
    with pytest.raises(UserError, match="damaged features"):
        load_features(folder, (1, 8, 8))
    with pytest.raises(UserError, match="no features there"):
        load_features(tmp_path / "nowhere", (1, 8, 8))
    with pytest.raises(UserError, match="must be one of auto, classifier, rotations, pca"):
        train_features(few, tmp_path / "x", kind="pixels")
    with pytest.raises(UserError, match="exists already"):
        train_features(few, folder, kind="pca")


def test_principal_components_are_those_of_the_covariance() -> None:
    x = (RNG.normal(size=(400, 6)) * np.array([3, 2, 1, 0.5, 0, 0])).astype(np.float32).reshape(400, 1, 2, 3)
    pca = principal_components(x, 3)
    f = pca(x)
    values = np.sort(np.linalg.eigvalsh(np.cov(x.reshape(400, -1).T)))[::-1]
    np.testing.assert_allclose(np.cov(f.T), np.diag(values[:3]) / values[:3].mean(), atol=1e-6)
    assert len(principal_components(x, 64).components) == 4  # two pixels never change
    with pytest.raises(UserError, match="images that differ"):
        principal_components(np.ones((5, 1, 2, 2), np.float32))
    with pytest.raises(UserError, match="square images"):
        train_rotations(np.ones((5, 1, 4, 8), np.float32))


def test_learned_noise_is_measured() -> None:
    """Images with detail, in independent halves; of 40 repeats at nominal 95% at least 31 hold the truth."""
    held = {0.0: 0, 0.05: 0, 0.2: 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        real, made = (
            (rng.uniform(0.2, 1, (300, 1, 1, 1)) * 0.1 * rng.normal(size=(300, 1, 16, 16))).astype(np.float32)
            for _ in range(2)
        )
        noise = rng.normal(size=made.shape).astype(np.float32)
        for sigma in held:
            estimate = learned_noise(made + np.float32(sigma) * noise, real)
            assert estimate.low < estimate.value < estimate.high
            held[sigma] += estimate.low <= sigma <= estimate.high
    assert min(held.values()) >= 31
    smoother = learned_noise(real, made + np.float32(0.2) * noise)
    assert smoother.high < 0
    assert smoother.value == pytest.approx(-0.2, abs=0.01)
    with pytest.raises(UserError, match="at least 3x3"):
        learned_noise(np.zeros((30, 1, 2, 2), np.float32), np.zeros((30, 1, 2, 2), np.float32))
    with pytest.raises(UserError, match="at least 30 images"):
        learned_noise(np.zeros((29, 1, 4, 4), np.float32), np.zeros((30, 1, 4, 4), np.float32))


def test_one_record_has_every_distance() -> None:
    """Also for images of one distribution. Where not all images are compared, they are taken at random.

    Data sets are often sorted by class.
    """
    for seed in range(10):
        rng = np.random.default_rng(seed)
        record = distances(rng.normal(size=(300, 6)), rng.normal(size=(400, 6)))
        assert record.frechet_low is not None
        assert record.frechet_limit is not None
        assert record.frechet_high is not None
        assert record.frechet_low < record.frechet_limit < record.frechet_high
        assert record.kernel_low is not None
        assert record.kernel_high is not None
        assert record.kernel_low < record.kernel < record.kernel_high
        assert record.compared == 300
        assert record.precision is not None
        assert record.coverage is not None
        assert record.precision > 0.8
        assert record.coverage > 0.9
    biased = distances(rng.normal(size=(200, 30)), rng.normal(size=(900, 30))).warnings
    assert biased[-1].startswith("more than half of the Frechet distance is bias")
    assert distances(rng.normal(size=(300, 6)) + 1, rng.normal(size=(400, 6))).warnings == []
    by_class = np.sort(rng.normal(size=(900, 1)), axis=0) @ np.ones((1, 6)) + 0.1 * rng.normal(size=(900, 6))
    covered = distances(by_class[rng.permutation(900)[:300]], by_class).coverage
    assert covered is not None
    assert covered > 0.8


def test_wide_principal_components_are_those_of_the_images_products() -> None:
    wide = RNG.normal(size=(60, 3, 40, 40)).astype(np.float32)  # 4,800 dimensions
    pca = principal_components(wide, 10)
    _, values, rows = np.linalg.svd(
        wide.reshape(60, -1) - wide.reshape(60, -1).mean(axis=0), full_matrices=False
    )
    np.testing.assert_allclose(np.abs((pca.components * rows[:10]).sum(axis=1)), 1, atol=1e-5)
    assert pca.scale == pytest.approx((values[:10] ** 2 / 59).mean() ** 0.5, rel=1e-5)


def test_evaluate_reads_saved_features_and_noisy_held_out_images(
    run: Path, few: Path, digits: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "features"
    assert main(["features", "train", str(few), str(saved), "--kind", "pca"]) == 0
    mix(digits / "held-out", tmp_path / "noisy", clean=0, noisy=[(0.3, 200)], seed=0)
    clean = run_evaluation(
        run, few, held_out=digits / "held-out", features=str(saved), n=64, steps=4, bits=True
    )
    noisy = run_evaluation(run, few, held_out=tmp_path / "noisy", features=str(saved), n=64, steps=4)
    assert clean.features == noisy.features
    assert clean.features.name == "pca"
    assert clean.risk is not None
    assert noisy.risk is not None
    assert noisy.risk_on_noisy
    assert noisy.risk.levels == [level for level in clean.risk.levels if level > 0.31]
    by_level = dict(
        zip(clean.risk.levels, zip(clean.risk.risk, clean.risk.standard_error, strict=True), strict=True)
    )
    for level, risk, error in zip(noisy.risk.levels, noisy.risk.risk, noisy.risk.standard_error, strict=True):
        expected, own = by_level[level]
        assert abs(risk - expected) < 4.5 * (error**2 + own**2) ** 0.5
    # Hardly trained, the denoiser is, by its preconditioning, that of a normal distribution with the variance
    # of all pixels.
    assert clean.bits is not None
    data = open_dataset(digits / "held-out")
    spread = data.read_raw(np.arange(len(data))).var(dtype=np.float64) + 1 / 12
    assert clean.bits == pytest.approx(0.5 * np.log2(2 * np.pi * np.e * spread), abs=0.2)
    with pytest.raises(UserError, match="--bits: needs a run, and held-out clean images"):
        run_evaluation(run, few, held_out=tmp_path / "noisy", features=str(saved), n=64, bits=True)
    with pytest.raises(UserError, match="can only measure the risk of a run"):
        run_evaluation(few, few, held_out=tmp_path / "noisy", features=str(saved))
    assert clean.distances is not None
    assert clean.distances.copied is not None


def test_the_command_prints_every_number(
    run: Path, few: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(run),
        "--against",
        str(few),
        "--held-out",
        str(digits / "held-out"),
        "--n",
        "64",
        "--steps",
        "4",
    ]
    assert main([*words, "--features", "pixels"]) == 0
    captured = capsys.readouterr()
    for name in ("Frechet distance", "kernel distance", "sliced Wasserstein", "copies", "noise"):
        assert f"\n{name}" in captured.out
    assert "\nprecision" not in captured.out
    too_few = " images are too few to tell "
    for what in (
        "the limit of the Frechet distance in 64 features",
        "the interval of the kernel distance",
        "precision, recall",
    ):
        assert too_few + what in captured.err
    assert main([*words, "--features", "pixels", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["distances"]["neighbours"] == 5
    assert main([*words, "--features", "nowhere"]) == 2
    assert "nowhere: no features there" in capsys.readouterr().err


def test_pixel_features_have_nothing_to_save() -> None:
    from noiseworth.evaluate.feature_files import save_features

    with pytest.raises(UserError, match="nothing to save"):
        save_features(PixelFeatures((1, 8, 8)), (1, 8, 8), Path())
