"""Drawing pairs with the image first, then its level: for images in remote storage.

`pair_sampler.py` draws the level first, and the next image can be any. Here
`q(sigma, i) = q(i) q(sigma | i)`, and images come from a few parts (shards) at a time: for each window of
slots some parts are drawn, in proportion to the summed frequencies of their images, and then images from
these parts alone. Over many windows every image comes as often as from the pair sampler, and pairs have the
same distribution, but for the change of worth inside one of its 256 cells of levels.
"""

import torch
from torch import Tensor

from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.pairs import Pairs
from noiseworth.rng import Stream, uniform

WINDOW = 16_384  # slots
RESIDENT = 4  # parts in a window


class PairSamplerByImage:
    """Draws pairs as a pair sampler does, from a few parts at a time.

    Args:
        pair_sampler: its tables are read again after each of its refreshes.
        part: (N,) the part of each image, in rising order.
    """

    def __init__(self, pair_sampler: PairSampler, part: Tensor) -> None:
        self.pair_sampler, self.part = pair_sampler, part
        self._s, self._group = torch.unique(pair_sampler.s, return_inverse=True)
        self._version = -1
        self._refresh()

    def _refresh(self) -> None:
        """For each noise level, a table over cells (real, then imputed); for each image, its frequency."""
        own = self.pair_sampler.table(self._s, imputed=False)
        self._cells = torch.cumsum(
            torch.cat([own, self.pair_sampler.table(self._s, imputed=True)], dim=1), dim=1
        )
        self._real = torch.cumsum(own, dim=1)
        self._is_imputed = torch.zeros(len(self.pair_sampler.s), dtype=torch.bool)
        self._is_imputed[self.pair_sampler.imputed_rows] = True
        each = torch.where(self._is_imputed, self._cells[self._group, -1], self._real[self._group, -1])
        self._sums = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(each, 0)])
        starts = torch.searchsorted(self.part, torch.unique(self.part))
        self._edges = torch.cat([starts, torch.tensor([len(self.part)])])
        self._version = self.pair_sampler.version

    def draw(self, seed: int, ids: Tensor) -> Pairs:
        """As `PairSampler.draw`: a function of (seed, ids) and the state of the pair sampler."""
        if self._version != self.pair_sampler.version:
            self._refresh()
        window, inverse = torch.unique(ids // WINDOW, return_inverse=True)
        # Systematic sampling: the points that choose the parts are evenly spaced, from a random start.
        start = uniform(seed, Stream.ORDER, window, 1)
        points = (torch.arange(RESIDENT) + start) / RESIDENT * self._sums[-1]
        of_parts = (
            torch.searchsorted(self._sums[self._edges].contiguous(), points, right=True).clamp(
                1, len(self._edges) - 1
            )
            - 1
        )
        u = uniform(seed, Stream.PAIR, ids, 4)
        part = of_parts[inverse, (u[:, 0] * RESIDENT).long()]
        low, high = self._sums[self._edges[part]], self._sums[self._edges[part + 1]]
        row = torch.searchsorted(self._sums, low + u[:, 1] * (high - low), right=True) - 1
        index = torch.minimum(torch.maximum(row, self._edges[part]), self._edges[part + 1] - 1)
        rows, half = self._cells[self._group[index]], self._real.shape[1]
        total = torch.where(self._is_imputed[index], rows[:, -1], rows[:, half - 1])
        cell = torch.searchsorted(rows, (u[:, 2] * total)[:, None], right=True)[:, 0].clamp(max=2 * half - 1)
        return self.pair_sampler.pairs_at(cell % half, u[:, 3], index, cell >= half)
