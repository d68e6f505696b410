"""What shows how noise is: that of images beside the noise that training takes it for, which is added to clean images of the same kind."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.noise.checks import without_picture
from noiseworth.noise.components import Components, stride_of
from noiseworth.noise.moments import Moments, moments_of
from noiseworth.rng import Stream, normal

Array = NDArray[np.float64]

_GROUPS = 6  # of declared levels
_TAILS = 6.0  # standard deviations that the picture of outliers reaches to
_BINS = 25
_SOME = 500  # images whose single values are counted


@dataclass(frozen=True)
class Comparison:
    """One picture: a curve over numbers `x`, or bars with names `x`; see `noiseworth.records.ComparisonRecord`."""

    x: list[float] | list[str]
    here: list[float]
    ideal: list[float]
    x_label: str
    y_label: str
    logarithmic: bool = False


def compare(components: Components, noisy: Tensor, sigma: Array, clean: Tensor) -> dict[str, Comparison]:
    """The picture of each check, by its name.

    Args:
        components: of clean images of the same kind that are not among `clean`.
        noisy: (N, C, H, W), of the declared noise `sigma` (N,).
        clean: (M, C, H, W).

    Raises:
        ValueError: as `check_noise`.
    """
    last, quiet = without_picture(components, clean, sigma)
    which = torch.arange(len(noisy)) % len(clean)
    levels = torch.from_numpy(sigma).float().reshape(-1, 1, 1, 1)
    ideal = clean[which] + levels * normal(0, Stream.CHECK, torch.arange(len(noisy)), noisy.shape[1:])
    of_clean = moments_of(components, clean, last)
    both = [moments_of(components, images, last) for images in (noisy, ideal)]
    values = [images[_evenly(images)] for images in (noisy, ideal)]
    return {
        "the declared level": _level(both, of_clean, last, sigma),
        "white": _white(both, of_clean, last, sigma),
        "free of stripes": _rows(both, of_clean, sigma, (noisy.shape[2], noisy.shape[3])),
        "Gaussian": _tails(components, values, sigma[_evenly(noisy)], quiet),
        "independent of the signal": _brightness(both, of_clean, sigma),
        "of mean zero": _shares([m.mean for m in both], "mean of an image (model units)", "share of the images"),
        "whole": _shares([v.flatten().double().numpy() for v in values], "pixel value (model units)", "share of the pixels"),
    }  # fmt: skip


def _evenly(images: Tensor) -> NDArray[np.int64]:
    chosen: NDArray[np.int64] = np.unique(
        np.linspace(0, len(images) - 1, min(len(images), _SOME)).astype(np.int64)
    )
    return chosen


def _level(both: list[Moments], of_clean: Moments, last: int, sigma: Array) -> Comparison:
    levels = np.unique(sigma)
    edges = np.quantile(sigma, np.linspace(0, 1, _GROUPS + 1)[1:-1]) if len(levels) > _GROUPS else levels[:-1]
    group = np.searchsorted(edges, sigma)
    groups = np.unique(group)
    picture = of_clean.second[:, :last].mean()

    def noise(m: Moments) -> list[float]:
        energy = m.second[:, :last].mean(1) - picture
        return [_root(float(energy[group == g].mean() / np.mean(sigma[group == g] ** 2))) for g in groups]

    names = [f"{np.sqrt(np.mean(sigma[group == g] ** 2)):.3g}" for g in groups]
    return Comparison(names, noise(both[0]), noise(both[1]), "declared level σ", "measured over declared")


def _white(both: list[Moments], of_clean: Moments, last: int, sigma: Array) -> Comparison:
    picture, s2 = of_clean.second[:, :last].mean(0), float(np.mean(sigma**2))
    here, ideal = ([_root(float(v)) for v in (m.second[:, :last].mean(0) - picture) / s2] for m in both)
    x = [float(number) for number in range(1, last + 1)]
    return Comparison(x, here, ideal, "component of patches, from fine to coarse", "noise over declared")


def _rows(both: list[Moments], of_clean: Moments, sigma: Array, size: tuple[int, int]) -> Comparison:
    s2 = float(np.mean(sigma**2))
    picture = of_clean.rows.mean(0)
    here, ideal = (
        [_root(float((m.rows[:, a].mean() - picture[a]) / 2 / s2 * size[1 - a])) for a in (0, 1)]
        for m in both
    )
    return Comparison(["rows", "columns"], here, ideal, "means of", "noise over that of white noise")


def _tails(components: Components, values: list[Tensor], sigma: Array, quiet: int) -> Comparison:
    """How frequent values are in the components with least picture."""
    edges = np.linspace(-_TAILS, _TAILS, _BINS + 1)
    shares = []
    for images in values:
        flat = torch.nn.functional.conv2d(images, components.filters[:quiet], stride=stride_of(images))
        scaled = flat.flatten(1).double().numpy() / sigma[:, None]
        scaled /= np.sqrt(np.mean(scaled**2))  # its shape, and not its level, is the question
        shares.append((np.histogram(scaled, edges)[0] / scaled.size).tolist())
    x = ((edges[1:] + edges[:-1]) / 2).tolist()
    return Comparison(
        x,
        shares[0],
        shares[1],
        "noise in fine components, over its standard deviation",
        "share of the values",
        True,
    )


def _brightness(both: list[Moments], of_clean: Moments, sigma: Array) -> Comparison:
    s2, picture = float(np.mean(sigma**2)), of_clean.by_brightness.mean(0)
    here, ideal = ([_root(float(v)) for v in (m.by_brightness.mean(0) - picture) / s2] for m in both)
    return Comparison(["dark", "bright"], here, ideal, "parts of the picture that are", "noise over declared")


def _shares(values: list[Array], x_label: str, y_label: str) -> Comparison:
    both = np.concatenate(values)
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    here, ideal = ((np.histogram(v, edges)[0] / len(v)).tolist() for v in values)
    return Comparison(((edges[1:] + edges[:-1]) / 2).tolist(), here, ideal, x_label, y_label)


def _root(square: float) -> float:
    return float(np.sqrt(max(square, 0.0)))
