"""The denoiser that a network trained by DDPM implies, at any noise level."""

import torch
from torch import Tensor, nn

from noiseworth.diffusion.precondition import PreconditionedDenoiser, per_image
from noiseworth.errors import UserError


class AdoptedDenoiser(PreconditionedDenoiser):
    """`D(x, sigma)` of a network of images `x / sqrt(1 + sigma^2)`, at steps that stand for levels (arXiv 2006.11239).

    There, with `e` what it predicts, `D = x - sigma e` (epsilon), `e` (sample), or `(x - sigma sqrt(1 + sigma^2) e) / (1 + sigma^2)`
    (v_prediction, arXiv 2202.00512). Between the steps of its schedule ln sigma is interpolated; below the first it is the first.
    """

    def __init__(self, network: nn.Module, sigma_data: float, log_sigmas: Tensor, predicts: str) -> None:
        super().__init__(network, sigma_data)
        if predicts not in ("epsilon", "sample", "v_prediction"):
            raise UserError(f"the network predicts {predicts}; epsilon, sample or v_prediction is needed")
        self.predicts = predicts
        self.register_buffer("log_sigmas", log_sigmas.float(), persistent=False)

    def step(self, sigma: Tensor) -> Tensor:
        """The step (B,) of the network's schedule, not whole, that stands for a level."""
        levels: Tensor = self.log_sigmas  # type: ignore[assignment]
        at = sigma.to(torch.float32).log().clamp(levels[0], levels[-1])
        below = (torch.searchsorted(levels, at, right=True) - 1).clamp(0, len(levels) - 2)
        return below + (at - levels[below]) / (levels[below + 1] - levels[below])

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """As `PreconditionedDenoiser.forward`."""
        sigma = sigma.to(torch.float32)
        total = per_image(1 + sigma**2, x)
        predicted: Tensor = self.backbone(x * total.rsqrt(), self.step(sigma)).to(torch.float32)
        if self.predicts == "sample":
            return predicted
        noise = per_image(sigma, x) * predicted
        return x - noise if self.predicts == "epsilon" else (x - total.sqrt() * noise) / total
