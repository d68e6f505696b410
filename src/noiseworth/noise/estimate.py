"""The noise level of single images, with a 95% interval, for white Gaussian noise.

Without clean images, `FloorEstimator`: what is left in the components of patches that hold least picture
(`components.py`). Texture is taken for noise, so that levels far below the contrast of the finest detail come out
too high, and the interval says so.

With some clean images of the same kind, `calibrate`: noise of known levels is added to them, and a small network
learns to tell the level from the same numbers, so that it knows how much of them is picture. Its intervals are set
on clean images that it did not learn from (conformal prediction: Romano, Patterson and Candes, arXiv 1905.03222,
with the scale that the network says).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseworth.noise.components import Components, floor_of, numbers_of
from noiseworth.rng import Stream, normal, uniform

_VALUES = 2**20  # of images at a time, about
_SIDE = (
    96  # pixels, to which larger images are cut where it is learned: enough to measure to within a percent
)
_DRAWS, _DRAWN = (
    48_000,
    3e8,
)  # noisy versions of clean images that are learned from, and their values, at most
_STEPS, _BATCH, _RATE = 4000, 256, 3e-3
_WIDTH = 128
_SET_ASIDE = 0.25  # of the clean images, on which the intervals are set
_COVERED = 0.95
_BINS = 8  # of levels, each with its own width of the interval
_TINY = 1e-12


@dataclass(frozen=True)
class Estimate:
    """The noise (N,) of images, and the ends of its 95% interval."""

    sigma: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Clipping:
    """What storing did to noisy values: kept between `low` and `high`, in steps of `step` (0: not rounded); model units."""

    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0

    def __call__(self, images: Tensor) -> Tensor:
        """The images (N, C, H, W), as they would have been stored."""
        if self.step:
            start = self.low if math.isfinite(self.low) else 0.0
            images = torch.round((images - start) / self.step) * self.step + start
        return images.clamp(self.low, self.high)


class FloorEstimator:
    """Measures without clean images.

    Args:
        components: of images of the same kind, of any noise.
    """

    def __init__(self, components: Components) -> None:
        self.components = components

    def __call__(self, images: Tensor) -> Estimate:
        """The noise of images (N, C, H, W)."""
        floors = [floor_of(self.components, chunk) for chunk in _pieces(images)]
        variance, drift = (
            torch.cat([getattr(floor, name) for floor in floors]).double().numpy()
            for name in ("variance", "drift")
        )
        error = floors[0].error
        # What twice as much adds is picture, and as much may be left in what counts.
        low = np.maximum(variance * np.exp(-1.96 * error) - 2 * drift, 0)
        return Estimate(np.sqrt(variance), np.sqrt(low), np.sqrt(variance * np.exp(1.96 * error)))


class _Network(nn.Module):
    """From an image's numbers to the logarithm of its noise, and to that of its error."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.straight = nn.Linear(count, 1)
        self.bent = nn.Sequential(
            nn.Linear(count, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, 2)
        )

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        bent = self.bent(numbers)
        return self.straight(numbers)[:, 0] + bent[:, 0], bent[:, 1].clamp(-7, 2)


