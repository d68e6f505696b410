"""Features of torch-fidelity's networks.

The package needs torchvision, of several gigabytes, so that a small module replaces it in these tests.
`bench/evaluation.py` tests the real package.
"""

import hashlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.image_grid import grid_png
from noiseworth.errors import UserError
from noiseworth.evaluate.fidelity import INCEPTION, FidelityFeatures, as_bytes, inception_score
from noiseworth.runs.config import EvaluationConfig
from noiseworth.runs.evaluation import evaluate, run_evaluation


class _Network(nn.Module):
    """Takes 8-bit RGB, as torch-fidelity's do, and gives channel means and made-up logits."""

    def __init__(self, layers: list[str]) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        rows = x.float().flatten(1)[:, :64]
        return tuple(rows / 255 if layer != "logits_unbiased" else rows[:, :10] for layer in self.layers)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights, and a torch-fidelity that reads it."""
    file = tmp_path / "weights.pth"
    file.write_bytes(b"weights")
    seen: dict[str, Any] = {}

    def create(
        name: str, layers: list[str], *, cuda: bool, feature_extractor_weights_path: str, verbose: bool
    ) -> nn.Module:
        assert feature_extractor_weights_path == str(file), "nothing may be downloaded"
        seen["name"] = name
        return _Network(layers)

    module = types.ModuleType("torch_fidelity.utils")
    module.create_feature_extractor = create  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.utils", module)
    return file


def test_bytes_are_those_of_an_8_bit_image() -> None:
    values = np.arange(256, dtype=np.uint8)
    model = ((values - np.float32(127.5)) / np.float32(127.5))[None, None, None]
    np.testing.assert_array_equal(as_bytes(model)[0, 0, 0], values)
    assert as_bytes(np.array([-1.7, 1.2], np.float32)).tolist() == [0, 255]


def test_the_score_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((500, 7)) * 2
    mean, spread = inception_score(logits, splits=1)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert mean == pytest.approx(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()), rel=1e-12)
    assert spread == 0
    certain = (
        np.eye(5)[np.arange(500) % 5] * 60
    )  # five classes, equally often, with certainty: the greatest score
    assert inception_score(certain, splits=1)[0] == pytest.approx(5, rel=1e-9)
    assert inception_score(np.zeros((50, 3)))[0] == pytest.approx(1, abs=1e-12)
    with pytest.raises(UserError, match="at least as many images"):
        inception_score(logits[:5])


def test_weights_must_be_the_published_ones(weights: Path) -> None:
    with pytest.raises(UserError, match=r"not the weights of inception-v3-compat .* theirs with 6726825d"):
        FidelityFeatures(INCEPTION, weights)
    digest = hashlib.sha256(b"weights").hexdigest()
    features = FidelityFeatures(INCEPTION, weights, sha256=digest)
    record = features.describe()
    assert record.sha256 == digest
    assert record.inception
    with pytest.raises(UserError, match="5 channels"):
        features(np.zeros((2, 5, 8, 8), np.float32))


def test_missing_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(
        UserError, match=r"no weights of inception-v3-compat there.*download https://.*--weights"
    ):
        FidelityFeatures()
    with pytest.raises(UserError, match=r"no weights of dinov2-vit-s-14 there"):
        FidelityFeatures("dinov2-vit-s-14")
    with pytest.raises(UserError, match="torch-fidelity's networks are"):
        FidelityFeatures("resnet")


def test_an_evaluation_in_inceptions_features_is_called_fid(
    weights: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    held = open_dataset(digits / "held-out")
    np.savez(tmp_path / "made.npz", images=held.read_raw(np.arange(200)))
    config = EvaluationConfig(tmp_path / "made.npz", digits / "train")
    record = evaluate(config, FidelityFeatures(weights=weights, sha256=digest))
    assert record.features.inception
    assert record.n_generated == 200
    assert record.distances is not None
    assert record.distances.inception_score is not None
    assert record.distances.inception_score > 1
    from noiseworth.report.evaluation import evaluation_table

    assert "FID and KID" in evaluation_table(record)
    assert "Inception score" in evaluation_table(record)
    words = ["evaluate", str(digits / "held-out"), "--against", str(digits / "train")]
    assert main([*words, "--features", "inception", "--weights", str(weights)]) == 2
    assert "not the weights of" in capsys.readouterr().err


def test_a_folder_of_image_files_is_measured_as_if_packed(digits: Path, tmp_path: Path) -> None:
    """Integers span the range of their type, whatever the units of the reference. Also writes a page."""
    from PIL import Image

    held = open_dataset(digits / "held-out")
    images = held.read(np.arange(100))
    for i, image in enumerate(images):
        (tmp_path / "made").mkdir(exist_ok=True)
        Image.fromarray(as_bytes(image)[0]).save(tmp_path / "made" / f"{i:03d}.png")
    # float32, in the raw units of the reference.
    np.savez(tmp_path / "same.npz", images=held.read_raw(np.arange(100)))
    folder = run_evaluation(tmp_path / "made", digits / "train", features="pca")
    array = run_evaluation(tmp_path / "same.npz", digits / "train", features="pca")
    # 8 bits have a rounding error of 1/510.
    assert folder.frechet_distance == pytest.approx(array.frechet_distance, rel=1e-3)
    words = ["evaluate", str(tmp_path / "made"), "--against", str(digits / "train"), "--features", "pca"]
    assert main([*words, "--page", str(tmp_path / "e.html")]) == 0
    page = (tmp_path / "e.html").read_text()
    assert folder.reference in page
    assert "data:image/png;base64" in page
    assert len(grid_png(images)) > 100


@pytest.mark.parametrize("fault", ["constant", "one", "shape", "nan", "weights"])
def test_bad_input_is_one_line(
    fault: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = open_dataset(digits / "held-out").read_raw(np.arange(50))
    messages = {
        "constant": "all 50 generated images are the same",
        "one": "a distance needs at least 6 feature vectors of each kind, got 1",
        "shape": "cannot be compared",
        "nan": "image 3: has NaN or infinite pixels",
        "weights": "nothing is downloaded automatically",
    }
    if fault == "constant":
        held[:] = held[0]
    elif fault == "one":
        held = held[:1]
    elif fault == "shape":
        held = held[:, :, 1:]
    elif fault == "nan":
        held[3, 0, 2, 2] = np.nan
    np.save(tmp_path / "made.npy", held)
    features = ["--features", "inception"] if fault == "weights" else ["--features", "pixels"]
    if fault == "weights":
        features += ["--weights", str(tmp_path / "nowhere.pth")]
    assert main(["evaluate", str(tmp_path / "made.npy"), "--against", str(digits / "train"), *features]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert messages[fault] in error


def test_the_reference_is_computed_once(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from noiseworth.evaluate import feature_registry as module

    held = open_dataset(digits / "held-out")
    extract = module.make_features("pca", held, None)
    first = module.features_of(extract, held)
    monkeypatch.setattr(module, "read_all", lambda _: pytest.fail("was computed before"))
    again = module.make_features("pca", held, None)
    assert again.describe() == extract.describe()
    np.testing.assert_array_equal(module.features_of(again, held), first)
