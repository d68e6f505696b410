"""Images grouped by their noise, so that work per group does not grow with the number of images."""

import torch
from torch import Tensor

_MAX_GROUPS = 64


class Groups:
    """A group for each noise level or, where there are very many, for each bin of a constant ratio.

    Clean images are always a group of their own.

    Attributes:
        counts: images in each group.
        lowest, highest: the least and the greatest noise in each.
        typical: the mean noise in each.
    """

    def __init__(self, s: Tensor) -> None:
        self._order = torch.argsort(s, stable=True)
        ranked = s[self._order]
        self.counts = _group_counts(ranked)
        ends = torch.cumsum(self.counts, 0)
        self._starts = ends - self.counts
        self.lowest = ranked[self._starts]
        self.highest = ranked[ends - 1]
        sums = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(ranked, 0)])
        mean = (sums[ends] - sums[self._starts]) / self.counts
        # Exactly the common value where a group has one.
        self.typical = torch.where(self.highest == self.lowest, self.lowest, mean)

    @property
    def cleanest(self) -> float:
        """The least noise of all."""
        return float(self.lowest[0])

    def members(self, chosen: Tensor) -> Tensor:
        """All images of the groups marked in (groups,)."""
        return self._order[torch.repeat_interleave(chosen, self.counts)]

    def member(self, group: Tensor, u: Tensor) -> Tensor:
        """An image of each group (B,), chosen by uniform numbers `u` (B,) in (0, 1)."""
        row: Tensor = self._order[self._starts[group] + (u * self.counts[group]).to(torch.int64)]
        return row


def _group_counts(ranked: Tensor) -> Tensor:
    """Sizes of the groups of noise levels (N,) in rising order."""
    counts: Tensor = torch.unique_consecutive(ranked, return_counts=True)[1]
    if len(counts) > _MAX_GROUPS:
        noisy = ranked > 0
        logs = torch.log(ranked[noisy])
        bins = torch.zeros(len(ranked), dtype=torch.int64)
        bins[noisy] = 2 + ((logs - logs[0]) / (logs[-1] - logs[0]) * (_MAX_GROUPS - 1)).to(torch.int64)
        # The least noisy image is a group of its own: at the lowest levels it may be the only one of worth.
        bins[noisy.sum().neg()] = 1
        counts = torch.unique_consecutive(bins, return_counts=True)[1]
    return counts
