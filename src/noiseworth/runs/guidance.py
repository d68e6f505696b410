"""The denoiser that samples are generated with: the run's own, for a class, or led away from a worse one."""

import numpy as np
import torch
from torch import Tensor

from noiseworth.diffusion.precondition import Denoiser
from noiseworth.errors import UserError
from noiseworth.runs.config import SampleConfig
from noiseworth.runs.model import RunModel, load_run, own_device


def guided(model: RunModel, config: SampleConfig) -> tuple[Denoiser, str | None]:
    """The denoiser, on this process's device; and the SHA-256 of the weights that guide it, if another model does.

    With strength `w`, `D_guide + w (D - D_guide)`: where the worse model errs, the better one errs less in the same direction, so that
    going on in that direction errs least (autoguidance, arXiv 2406.02507). Without another model, the guide of a class is the same model
    without a class (arXiv 2207.12598).

    Raises:
        UserError: there is no such class or guide, or the guide is of other images.
    """
    chosen = _of_class(model, config.label)
    if config.guide is not None:
        worse = _guide(model, config)
        return _led(chosen, _of_class(worse, config.label), config.guidance), worse.sha256
    if config.guidance != 1:
        return _led(chosen, model.denoiser, config.guidance), None
    return chosen, None


def _led(better: Denoiser, worse: Denoiser, strength: float) -> Denoiser:
    return lambda x, sigma: torch.lerp(worse(x, sigma), better(x, sigma), strength)


def _of_class(model: RunModel, label: int | None) -> Denoiser:
    denoiser = model.denoiser.to(own_device())
    if label is None:
        return denoiser
    if not 0 <= label < model.classes:
        if not model.classes:
            raise UserError(f"--label {label}: the run was trained without --labels")
        raise UserError(f"--label {label}: the classes are 0 to {model.classes - 1}")

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        estimate: Tensor = denoiser(x, sigma, torch.full((len(x),), label, device=x.device))
        return estimate

    return denoise


def _guide(model: RunModel, config: SampleConfig) -> RunModel:
    """The model that guides, by its directory or by the images that the run itself had seen."""
    name = str(config.guide)
    guide = load_run(config.run, n_images=int(name)) if name.isdigit() else load_run(name)
    if guide.shape != model.shape or not np.allclose(
        (guide.offset, guide.scale), (model.offset, model.scale)
    ):
        raise UserError(f"--guide {config.guide}: was trained on images of another size or in other units")
    if guide.sha256 == model.sha256:
        raise UserError(f"--guide {config.guide}: is the same model; name an earlier or smaller one")
    return guide
