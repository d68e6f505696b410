"""A trained model: the averaged weights of a run's newest checkpoint, and what is needed to use them."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.errors import UserError, first_line
from noiseworth.networks.adopted import words_of
from noiseworth.records import SharedRecord, StabilisedRecord, load_record, sha256_of
from noiseworth.train import checkpoint
from noiseworth.train.config import TrainConfig
from noiseworth.train.model import load_weights, make_denoiser
from noiseworth.train.run_directory import load_config

CONFIG, WEIGHTS = "config.json", "model.safetensors"  # of a shared model


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


def load_run(run: Path | str, *, n_images: int | None = None) -> RunModel:
    """Load the averaged weights of a run's newest complete checkpoint, or a shared model (`runs/shared.py`).

    Args:
        run: directory of the run.
        n_images: images that it had seen at an earlier checkpoint, which is loaded in place of the newest.

    Raises:
        UserError: `run` is neither, has no such checkpoint, or is damaged.
    """
    run = Path(run)
    if is_shared(run):
        if n_images is not None:
            raise UserError(f"{run}: is a shared model, which has no earlier checkpoints")
        return _load_shared(run)
    config = load_config(run)
    if n_images is None:
        newest = checkpoint.load_newest(run / "checkpoints", checkpoint.USED)
        if newest is None:
            raise UserError(f"{run}: has no checkpoint yet; let `noiseworth train` reach its first one")
        state, tensors, _ = newest
    else:
        state, tensors = checkpoint.load(checkpoint.at(run / "checkpoints", n_images), checkpoint.USED)
    denoiser = make_denoiser(config, state.shape, state.classes, state.sigma_data)
    load_weights(denoiser, tensors[state.used])
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
        state.sha256[f"{state.used}.safetensors"],
        state.stabilised,
    )


def own_device() -> torch.device:
    """Where this process computes: the GPU that a launcher (torchrun) gave it, or the first one, or the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def is_shared(path: Path) -> bool:
    """Whether a directory holds a shared model."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def _load_shared(folder: Path) -> RunModel:
    record = load_record(SharedRecord, folder / CONFIG)
    digest = sha256_of(folder / WEIGHTS)
    if digest != record.weights:
        raise UserError(
            f"{folder / WEIGHTS}: is damaged, or not of this model (its SHA-256 is not the one in {CONFIG}); get both again"
        )
    config = TrainConfig(data="not shared", out=str(folder), preset=record.preset)
    denoiser = make_denoiser(config, record.shape, record.classes, record.sigma_data)
    try:
        load_weights(denoiser, load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder / WEIGHTS}: does not fit the network {words_of(record.preset)} ({first_line(error)})"
        ) from None
    denoiser.eval().requires_grad_(False)
    return RunModel(
        denoiser,
        record.shape,
        record.offset,
        record.scale,
        record.classes,
        record.trained_from,
        _posterior_variance(record.posterior_variance),
        record.n_images,
        config,
        record.weights,
        record.stabilised,
    )


def _posterior_variance(state: dict[str, list[float]]) -> PosteriorVariance:
    v = PosteriorVariance(torch.ones(1))
    v.load_state(state)
    return v
