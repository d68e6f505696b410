"""The noise distribution p(sigma) of training levels: log-normal, as in EDM (arXiv 2206.00364, table 1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.errors import UserError


@dataclass(frozen=True)
class LogNormalLevels:
    """`ln sigma ~ N(mean, std^2)`."""

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise UserError(f"--level-std {self.std}: must be positive")

    def quantile(self, q: Tensor) -> Tensor:
        """The level below which a share `q` of the distribution lies; any shape, float64."""
        return torch.exp(self.mean + self.std * torch.special.ndtri(q.to(torch.float64)))

    def share_below(self, sigma: Tensor | float) -> Tensor:
        """The share of the distribution below `sigma`, the inverse of `quantile`."""
        log_sigma = torch.log(torch.as_tensor(sigma, dtype=torch.float64))
        share: Tensor = torch.special.ndtr((log_sigma - self.mean) / self.std)
        return share
