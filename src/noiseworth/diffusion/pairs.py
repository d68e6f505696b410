"""Training pairs: a level and an image each."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """A batch of pairs.

    Attributes:
        sigma: (B,) float64 levels.
        index: (B,) int64 positions in the data set.
        weight: (B,) float64, weight of the loss; its mean at each level is 1.
        imputed: (B,) whether the pair takes the imputed image, not the noisy one (`diffusion/imputation.py`).
    """

    sigma: Tensor
    index: Tensor
    weight: Tensor
    imputed: Tensor

    def select(self, rows: Tensor) -> "Pairs":
        """The pairs at `rows`."""
        return Pairs(self.sigma[rows], self.index[rows], self.weight[rows], self.imputed[rows])

    def split(self, size: int) -> "list[Pairs]":
        """Batches of `size`, in order."""
        columns = (self.sigma, self.index, self.weight, self.imputed)
        return [
            Pairs(*piece) for piece in zip(*(torch.split(column, size) for column in columns), strict=True)
        ]
