"""Images grouped by their noise, so that work per group does not grow with the number of images."""

import torch
from torch import Tensor

_MAX_GROUPS = 64


class Groups:
    """A group for each noise level or, where there are very many, for each bin of a constant ratio.

    Clean images are always a group of their own, and so are those of each kind of noise.

    Attributes:
        kind: of the noise in each group.
        counts: images in each group.
        lowest, highest: the least and the greatest noise in each.
        typical: the mean noise in each.
    """

    def __init__(self, s: Tensor, kind: Tensor) -> None:
        order = torch.argsort(s, stable=True)
        self._order = order[torch.argsort(kind[order], stable=True)]
        ranked, kinds = s[self._order], kind[self._order]
        of_kind = torch.split(ranked, torch.unique_consecutive(kinds, return_counts=True)[1].tolist())
        self.counts = torch.cat([_group_counts(block) for block in of_kind])
        ends = torch.cumsum(self.counts, 0)
        self._starts = ends - self.counts
        self.kind = kinds[self._starts]
        self.lowest = ranked[self._starts]
        self.highest = ranked[ends - 1]
        sums = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(ranked, 0)])
        mean = (sums[ends] - sums[self._starts]) / self.counts
        # Exactly the common value where a group has one.
        self.typical = torch.where(self.highest == self.lowest, self.lowest, mean)

    def members(self, chosen: Tensor) -> Tensor:
        """All images of the groups marked in (groups,)."""
        return self._order[torch.repeat_interleave(chosen, self.counts)]

    def member(self, group: Tensor, u: Tensor) -> Tensor:
        """An image of each group (B,), chosen by uniform numbers `u` (B,) in (0, 1)."""
        row: Tensor = self._order[self._starts[group] + (u * self.counts[group]).to(torch.int64)]
        return row


class DrawnFrom:
    """All that pairs are drawn from: groups of images, and groups of imputed ones, which come last.

    Attributes:
        real, imputed: these; imputed ones may be None.
        counts: images in each group.
    """

    def __init__(self, s: Tensor, kind: Tensor) -> None:
        self._s, self._kind = s, kind
        self.real = Groups(s, kind)
        self.imputed: Groups | None = None
        self.counts = self.real.counts
        self._rows = torch.zeros(0, dtype=torch.int64)

    def set_imputed(self, rows: Tensor) -> None:
        """Add imputed versions of the images at `rows` (M,)."""
        self._rows, self.imputed = rows, Groups(self._s[rows], self._kind[rows])
        self.counts = torch.cat([self.real.counts, self.imputed.counts])

    def member(self, group: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """A uniformly drawn image of each group (B,), and whether the group is of imputed ones."""
        groups = len(self.real.counts)
        is_imputed = group >= groups
        row = self.real.member(group.clamp(max=groups - 1), u)
        if self.imputed is not None:
            imputed = self._rows[self.imputed.member((group - groups).clamp(min=0), u)]
            row = torch.where(is_imputed, imputed, row)
        return row, is_imputed

    def members(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """All images of the groups marked in (groups,), and whether each is imputed."""
        real = self.real.members(groups[: len(self.real.counts)])
        if self.imputed is None:
            return real, torch.zeros(len(real), dtype=torch.bool)
        imputed = self._rows[self.imputed.members(groups[len(self.real.counts) :])]
        return torch.cat([real, imputed]), torch.arange(len(real) + len(imputed)) >= len(real)


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
