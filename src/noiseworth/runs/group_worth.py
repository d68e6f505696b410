"""What each image of a data set, or each group, adds to all others; images of one scene add little to each other.

Images of one scene, with noise `s_i`, are together as good as one of noise `(sum_i 1 / s_i^2)^(-1/2)`, and beside a clean one noisy ones
add nothing. What a scene is worth at a level follows as in training (`diffusion/worth.py`), a group adds what all scenes lose without it,
and how many clean images would do the same says what it is worth in all (`diffusion/replaced.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.data.dataset import Dataset
from noiseworth.data.inspect import duplicates
from noiseworth.data.repeats import MOST, same_scene
from noiseworth.diffusion.replaced import replaced_and_loss, risk_levels, shared
from noiseworth.diffusion.worth import PosteriorVariance, imputed_worth, spectrum, worth
from noiseworth.records import CheapImage, GroupWorth, GroupWorthRecord, WorthRecord

Ints = NDArray[np.int64]
Array = NDArray[np.float64]

_CHEAPEST = 10
_FOR_SPECTRUM = 10_000


def measure_groups(
    dataset: Dataset, groups: Ints, names: Sequence[str], of_run: WorthRecord | None = None
) -> GroupWorthRecord:
    """Worth of the groups of a data set, and its cheapest images.

    Args:
        dataset: images of known noise.
        groups: (N,) the group of each image, from 0; every group has images.
        names: of the groups.
        of_run: worth of a run on such images, for the posterior variance and for whether imputed images count; by default the variance
            is its bound from the images' spectrum, and they count.
    """
    scenes, remarks = _scenes(dataset)
    levels = risk_levels()
    v = _posterior_variance(dataset, of_run, levels)
    imputes = of_run is None or of_run.price_low != of_run.price_high
    worth_of = _WorthOfNoise(levels, v, imputes)
    total = worth_of.all(scenes.noise(scenes.cleans, scenes.exact))
    order = np.argsort(groups, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    counts = torch.tensor([len(r) for r in rows], dtype=torch.float64)
    added = torch.stack([_added(scenes, worth_of, r) for r in rows])
    replaced, loss = replaced_and_loss(added, total, counts, v, WorthRecord.FEWEST)
    found = [
        GroupWorth(
            name=name,
            count=len(rows[g]),
            repeated=int((scenes.sizes[scenes.of[rows[g]]] > 1).sum()),
            worth=float(replaced[g]) / len(rows[g]),
            replaced_by=float(replaced[g]),
            loss=float(loss[g]),
            by_level=(shared(added[g]).clamp(min=0) / len(rows[g])).tolist(),
        )
        for g, name in enumerate(names)
    ]
    found.sort(key=lambda group: -group.loss)
    cheapest = _cheapest(dataset, scenes, worth_of, total, v)
    return GroupWorthRecord(levels.tolist(), found, cheapest, None, remarks)


@dataclass(frozen=True)
class _Scenes:
    """Which images show which scene.

    Attributes:
        of: (N,) scene of each image.
        clean, precision: (N,) whether it is clean, else the inverse of its noise's variance.
        cleans, exact, sizes: (S,) sums over the images of each scene, and their number.
    """

    of: Ints
    clean: NDArray[np.bool_]
    precision: Array
    cleans: Array
    exact: Array
    sizes: Ints

    @staticmethod
    def noise(cleans: Array, exact: Array) -> Array:
        """Noise that the images of a scene leave together: 0 beside a clean one, infinite without any."""
        with np.errstate(divide="ignore"):
            return np.where(cleans > 0, 0.0, exact**-0.5)


def _scenes(dataset: Dataset) -> tuple[_Scenes, list[str]]:
    sigma, remarks = dataset.sigma.astype(np.float64), []
    if len(dataset) > MOST:
        number = np.arange(len(sigma))
        for group in duplicates(dataset):
            number[group] = group[0]
        remarks.append(
            f"of more than {MOST:,} images, only those with the same pixels are taken for one scene"
        )
    else:
        number = same_scene(dataset)
    if not dataset.is_white:
        remarks.append(
            "noise that is not white counts as white noise of the same variance, and missing pixels are not looked at"
        )
    of = np.unique(number, return_inverse=True)[1].reshape(-1)
    clean = sigma == 0
    precision = np.where(clean, 0.0, 1 / np.maximum(sigma, 1e-12) ** 2)
    sums = [np.bincount(of, weights).astype(np.float64) for weights in (clean, precision)]
    return _Scenes(of, clean, precision, sums[0], sums[1], np.bincount(of)), remarks


def _posterior_variance(dataset: Dataset, of_run: WorthRecord | None, levels: Tensor) -> Tensor:
    """`v` (L,) by a run, or the bound of the best linear denoiser."""
    if of_run is not None:
        known = np.interp(np.log(levels.numpy()), np.log(of_run.levels), np.log(of_run.posterior_variance))
        return torch.from_numpy(np.exp(known))
    some = np.linspace(0, len(dataset) - 1, min(len(dataset), _FOR_SPECTRUM)).astype(np.int64)
    images = torch.from_numpy(dataset.read(some))
    return PosteriorVariance(spectrum(images, torch.from_numpy(dataset.sigma[some]))[0])(levels)


@dataclass(frozen=True, eq=False)
class _WorthOfNoise:
    """Worth of scenes at levels (L,), by the noise that their images leave together."""

    levels: Tensor
    v: Tensor
    imputes: bool

    def each(self, noise: Array) -> Tensor:
        """(S, L); nothing for a scene without images, of infinite noise."""
        s = torch.from_numpy(np.where(np.isfinite(noise), noise, 1e12))[:, None]
        table = worth(self.levels[None], s, self.v[None])
        if self.imputes:
            imputed = imputed_worth(self.levels[None], s.clamp(min=1e-6))
            table = torch.where(s > 0, torch.maximum(table, imputed), table)
        return table

    def all(self, noise: Array) -> Tensor:
        """Their sum (L,)."""
        values, counts = np.unique(noise, return_counts=True)
        return torch.from_numpy(counts.astype(np.float64)) @ self.each(values)

    @lru_cache(maxsize=100_000)  # noqa: B019, it lives as long as one measurement
    def one(self, noise: float) -> Tensor:
        """Of one scene (L,)."""
        return self.each(np.array([noise]))[0]


def _added(scenes: _Scenes, worth_of: _WorthOfNoise, rows: Ints) -> Tensor:
    """Effective images (L,) that the images of some rows add to all others."""
    if len(rows) == 1 and scenes.sizes[scenes.of[rows[0]]] == 1:
        own = scenes.of[rows]
        return worth_of.one(float(scenes.noise(scenes.cleans[own], scenes.exact[own])[0]))
    touched, scene = np.unique(scenes.of[rows], return_inverse=True)
    cleans = scenes.cleans[touched] - np.bincount(scene, scenes.clean[rows])
    exact = scenes.exact[touched] - np.bincount(scene, scenes.precision[rows])
    is_left = scenes.sizes[touched] > np.bincount(scene)
    exact = np.where(is_left, np.maximum(exact, 0.0), 0.0)  # not what rounding leaves
    before = worth_of.all(scenes.noise(scenes.cleans[touched], scenes.exact[touched]))
    return before - worth_of.all(scenes.noise(np.where(is_left, cleans, 0.0), exact))


def _cheapest(
    dataset: Dataset, scenes: _Scenes, worth_of: _WorthOfNoise, total: Tensor, v: Tensor
) -> list[CheapImage]:
    """The images that add least; of every scene one image is kept out of the list."""
    sigma = dataset.sigma.astype(np.float64)
    alone = scenes.sizes[scenes.of] == 1
    order = np.lexsort((-sigma, alone))  # images of a scene that another one shows, then the noisiest
    best: dict[int, int] = {}  # the image that keeps a scene: its least noisy one
    for i in np.lexsort((np.arange(len(sigma)), sigma)).tolist():
        best.setdefault(int(scenes.of[i]), i)
    chosen = [i for i in order.tolist() if alone[i] or best[int(scenes.of[i])] != i]
    chosen = chosen[: 20 * _CHEAPEST]
    added = torch.stack([_added(scenes, worth_of, np.array([i])) for i in chosen])
    ones = torch.ones(len(chosen), dtype=torch.float64)
    value = replaced_and_loss(added, total, ones, v, WorthRecord.FEWEST)[0].numpy()
    return [
        CheapImage(
            chosen[k], float(sigma[chosen[k]]), float(value[k]), int(scenes.sizes[scenes.of[chosen[k]]])
        )
        for k in np.argsort(value, kind="stable")[:_CHEAPEST]
    ]
