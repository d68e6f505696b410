"""The networks that `--preset` names, and which one is taken where none is named."""

import math

import torch
from torch import nn

from noiseworth.errors import UserError
from noiseworth.networks.diffusers_unet import DiffusersUNet, Preset
from noiseworth.networks.haar import MOST_LEVELS, OnHaar
from noiseworth.networks.unet import UNet

# Our U-Net, as wide as this at the images' own resolution; the number of resolutions follows the images.
WIDTHS = {"light": 16, "medium": 32, "heavy": 64}
_COARSEST = 8  # pixels: a side is halved while it is above this, and once at least
_WIDEST = 256

# diffusers' U-Net: networks of published size, and those of older runs.
PRESETS = {
    "digits": Preset(channels=(32, 48), blocks=1),
    "mini": Preset(channels=(16, 32, 48), blocks=1),
    "small": Preset(channels=(64, 128, 128), blocks=2, attention=(2,)),
    "cifar": Preset(
        channels=(256, 256, 256), blocks=4, attention=(1,), groups=32
    ),  # of DDPM++'s size: 42 GFLOP at 32x32
    "imagenet64": Preset(
        channels=(192, 384, 576, 768), blocks=3, attention=(1, 2, 3), groups=32
    ),  # of ADM's size
}

_SMALL_SIDE = 16  # pixels: images to this size are cheap, and a wider network learns more from each
_MANY_IMAGES = 20_000


def choose_preset(shape: tuple[int, int, int], n_images: int, on_gpu: bool) -> str:
    """The network for images of a shape (C, H, W), `n_images` of them.

    On a processor, where time is short: the one that has the lowest risk after equal seconds (`results/speed.json`,
    speed/network). On a GPU one size wider, and two where there are images enough to fill it; that was never measured.
    """
    if on_gpu:
        return "heavy" if n_images >= _MANY_IMAGES else "medium"
    return "medium" if max(shape[1:]) <= _SMALL_SIDE else "light"


def channels_for(width: int, side: int) -> tuple[int, ...]:
    """Channels at each resolution of a U-Net: doubled wherever the side is halved, until it is at most 8 pixels."""
    halvings = max(1, math.ceil(math.log2(side / _COARSEST)))
    return tuple(min(width * 2**number, max(width, _WIDEST)) for number in range(halvings + 1))


def make_backbone(preset: str, shape: tuple[int, int, int], seed: int, classes: int = 0) -> nn.Module:
    """A U-Net for images of a shape (C, H, W), its weights freshly drawn, a function of the arguments: a `Backbone`.

    The global generator is left as it was.

    Raises:
        UserError: there is no such preset.
    """
    name, _, transform = preset.partition("+")
    levels = _haar_levels(preset, transform)
    channels, side = shape[0] * 4**levels, math.ceil(max(shape[1:]) / 2**levels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in WIDTHS:
            network: nn.Module = UNet(channels_for(WIDTHS[name], side), channels, classes)
        elif name in PRESETS:
            network = DiffusersUNet(PRESETS[name], channels, classes)
        else:
            names = ", ".join([*WIDTHS, *PRESETS])
            raise UserError(f"--preset {preset}: there is no such network; choose one of {names}")
    return OnHaar(network, levels) if levels else network


def _haar_levels(preset: str, transform: str) -> int:
    """The levels of `haar:2`; 0 of nothing."""
    if not transform and not preset.endswith("+"):
        return 0
    known = {f"haar:{levels}": levels for levels in range(1, MOST_LEVELS + 1)}
    if transform not in known:
        raise UserError(f"--preset {preset}: after + comes one of {', '.join(known)}, as in light+haar:1")
    return known[transform]
