"""Mean, standard deviation and draws of clean images, given noisy ones of any size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.data.measured import evenly
from noiseworth.diffusion.conditional import impute_given
from noiseworth.diffusion.diagonal import DiagonalNoise
from noiseworth.diffusion.imputation import impute
from noiseworth.diffusion.posterior import posterior
from noiseworth.restore.level import Level, own_level
from noiseworth.restore.tiles import Mosaic, corners
from noiseworth.runs.model import RunModel, own_device

Array = NDArray[np.float32]

STEPS = 16  # of the reverse process for a draw; of the bias of 6 steps (`impute`) a third is left
LEAST = 0.02  # of the noise, the least standard deviation that a pixel is said to have
_FEWEST_DRAWS = 16  # from which mean and variance are taken
_LOOKED_AT = 64  # tiles of an image, by which its noise is measured
# Of what is drawn by chance, the numbers: 20 bits for the tile, 28 for the image, and above them the draw.
_TILES, _IDS, _DRAWS = 1 << 20, 1 << 28, 50


@dataclass(frozen=True)
class Restored:
    """What is known of clean images, in model units: `mean` and `variance` (N, C, H, W), which the denoiser implies, and `draws`
    (S, N, C, H, W)."""

    mean: Array
    variance: Array
    draws: Array

    def std(self, s: NDArray[np.floating]) -> Array:
        """Standard deviations (N, C, H, W); no pixel is said to be known exactly."""
        least = (LEAST * np.asarray(s, np.float32).reshape(-1, 1, 1, 1)) ** 2
        std: Array = np.sqrt(np.maximum(self.variance, least))
        return std


class Restorer:
    """A run's model, used to restore images.

    Args:
        model: of the run.
        batch: tiles at a time.
        seed: of the draws.
    """

    def __init__(self, model: RunModel, batch: int, seed: int) -> None:
        self._batch, self._seed = batch, seed
        self._device = own_device()
        self.denoiser = model.denoiser.to(self._device)
        self.tile = model.shape[1:]
        self._trained_from, self._sigma_data = model.trained_from, float(model.denoiser.sigma_data)

    def __call__(
        self, images: Array, s: NDArray[np.floating], ids: NDArray[np.int64], *, maps: bool, draws: int = 0
    ) -> Restored:
        """Restore images of one size.

        Args:
            images: (N, C, H, W) in model units, no smaller than those that the model was trained on.
            s: (N,) their noise, above 0.
            ids: (N,) of what is drawn by chance.
            maps: whether the variance is wanted; else it is 0.
            draws: number of draws of each image.
        """
        count, channels, size = len(images), images.shape[1], (images.shape[2], images.shape[3])
        mosaics = [Mosaic(count, channels, size, self.tile) for _ in range(2 * maps + (not maps) + draws)]
        for tiles, y, levels, numbers in self._batches(images, s, ids):
            if maps:
                values = list(posterior(self.denoiser, y, levels, numbers, seed=self._seed))
            else:
                with torch.no_grad():
                    values = [self.denoiser(y, levels)]
            values += [self.draw(y, levels, numbers, draw) for draw in range(draws)]
            for mosaic, value in zip(mosaics, values, strict=True):
                for (image, corner), tile in zip(tiles, value.cpu().numpy(), strict=True):
                    mosaic.add(image, corner, tile)
        mean, *rest = [mosaic.images() for mosaic in mosaics]
        variance = rest.pop(0) if maps else np.zeros_like(mean)
        return Restored(mean, variance, np.stack(rest) if rest else np.zeros((0, *mean.shape), np.float32))

    def given(self, images: Array, own: DiagonalNoise, ids: NDArray[np.int64], *, draws: int = 0) -> Restored:
        """Restore images (N, C, H, W) of the model's size, whose noise is not white, or of which pixels were not measured (NaN): mean and
        variance of draws, of which there are sixteen at least."""
        parts = []
        for some in np.array_split(np.arange(len(images)), max(len(images) // self._batch, 1)):
            noise = DiagonalNoise(own.variance[some].to(self._device), own.is_fourier[some].to(self._device))
            numbers = torch.from_numpy(ids[some] % _IDS * _TILES).to(self._device)
            y = torch.from_numpy(images[some]).to(self._device)
            made = [
                impute_given(
                    self.denoiser, y, noise, numbers + (draw << _DRAWS), seed=self._seed,
                    sigma_data=self._sigma_data, steps=STEPS,
                )
                for draw in range(max(draws, _FEWEST_DRAWS))
            ]  # fmt: skip
            parts.append(torch.stack(made).cpu().numpy())
        drawn = np.concatenate(parts, axis=1)
        return Restored(drawn.mean(0), drawn.var(0, ddof=1), drawn[:draws])

    def draw(self, y: Tensor, s: Tensor, ids: Tensor, number: int) -> Tensor:
        """Clean images drawn given noisy ones (B, C, H, W) of the model's size."""
        return impute(
            self.denoiser, y, s, ids + (number << _DRAWS), seed=self._seed, steps=STEPS, trained_from=self._trained_from
        )  # fmt: skip

    def level(self, image: Array, number: int) -> Level:
        """The noise level of an image (C, H, W), from some of its tiles."""
        places = corners((image.shape[1], image.shape[2]), self.tile)
        height, width = self.tile
        some = evenly(np.arange(len(places)), _LOOKED_AT)
        tiles = np.stack([image[:, r : r + height, c : c + width] for r, c in (places[i] for i in some)])
        ids = torch.from_numpy(number % _IDS * _TILES + some).to(self._device)
        y = torch.from_numpy(tiles).to(self._device)
        return own_level(self.denoiser, y, ids, seed=self._seed, trained_from=self._trained_from)

    def _batches(
        self, images: Array, s: NDArray[np.floating], ids: NDArray[np.int64]
    ) -> Iterator[tuple[list[tuple[int, tuple[int, int]]], Tensor, Tensor, Tensor]]:
        """Tiles as (image, corner), with their pixels, levels and numbers."""
        places = corners((images.shape[2], images.shape[3]), self.tile)
        tiles = [(image, corner) for image in range(len(images)) for corner in places]
        height, width = self.tile
        for start in range(0, len(tiles), self._batch):
            some = tiles[start : start + self._batch]
            pixels = np.stack([images[i, :, r : r + height, c : c + width] for i, (r, c) in some])
            numbers = [
                int(ids[i]) % _IDS * _TILES + (start + k) % len(places) for k, (i, _) in enumerate(some)
            ]
            yield (
                some,
                torch.from_numpy(pixels).to(self._device),
                torch.tensor([float(s[i]) for i, _ in some], dtype=torch.float32, device=self._device),
                torch.tensor(numbers, device=self._device),
            )
