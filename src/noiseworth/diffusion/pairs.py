"""Drawing training pairs (level, image) by worth.

    q(sigma, i) ~ p(sigma) N_eff(sigma)^(gamma - 1) w(sigma, s_i)

so that the marginal over levels is `p(sigma) N_eff(sigma)^gamma` and, given the level, images are drawn in proportion to their worth.
`gamma = 0` keeps p(sigma); `gamma = 1` spends compute on each level in proportion to the data that speaks about it.
No pair
with zero worth, and so none with a zero gradient, is ever drawn.

Cost does not grow with the number of distinct noise levels: images are grouped by noise, a group is drawn by an upper bound of its
worth, an image of it uniformly, and the image is accepted with the ratio of its own worth to the bound (rejection sampling). The few
levels at which that does not end soon are drawn from all images directly, by the same law.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.diffusion.levels import LogNormalLevels
from noiseworth.diffusion.worth import MIN_A, PosteriorVariance, worth
from noiseworth.errors import UserError
from noiseworth.tensors import Stream, uniform

_MAX_GROUPS = 256
_CELLS = 2048
_MAX_ATTEMPTS = 50


@dataclass(frozen=True)
class Pairs:
    """A batch of pairs: `sigma` (B,) float64 levels and `index` (B,) int64 positions in the data set."""

    sigma: Tensor
    index: Tensor


class PairLaw:
    """The law above, for a fixed set of images; call `refresh` after `v` has changed.

    Attributes:
        s: (N,) noise of each image, float64.
        trained_from: the lowest level that is ever drawn; 0 if there are clean images.
    """

    def __init__(self, s: Tensor, levels: LogNormalLevels, v: PosteriorVariance, gamma: float) -> None:
        if not 0 <= gamma <= 1:
            raise UserError(f"--gamma {gamma}: must lie between 0 (EDM's levels) and 1 (compute in proportion to the data)")
        self.s, self.levels, self.v, self.gamma = s.to(torch.float64), levels, v, gamma
        self._order = torch.argsort(self.s, stable=True)
        ranked = self.s[self._order]
        self._counts = _group_counts(ranked)
        ends = torch.cumsum(self._counts, 0)
        self._starts = ends - self._counts
        self._lowest = ranked[self._starts]
        # Exactly the common value where a group has one.
        highest = ranked[ends - 1]
        sums = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(ranked, 0)])
        mean = (sums[ends] - sums[self._starts]) / self._counts
        self._typical = torch.where(highest == self._lowest, self._lowest, mean)
        self.trained_from = float(ranked[0]) / (1 - MIN_A) ** 0.5 * (1 + 1e-9)  # so that rounding cannot fall below it
        self._low_share = float(levels.share_below(self.trained_from)) if self.trained_from > 0 else 0.0
        if self._low_share > 1 - 1e-6:
            raise UserError(
                f"the cleanest image has sigma {float(ranked[0]):.4g}, above almost every training level"
                f" (log-normal, median {float(levels.quantile(torch.tensor(0.5))):.3g}); raise --level_mean or add cleaner images"
            )
        self.refresh()

    def refresh(self) -> None:
        """Compute the marginal over levels anew, from the present `v`."""
        share = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) / _CELLS
        centre = self.levels.quantile(self._low_share + (1 - self._low_share) * share)
        mass = self.n_effective(centre) ** self.gamma
        self._cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(mass, 0)])

    def n_effective(self, sigma: Tensor) -> Tensor:
        """`N_eff` at levels (K,): the number of clean images that the data is worth there; float64.

        With more than 256 distinct noise levels, images of about the same noise count with their mean noise.
        """
        total: Tensor = (self._counts * worth(sigma[:, None], self._typical[None], self.v(sigma)[:, None])).sum(1)
        return total

    def draw(self, seed: int, ids: Tensor) -> Pairs:
        """Pairs for training slots, a function of (seed, ids).

        Args:
            ids: (B,) numbers of the slots, counted in images seen.
        """
        sigma = self._draw_levels(uniform(seed, Stream.PAIR, ids, 1)[:, 0])
        index = torch.full_like(ids, -1)
        pending = torch.arange(len(ids))
        v = self.v(sigma)
        for attempt in range(1, _MAX_ATTEMPTS):
            u = uniform(seed, Stream.PAIR, ids[pending], 3, attempt)
            level, v_here = sigma[pending], v[pending]
            bound = worth(level[:, None], self._lowest[None], v_here[:, None])  # (pending, groups)
            cumulative = torch.cumsum(self._counts * bound, dim=1)
            target = u[:, :1] * cumulative[:, -1:]
            group = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=len(self._counts) - 1)
            within = (u[:, 1] * self._counts[group]).to(torch.int64)
            image = self._order[self._starts[group] + within]
            own = worth(level, self.s[image], v_here)
            accepted = u[:, 2] * bound.gather(1, group[:, None])[:, 0] < own
            index[pending[accepted]] = image[accepted]
            pending = pending[~accepted]
            if not len(pending):
                return Pairs(sigma, index)
        for slot in pending:  # a level so low that hardly an image of its groups counts: weigh every image
            weights = torch.cumsum(worth(sigma[slot], self.s, v[slot]), 0)
            target = uniform(seed, Stream.PAIR, ids[slot : slot + 1], 1, _MAX_ATTEMPTS)[0] * weights[-1]
            index[slot] = torch.searchsorted(weights, target, right=True)[0]
        return Pairs(sigma, index)

    def _draw_levels(self, u: Tensor) -> Tensor:
        if self.gamma == 0:
            share = u
        else:
            target = u * self._cumulative[-1]
            cell = torch.searchsorted(self._cumulative, target, right=True).clamp(1, _CELLS) - 1
            mass = self._cumulative[cell + 1] - self._cumulative[cell]
            share = (cell + (target - self._cumulative[cell]) / mass) / _CELLS
        # A share that rounds to 1 would be an infinite level.
        return self.levels.quantile((self._low_share + (1 - self._low_share) * share).clamp(max=1 - 2.0**-53))


def _group_counts(ranked: Tensor) -> Tensor:
    """Sizes of groups of rising noise levels (N,): the distinct levels or, of very many, bins of a constant ratio, the clean apart."""
    counts: Tensor = torch.unique_consecutive(ranked, return_counts=True)[1]
    if len(counts) > _MAX_GROUPS:
        noisy = ranked > 0
        logs = torch.log(ranked[noisy])
        bins = torch.zeros(len(ranked), dtype=torch.int64)
        bins[noisy] = 1 + ((logs - logs[0]) / (logs[-1] - logs[0]) * (_MAX_GROUPS - 1)).to(torch.int64)
        counts = torch.unique_consecutive(bins, return_counts=True)[1]
    return counts
