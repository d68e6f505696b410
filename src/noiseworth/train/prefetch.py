"""What a step needs, ready when it begins: its pairs with their images, read ahead by a thread or lying on the device as a whole, and
its noise."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from noiseworth.data.dataset import Dataset
from noiseworth.data.loader import read_ahead
from noiseworth.data.storage import is_address
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.pair_sampler_by_image import PairSamplerByImage
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.published import PublishedPairSampler
from noiseworth.rng import Stream, normal

_SHARE = 0.25  # of the device's free memory that images may take
_CHUNK = 4096
_AT_ONCE = (
    2**16
)  # normal numbers that are drawn in one call: below that, the call costs more than the numbers


class NoiseAhead:
    """The noise that lifts the images of a step, drawn for several steps at once where images are small.

    Args:
        seed: of the draws.
        shape: (C, H, W) of an image.
        device: where the noise is drawn.
    """

    def __init__(self, seed: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.seed, self.shape, self.device = seed, shape, device
        self._ready: dict[int, Tensor] = {}

    def next(self, ids: Tensor, batch: int) -> Tensor:
        """The noise (B, C, H, W) of the slots `ids` (B,), of a step of `batch` slots over all processes."""
        first = int(ids[0])
        if first not in self._ready:
            steps = max(_AT_ONCE // (len(ids) * math.prod(self.shape)), 1)
            many = torch.cat([ids + step * batch for step in range(steps)]).to(self.device)
            noise = torch.split(normal(self.seed, Stream.NOISE, many, self.shape), len(ids))
            self._ready = {first + step * batch: noise[step] for step in range(steps)}
        return self._ready.pop(first)


class Prefetcher:
    """Draws pairs, a stretch of steps at a time (which costs less), and reads their images.

    Args:
        data: the images.
        pair_sampler: draws the pairs; when it changes, what was drawn ahead is drawn anew.
        seed: of the draws.
        device: if it is a GPU with room for all images, they are put there once and never read again.
    """

    def __init__(
        self, data: Dataset, pair_sampler: PairSampler | PublishedPairSampler, seed: int, device: torch.device
    ) -> None:
        self.data, self.pair_sampler, self.seed, self.device = data, pair_sampler, seed, device
        self._draw: Callable[[int, Tensor], Pairs] = pair_sampler.draw
        if is_address(data.path) and isinstance(
            pair_sampler, PairSampler
        ):  # far away: part by part, the image before its level
            self._draw = PairSamplerByImage(
                pair_sampler, torch.from_numpy(data.part_of(np.arange(len(data))))
            ).draw
        self.resident = self._to_device() if device.type == "cuda" and not is_address(data.path) else None
        self._ahead: Iterator[tuple[Pairs, Tensor]] = iter(())
        self._ahead_version = 0

    def _to_device(self) -> Tensor | None:
        size = 4 * len(self.data) * int(np.prod(self.data.shape))
        if size > _SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return None
        whole = torch.empty((len(self.data), *self.data.shape), device=self.device)
        for start in range(0, len(self.data), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(self.data)))
            whole[start : start + len(rows)] = torch.from_numpy(self.data.read(rows)).to(self.device)
        return whole

    def next(self, ids: Tensor, batch: int, steps: int) -> tuple[Pairs, Tensor]:
        """The pairs of the slots `ids` (B,), and their images (B, C, H, W) on the device.

        Args:
            batch: slots of a step, over all processes.
            steps: steps to come before the pair sampler may change.
        """
        if self._ahead_version == self.pair_sampler.version:
            ready = next(self._ahead, None)
            if ready is not None:
                return ready[0], ready[1].to(self.device, non_blocking=True)
        many = self._draw(self.seed, torch.cat([ids + step * batch for step in range(steps)]))
        self._ahead = read_ahead(
            self._with_images, many.split(len(ids)), 0 if self.resident is not None else 1
        )
        self._ahead_version = self.pair_sampler.version
        pairs, images = next(self._ahead)
        return pairs, images.to(self.device, non_blocking=True)

    def _with_images(self, pairs: Pairs) -> tuple[Pairs, Tensor]:
        if self.resident is not None:
            return pairs, self.resident[pairs.index.to(self.device)]
        images = torch.from_numpy(self.data.read(pairs.index.numpy()))
        return pairs, images.pin_memory() if self.device.type == "cuda" else images
