"""A trained model: the averaged weights of a run's newest checkpoint, and what is needed to use them."""

from dataclasses import dataclass
from pathlib import Path

import torch

from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.errors import UserError
from noiseworth.records import StabilisedRecord
from noiseworth.train import checkpoint
from noiseworth.train.config import TrainConfig
from noiseworth.train.model import load_weights, make_denoiser
from noiseworth.train.run_directory import load_config


@dataclass(frozen=True)
class RunModel:
    """A trained denoiser, and what its use needs: shape and scaling of images, classes, lowest level."""

    denoiser: PreconditionedDenoiser
    shape: tuple[int, int, int]
    offset: float
    scale: float
    classes: int  # number of classes that it is conditioned on; 0: none
    trained_from: float  # the lowest level that it was trained at
    v: PosteriorVariance  # of the data, as training measured it
    n_images: int
    config: TrainConfig
    sha256: str  # of the file of weights
    stabilised: StabilisedRecord | None = None  # the units of the images before their noise was made Gaussian


def load_run(run: Path | str) -> RunModel:
    """Load the averaged weights of a run's newest complete checkpoint.

    Raises:
        UserError: `run` is not a run, or has no checkpoint yet.
    """
    run = Path(run)
    config = load_config(run)
    newest = checkpoint.load_newest(run / "checkpoints", checkpoint.USED)
    if newest is None:
        raise UserError(f"{run}: has no checkpoint yet; let `noiseworth train` reach its first one")
    state, tensors, _ = newest
    denoiser = make_denoiser(config, state.shape, state.classes, state.sigma_data)
    load_weights(denoiser, tensors["ema"])
    denoiser.eval().requires_grad_(False)
    return RunModel(
        denoiser,
        state.shape,
        state.offset,
        state.scale,
        state.classes,
        state.trained_from,
        _posterior_variance(state.posterior_variance),
        state.n_images,
        config,
        state.sha256["ema.safetensors"],
        state.stabilised,
    )


def _posterior_variance(state: dict[str, list[float]]) -> PosteriorVariance:
    v = PosteriorVariance(torch.ones(1))
    v.load_state(state)
    return v
