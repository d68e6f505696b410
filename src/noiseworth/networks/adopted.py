"""A U-Net that diffusers has trained elsewhere, as a network of ours: read from its folder, and kept as text in the settings of a run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noiseworth.errors import UserError, first_line
from noiseworth.networks.backbone import padded_to_multiple

_WORD = "diffusers:"  # what the preset of such a network begins with
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")


@dataclass(frozen=True)
class Adopted:
    """Of an unconditional model: the arguments of diffusers' `UNet2DModel`, those of the schedule that it was trained by, and what it
    `predicts` (epsilon, sample or v_prediction)."""

    unet: dict[str, Any]
    schedule: dict[str, Any]
    predicts: str

    def preset(self) -> str:
        """As text, which a run keeps in its settings."""
        return _WORD + json.dumps(asdict(self), sort_keys=True)

    def make(self) -> "AdoptedUNet":
        """The network, its weights freshly drawn.

        Raises:
            UserError: diffusers does not know such a network.
        """
        from diffusers import UNet2DModel  # takes seconds to import

        try:
            return AdoptedUNet(UNet2DModel(**self.unet), len(self.unet["block_out_channels"]))
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"the network's config.json: diffusers cannot make it ({first_line(error)})"
            ) from None

    def log_sigmas(self) -> Tensor:
        """ln sigma (T,), rising, of the steps of its schedule: sigma^2 = (1 - a) / a, with `a` the share of the signal that is left."""
        from diffusers import DDPMScheduler

        left: Tensor = DDPMScheduler(**self.schedule).alphas_cumprod.double()
        return ((1 - left) / left).log() / 2


class AdoptedUNet(nn.Module):
    """`UNet2DModel` at the steps (B,) of its own schedule, for images of any size."""

    def __init__(self, unet: nn.Module, depth: int) -> None:
        super().__init__()
        self.unet, self.multiple = unet, 2 ** (depth - 1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """What it predicts of images (B, C, H, W)."""
        height, width = x.shape[-2:]
        output: Tensor = self.unet(padded_to_multiple(x, self.multiple), step).sample
        return output[..., :height, :width]


def of_preset(preset: str | None) -> Adopted | None:
    """The network of a preset's text; None if it is one of ours.

    Raises:
        UserError: the text is damaged.
    """
    if preset is None or not preset.startswith(_WORD):
        return None
    try:
        return Adopted(**json.loads(preset.removeprefix(_WORD)))
    except (ValueError, TypeError):
        raise UserError(f"preset {preset[:60]}: is no network of diffusers") from None


def words_of(preset: str) -> str:
    """A preset in a few words."""
    adopted = of_preset(preset)
    return (
        preset
        if adopted is None
        else f"diffusers' U-Net of {adopted.unet.get('block_out_channels')} channels"
    )


def is_diffusers(folder: Path) -> bool:
    """Whether a folder holds a model as diffusers saves it."""
    return _place(folder) is not None


def adopt(folder: Path) -> Adopted:
    """The network in a folder: a pipeline (`unet/`, `scheduler/`), or `config.json` and `scheduler_config.json` beside each other.

    Raises:
        UserError: it is not an unconditional U-Net of a DDPM.
    """
    place = _place(folder)
    assert place is not None
    unet = _read(place / "config.json")
    if unet.get("_class_name") != "UNet2DModel":
        raise UserError(
            f"--init {folder}: holds a {unet.get('_class_name')}, and only diffusers' UNet2DModel is taken"
        )
    if unet.get("class_embed_type") is not None or unet.get("num_class_embeds") is not None:
        raise UserError(f"--init {folder}: is conditioned on classes; only unconditional models are taken")
    scheduler = next(
        (
            p
            for p in (folder / "scheduler" / "scheduler_config.json", place / "scheduler_config.json")
            if p.is_file()
        ),
        None,
    )
    if scheduler is None:
        raise UserError(
            f"--init {folder}: has no scheduler_config.json, which says by which noise it was trained; get the whole repository"
        )
    schedule = _read(scheduler)
    is_other = (
        schedule.get("rescale_betas_zero_snr")
        or unet.get("time_embedding_type", "positional") != "positional"
    )
    if "beta_start" not in schedule or is_other:
        raise UserError(
            f"--init {folder}: was trained by {schedule.get('_class_name')}; only schedules of DDPM (beta_start, beta_end) are taken"
        )
    return Adopted(
        {name: value for name, value in unet.items() if not name.startswith("_")},
        {name: schedule[name] for name in _SCHEDULE if schedule.get(name) is not None},
        schedule.get("prediction_type", "epsilon"),
    )


def adopted_weights(folder: Path) -> tuple[dict[str, Tensor], Path]:
    """The weights of the U-Net in a folder, under the names that diffusers gives them today; and their file.

    Raises:
        UserError: they are not there as safetensors, or do not fit.
    """
    from diffusers import UNet2DModel

    place = _place(folder)
    assert place is not None
    if not (place / _WEIGHTS).is_file():
        raise UserError(
            f"--init {folder}: has no {_WEIGHTS}; other files of weights are not read, as they may hold programs: save the model with"
            " safe_serialization=True"
        )
    try:
        unet = UNet2DModel.from_pretrained(
            place, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"--init {folder}: diffusers cannot read it ({first_line(error)})") from None
    weights: dict[str, Tensor] = unet.to(torch.float32).state_dict()
    return weights, place / _WEIGHTS


def _place(folder: Path) -> Path | None:
    """Where the U-Net's config.json is."""
    for place in (folder / "unet", folder):
        path = place / "config.json"
        if path.is_file() and "_diffusers_version" in path.read_text(encoding="utf-8", errors="replace"):
            return place
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not JSON")
    return content
