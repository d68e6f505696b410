"""The denoiser of a configuration, its weights, and its optimiser."""

import torch
from torch import Tensor, nn

from noiseworth.diffusion.adopted import AdoptedDenoiser
from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.errors import UserError
from noiseworth.networks import make_backbone
from noiseworth.networks.adopted import of_preset
from noiseworth.train.config import TrainConfig
from noiseworth.train.muon import Muon


def make_denoiser(
    config: TrainConfig, shape: tuple[int, int, int], classes: int, sigma_data: float
) -> PreconditionedDenoiser:
    """The untrained denoiser of a configuration whose network is settled (`train/choices.py`), for images (C, H, W)."""
    if config.preset is None:
        raise AssertionError("no network was chosen")
    adopted = of_preset(config.preset)
    if adopted is not None:
        if adopted.unet.get("in_channels") != shape[0] or classes:
            raise UserError(
                f"--init: its network is of images of {adopted.unet.get('in_channels')} channels without labels; the data have {shape[0]}"
                + (", and --labels is given" if classes else "")
            )
        return AdoptedDenoiser(adopted.make(), sigma_data, adopted.log_sigmas(), adopted.predicts)
    return PreconditionedDenoiser(make_backbone(config.preset, shape, config.seed, classes), sigma_data)


def load_weights(denoiser: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put weights from a checkpoint in place; every one must be there."""
    denoiser.load_state_dict(tensors, strict=True)


def make_optimizer(config: TrainConfig, denoiser: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a configuration for the weights of a denoiser, which lies on its device."""
    rate = config.learning_rate(0)
    if config.optimizer == "muon":
        return Muon(denoiser, lr=rate)
    return torch.optim.Adam(denoiser.parameters(), lr=rate, betas=(0.9, 0.99), fused=True)
