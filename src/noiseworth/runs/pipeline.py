"""A run as a pipeline of diffusers, which makes the same images as `noiseworth sample`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.runs.config import SampleConfig
from noiseworth.runs.model import load_run
from noiseworth.train.config import TrainConfig
from noiseworth.train.model import make_denoiser


class DenoiserModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A denoiser with what sampling needs, as diffusers saves and loads models; its arguments are its configuration."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        preset: str,
        shape: tuple[int, int, int],
        classes: int,
        sigma_data: float,
        trained_from: float,
        posterior_variance: dict[str, list[float]],
    ) -> None:
        super().__init__()
        config = TrainConfig(data="not shared", out="none", preset=preset)
        channels, height, width = shape
        self.denoiser = make_denoiser(config, (channels, height, width), classes, sigma_data)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimate of clean images (B, C, H, W) at levels (B,)."""
        estimate: Tensor = self.denoiser(x, sigma)
        return estimate


class NoiseworthPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Unconditional generation; `NoiseworthPipeline.from_run("runs/x")`, then `pipeline(batch_size=16).images`.

    `save_pretrained` and `from_pretrained` work as for other pipelines of diffusers.
    """

    def __init__(self, unet: DenoiserModel) -> None:
        super().__init__()
        self.register_modules(unet=unet)

    @classmethod
    def from_run(cls, run: str | Path) -> "NoiseworthPipeline":
        """Of a run, or a shared model.

        Raises:
            UserError: it is neither.
        """
        model = load_run(run)
        unet = DenoiserModel(
            preset=model.config.preset,
            shape=list(model.shape),
            classes=model.classes,
            sigma_data=model.denoiser.sigma_data,
            trained_from=model.trained_from,
            posterior_variance=model.v.state(),
        )
        unet.denoiser.load_state_dict(model.denoiser.state_dict())
        return cls(unet.eval())

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        num_inference_steps: int = SampleConfig.steps,
        seed: int = 0,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """Make images.

        Args:
            batch_size: number of images; image `i` is that of `noiseworth sample`, whatever the number.
            num_inference_steps: of the sampler.
            seed: of the noise that it starts from.
            output_type: "pil"; "np", (B, H, W, C) in [0, 1]; or "pt", (B, C, H, W) in model units.
        """
        config: Any = self.unet.config
        v = PosteriorVariance(torch.ones(1))
        v.load_state(config.posterior_variance)
        channels, height, width = config.shape
        sampler = SamplerConfig(num_inference_steps, SampleConfig.sampler, SampleConfig.churn)
        images = sample(
            self.unet, torch.arange(batch_size, device=self.device), (channels, height, width),
            config=sampler, v=v, trained_from=config.trained_from, seed=seed,
        ).clip(-1, 1)  # fmt: skip
        if output_type == "pt":
            return ImagePipelineOutput(images=images)
        pixels: np.ndarray[tuple[int, ...], Any] = ((images + 1) / 2).cpu().permute(0, 2, 3, 1).numpy()
        return ImagePipelineOutput(images=pixels if output_type == "np" else self.numpy_to_pil(pixels))
