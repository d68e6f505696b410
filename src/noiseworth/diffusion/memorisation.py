"""How far a model knows its clean training images by heart, level by level; what is trained on follows it.

Where few images are shown often, a network comes to know them, and its risk on other images rises: the later, the more images there
are (Bonnaire et al., "Why diffusion models don't memorize", arXiv 2505.17638). A few held-out clean images show it early: the risk on
them grows away from that on the training images. Where the ratio of the two is at most `BEGINS`, nothing changes; from there to
`WHOLE`, in proportion,

- a further presentation of an image is taken to tell less (`presentations.py`), so that levels at which few images speak are trained
  less, and all images of a level about equally often;
- imputed images are trusted at ever finer levels (`worth.imputed_worth`): they are drawn anew again and again.
"""

import math

import torch
from torch import Tensor

BEGINS, WHOLE = 1.05, 1.35
LEVELS = (0.05, 0.16, 0.5, 1.6, 5.0)  # at which it is measured; between them it is linear in ln sigma


class Memorisation:
    """A share from 0 to 1 for each level: 0 of a model that is as good on other images as on its own.

    A pair sampler has one; in a training loop of your own, `observe` now and then what you measure at `levels`, and the sampler's next
    `refresh` follows it.
    """

    levels = LEVELS

    def __init__(self) -> None:
        self.share = torch.zeros(len(LEVELS), dtype=torch.float64)
        self._log_levels = torch.log(torch.tensor(LEVELS, dtype=torch.float64))

    def observe(self, held_out: Tensor, training: Tensor) -> None:
        """Take in the risks (K,) at `LEVELS` on clean images that are not trained on, and on some that are."""
        ratio = torch.log(held_out.to(torch.float64)) - torch.log(training.to(torch.float64))
        # Neighbouring levels say much the same, and of a few images one may be hard by chance at one level.
        ends = torch.cat([ratio[:1], ratio, ratio[-1:]])
        ratio = torch.exp((ends[:-2] + 2 * ratio + ends[2:]) / 4)
        share = ((ratio - BEGINS) / (WHOLE - BEGINS)).clamp(0, 1)
        # In steps, so that runs that differ in the last bit train on the same pairs.
        self.share = torch.where(torch.isfinite(share), torch.round(share * 32) / 32, self.share)

    def __call__(self, sigma: Tensor) -> Tensor:
        """The share at levels of any shape; float64, constant beyond `LEVELS`."""
        if not bool(self.share.any()):
            return torch.zeros_like(sigma, dtype=torch.float64)
        log_sigma = torch.log(sigma.to(torch.float64))
        known, share = self._log_levels.to(sigma.device), self.share.to(sigma.device)
        right = torch.searchsorted(known, log_sigma.contiguous()).clamp(1, len(known) - 1)
        between = ((log_sigma - known[right - 1]) / (known[right] - known[right - 1])).clamp(0, 1)
        return share[right - 1] + between * (share[right] - share[right - 1])

    def state(self) -> list[float]:
        """Everything that `load_state` needs."""
        return [float(value) for value in self.share]

    def load_state(self, state: list[float]) -> None:
        """Go on from `state()`."""
        if len(state) == len(self.share) and all(map(math.isfinite, state)):
            self.share = torch.tensor(state, dtype=torch.float64)
