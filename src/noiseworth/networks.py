"""The `Backbone` protocol, and diffusers' U-Net behind it.

A backbone is any module that maps an image batch (B, C, H, W), one float per image (B,) and, if it knows
classes, one class per image (B,) to an image batch of the same shape. What these mean (preconditioning,
levels) is decided in `diffusion/`; a backbone knows nothing of noise.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from noiseworth.errors import UserError


class Backbone(Protocol):
    """`(x (B, C, H, W), condition (B,), labels (B,) or None) -> (B, C, H, W)`."""

    def __call__(self, x: Tensor, condition: Tensor, labels: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Preset:
    """Sizes of a U-Net: channels at each resolution, residual blocks at each, resolutions (from 0) with attention."""

    channels: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...] = ()
    groups: int = 8


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

# EDM's conditioning is ln(sigma) / 4, about -1.6 to 1.1; diffusers' sinusoids of order 1 to 1e-4 tell such
# numbers apart only when they are spread out first.
_CONDITION_SCALE = 250.0


class UNet(nn.Module):
    """`diffusers.UNet2DModel` as a backbone, for any image size: sizes that do not halve evenly are padded and cropped.

    With `classes`, labels 0 .. classes - 1 are conditions; `classes` itself, or no labels at all, stands for
    an unknown class.
    """

    def __init__(self, preset: Preset, in_channels: int, classes: int = 0) -> None:
        super().__init__()
        from diffusers import UNet2DModel  # takes seconds to import

        depth = len(preset.channels)
        attends = [level in preset.attention for level in range(depth)]
        self.multiple, self.classes = 2 ** (depth - 1), classes
        self.unet = UNet2DModel(
            in_channels=in_channels,
            out_channels=in_channels,
            layers_per_block=preset.blocks,
            block_out_channels=preset.channels,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
            norm_num_groups=preset.groups,
            add_attention=any(attends),
            attention_head_dim=32,
            num_class_embeds=classes + 1 if classes else None,
            time_embedding_type="positional",  # `fourier` divides the output by the time
        )
        nn.init.zeros_(self.unet.conv_out.weight)  # start from the preconditioner's own estimate
        nn.init.zeros_(self.unet.conv_out.bias)

    def forward(self, x: Tensor, condition: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Backbone`."""
        if self.classes and labels is None:
            labels = torch.full((len(x),), self.classes, device=x.device)
        height, width = x.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = functional.pad(x, padding, mode="replicate") if any(padding) else x
        output: Tensor = self.unet(padded, condition.to(torch.float32) * _CONDITION_SCALE, labels).sample
        return output[..., :height, :width]


def make_backbone(preset: str, channels: int, seed: int, classes: int = 0) -> UNet:
    """A U-Net with freshly drawn weights, a function of the arguments; the global generator is left as it was.

    Raises:
        UserError: there is no such preset.
    """
    if preset not in PRESETS:
        raise UserError(f"--preset {preset}: there is no such network; choose one of {', '.join(PRESETS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(PRESETS[preset], channels, classes)


def count_parameters(module: Any) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
