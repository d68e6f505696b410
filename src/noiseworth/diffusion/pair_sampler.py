"""Drawing training pairs (level, image): each where the next presentation gives the most information.

At one level, each further presentation of an image gives less information: after `c PRESENTATIONS`
presentations per unit of `ln sigma`, an image of worth `w` has given `w c / (1 + c)`. With
`I(sigma) = sum_i w_i c_i / (1 + c_i)`, the information of all images, the presentations that make
`integral p(sigma) ln I(sigma) d ln sigma` largest are

    c_i(sigma) = (sqrt(lambda(sigma) w_i) - 1)+      where  lambda I(lambda) = p(sigma) / mu

and `mu` sets their sum to the images seen so far. Pairs are drawn in proportion to `c_i(sigma)`, and their
loss is weighted by `w_i / (1 + c_i)`, so that an image counts by the information that it has given. There
are two limits:

- little training for the data: only the images of the greatest worth are drawn, and levels follow p(sigma), EDM's distribution;
- much training: images are drawn in proportion to `sqrt(w_i)` and weighted by it (Neyman's allocation: the least variance of the
  gradient for images that count by their worth), and levels follow `sqrt(p(sigma) / N_eff) sum_i sqrt(w_i)`: a level with more
  data gets more training.

The one constant, PRESENTATIONS, is the same for all data. Where held-out images show that clean ones are known by heart, further
presentations tell less than that: there `c_i` rises with the logarithm of lambda in place of its root (`memorisation.py`,
`presentations.py`). No pair with zero worth, and so none with a zero
gradient, is ever drawn. Levels of successive slots are spread evenly (an additive sequence of the golden
ratio with a random start), so that how often a level is drawn varies little by chance.

Cost does not grow with the number of distinct noise levels, thanks to rejection sampling: images are grouped
by noise; a group is drawn by an upper bound of `c_i`, and one of its images uniformly; it is accepted with the probability
`c_i / bound`. At the few levels where this takes too many attempts, an image is drawn from all of them directly.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from noiseworth.diffusion.groups import DrawnFrom
from noiseworth.diffusion.level_sequence import interior_edges, spread_evenly
from noiseworth.diffusion.memorisation import Memorisation
from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.presentations import (
    DEPTHS,
    exponent,
    information_at,
    interpolate,
    presentations_at,
    told_by_each,
)
from noiseworth.diffusion.profiles import Profiles
from noiseworth.diffusion.worth import MIN_A, PosteriorVariance
from noiseworth.errors import UserError
from noiseworth.rng import Stream, uniform

PRESENTATIONS = 3.0  # of one image per unit of ln sigma, after which half of its information about these levels is used up

_CELLS = 256
_MAX_ATTEMPTS = 50
_MOST_APART = 1000.0  # times that the best worth at a level may exceed that at its cell's centre, see `_cut`


class PairSampler:
    """Draws pairs of a fixed set of images, see the module's docstring; call `refresh` as training goes on.

    Attributes:
        s: (N,) noise of each image, float64.
        kind: (N,) the kind of its noise: 0 is white, others are those of the profiles.
        trained_from: the lowest level that is ever drawn; 0 if there are clean or imputed images.
        refreshed_at: images seen when the sampler was last refreshed.
        version: how often it was refreshed.
        imputed_rows: (M,) positions of the images that were imputed.
    """

    def __init__(
        self,
        s: Tensor,
        levels: LogNormalLevels,
        v: PosteriorVariance,
        *,
        presentations: float = PRESENTATIONS,
        kind: Tensor | None = None,
        profiles: Profiles | None = None,
        imputed: Tensor | None = None,
        memorisation: Memorisation | None = None,
    ) -> None:
        """
        Args:
            imputed: positions of images that are imputed from the beginning; needed where each has missing pixels.
            memorisation: what is known by heart; `profiles` should have the same.
        """
        self.memorisation = Memorisation() if memorisation is None else memorisation
        self.levels, self.v, self.presentations = levels, v, presentations
        self.s = s.to(torch.float64)
        self.kind = torch.zeros(len(s), dtype=torch.int64) if kind is None else kind
        self._profiles = profiles or Profiles([], 1.0, 1.0, self.memorisation)
        self._groups = DrawnFrom(self.s, self.kind)
        self.version = 0
        self.imputed_rows = torch.zeros(0, dtype=torch.int64)
        self._low_share = 0.0
        if imputed is not None:
            self.set_imputed(imputed)
        else:
            self._cleanest = float(
                self._profiles.highest(self._groups.real.kind, self._groups.real.lowest).min()
            )
            # The level at which a = MIN_A; a little more, so that rounding cannot make `a` smaller.
            self.trained_from = self._cleanest / (1 - MIN_A) ** 0.5 * (1 + 1e-9)
            self._set_range()
        self.refresh(1)

    def _set_range(self) -> None:
        self._low_share = float(self.levels.share_below(self.trained_from)) if self.trained_from > 0 else 0.0
        if self._low_share > 1 - 1e-6:
            raise UserError(
                f"the cleanest image has sigma {self._cleanest:.4g}, above almost every training level"
                f" (log-normal, median {float(self.levels.quantile(torch.tensor(0.5))):.3g}); raise"
                " --level-mean or add cleaner images"
            )

    def set_imputed(self, rows: Tensor) -> None:
        """Add imputed versions of the images at `rows` (M,); all levels are trained from now on. Call `refresh` next."""
        self.imputed_rows = rows
        self._groups.set_imputed(rows)
        self.trained_from = 0.0
        self._set_range()

    def refresh(self, n_images: int) -> None:
        """Compute anew how pairs are drawn, after `n_images` images seen, from the present `v`."""
        self.refreshed_at, self.version = n_images, self.version + 1
        share = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) / _CELLS
        centre = self.levels.quantile(self._low_share + (1 - self._low_share) * share)
        self._centre = centre
        k = self._k = exponent(self.memorisation(centre))
        edges = torch.log(
            self.levels.quantile(self._low_share + (1 - self._low_share) * interior_edges(_CELLS))
        )
        width = torch.diff(edges)  # of each cell in ln sigma; the two outermost cells without their tails
        log_worth, counts = self._log_worth(centre, "typical"), self._groups.counts
        peak = log_worth.amax(dim=1, keepdim=True)
        relative = (log_worth - peak)[:, None]  # (cells, 1, groups)
        depths = (DEPTHS[:, None] + relative).clamp(min=0)  # (cells, depths, groups)
        information = (counts * torch.exp(log_worth)[:, None] * information_at(depths, k[:, None, None])).sum(
            2
        )
        log_total = torch.log((counts * presentations_at(depths, k[:, None, None])).sum(2))
        # The logarithm of lambda I, which rises with lambda.
        slope = DEPTHS - peak + torch.log(information)
        log_depths = torch.log(DEPTHS).expand_as(slope)

        def spend(log_mu: float) -> tuple[Tensor, Tensor]:
            at = interpolate(slope, log_depths, -torch.log(width) - log_mu)
            return at, width * torch.exp(interpolate(log_depths, log_total, at))

        low, high = -200.0, 200.0
        for _ in range(50):
            middle = (low + high) / 2
            if float(spend(middle)[1].sum()) > n_images / self.presentations:
                low = middle
            else:
                high = middle
        log_depth, mass = spend(high)
        self._depth = torch.exp(log_depth)
        self._cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(mass, 0)])
        chosen = (self._depth[:, None] + relative[:, 0]).clamp(min=0)
        information = (counts * torch.exp(log_worth) * information_at(chosen, k[:, None])).sum(1)
        self._scale = (counts * presentations_at(chosen, k[:, None])).sum(
            1
        ) / information  # makes the mean weight 1
        self._peak = peak[:, 0]

    def table(self, s: Tensor, imputed: bool) -> Tensor:
        """How often one image of noise `s` (G,), or its imputed version, is drawn in each cell of levels.

        Returns:
            (G, cells); summed over all images and cells it is 1, but for the change of worth inside a cell.
        """
        log_worth, v = self._log_worth(self._centre, "typical"), self.v(self._centre)
        log_lambda = self._depth - log_worth.amax(dim=1)
        k = self._k[:, None]
        depths = (log_lambda[:, None] + log_worth).clamp(min=0)
        drawn = (self._groups.counts * presentations_at(depths, k)).sum(1)
        level, white = self._centre[:, None], torch.zeros(len(s), dtype=torch.int64)
        how = self._profiles.imputed if imputed else self._profiles.worth
        own = how(level, white, s[None].clamp(min=1e-30) if imputed else s[None], v[:, None])
        mass = torch.diff(self._cumulative) / self._cumulative[-1]
        each = presentations_at((log_lambda[:, None] + torch.log(own)).clamp(min=0), k)
        return (mass / drawn * each.T).contiguous()

    def pairs_at(self, cell: Tensor, share: Tensor, index: Tensor, imputed: Tensor) -> Pairs:
        """Pairs of given images (B,), each at the relative position `share` (B,) in its cell of levels."""
        whole = (self._low_share + (1 - self._low_share) * (cell + share) / _CELLS).clamp(1e-12, 1 - 1e-12)
        sigma = self.levels.quantile(whole)
        log_lambda = self._depth[cell] - self._log_worth(sigma, "lowest").amax(dim=1)
        depth = (log_lambda + self._log_worth_of(sigma, index, imputed)).clamp(min=0)
        weight = torch.exp(depth - log_lambda) * told_by_each(depth, self._k[cell]) * (depth > 0)
        return Pairs(sigma, index, self._scale[cell] * self._cut(cell, log_lambda) * weight, imputed)

    def draw(self, seed: int, ids: Tensor) -> Pairs:
        """Pairs for training slots, a function of (seed, ids).

        Args:
            ids: (B,) numbers of the slots, counted in images seen.
        """
        sigma, cell = self._draw_levels(seed, ids)
        # ln lambda: the images of the greatest worth have the depth of the cell, at every level in it.
        log_lambda = self._depth[cell] - self._log_worth(sigma, "lowest").amax(dim=1)
        index, imputed = torch.full_like(ids, -1), torch.zeros(len(ids), dtype=torch.bool)
        depth = torch.zeros(len(ids), dtype=torch.float64)  # ln(lambda w) of the image that is drawn
        pending = torch.arange(len(ids))
        for attempt in range(1, _MAX_ATTEMPTS):
            u = uniform(seed, Stream.PAIR, ids[pending], 3, attempt)
            bound = (log_lambda[pending, None] + self._log_worth(sigma[pending], "lowest")).clamp(
                min=0
            )  # (pending, groups)
            k = self._k[cell[pending]]
            most = presentations_at(bound, k[:, None])
            cumulative = torch.cumsum(self._groups.counts * most, dim=1)
            target = u[:, :1] * cumulative[:, -1:]
            group = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(
                max=cumulative.shape[1] - 1
            )
            row, is_imputed = self._groups.member(group, u[:, 1])
            own = log_lambda[pending] + self._log_worth_of(sigma[pending], row, is_imputed)
            accepted = u[:, 2] * most.gather(1, group[:, None])[:, 0] < presentations_at(own.clamp(min=0), k)
            done = pending[accepted]
            index[done], imputed[done], depth[done] = row[accepted], is_imputed[accepted], own[accepted]
            pending = pending[~accepted]
            if not len(pending):
                break
        # At levels so low that almost no image of a group has any worth, all of its images are weighted.
        for slot in pending:
            rows, kind = self._groups.members(
                log_lambda[slot] + self._log_worth(sigma[slot : slot + 1], "lowest")[0] > 0
            )
            each = (log_lambda[slot] + self._log_worth_of(sigma[slot].expand(len(rows)), rows, kind)).clamp(
                min=0
            )
            cumulative = torch.cumsum(presentations_at(each, self._k[cell[slot]]), 0)
            target = uniform(seed, Stream.PAIR, ids[slot : slot + 1], 1, _MAX_ATTEMPTS)[0] * cumulative[-1]
            row_number = torch.searchsorted(cumulative, target, right=True)[0].clamp(max=len(rows) - 1)
            index[slot], imputed[slot], depth[slot] = rows[row_number], kind[row_number], each[row_number]
        scale = self._scale[cell] * self._cut(cell, log_lambda)
        return Pairs(
            sigma, index, scale * torch.exp(depth - log_lambda) * told_by_each(depth, self._k[cell]), imputed
        )

    def _cut(self, cell: Tensor, log_lambda: Tensor) -> Tensor:
        """What weights (B,) are multiplied by, so that none is beyond all bounds; nearly always 1.

        The scale of weights is that of the centre of a cell. In the cell where unbiased targets end and imputed
        images begin, worth leaps: if targets are worth next to nothing there, by as much as one likes.
        """
        apart = self._depth[cell] - log_lambda - self._peak[cell]
        return torch.exp(-(apart - math.log(_MOST_APART)).clamp(min=0))

    def _draw_levels(self, seed: int, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Levels (B,), and the cell in which each lies."""
        target = spread_evenly(seed, ids) * self._cumulative[-1]
        cell = torch.searchsorted(self._cumulative, target, right=True).clamp(1, _CELLS) - 1
        mass = self._cumulative[cell + 1] - self._cumulative[cell]
        share = (cell + (target - self._cumulative[cell]) / mass) / _CELLS
        # A share that rounds to 0 or 1 would be a level of 0 or infinity.
        whole = (self._low_share + (1 - self._low_share) * share).clamp(1e-12, 1 - 1e-12)
        return self.levels.quantile(whole), cell

    def _log_worth(self, sigma: Tensor, which: Literal["typical", "lowest"]) -> Tensor:
        """(K, groups): log worth at levels (K,) of each group's typical or ("lowest") best image."""
        level, v = sigma[:, None], self.v(sigma)[:, None]
        values = self._profiles.worth(
            level, self._groups.real.kind, getattr(self._groups.real, which)[None], v
        )
        imputed = self._groups.imputed
        if imputed is not None:
            s, noisiest = getattr(imputed, which)[None], imputed.highest[None]
            filled = self._profiles.imputed(
                level, imputed.kind, s, v, noisiest if which == "lowest" else None
            )
            values = torch.cat([values, filled], dim=1)
        return torch.log(values)

    def _log_worth_of(self, sigma: Tensor, rows: Tensor, imputed: Tensor) -> Tensor:
        """Logarithm of the worth of one image at each level (B,)."""
        image = self.kind[rows], self.s[rows], self.v(sigma)
        own = torch.where(imputed, self._profiles.imputed(sigma, *image), self._profiles.worth(sigma, *image))
        return torch.log(own)

    def wants_imputed(self) -> bool:
        """Whether imputed versions of the noisy images would now be drawn at any level."""
        if self.trained_from > 0:
            return True
        kind, s = self._groups.real.kind, self._groups.real.lowest
        noisy = self._profiles.highest(kind, s) > 0
        if not bool(noisy.any()):
            return False
        level, v = self._centre[:, None], self.v(self._centre)[:, None]
        imputed = torch.log(self._profiles.imputed(level, kind[noisy], s[None, noisy], v))
        log_lambda = self._depth - self._log_worth(self._centre, "typical").amax(dim=1)
        return bool((log_lambda[:, None] + imputed > 0).any())