class CalibratedEstimator:
    """Measures by what clean images of the same kind have taught; made by `calibrate`.

    Attributes:
        lowest, highest: the levels that it knows; one at the lowest cannot be told from clean.
    """

    def __init__(self, components: Components, lowest: float, highest: float) -> None:
        self.components, self.lowest, self.highest = components, lowest, highest
        self._network: _Network
        self._centre: Tensor
        self._spread: Tensor
        self._edges, self._factors = np.zeros(0), np.ones(1)

    def __call__(self, images: Tensor) -> Estimate:
        """The noise of images (N, C, H, W)."""
        return self._from_numbers(torch.cat([self._numbers(chunk) for chunk in _pieces(middle_of(images))]))

    def _numbers(self, images: Tensor) -> Tensor:
        """Logarithms (N, F) of what tells noise from picture."""
        return torch.log(numbers_of(self.components, images) + _TINY)

    def learn(self, numbers: Tensor, log_sigma: Tensor, seed: int) -> None:
        """Fit the network to numbers (N, F) of images of known noise (N,)."""
        self._centre, self._spread = numbers.mean(0), numbers.std(0) + 1e-6
        inputs = (numbers - self._centre) / self._spread
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = network = _Network(numbers.shape[1])
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
        choice = uniform(seed, Stream.SHUFFLE, torch.arange(_STEPS), _BATCH)
        for rows in (choice * len(inputs)).long():
            mean, log_error = network(inputs[rows])
            loss = (log_error + 0.5 * ((log_sigma[rows] - mean) / log_error.exp()).square()).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()

    def set_intervals(self, numbers: Tensor, log_sigma: Tensor) -> None:
        """Choose how many errors wide the intervals are, on images that the network did not learn from."""
        mean, error = self._predict(numbers)
        ratio = np.abs(log_sigma.numpy() - mean) / error
        self._edges = np.quantile(mean, np.arange(1, _BINS) / _BINS)
        of_bin = np.searchsorted(self._edges, mean)
        self._factors = np.array([np.quantile(ratio[of_bin == k], _COVERED) for k in range(_BINS)])

    @torch.no_grad()
    def _predict(self, numbers: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, log_error = self._network((numbers - self._centre) / self._spread)
        return mean.double().numpy(), log_error.exp().double().numpy()

    def _from_numbers(self, numbers: Tensor) -> Estimate:
        mean, error = self._predict(numbers)
        width = error * self._factors[np.searchsorted(self._edges, mean)]
        return Estimate(np.exp(mean), np.exp(mean - width), np.exp(mean + width))


def calibrate(
    components: Components,
    clean: Tensor,
    lowest: float,
    highest: float,
    seed: int = 0,
    stored: Clipping | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> CalibratedEstimator:
    """Learn to measure noise on clean images, to which noise of known levels is added.

    Args:
        components: of images of the same kind, of any noise; not of those that are measured, nor of the clean ones.
        clean: (N, C, H, W) clean images of the kind that is measured, in model units.
        lowest, highest: between which the levels are drawn, evenly in the logarithm.
        seed: of the draws.
        stored: what storing did to the noisy images, and is done here too.
        progress: is told of each share that is done.

    Raises:
        ValueError: there are fewer than 20 clean images.
    """
    if len(clean) < 20:
        raise ValueError(f"{len(clean)} clean images are too few to learn from")
    estimator = CalibratedEstimator(components, lowest, highest)
    clean = middle_of(clean)
    draws = int(min(_DRAWS, _DRAWN / clean[0].numel()))
    ids = torch.arange(draws)
    which, level = uniform(seed, Stream.CALIBRATE, ids, 2, attempt=1).unbind(1)
    log_sigma = math.log(lowest) + level * math.log(highest / lowest)
    # The last draws are of the images set aside.
    learned = round(draws * (1 - _SET_ASIDE))
    first_aside = min(round(len(clean) * (1 - _SET_ASIDE)), len(clean) - 1)
    rows = torch.where(
        ids < learned, which * first_aside, first_aside + which * (len(clean) - first_aside)
    ).long()
    numbers = []
    for chunk in torch.split(ids, max(_VALUES // clean[0].numel(), 1)):
        noise = normal(seed, Stream.CALIBRATE, chunk, clean.shape[1:])
        noisy = clean[rows[chunk]] + log_sigma[chunk].exp().float()[:, None, None, None] * noise
        numbers.append(estimator._numbers(noisy if stored is None else stored(noisy)))
        progress(len(chunk) / draws)
    table = torch.cat(numbers)
    estimator.learn(table[:learned], log_sigma[:learned].float(), seed)
    estimator.set_intervals(table[learned:], log_sigma[learned:])
    return estimator


def middle_of(images: Tensor) -> Tensor:
    """The middle of images (N, C, H, W) that are larger than what is learned from, 96x96."""
    top, left = (max(n - _SIDE, 0) // 2 for n in images.shape[2:])
    return images[:, :, top : top + _SIDE, left : left + _SIDE]


def _pieces(images: Tensor) -> tuple[Tensor, ...]:
    return torch.split(images, max(_VALUES // images[0].numel(), 1))
