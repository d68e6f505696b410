"""What a training decides by itself: network, arithmetic, memory format, compiling; and that it keeps to it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.networks import WIDTHS, choose_preset, make_backbone
from noiseworth.networks.haar import haar, inverse_haar
from noiseworth.networks.presets import channels_for
from noiseworth.train import choices, driver
from noiseworth.train.choices import advice, computes_in_bf16, try_out
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from noiseworth.train.run_directory import load_config
from noiseworth.train.trainer import Trainer

CPU = torch.device("cpu")


def _config(data: Path, out: Path, **settings: object) -> TrainConfig:
    defaults = {"n_images": 64, "batch": 32, "monitor_every": 0, "device": "cpu"}
    return TrainConfig(data=str(data), out=str(out), **(defaults | settings))  # type: ignore[arg-type]


def test_the_network_follows_the_images() -> None:
    assert choose_preset((1, 8, 8), 1500, on_gpu=False) == "medium"
    assert choose_preset((3, 28, 40), 50_000, on_gpu=False) == "light"
    assert choose_preset((1, 8, 8), 1500, on_gpu=True) == "medium"
    assert choose_preset((3, 64, 64), 50_000, on_gpu=True) == "heavy"
    sides = {
        8: (32, 64),
        12: (32, 64),
        16: (32, 64),
        17: (32, 64, 128),
        28: (32, 64, 128),
        64: (32, 64, 128, 256),
    }
    assert {side: channels_for(32, side) for side in sides} == sides
    assert channels_for(32, 300) == (32, 64, 128, 256, 256, 256, 256)


def test_haar_coefficients_are_orthonormal() -> None:
    x = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    coefficients = haar(x)
    assert coefficients.shape == (2, 12, 3, 5)
    torch.testing.assert_close(inverse_haar(coefficients), x)
    torch.testing.assert_close(coefficients.square().sum(), x.square().sum())
    flat = haar(torch.ones(1, 2, 2, 2))
    assert flat.flatten().tolist() == [2, 0, 0, 0, 2, 0, 0, 0]  # of each channel by itself


def test_an_unknown_transform_is_refused() -> None:
    for preset in ("light+haar:4", "light+dct", "light+", "none+haar:1"):
        with pytest.raises(UserError, match="--preset"):
            make_backbone(preset, (1, 8, 8), 0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 13), (2, 28, 20), (1, 1, 1)])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("preset", ["light", "light+haar:1", "light+haar:3"])
def test_a_network_takes_any_size_and_its_classes(
    preset: str, shape: tuple[int, int, int], classes: int
) -> None:
    network = make_backbone(preset, shape, 0, classes)
    for p in network.parameters():
        nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(p.numel()))
    x, condition = (
        torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)),
        torch.linspace(-1, 1, 4),
    )
    y = network(x, condition)
    assert y.shape == x.shape
    assert not torch.allclose(y, network(x, condition + 0.1))
    if classes:
        labels = torch.tensor([0, 1, 2, 3])
        assert torch.equal(network(x, condition, torch.full((4,), 3)), y)  # 3 is unknown
        assert not torch.allclose(network(x, condition, labels)[:3], y[:3])
        assert torch.equal(network(x, condition, labels)[3], y[3])


def test_a_network_begins_as_the_estimate_of_its_preconditioner() -> None:
    """And is a function of its seed; the global generator is left as it was."""
    state = torch.get_rng_state()
    first, again, other = (make_backbone("medium", (1, 8, 8), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.down[0].conv_in.weight, other.down[0].conv_in.weight)  # type: ignore[union-attr,index]
    assert not first(torch.randn(2, 1, 8, 8), torch.zeros(2)).any()


def test_arithmetic_follows_the_device(monkeypatch: pytest.MonkeyPatch, mixed: Path, tmp_path: Path) -> None:
    for is_native, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda is_native=is_native: is_native, raising=False
        )
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
        assert computes_in_bf16(CPU) is is_native
        assert Trainer(_config(mixed, tmp_path / "run")).config.precision == precision
    assert Trainer(_config(mixed, tmp_path / "run", precision="bf16")).config.precision == "bf16"
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")  # as in older releases of torch
    assert computes_in_bf16(CPU) is False
    assert computes_in_bf16(torch.device("meta")) is False


class _Slow(nn.Module):
    """32 images take as long as `seconds` says, by the clock of the test."""

    def __init__(self, clock: list[float], seconds: Callable[[bool, bool], float]) -> None:
        super().__init__()
        self.clock, self.seconds, self.is_compiled = clock, seconds, False
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        self.clock[0] += self.seconds(channels_last, self.is_compiled) * len(x) / 32
        output: Tensor = self.convolution(x)
        return output


@pytest.mark.parametrize(
    ("gains", "n_images", "chosen"),
    [
        ((1.0, 1.0), 10**6, (False, False)),
        ((1.3, 1.3), 10**6, (True, True)),
        ((1.03, 1.03), 10**6, (False, False)),  # too little to be sure of
        ((0.5, 1.5), 10**6, (False, True)),
        ((1.3, 1.3), 32 * 700, (True, False)),  # 700 s: too short to compile
        ((1.3, 1.3), 32 * 500, (False, False)),  # too short for anything
    ],
)
def test_only_what_is_faster_is_kept(
    gains: tuple[float, float], n_images: int, chosen: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    network = _Slow(
        clock, lambda last, compiled: 1.0 / (gains[0] if last else 1) / (gains[1] if compiled else 1)
    )

    def compiled(module: nn.Module) -> Callable[..., Tensor]:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            network.is_compiled = True
            try:
                return network.forward(x, sigma)
            finally:
                network.is_compiled = False

        return call

    monkeypatch.setattr(choices, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch, "compile", compiled)
    config = TrainConfig(data="d", out="o", batch=32, n_images=n_images)
    before = network.convolution.weight.clone()
    trial = try_out(network, (3, 8, 8), config, CPU, lambda: torch.autocast("cpu", enabled=False))
    assert (trial.channels_last, trial.compile) == chosen
    gain = (gains[0] if chosen[0] else 1) * (gains[1] if chosen[1] else 1)
    assert trial.gain == pytest.approx(gain)
    assert trial.seconds_per_image == pytest.approx(1 / gain / 32)
    assert torch.equal(network.convolution.weight, before)
    assert network.convolution.weight.grad is None
    named = replace(config, compile=False, channels_last=True)
    trial = try_out(network, (3, 8, 8), named, CPU, lambda: torch.autocast("cpu", enabled=False))
    assert (trial.channels_last, trial.compile, trial.kept) == (True, False, ())  # nothing was open


def test_a_compiler_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(module: nn.Module) -> nn.Module:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(choices, "_WORTH_COMPILING", 0.0)
    monkeypatch.setattr(torch, "compile", fails)
    network = make_backbone("light", (1, 8, 8), 0)
    trial = try_out(
        network, (1, 8, 8), TrainConfig(data="d", out="o"), CPU, lambda: torch.autocast("cpu", enabled=False)
    )
    assert not trial.compile


def test_a_run_keeps_what_it_chose(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The choice is written down, said, and kept by the same command, also where it would now be another."""
    config = _config(mixed, tmp_path / "run")
    trial = choices.Trial(1.0, channels_last=True, compile=False, kept=("channels last",), gain=1.25)
    monkeypatch.setattr("noiseworth.train.trainer.try_out", lambda *_: trial)
    run_training(config)
    settings = load_config(tmp_path / "run")
    assert (settings.channels_last, settings.compile, settings.preset) == (True, False, "medium")
    assert settings.precision in ("bf16", "fp32")
    assert "trains with channels last, 1.25 times as fast here" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("noiseworth.train.choices.choose_preset", lambda *_: "heavy")
    assert run_training(replace(config, n_images=128)).n_images == 128
    kept = load_config(tmp_path / "run")
    assert replace(kept, n_images=64) == settings


def test_a_training_of_days_says_what_would_take_an_hour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((8, 32, 32), np.float32))
    pack(tmp_path / "images.npy", tmp_path / "data", sigma=0.1, range=(0.0, 1.0))
    shape = (1, 32, 32)
    config = _config(tmp_path / "data", tmp_path / "run", preset="small", n_images=10**6, accumulate=8)
    trial = choices.Trial(0.2, channels_last=False, compile=False, kept=(), gain=1.0)
    network = make_backbone("small", shape, 0)
    days = "will take about 2.3 days on this machine; "
    words = advice(network, shape, config, trial, 10**6)
    assert words.startswith(days + "--preset ")
    assert words.split("--preset ")[1].split()[0] in WIDTHS
    assert "would take about" in words
    words = advice(network, shape, config, replace(trial, seconds_per_image=200.0), 10**6)
    assert "--preset light --n-images " in words
    assert words.endswith("would take about an hour")
    monkeypatch.setattr("noiseworth.train.trainer.try_out", lambda *_: trial)
    monkeypatch.setattr(driver, "_progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_training(config)
    assert days in capsys.readouterr().err
