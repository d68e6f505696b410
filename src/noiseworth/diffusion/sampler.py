"""Generating images: the levels that sampling goes through, the noise that it starts from, and the method (`integrators.py`)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.diffusion.integrators import Method, ancestral, churned, heun, multistep
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.schedule import levels_for
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.errors import UserError
from noiseworth.rng import Stream, normal


@dataclass(frozen=True)
class SamplerConfig:
    """Method and levels of the sampler: from `sigma_max` to `sigma_min` by equation 5 of arXiv 2206.00364, then to 0; `churn` is for the
    method of that name.

    If a model was trained only down to a level above `sigma_min` (no clean images), sampling stops at that
    level: the last step to 0 returns `D`, a posterior mean, which is smoother than an image.
    """

    steps: int = 18
    method: Method = "heun"
    churn: float = 7.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise UserError(f"--steps {self.steps}: at least 2")
        if not 0 <= self.churn < float("inf"):
            raise UserError(f"--churn {self.churn}: a finite number, 0 or more")
        if not 0 < self.sigma_min < self.sigma_max:
            raise UserError(f"sigma_min {self.sigma_min} must lie between 0 and sigma_max {self.sigma_max}")

    def levels(self, trained_from: float = 0.0) -> Tensor:
        """The levels (steps + 1,), float64, falling, the last one 0.

        Raises:
            UserError: the model was trained at none of them.
        """
        low = max(self.sigma_min, trained_from)
        if low >= self.sigma_max:
            raise UserError(
                f"the model was trained at no level below {low:.4g}, and sampling starts at"
                f" {self.sigma_max:g}: it cannot be sampled"
            )
        ramp = torch.linspace(0, 1, self.steps, dtype=torch.float64)
        root = 1 / self.rho
        levels = (self.sigma_max**root + ramp * (low**root - self.sigma_max**root)) ** self.rho
        return torch.cat([levels, torch.zeros(1, dtype=torch.float64)])


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    ids: Tensor,
    shape: tuple[int, int, int],
    *,
    config: SamplerConfig | None = None,
    v: PosteriorVariance | None = None,
    trained_from: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Generate images.

    Args:
        v: posterior variance of the data, by which the levels are chosen (`diffusion/schedule.py`); without it
            they are those of `config`, from `sigma_max` to `sigma_min`.
        denoiser: maps (x, sigma) to an estimate of the clean image.
        ids: (B,) numbers of the images, on the denoiser's device; image `i` starts from the same noise
            whatever batch it is in.
        shape: C, H, W.
        trained_from: the lowest level that the denoiser was trained at.

    Returns:
        (B, C, H, W) float32 in model units, not clipped.
    """
    config = config or SamplerConfig()
    levels = config.levels(trained_from) if v is None else levels_for(v, config.steps, trained_from)
    noise = normal(seed, Stream.LATENT, ids, shape)
    x = noise * levels[0].to(noise.device, noise.dtype)
    if v is not None:
        at = levels[0].to(x.device, x.dtype).expand(len(x))
        x = x + 0.75 * denoiser(x, at) + 0.25 * denoiser(-x, at)

    def fresh(number: int) -> Tensor:
        return normal(seed, Stream.STEP, ids * config.steps + number, shape)

    if config.method == "dpm++":
        return multistep(denoiser, x, levels)
    if config.method == "churn":
        return churned(denoiser, x, levels, fresh, config.churn)
    return (
        ancestral(denoiser, x, levels, fresh) if config.method == "ancestral" else heun(denoiser, x, levels)
    )
