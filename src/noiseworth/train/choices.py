"""What a training decides by itself, where the settings leave it open: network, arithmetic, memory format, compiling.

Network and arithmetic follow from the data and the device, the same each time. Memory format and compiling are tried on the machine,
on made-up images, where the training is long enough to pay for the trial, and kept only if they are faster. The choice is
written into the run's settings, and a run that goes on keeps it.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from noiseworth.errors import UserError
from noiseworth.networks import WIDTHS, choose_preset, make_backbone
from noiseworth.networks.adopted import adopt, is_diffusers
from noiseworth.train.config import TrainConfig
from noiseworth.train.run_directory import load_config

_WORTH_A_FORMAT = 600.0  # seconds of training, from which memory formats are tried: that takes some seconds
_WORTH_COMPILING = 3600.0  # compiling takes about a minute
_HOUR = 3600.0
_FASTER = 1.05  # times, by which a choice must win
_FIRST_IMAGES = 8  # in the step that says how long the training will be
_TRIED_STEPS = 3


def settle(
    config: TrainConfig, shape: tuple[int, int, int], n_images: int, device: torch.device
) -> TrainConfig:
    """The settings with network and arithmetic decided.

    Args:
        config: the settings.
        shape: of the images, (C, H, W).
        n_images: images in the data set.
        device: that trains.

    Raises:
        UserError: `--init` is neither a run nor a model of diffusers, or its network is another one than `--preset`.
    """
    preset = config.preset
    if config.init is not None and is_diffusers(Path(config.init)):
        own = adopt(Path(config.init)).preset()
        if preset not in (None, own):
            raise UserError(f"--init {config.init}: brings its own network; leave out --preset")
        preset = own
    elif preset is None and config.init is not None:
        preset = load_config(Path(config.init)).preset
    if preset is None:
        preset = choose_preset(shape, n_images, device.type == "cuda")
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) else "fp32"
    return replace(config, preset=preset, precision=precision)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; where they are imitated it is slower than 32 bits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not in every release of torch
    return any(bool(getattr(torch.cpu, name, bool)()) for name in asks)


@dataclass(frozen=True)
class Trial:
    """What was measured before a training.

    Attributes:
        seconds_per_image: of a forward and a backward pass, as chosen.
        channels_last: as named, or whether this is faster.
        compile: as named, or whether this is faster.
        kept: what was tried and kept, in words.
        gain: images a second with it over those without.
    """

    seconds_per_image: float
    channels_last: bool
    compile: bool
    kept: tuple[str, ...]
    gain: float


def try_out(
    denoiser: nn.Module,
    shape: tuple[int, int, int],
    config: TrainConfig,
    device: torch.device,
    autocast: Callable[[], torch.autocast],
) -> Trial:
    """Time the network on made-up images, and choose what the settings leave open. Weights stay as they are.

    Args:
        denoiser: the network, on the device.
        shape: of the images, (C, H, W).
        config: the settings; `compile` and `channels_last` are open where they are None.
        device: that trains.
        autocast: gives a context in which the network computes in the precision of the run.
    """
    whole = config.batch // config.accumulate

    def seconds(module: nn.Module, channels_last: bool, count: int, steps: int = _TRIED_STEPS) -> float:
        """Of an image."""
        denoiser.to(memory_format=_memory(channels_last))  # type: ignore[call-overload]
        x = torch.zeros(count, *shape, device=device).contiguous(memory_format=_memory(channels_last))
        sigma = torch.ones(count, device=device)
        _step(module, x, sigma, autocast)
        times = []
        for _ in range(steps):
            _synchronise(device)
            began = perf_counter()
            _step(module, x, sigma, autocast)
            _synchronise(device)
            times.append(perf_counter() - began)
        return median(times) / count

    kept: list[str] = []
    chosen_format, chosen_compile = bool(config.channels_last), bool(config.compile)
    plain = best = seconds(denoiser, chosen_format, min(_FIRST_IMAGES, whole), steps=1)
    left = plain * config.n_images
    # From here on with batches of the training's own size, which is what is compiled for.
    if left > _WORTH_A_FORMAT:
        plain = best = seconds(denoiser, chosen_format, whole)
        if config.channels_last is None:
            other = seconds(denoiser, True, whole)
            if other * _FASTER < best:
                chosen_format, best = True, other
                kept.append("channels last")
    if config.compile is None and left > _WORTH_COMPILING:
        try:
            with warnings.catch_warnings(action="ignore"):  # what the compiler says is for its developers
                other = seconds(torch.compile(denoiser), chosen_format, whole)  # type: ignore[arg-type]
        except Exception:  # no compiler, or one that this network is too new for: train without
            other = best
        if other * _FASTER < best:
            chosen_compile, best = True, other
            kept.append("the network compiled")
    denoiser.to(memory_format=_memory(chosen_format))  # type: ignore[call-overload]
    denoiser.zero_grad(set_to_none=True)
    return Trial(best, chosen_format, chosen_compile, tuple(kept), plain / best)


def advice(
    denoiser: nn.Module, shape: tuple[int, int, int], config: TrainConfig, trial: Trial, left: int
) -> str:
    """What to say before a training that would take days: how long it is, and what would take an hour.

    Args:
        left: images that are still to be seen.
    """
    whole = left * trial.seconds_per_image
    words = f"will take about {whole / 86_400:,.1f} days on this machine"
    operations = forward_flops(denoiser, shape)
    for preset in reversed(WIDTHS):
        backbone = make_backbone(preset, shape, config.seed)
        seconds = whole * forward_flops(backbone.to(next(denoiser.parameters()).device), shape) / operations
        if seconds < whole and seconds <= _HOUR:
            return f"{words}; --preset {preset} would take about {max(1, round(seconds / 60))} minutes"
    share = _HOUR / seconds
    return f"{words}; --preset {preset} --n-images {round(share * left, -3):,.0f} would take about an hour"


def forward_flops(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Operations of a forward pass of one image (C, H, W), counted."""
    from torch.utils.flop_counter import FlopCounterMode  # takes a tenth of a second to import

    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device=device), torch.ones(1, device=device))
    return float(counter.get_total_flops())


def _memory(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def _step(module: nn.Module, x: Tensor, sigma: Tensor, autocast: Callable[[], torch.autocast]) -> None:
    with autocast():
        estimate = module(x, sigma)
    torch.autograd.backward(estimate.square().mean())


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
