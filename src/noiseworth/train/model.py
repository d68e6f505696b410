"""The denoiser of a configuration, and its weights."""

from torch import Tensor, nn

from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.networks import make_backbone
from noiseworth.train.config import TrainConfig


def make_denoiser(
    config: TrainConfig, channels: int, classes: int, sigma_data: float
) -> PreconditionedDenoiser:
    """The untrained denoiser of a configuration."""
    return PreconditionedDenoiser(make_backbone(config.preset, channels, config.seed, classes), sigma_data)


def load_weights(denoiser: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put weights from a checkpoint in place; every one must be there."""
    denoiser.load_state_dict(tensors, strict=True)
