"""Mixes of the noisy images that somebody has: chosen among them, where `corrupt.mix` simulates noise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.inspect import group_sigmas
from noiseworth.data.measured import require_white
from noiseworth.data.views import select_view
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.records import DatasetRecord
from noiseworth.rng import Stream, permutation

_SAME = 0.01  # relative difference up to which a level that is asked for is one that the data have


class OwnNoise:
    """The noise levels that a data set has.

    Attributes:
        clean: number of clean images.
        counts: level -> number of noisy images. Where there are more than 20 different levels, they are
            quantile groups named by their medians, as `noiseworth inspect` shows them.
    """

    def __init__(self, dataset: Dataset) -> None:
        """
        Raises:
            UserError: the noise level of an image is unknown.
        """
        dataset.require_known_sigma()
        require_white(dataset)
        self._dataset = dataset
        sigma = dataset.sigma.astype(np.float64)
        levels = group_sigmas(dataset.sigma)[0]
        self._levels = levels[levels > 0]
        self.clean = int((sigma == 0).sum())
        self._group = np.full(len(sigma), -1)  # of clean images
        noisy = sigma > 0
        if noisy.any():
            logs = np.log(self._levels)
            self._group[noisy] = np.abs(np.log(sigma[noisy])[:, None] - logs[None]).argmin(axis=1)
        self.counts = {float(level): int((self._group == i).sum()) for i, level in enumerate(self._levels)}

    def count(self, sigma: float) -> int:
        """The number of images of a level.

        Raises:
            UserError: there are none.
        """
        return int((self._group == self._number(sigma)).sum())

    def _number(self, sigma: float) -> int:
        near = np.flatnonzero(np.abs(self._levels - sigma) <= _SAME * sigma)
        if not len(near):
            has = ", ".join(f"{level:.4g} ({count:,} images)" for level, count in self.counts.items())
            raise UserError(
                f"--sigma {sigma:g}: {self._dataset.path} has images of its own noise, at the levels {has}; choose among"
                " these"
            )
        return int(near[0])

    def rows(self, clean: int, noisy: Sequence[tuple[float, int]], seed: int) -> NDArray[np.int64]:
        """Which images make up a mix, the first of each level in a random order: of two mixes with one seed, the larger one contains the
        smaller.

        Raises:
            UserError: there are not so many.
        """
        order = permutation(seed, Stream.CLEAN, len(self._dataset)).numpy()
        chosen = []
        for number, count in [(-1, clean), *((self._number(sigma), count) for sigma, count in noisy)]:
            of_level = order[self._group[order] == number]
            if not 0 <= count <= len(of_level):
                what = "clean images" if number < 0 else f"images of noise {self._levels[number]:.4g}"
                raise UserError(
                    f"{self._dataset.path}: has {len(of_level):,} {what}; cannot take {count:,} of them"
                )
            chosen.append(of_level[:count])
        return np.sort(np.concatenate(chosen))


def mix_own(
    source: Path | str, out: Path | str, *, clean: int, noisy: Sequence[tuple[float, int]], seed: int = 0
) -> DatasetRecord:
    """Choose some clean and some noisy images of a data set, as a view of it.

    Args:
        source: a packed data set of clean and noisy images.
        out: the new directory.
        clean: number of clean images.
        noisy: (sigma, number of images) for each noise level, in model units.

    Raises:
        UserError: there are not so many, or `out` exists.
    """
    dataset = open_dataset(source)
    rows = OwnNoise(dataset).rows(clean, noisy, seed)
    if not len(rows):
        raise UserError(f"{source}: no images are asked for")
    provenance = {"command": "mix", "clean": clean, "noisy": [list(group) for group in noisy], "seed": seed}
    with new_directory(Path(out)) as folder:
        return select_view(dataset.select(rows), folder, Path(out), "mix", provenance)
