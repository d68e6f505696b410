"""What is known by heart is measured, decides what is trained on, and the best average is kept; also after an interruption."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseworth import subset
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.diffusion.memorisation import LEVELS, Memorisation
from noiseworth.diffusion.presentations import exponent, information_at, presentations_at
from noiseworth.diffusion.worth import imputed_worth
from noiseworth.errors import UserError
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.runs.model import load_run
from noiseworth.train import checkpoint, run_directory
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from noiseworth.train.trainer import Trainer
from noiseworth.train.training_data import hold_back


def test_the_share_that_is_known_by_heart_follows_the_ratio_of_risks() -> None:
    memorisation, one = Memorisation(), torch.ones(len(LEVELS))
    for ratio, share in ((0.5, 0.0), (1.05, 0.0), (1.2, 0.5), (1.35, 1.0), (9.0, 1.0)):
        memorisation.observe(ratio * one, one)
        assert memorisation.state() == pytest.approx([share] * len(LEVELS), abs=1 / 64)
    memorisation.observe(torch.tensor([4.0, 1.0, 1.0, 1.0, 1.0]), one)
    low, middle, high = memorisation(torch.tensor([1e-3, 0.5, 90.0])).tolist()
    assert low == 1
    assert middle == high == 0
    between = memorisation(torch.tensor([0.16, (0.16 * 0.5) ** 0.5, 0.5]))
    assert between[1] == pytest.approx(float(between[0] + between[2]) / 2)
    memorisation.observe(
        torch.full((len(LEVELS),), torch.nan), one
    )  # a risk that cannot be measured changes nothing
    assert float(memorisation(torch.tensor([0.05]))) == 1
    other = Memorisation()
    other.load_state(memorisation.state())
    assert torch.equal(other.share, memorisation.share)


@pytest.mark.parametrize("memorised", [0.0, 0.3, 1.0])
def test_presentations_tell_what_their_law_says(memorised: float) -> None:
    """The derivative of what was told is exp(-depth), by small differences; where nothing is known by heart it is c / (1 + c)."""
    k = exponent(torch.tensor(memorised, dtype=torch.float64))
    depth = torch.linspace(0.01, 20, 200, dtype=torch.float64)
    step = 1e-6
    told = information_at(depth + step, k) - information_at(depth, k)
    shown = presentations_at(depth + step, k) - presentations_at(depth, k)
    assert torch.allclose(told / shown, torch.exp(-depth), rtol=1e-4, atol=1e-9)
    if memorised == 0:
        c = presentations_at(depth)
        assert torch.allclose(information_at(depth), c / (1 + c))


def test_imputed_images_are_trusted_further_down_where_clean_ones_are_known_by_heart() -> None:
    sigma, s = torch.tensor([0.05, 0.1, 0.3, 0.6]), torch.tensor([0.5])
    some = [imputed_worth(sigma, s, memorised=torch.full_like(sigma, share)) for share in (0.0, 0.5, 1.0)]
    assert (some[0][:3] < some[1][:3]).all()
    assert (some[1][:3] < some[2][:3]).all()
    assert all(float(worth[3]) == 0 for worth in some)  # the noisy image itself serves there
    assert some[0][1] == pytest.approx((0.01 / (0.01 + 0.0625)) ** 2)


def test_a_tenth_of_the_clean_images_is_held_back(digits: Path, tmp_path: Path) -> None:
    corrupt(digits / "train", tmp_path / "mixed", clean_fraction=0.1, sigma=0.5)
    whole = open_dataset(tmp_path / "mixed")
    data, held_back = hold_back(whole)
    count = int(whole.is_clean.sum())
    assert held_back is not None
    assert held_back.is_clean.all()
    assert len(held_back) == min(32, count // 10)
    assert len(data) + len(held_back) == len(whole)
    assert not set(data.ids.tolist()) & set(held_back.ids.tolist())
    few = whole.select(np.flatnonzero(whole.is_clean)[:9])
    assert hold_back(few)[1] is None
    assert len(hold_back(few)[0]) == 9
    noisy = whole.select(~whole.is_clean)
    assert hold_back(noisy)[1] is None


def _few_clean(digits: Path, tmp_path: Path) -> Path:
    """100 images, a tenth of them clean."""
    some, mixed = tmp_path / "some", tmp_path / "few"
    subset(str(digits / "train"), str(some), take=100)
    corrupt(some, mixed, clean_fraction=0.1, sigma=0.7)
    return mixed


def _config(data: Path, out: Path, **settings: object) -> TrainConfig:
    base = {
        "preset": "light",
        "batch": 64,
        "n_images": 64 * 96,
        "decay": "none",
        "monitor_every": 0,
        "device": "cpu",
    }
    return TrainConfig(data=str(data), out=str(out), **(base | settings))  # type: ignore[arg-type]


def test_few_clean_images_are_not_learned_by_heart(digits: Path, tmp_path: Path) -> None:
    """Ten clean images of a hundred: steered by the two that are held back, the risk is far lower than if all are trained on."""
    data = _few_clean(digits, tmp_path)
    held_out = str(digits / "held-out")
    risks = {}
    for name, which in (("held back", "own"), ("all", "none")):
        config = _config(data, tmp_path / name, n_images=10_000, batch=128, held_out=which)
        run_training(config)
        risks[name] = denoising_risk(
            load_run(tmp_path / name).denoiser, read_all(open_dataset(held_out))
        ).relative
    assert risks["held back"] < 0.85 * risks["all"]


def test_a_run_that_goes_on_is_steered_as_if_it_had_not_stopped(digits: Path, tmp_path: Path) -> None:
    """Interrupted between two measurements, it ends at the same weights, the same best ones and the same shares."""
    data = _few_clean(digits, tmp_path)
    whole = Trainer(_config(data, tmp_path / "whole"))
    list(whole.steps())
    part = Trainer(_config(data, tmp_path / "part"))
    records = part.steps()
    for _ in range(70):
        next(records)
    part.save()
    again = Trainer(_config(data, tmp_path / "part"))
    again.restore()
    assert again.steering.memorisation.state() == part.steering.memorisation.state()
    assert max(again.steering.memorisation.state()) > 0
    list(again.steps())
    assert again.steering.state() == whole.steering.state()
    for mine, other in zip(again.denoiser.parameters(), whole.denoiser.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert all(torch.equal(tensor, whole.steering.best[name]) for name, tensor in again.steering.best.items())


def test_the_best_average_is_the_model(digits: Path, tmp_path: Path) -> None:
    data = _few_clean(digits, tmp_path)
    config = _config(data, tmp_path / "run", n_images=64 * 40)
    trainer = Trainer(config)
    list(trainer.steps())
    trainer.steering.risk = float(trainer.steering.best_risk or 0) * 2  # as if it had risen since
    trainer.save()
    run_directory.begin(trainer.config, None)
    (folder,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert json.loads((folder / "state.json").read_text())["use_best"] is True
    state, tensors = checkpoint.load(folder)
    first = next(iter(trainer.steering.best))
    model = load_run(tmp_path / "run")
    assert torch.equal(model.denoiser.state_dict()[first], tensors["best"][first])
    assert model.sha256 == state.sha256["best.safetensors"]


def test_held_out_none_trains_on_all(digits: Path, tmp_path: Path) -> None:
    data = _few_clean(digits, tmp_path)
    config = _config(data, tmp_path / "run")
    assert len(Trainer(config).data) == 98
    trainer = Trainer(replace(config, held_out="none"))
    assert len(trainer.data) == 100
    assert trainer.held_out is None
    with pytest.raises(UserError, match="not a packed data set"):
        Trainer(replace(config, held_out=str(tmp_path / "nowhere")))
