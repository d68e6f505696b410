"""Batches in a fixed random order, read ahead of time: for training loops other than ours, and for streaming.

Every image comes once an epoch. The order is a function of (seed, epoch) and the number of images; it does
not depend on the number of processes, which share each batch, nor on the number of threads that read.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset
from noiseworth.errors import UserError
from noiseworth.rng import Stream, uniform

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Batch:
    """Images, and what is known about each.

    Attributes:
        images: (B, C, H, W) float32 in model units.
        sigma, ids, labels: (B,) as in `Dataset`.
        index: (B,) positions in the data set.
    """

    images: NDArray[np.float32]
    sigma: NDArray[np.float32]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    index: NDArray[np.int64]


class Loader:
    """Batches of one process; iterate over `epoch(n)`.

    Args:
        dataset: an opened data set.
        batch: images in a batch of all processes together; the last one of an epoch may be smaller.
        rank, ranks: which process this is, of how many.
        workers: threads that read ahead; 0 reads when asked.
        by_part: parts (shards) one after the other in random order, and the images of each in random order,
            so that remote parts are read one at a time; else all images in one random order.

    Raises:
        UserError: a batch that the processes cannot share equally, or a number out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        *,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 2,
        by_part: bool = False,
    ) -> None:
        if batch < 1 or ranks < 1 or not 0 <= rank < ranks or workers < 0:
            raise UserError(
                f"a loader of batch {batch}, rank {rank} of {ranks}, {workers} workers: numbers out of range"
            )
        if batch % ranks:
            raise UserError(f"batch {batch}: is not a multiple of the {ranks} processes")
        self.dataset, self.batch, self.seed, self.rank, self.ranks = dataset, batch, seed, rank, ranks
        self.workers, self.by_part = workers, by_part

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of all images, in the order of an epoch."""
        count = len(self.dataset)
        key = uniform(self.seed, Stream.ORDER, torch.arange(count), 1, epoch)[:, 0].numpy()
        if not self.by_part:
            return np.argsort(key, kind="stable")
        part = self.dataset.part_of(np.arange(count))
        of_part = uniform(self.seed, Stream.ORDER, torch.arange(int(part.max()) + 1) + (1 << 40), 1, epoch)[
            :, 0
        ].numpy()
        return np.lexsort((key, of_part[part]))

    def epoch(self, number: int = 0) -> Iterator[Batch]:
        """This process's share of each batch, in order. An empty share of the last one is left out."""
        order, share = self.order(number), self.batch // self.ranks
        pieces = []
        for start in range(0, len(order), self.batch):
            mine = order[start : start + self.batch][self.rank * share : (self.rank + 1) * share]
            if len(mine):
                pieces.append(mine)
        return read_ahead(self._read, pieces, self.workers)

    def _read(self, index: NDArray[np.int64]) -> Batch:
        data = self.dataset
        labels = None if data.labels is None else data.labels[index]
        return Batch(data.read(index), data.sigma[index], data.ids[index], labels, index)


def read_ahead(read: Callable[[A], B], wanted: Iterable[A], workers: int = 1, depth: int = 4) -> Iterator[B]:
    """`read(item)` of each item in order, by threads that are up to `depth` items ahead.

    Without workers, each item is read when it is asked for.
    """
    if workers == 0:
        yield from map(read, wanted)
        return
    left = iter(wanted)
    with ThreadPoolExecutor(workers, thread_name_prefix="noiseworth-read") as pool:
        ahead: deque[Any] = deque()
        try:
            for item in left:
                ahead.append(pool.submit(read, item))
                if len(ahead) > depth:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()
