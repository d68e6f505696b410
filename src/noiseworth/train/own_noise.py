"""The noise of the images of a data set, coordinate by coordinate, as the data set says it."""

import numpy as np
import torch
from torch import Tensor

from noiseworth.data.dataset import Dataset
from noiseworth.diffusion.diagonal import DiagonalNoise
from noiseworth.noise.models import CorrelatedNoise, VariableNoise


class OwnNoise:
    """The variances of the coordinates of each image's noise.

    Attributes:
        variance: (M, C, H, W) of each model, at sigma 1; the first is white noise.
        is_fourier: (M,) whether coordinates are those of Fourier's basis.
    """

    def __init__(self, data: Dataset) -> None:
        self._model = torch.from_numpy(data.kind)
        self._s = torch.from_numpy(data.sigma.astype(np.float32))
        variances, is_fourier = [torch.ones(data.shape)], [False]
        for model in data.noise_models:
            if isinstance(model, VariableNoise | CorrelatedNoise):
                model.variance(np.zeros((1, *data.shape)))  # refuses one of another size
                table = model.map if isinstance(model, VariableNoise) else model.spectrum
                variances.append(
                    torch.from_numpy(np.broadcast_to(table, data.shape).astype(np.float32).copy())
                )
                is_fourier.append(isinstance(model, CorrelatedNoise))
        self.variance, self.is_fourier = torch.stack(variances), torch.tensor(is_fourier)

    def of(self, rows: Tensor, y: Tensor) -> DiagonalNoise:
        """The noise of the images at `rows` (B,), which are `y` (B, C, H, W), NaN where nothing was measured."""
        models = self._model[rows]
        relative = self.variance[models]
        variance = relative * self._s[rows].square().reshape(-1, 1, 1, 1)
        variance = torch.where(torch.isfinite(relative), variance, torch.inf)  # 0 times infinity is NaN
        variance = variance.to(y.device).masked_fill(torch.isnan(y), torch.inf)
        return DiagonalNoise(variance, self.is_fourier[models].to(y.device))
