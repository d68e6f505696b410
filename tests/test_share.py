"""A shared model is the same model: in every command, from a directory as from the hub, in ONNX and for deepinv."""

import importlib.util
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import noiseworth
from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.records import SharedRecord, load_record
from noiseworth.runs.evaluation import run_evaluation
from noiseworth.runs.sampling import sample_run
from noiseworth.runs.shared import share_model
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training


@pytest.fixture(scope="module")
def run(mixed: Path) -> Path:
    path = mixed.parent / "run to share"
    run_training(TrainConfig(data=str(mixed), out=str(path), n_images=2560, preset="light"))
    return path


@pytest.fixture(scope="module")
def shared(run: Path) -> Path:
    path = run.parent / "shared"
    share_model(run, path, licence="cc0-1.0", name="small digits")
    return path


def _sampled(model: Path, out: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return read_all(sample_run(model, out, n=8, steps=6))


def test_it_samples_the_same_images_and_is_small(run: Path, shared: Path, tmp_path: Path) -> None:
    assert np.array_equal(_sampled(run, tmp_path / "a"), _sampled(shared, tmp_path / "b"))
    assert sum(path.stat().st_size for path in shared.iterdir()) < 5e6
    began = time.monotonic()
    noiseworth.load_run(shared)
    assert time.monotonic() - began < 2
    names = {path.name for path in shared.iterdir()} - {".command.json"}
    assert names == {"config.json", "model.safetensors", "README.md"}


def test_the_card_says_what_it_is_and_nothing_of_the_machine(shared: Path, mixed: Path) -> None:
    card = (shared / "README.md").read_text()
    assert "license: cc0-1.0" in card
    assert "# small digits" in card
    assert "9% of them clean" in card  # of a tenth some are held back
    assert "| 0.5 | 1,350 |" in card
    assert open_dataset(mixed).record.fingerprint in card
    for path in (shared / "README.md", shared / "config.json"):
        assert str(mixed.parent) not in path.read_text()


def test_the_card_has_the_measured_quality(run: Path, digits: Path, tmp_path: Path) -> None:
    run_evaluation(
        run,
        against=digits / "train",
        held_out=digits / "held-out",
        n=200,
        steps=4,
        features="pca",
        check_steps=0,
    )
    share_model(run, tmp_path / "measured")
    card = (tmp_path / "measured" / "README.md").read_text()
    assert "Frechet distance in features of the kind" in card
    assert "200 generated images" in card
    (run / "evaluation.json").unlink()


def test_it_is_evaluated_and_restores_as_the_run_does(shared: Path, digits: Path, tmp_path: Path) -> None:
    made = run_evaluation(shared, against=digits / "train", n=100, steps=4, features="pca", check_steps=0)
    assert made.frechet_distance > 0
    noisy = tmp_path / "a.npy"
    np.save(noisy, (read_all(open_dataset(digits / "held-out"))[:4, 0] + 1) * 8)
    assert main(["restore", str(shared), str(noisy), str(tmp_path / "out"), "--sigma", "2", "--no-maps"]) == 0


def test_the_hub_class_saves_and_loads_without_a_network(shared: Path, tmp_path: Path) -> None:
    first = noiseworth.SharedModel.from_pretrained(str(shared))
    first.save_pretrained(tmp_path / "again")
    again = noiseworth.SharedModel.from_pretrained(tmp_path / "again")
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 2.0])
    with torch.no_grad():
        assert torch.equal(first.model.denoiser(x, sigma), again.model.denoiser(x, sigma))
    with pytest.raises(noiseworth.UserError, match="no shared model"):
        noiseworth.SharedModel(tmp_path)


def test_what_is_damaged_or_foreign_is_refused(shared: Path, tmp_path: Path, capsys: Captured) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).write_bytes((shared / name).read_bytes())
    words = ["sample", str(copy), str(tmp_path / "s")]
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert "is damaged, or not of this model" in refusal(words, capsys)
    (copy / "model.safetensors").write_bytes((shared / "model.safetensors").read_bytes())
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace('"light"', '"heavy"'))
    assert "does not fit the network heavy" in refusal(words, capsys)
    (copy / "config.json").write_text(text.replace('"format": 1', '"format": 9'))
    assert "format" in refusal(words, capsys)
    assert "share a finished run" in refusal(["share", str(shared), str(tmp_path / "x")], capsys)
    assert load_record(SharedRecord, shared / "config.json").licence == "cc0-1.0"


def test_diffusers_pipeline_makes_the_same_images(run: Path, tmp_path: Path) -> None:
    expected = _sampled(run, tmp_path / "samples")
    pipeline = noiseworth.NoiseworthPipeline.from_run(run)
    made = pipeline(batch_size=8, num_inference_steps=6, output_type="pt").images
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)
    pipeline.save_pretrained(tmp_path / "pipeline")
    again = noiseworth.NoiseworthPipeline.from_pretrained(tmp_path / "pipeline")
    repeated = again(batch_size=3, num_inference_steps=6, output_type="pt").images
    np.testing.assert_allclose(repeated.numpy(), expected[:3], atol=1e-5)
    (picture,) = again(num_inference_steps=6).images
    assert picture.size == (8, 8)


def test_sampling_stops_at_a_level(run: Path, tmp_path: Path, capsys: Captured) -> None:
    """What it gives there is an estimate, smoother than an image; far up, hardly more than the mean of all."""
    images = [
        read_all(sample_run(run, tmp_path / f"{level}", n=64, steps=8, stop_at=level))
        for level in (0.0, 0.5, 5.0)
    ]
    spread = [float(each.std(axis=0).mean()) for each in images]
    assert spread[0] > spread[1] > spread[2]
    plain = read_all(sample_run(run, tmp_path / "plain", n=64, steps=8))
    assert np.array_equal(plain, images[0])
    assert "0 or more" in refusal(["sample", str(run), str(tmp_path / "x"), "--stop-at", "-1"], capsys)


def test_onnx_computes_the_same(run: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    share_model(run, tmp_path / "out", onnx=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    x, sigma = torch.randn(5, 1, 8, 8), torch.tensor([0.05, 0.3, 1.0, 5.0, 40.0])
    (made,) = session.run(None, {"x": x.numpy(), "sigma": sigma.numpy()})
    with torch.no_grad():
        expected = noiseworth.load_run(run).denoiser(x, sigma).numpy()
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_deepinvs_call_has_its_units(shared: Path) -> None:
    """Images in [0, 1], and the noise in the same units."""
    path = Path(__file__).parent.parent / "examples" / "deepinv_prior.py"
    spec = importlib.util.spec_from_file_location("deepinv_prior", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    x = torch.rand(2, 1, 8, 8)
    prior = module.Prior(shared)
    expected = (noiseworth.load_run(shared).denoiser(2 * x - 1, torch.tensor([0.2, 0.2])) + 1) / 2
    torch.testing.assert_close(prior(x, 0.1), expected)
    torch.testing.assert_close(prior(x, torch.tensor([0.1, 0.1])), expected)


def test_the_commands_of_the_page(
    run: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "sharing.md").read_text(encoding="utf-8")
    corrupt(digits / "held-out", tmp_path / "data" / "test", clean_fraction=0.0, sigma=0.5)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "scope").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 3
    for command in commands:
        assert main(command.split()[1:]) == 0, command
