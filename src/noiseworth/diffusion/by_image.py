"""The law of pairs with the image drawn first, then its level: for images that lie far away.

`pairs.py` draws the level first, so that which image comes next is known late and can be any. Here `q(sigma, i) = q(i) q(sigma | i)`,
and images come from a few parts (shards) at a time: for each window of slots some parts are drawn in proportion to what all of
their images are drawn by, and images from these alone. Over many windows every image comes as often as by the law; up to how much
worth changes inside one of its 256 cells of levels, it is the same law.
"""

import torch
from torch import Tensor

from noiseworth.diffusion.pairs import PairLaw, Pairs
from noiseworth.tensors import Stream, uniform

WINDOW = 16_384  # slots
RESIDENT = 4  # parts in a window


class ByImage:
    """Draws by a law of pairs, part after part.

    Args:
        law: asked anew whenever it was refreshed.
        part: (N,) the part in which each image lies, rising.
    """

    def __init__(self, law: PairLaw, part: Tensor) -> None:
        self.law, self.part = law, part
        self._s, self._group = torch.unique(law.s, return_inverse=True)
        self._version = -1
        self._refresh()

    def _refresh(self) -> None:
        """Per distinct noise level: a table over cells, real before imputed; per image: how often it is drawn."""
        own = self.law.table(self._s, imputed=False)
        self._cells = torch.cumsum(torch.cat([own, self.law.table(self._s, imputed=True)], dim=1), dim=1)
        self._real = torch.cumsum(own, dim=1)
        self._is_imputed = torch.zeros(len(self.law.s), dtype=torch.bool)
        self._is_imputed[self.law.imputed_rows] = True
        each = torch.where(self._is_imputed, self._cells[self._group, -1], self._real[self._group, -1])
        self._sums = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(each, 0)])
        starts = torch.searchsorted(self.part, torch.unique(self.part))
        self._edges = torch.cat([starts, torch.tensor([len(self.part)])])
        self._version = self.law.version

    def draw(self, seed: int, ids: Tensor) -> Pairs:
        """As `PairLaw.draw`: a function of (seed, ids) and the state of the law."""
        if self._version != self.law.version:
            self._refresh()
        window, inverse = torch.unique(ids // WINDOW, return_inverse=True)
        start = uniform(seed, Stream.ORDER, window, 1)  # parts evenly spread over what they are drawn by
        points = (torch.arange(RESIDENT) + start) / RESIDENT * self._sums[-1]
        of_parts = torch.searchsorted(self._sums[self._edges].contiguous(), points, right=True).clamp(1, len(self._edges) - 1) - 1
        u = uniform(seed, Stream.PAIR, ids, 4)
        part = of_parts[inverse, (u[:, 0] * RESIDENT).long()]
        low, high = self._sums[self._edges[part]], self._sums[self._edges[part + 1]]
        place = torch.searchsorted(self._sums, low + u[:, 1] * (high - low), right=True) - 1
        index = torch.minimum(torch.maximum(place, self._edges[part]), self._edges[part + 1] - 1)
        rows, half = self._cells[self._group[index]], self._real.shape[1]
        total = torch.where(self._is_imputed[index], rows[:, -1], rows[:, half - 1])
        cell = torch.searchsorted(rows, (u[:, 2] * total)[:, None], right=True)[:, 0].clamp(max=2 * half - 1)
        return self.law.pairs_at(cell % half, u[:, 3], index, cell >= half)
