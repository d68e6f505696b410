"""diffusers' U-Net as a backbone: the networks of published size, and those of older runs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noiseworth.networks.backbone import padded_to_multiple

# EDM's conditioning is ln(sigma) / 4, about -1.6 to 1.1; diffusers' sinusoids of order 1 to 1e-4 tell such
# numbers apart only when they are spread out first.
_CONDITION_SCALE = 250.0


@dataclass(frozen=True)
class Preset:
    """Sizes of a U-Net: channels at each resolution, residual blocks at each, resolutions (from 0) with attention."""

    channels: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...] = ()
    groups: int = 8


class DiffusersUNet(nn.Module):
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
        padded = padded_to_multiple(x, self.multiple)
        output: Tensor = self.unet(padded, condition.to(torch.float32) * _CONDITION_SCALE, labels).sample
        return output[..., :height, :width]
