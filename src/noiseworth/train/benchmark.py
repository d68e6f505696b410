"""The speed of training, measured against a bare loop of the same network: forward, backward, step, and nothing else.

The two take steps in turn, so that a machine whose speed drifts treats them alike; what is reported is the
ratio of medians.
"""

import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.networks import count_parameters
from noiseworth.options import with_options
from noiseworth.records import SpeedRecord, machine
from noiseworth.train.choices import forward_flops
from noiseworth.train.config import BenchmarkConfig, TrainConfig
from noiseworth.train.trainer import Trainer

_IMAGES, _WARM_UP = 2000, 3
_PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16, by their maker's data sheets


@with_options(BenchmarkConfig)
def measure_speed(config: BenchmarkConfig) -> SpeedRecord:
    """Train on made-up images, a tenth clean, the others with noise 0.2, and time it.

    Raises:
        UserError: there is no such network, or memory ran out.
    """
    shape = (config.channels, config.size, config.size)
    with tempfile.TemporaryDirectory(prefix="noiseworth-") as folder:
        data = Path(folder) / "data"
        _make_images(data, shape)
        train_config = TrainConfig(
            data=str(data),
            out=f"{folder}/run",
            preset=config.preset,
            batch=config.batch,
            n_images=config.batch * (config.steps + 2 * _WARM_UP) * 2,
            precision=config.precision,
            compile=config.compile,
            channels_last=config.channels_last,
            below_noise="none",
        )
        trainer = Trainer(train_config)
        device, running = trainer.device, trainer.steps()
        for _ in range(_WARM_UP):
            next(running)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        memory = (
            torch.cuda.max_memory_allocated() if device.type == "cuda" else used
        )  # before there is a second network
        bare = _bare(Trainer(train_config))
        times: dict[str, list[float]] = {"ours": [], "bare": []}
        for step in range(config.steps + _WARM_UP):
            for name, act in (("ours", lambda: next(running)), ("bare", bare)):
                seconds = _timed(act, device)
                if step >= _WARM_UP:
                    times[name].append(seconds)
        ours, alone = median(times["ours"]), median(times["bare"])
        # The backward pass costs twice the forward pass.
        flops = 3 * config.batch * forward_flops(trainer.ema.module, shape)
        peak = next(
            (v for k, v in _PEAK.items() if device.type == "cuda" and k in torch.cuda.get_device_name()), None
        )
        return SpeedRecord(
            preset=config.preset,
            size=config.size,
            batch=config.batch,
            precision=trainer.config.precision,
            parameters=count_parameters(trainer.denoiser),
            gflop_forward=flops / config.batch / 3e9,
            images_per_second=config.batch / ours,
            bare_images_per_second=config.batch / alone,
            overhead=ours / alone - 1,
            step_seconds=[min(times["ours"]), ours, max(times["ours"])],
            bare_step_seconds=[min(times["bare"]), alone, max(times["bare"])],
            tflops=flops / ours / 1e12,
            utilisation=None if peak is None else flops / ours / peak,
            peak_gib=memory / 2**30,
            device=torch.cuda.get_device_name()
            if device.type == "cuda"
            else str(machine().get("processor", "CPU")),
        )


def _make_images(directory: Path, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    images = (0.5 * rng.standard_normal((_IMAGES, *shape))).astype(np.float16)
    sigma = np.where(np.arange(_IMAGES) < _IMAGES // 10, 0, 0.2).astype(np.float32)
    with new_directory(directory) as folder:
        part = Part(Columns(sigma, np.arange(_IMAGES)), images)
        write_dataset(
            folder,
            [part],
            name="made-up",
            offset=0.0,
            scale=1.0,
            units="raw",
            provenance=[{"command": "bench train"}],
        )


def _bare(other: Trainer) -> Callable[[], None]:
    """Forward, backward and optimiser's step of the same network on one fixed batch, by plain PyTorch in the same precision."""
    model, optimizer, device = other.model, other.optimizer, other.device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(other.config.batch, *other.data.shape, generator=generator).to(device)
    if other.config.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    sigma = torch.full((len(x),), 0.5, device=device)

    def step() -> None:
        with other.autocast():
            estimate = model(x, sigma)
        loss = (estimate - x).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def _timed(act: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = perf_counter()
    act()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - began
