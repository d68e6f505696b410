"""A model that diffusers trained is the same denoiser here, and is trained on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from noiseworth.data.dataset import read_all
from noiseworth.errors import UserError
from noiseworth.networks.adopted import adopt, adopted_weights, of_preset
from noiseworth.runs.model import load_run
from noiseworth.runs.sampling import sample_run
from noiseworth.runs.shared import share_model
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from noiseworth.train.model import make_denoiser

SCHEDULE = {"num_train_timesteps": 50, "beta_schedule": "squaredcos_cap_v2"}


def _save(folder: Path, channels: int = 1, **schedule: Any) -> Path:
    """A pipeline of diffusers, of random weights."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(3)
    unet = UNet2DModel(
        sample_size=8, in_channels=channels, out_channels=channels, block_out_channels=(8, 16), norm_num_groups=4,
        layers_per_block=1, down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler(**SCHEDULE | schedule)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
def test_it_estimates_what_diffusers_does(tmp_path: Path, predicts: str) -> None:
    from diffusers import DDPMPipeline

    folder = _save(tmp_path / "model", prediction_type=predicts)
    pipeline = DDPMPipeline.from_pretrained(folder, local_files_only=True)
    config = TrainConfig(data="none", out="none", preset=adopt(folder).preset())
    denoiser = make_denoiser(config, (1, 8, 8), 0, sigma_data=0.6)
    weights, _ = adopted_weights(folder)
    denoiser.load_state_dict({f"backbone.unet.{name}": w for name, w in weights.items()})
    denoiser.eval()
    mixed = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for step in (0, 7, 30, 48):
            left = pipeline.scheduler.alphas_cumprod[step]
            output = pipeline.unet(mixed, step).sample
            pipeline.scheduler.config["clip_sample"] = False
            pipeline.scheduler.register_to_config(clip_sample=False)
            theirs = pipeline.scheduler.step(output, step, mixed).pred_original_sample
            ours = denoiser(mixed / left.sqrt(), ((1 - left) / left).sqrt().expand(3))
            # Of x - sigma e, single precision leaves 1e-6 of sigma, which is 30 at step 48.
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        between = denoiser(mixed, torch.tensor([1e-4, 0.5, 1e4]))  # beyond the ends of the schedule, too
    assert between.isfinite().all()


def test_training_begins_with_it_and_goes_on_without_its_folder(tmp_path: Path, mixed: Path) -> None:
    folder = _save(tmp_path / "model")
    run = tmp_path / "run"
    settings: dict[str, Any] = {"n_images": 256, "batch": 64, "monitor_every": 0, "warmup": 0}
    config = TrainConfig(
        data=str(mixed), out=str(run), init=str(folder), lr=1e-9, optimizer="adam", **settings
    )
    run_training(config)
    first = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    made = load_run(run).denoiser.state_dict()
    assert made.keys() == {f"backbone.unet.{name}" for name in first}
    for name, weight in first.items():
        torch.testing.assert_close(made[f"backbone.unet.{name}"], weight, rtol=0, atol=1e-6)
    assert json.loads((run / "env.json").read_text())["init"]["run"] == str(folder)
    shutil.rmtree(folder)
    longer = TrainConfig(
        data=str(mixed),
        out=str(run),
        init=str(folder),
        lr=1e-9,
        optimizer="adam",
        **settings | {"n_images": 320},
    )
    assert run_training(longer).n_images == 320
    share_model(run, tmp_path / "shared", licence="cc0-1.0")
    assert (
        "the network is diffusers' U-Net of [8, 16] channels"
        in (tmp_path / "shared" / "README.md").read_text()
    )
    made_by = [
        read_all(sample_run(path, tmp_path / f"of {path.name}", n=4, steps=4))
        for path in (run, tmp_path / "shared")
    ]
    np.testing.assert_array_equal(made_by[0], made_by[1])


def test_files_beside_each_other_are_the_same_model(tmp_path: Path) -> None:
    """As older repositories have them."""
    folder = _save(tmp_path / "model")
    flat = tmp_path / "flat"
    shutil.copytree(folder / "unet", flat)
    shutil.copy(folder / "scheduler" / "scheduler_config.json", flat)
    assert adopt(flat) == adopt(folder)
    ours, theirs = adopted_weights(flat)[0], adopted_weights(folder)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


def test_fine_tuning_lowers_the_loss(tmp_path: Path, mixed: Path) -> None:
    run = tmp_path / "run"
    run_training(
        TrainConfig(
            data=str(mixed), out=str(run), init=str(_save(tmp_path / "model")), n_images=3840, monitor_every=0
        )
    )
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    # Of three seeds it fell to 0.66 to 0.73 of it; an untrained network stays near 1.
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


def _spoil(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "answer"),
    [
        (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").rename(f / "unet" / "x.bin"), "safe_serialization"),
        (lambda f: shutil.rmtree(f / "scheduler"), "has no scheduler_config.json"),
        (lambda f: _spoil(f, "unet/config.json", num_class_embeds=10), "only unconditional models"),
        (lambda f: _spoil(f, "unet/config.json", _class_name="UNet2DConditionModel"), "holds a UNet2DConditionModel"),
        (lambda f: _spoil(f, "unet/config.json", block_out_channels=[8, 32]), "cannot read it"),
        (lambda f: _spoil(f, "unet/config.json", in_channels=3, out_channels=3), "of images of 3 channels"),
        (lambda f: _spoil(f, "unet/config.json", layers=3), "cannot make it"),
        (lambda f: _spoil(f, "unet/config.json", time_embedding_type="fourier"), "only schedules of DDPM"),
        (lambda f: _spoil(f, "scheduler/scheduler_config.json", prediction_type="flow"), "predicts flow"),
    ],
)  # fmt: skip
def test_other_models_are_refused(tmp_path: Path, mixed: Path, spoil: Any, answer: str) -> None:
    folder = _save(tmp_path / "model")
    spoil(folder)
    with pytest.raises(UserError, match=answer):
        run_training(TrainConfig(data=str(mixed), out=str(tmp_path / "run"), init=str(folder), n_images=64))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_preset_beside_it_is_refused(tmp_path: Path, mixed: Path) -> None:
    folder = _save(tmp_path / "model")
    with pytest.raises(UserError, match="leave out --preset"):
        run_training(
            TrainConfig(data=str(mixed), out=str(tmp_path / "run"), init=str(folder), preset="light")
        )
    with pytest.raises(UserError, match="no network of diffusers"):
        of_preset("diffusers:{")
