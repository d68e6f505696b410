"""The pairs of each step with their images, ready when the step begins: read ahead by a thread, or lying on the device as a whole."""

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

_SHARE = 0.25  # of the device's free memory that images may take
_CHUNK = 4096


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
