"""Where a training begins: at random weights, or (`--init`) at the averaged weights of another run, or those of a model of diffusers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from noiseworth.errors import UserError
from noiseworth.networks.adopted import adopted_weights, is_diffusers
from noiseworth.records import sha256_of
from noiseworth.train import checkpoint
from noiseworth.train.config import TrainConfig
from noiseworth.train.model import load_weights
from noiseworth.train.run_directory import is_begun, load_config


@dataclass(frozen=True)
class Start:
    """The run (or model of diffusers) that a training begins from: its averaged `weights`, and the `sigma_data` that they were trained
    with, None if they do not depend on it."""

    run: str
    n_images: int
    sha256: str
    sigma_data: float | None
    weights: dict[str, Tensor]

    @property
    def record(self) -> dict[str, Any]:
        """What `env.json` says of it."""
        return {"run": self.run, "n_images": self.n_images, "weights": self.sha256}


def open_start(config: TrainConfig, denoiser: nn.Module) -> Start | None:
    """The run that a training begins from; None if it begins at random weights, or has begun already.

    Raises:
        UserError: there is no such run or model, or its network is another one than `denoiser`.
    """
    if config.init is None or is_begun(Path(config.out)):
        return None
    run = Path(config.init)
    if is_diffusers(run):
        weights, file = adopted_weights(run)
        named = {f"backbone.unet.{name}": tensor for name, tensor in weights.items()}
        return Start(str(run), 0, sha256_of(file), None, named)
    preset = load_config(run).preset
    newest = checkpoint.load_newest(run / "checkpoints", checkpoint.USED)
    if newest is None:
        raise UserError(f"--init {run}: has no checkpoint yet")
    state, tensors, _ = newest
    wanted = {name: tensor.shape for name, tensor in denoiser.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors[state.used].items()} != wanted:
        its = f"preset {preset}, {state.shape[0]} channels, {state.classes} classes"
        raise UserError(
            f"--init {run}: its network ({its}) does not fit the settings and the data of this one"
        )
    return Start(
        str(run),
        state.n_images,
        state.sha256[f"{state.used}.safetensors"],
        state.sigma_data,
        tensors[state.used],
    )


def put_weights(start: Start, modules: Iterable[nn.Module]) -> None:
    """Put the weights into a denoiser and its averages."""
    for module in modules:
        load_weights(module, start.weights)
