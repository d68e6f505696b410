"""The noise of the images of a data set, measured: no image along components of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset
from noiseworth.errors import UserError
from noiseworth.noise.components import fit_components
from noiseworth.noise.estimate import Clipping, Estimate, FloorEstimator, calibrate, middle_of
from noiseworth.noise.pooling import pool
from noiseworth.progress import progress_bar

FEWEST_CLEAN = 100  # images, of which fewer teach too little
_LOOKED_AT = 2000  # images, of which the components and the range of levels are taken
_CLEAN = 10_000  # images that are learned from, at most
VALUES = 2**26  # of images that are in memory at once, about
_CLIPPED = 0.002  # share of the pixels at the very lowest or highest value, from which these are an end
_MARGIN = 3.0  # how far beyond what is there the levels reach that are learned
_NEGLIGIBLE = 0.01  # of the standard deviation of the pixels: a level that no picture shows

Rows = NDArray[np.int64]
Estimator = Callable[[torch.Tensor], Estimate]


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        estimate: of each image.
        learned_from: number of clean images.
        clipped: share of the pixels that storing cut off.
        negligible: a level that no picture shows.
    """

    estimate: Estimate
    learned_from: int
    clipped: float
    negligible: float


def measure(dataset: Dataset, rows: Rows, clean: Rows, seed: int) -> Measurement:
    """The noise of the images at `rows`; those at `clean` are clean, and are learned from where they are many enough.

    Raises:
        UserError: an image has values that are not finite, or is too small; or all are constant.
    """
    most = max(VALUES // int(np.prod(dataset.shape)), 20)
    halves = [rows[::2], rows[1::2]] if len(rows) > 1 else [rows, rows]
    seen = [read_finite(dataset, evenly(half, min(_LOOKED_AT, most))) for half in halves]
    try:
        floors = [FloorEstimator(fit_components(images, among=len(rows) == 1)) for images in seen[::-1]]
    except ValueError as error:
        raise UserError(f"{dataset.path}: {error}; measure larger images of the same camera") from None
    stored, clipped = stored_as(dataset, torch.cat(seen))
    if len(clean) < FEWEST_CLEAN:
        negligible = _NEGLIGIBLE * float(torch.cat(seen).std())
        return Measurement(_in_halves(floors, dataset, rows, halves), 0, clipped, negligible)
    teachers = torch.cat(
        [
            middle_of(read_finite(dataset, some))
            for some in np.array_split(evenly(clean, _CLEAN), max(len(clean) // most, 1))
        ]
    )
    contrast, of_clean = float(teachers.std()), float(np.median(floors[0](teachers).sigma))
    levels = np.concatenate([floor(images).sigma for floor, images in zip(floors, seen, strict=True)])
    highest = _MARGIN * max(float(levels.max()), _NEGLIGIBLE * contrast)
    if highest == 0:
        raise UserError(f"{dataset.path}: all images are the same everywhere; there is no noise to measure")
    lowest = max(min(float(levels.min()), of_clean) / _MARGIN, 0.1 * _NEGLIGIBLE * contrast, 1e-4 * highest)
    # Components of clean images are sharper, but those of whole images need many.
    own = fit_components(teachers[::2])
    is_enough = own.whole is not None or floors[0].components.whole is None
    with progress_bar(total=1.0 if is_enough else 2.0, desc="learning", unit_scale=True) as bar:
        estimators: list[Estimator] = (
            [calibrate(own, teachers[1::2], lowest, highest, seed, stored, bar.update)] * 2
            if is_enough
            else [
                calibrate(f.components, teachers, lowest, highest, seed, stored, bar.update) for f in floors
            ]
        )
    estimate = pool(_in_halves(estimators, dataset, rows, halves))
    return Measurement(estimate, len(teachers), clipped, _NEGLIGIBLE * contrast)


def require_white(dataset: Dataset) -> None:
    """Raises UserError where the data set says that its noise is not white, or that pixels were not measured."""
    for model in dataset.noise_models[1:]:
        if model is not None and (dataset.kind > 0).any():
            raise UserError(
                f"{dataset.path}: has {model.name}; this takes white noise, or clean images, alone"
            )
    if dataset.may_miss.any():
        raise UserError(
            f"{dataset.path}: has images with pixels that were not measured; this takes whole images alone"
        )


def _in_halves(
    estimators: Sequence[Estimator], dataset: Dataset, rows: Rows, halves: Sequence[Rows]
) -> Estimate:
    """The noise of the images at `rows`, of which every second one is in a half, each with its own estimator; 0 of an image that is the
    same everywhere."""
    whole = Estimate(*(np.empty(len(rows)) for _ in range(3)))
    chunk = max(VALUES // 64 // int(np.prod(dataset.shape)), 1)
    with progress_bar(total=len(rows), desc="measuring", unit=" images") as bar:
        for number, half in enumerate(halves[: len(rows)]):
            for start in range(0, len(half), chunk):
                images = read_finite(dataset, half[start : start + chunk])
                part, flat = estimators[number](images), images.flatten(1)
                varies = (flat.amax(1) > flat.amin(1)).numpy()
                at = slice(number + 2 * start, number + 2 * (start + len(images)), 2)
                for name in ("sigma", "low", "high"):
                    getattr(whole, name)[at] = getattr(part, name) * varies
                bar.update(len(images))
    return whole


def read_finite(dataset: Dataset, rows: Rows) -> torch.Tensor:
    """Images (N, C, H, W), in model units.

    Raises:
        UserError: one has a value that is not finite.
    """
    images = dataset.read(rows)
    require_finite(dataset, rows, images)
    return torch.from_numpy(images)


def require_finite(dataset: Dataset, rows: Rows, images: NDArray[np.floating]) -> None:
    """Raises UserError where one of the images at `rows` has a value that is not finite."""
    is_bad = ~np.isfinite(images.reshape(len(rows), -1)).all(1)
    if is_bad.any():
        number = int(dataset.ids[rows[is_bad.argmax()]])
        raise UserError(
            f"{dataset.path}: image {number} has NaN or infinite pixels; leave it out, or pack it with --missing"
        )


def stored_as(dataset: Dataset, images: torch.Tensor) -> tuple[Clipping, float]:
    """What storing did to the noise: the ends of the values where many pixels lie at them, and the step of integers."""
    low, high, share = cut_off_at(images)
    parts = dataset.record.parts  # of several types or units no one step is that of all
    is_of_one = len({(part.dtype, part.scale) for part in parts}) == 1 and parts[0].scale is None
    step = 1 / dataset.record.scale if is_of_one and dataset.dtype.kind in "ui" else 0.0
    return Clipping(low, high, step), share


def cut_off_at(images: torch.Tensor) -> tuple[float, float, float]:
    """The lowest and the highest value where many pixels lie at them (else infinities), and the share of these pixels."""
    low, high = float(images.min()), float(images.max())
    at_low, at_high = (float((images == end).float().mean()) for end in (low, high))
    clips_low, clips_high = (high > low and share > _CLIPPED for share in (at_low, at_high))
    share = at_low * clips_low + at_high * clips_high
    return low if clips_low else -np.inf, high if clips_high else np.inf, share


def evenly(rows: Rows, most: int) -> Rows:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))]
