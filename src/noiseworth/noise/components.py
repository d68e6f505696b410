"""What in an image is least picture: principal components of patches and, of small images, of whole images; least variance first.

White noise has the same variance in every component, pictures nearly none in most. So the variance in the last
components is that of the noise (Pyatykh, Hesser and Zheng, IEEE Trans. Image Process. 22, 2013), and in patches it
is measured best where the other components say that there is little picture. Components of whole images know, too,
where a kind of picture never has anything: the corners around a digit.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_SIZES = (5, 4, 3, 2)  # of patches, of which the largest is taken that leaves room
_ROOM = 16  # positions of a patch in an image, at least
_SHARES = (0.125, 0.25, 0.5, 1.0)  # of the positions, those with least picture first
_FLAT = 0.25  # of the positions, that say what the noise is where nothing was learned
_LAST = 0.25  # of the components, that count as no picture
_PATCHES = 400_000  # that components are taken from, at most
_PATCHES_FOR_EACH = 40  # component, at least: of fewer, cosines stand in, which no chance has chosen
_POSITIONS = 2**16  # of patches in an image, about, at most: larger images are looked at in steps
_WHOLE = 1024  # values of an image, up to which whole images are taken apart
_FOR_EACH = 2  # images for each component of whole images, at least
_GROUPS = 16  # of the components of whole images


@dataclass(frozen=True)
class Components:
    """Principal components of images of one kind, least variance first.

    Attributes:
        filters: (D, C, P, P) of patches, and their `variance` (D,).
        centre: (M,) mean image.
        whole: (M, M) of whole images, a row each, and their `whole_variance` (M,); None where images are large or few.
    """

    filters: Tensor
    variance: Tensor
    centre: Tensor
    whole: Tensor | None = None
    whole_variance: Tensor | None = None

    @property
    def prefers_whole(self) -> bool:
        """Whether the last components of whole images hold less than those of patches."""
        if self.whole_variance is None:
            return False
        ends = (
            values[: max(round(_LAST * len(values)), 1)] for values in (self.whole_variance, self.variance)
        )
        whole, patches = (float(values.mean()) for values in ends)
        return whole < patches

    def of_patches(self, images: Tensor) -> Tensor:
        """The square of each component (N, D, positions) of the patches of images (N, C, H, W)."""
        return functional.conv2d(images, self.filters, stride=stride_of(images)).square().flatten(2)

    def of_whole(self, images: Tensor) -> Tensor:
        """The square of each component (N, M) of images (N, C, H, W)."""
        assert self.whole is not None
        return ((images.flatten(1) - self.centre) @ self.whole.T).square()


def fit_components(images: Tensor, among: bool = False) -> Components:
    """Components of images (N, C, H, W). Noisy ones will do: white noise has no components of its own.

    What is measured must not be among `images`, if these are few: directions in which they vary little by chance would
    be taken for directions of little noise.

    Args:
        among: what is measured is among `images` all the same: cosines stand in for components.

    Raises:
        ValueError: the images are smaller than 5x5.
    """
    channels, height, width = images.shape[1:]
    stride = stride_of(images)
    size = next((p for p in _SIZES if (height - p + 1) * (width - p + 1) >= _ROOM), 0)
    if not size:
        raise ValueError(f"images of {width}x{height} are too small to be measured")
    positions = ((height - size) // stride + 1) * ((width - size) // stride + 1)
    some = images[:: max(len(images) * positions // _PATCHES, 1)]
    patches = functional.unfold(some, size, stride=stride).transpose(1, 2).flatten(0, 1)
    variance, vectors = (
        _principal(patches)
        if not among and len(patches) >= _PATCHES_FOR_EACH * patches.shape[1]
        else _cosines(patches, channels, size)
    )
    filters = vectors.T.reshape(-1, channels, size, size).contiguous()
    flat = images.flatten(1)
    centre = flat.mean(0)
    if among or flat.shape[1] > _WHOLE or len(flat) < _FOR_EACH * flat.shape[1]:
        return Components(filters, variance, centre)
    whole_variance, whole = _principal(flat - centre)
    return Components(filters, variance, centre, whole.T.contiguous(), whole_variance)


def _principal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares along the principal axes of rows (N, D), and the axes, as columns."""
    values, vectors = torch.linalg.eigh((rows.T @ rows).double() / len(rows))
    return values.clamp(min=0).float(), vectors.float()


def _cosines(patches: Tensor, channels: int, size: int) -> tuple[Tensor, Tensor]:
    """As `_principal`, along the cosine transform of patches (N, channels x size x size); the highest frequencies count as those of least
    variance."""
    at, frequency = (torch.arange(size) + 0.5) / size, torch.arange(size)
    one = (
        torch.cos(math.pi * frequency[:, None] * at)
        * torch.where(frequency == 0, 1.0, 2.0**0.5)[:, None]
        / size**0.5
    )
    two = torch.einsum("ax,by->abxy", one, one).reshape(size**2, size**2)
    order = (
        (frequency[:, None] ** 2 + frequency**2)
        .flatten()
        .repeat(channels)
        .argsort(descending=True, stable=True)
    )
    blocks: Tensor = torch.block_diag(*[two] * channels)  # type: ignore[no-untyped-call]
    vectors = blocks[order].T
    return (patches @ vectors).square().mean(0), vectors


def stride_of(images: Tensor) -> int:
    """Pixels between neighbouring patches of images (N, C, H, W)."""
    return max(math.ceil(math.sqrt(images.shape[2] * images.shape[3] / _POSITIONS)), 1)


@dataclass(frozen=True)
class Floor:
    """Of each image (N,): the variance of the last components where there is least picture, its relative standard error by noise alone,
    and how far it moves where twice as much counts."""

    variance: Tensor
    error: float
    drift: Tensor


def floor_of(components: Components, images: Tensor) -> Floor:
    """The variance that is no picture, of each image (N, C, H, W)."""
    if components.prefers_whole:
        squares = components.of_whole(images)
        last = max(round(_LAST * squares.shape[1]), 1)
        variance = squares[:, :last].mean(1)
        drift = (squares[:, : 2 * last].mean(1) - variance).clamp(min=0)
        return Floor(variance, math.sqrt(2 / last), drift)
    by_share = sorted_floors(components, images)
    variance = by_share[_SHARES.index(_FLAT)]
    drift = (by_share[_SHARES.index(2 * _FLAT)] - variance).clamp(min=0)
    count, _, size, _ = components.filters.shape
    # Patches that overlap tell no more than the pixels that they cover.
    covered = images[0].numel() * min(size / stride_of(images), 1.0) ** 2
    return Floor(
        variance, math.sqrt(2 / max(_FLAT * max(round(_LAST * count), 1) / count * covered, 1)), drift
    )


def sorted_floors(components: Components, images: Tensor) -> Tensor:
    """The mean square (shares, N) of the last components of patches, at the positions with least picture: an eighth, a quarter, half,
    all.

    Which positions these are is decided by the half of the components with most picture: to choose by what is measured
    would make it too small, and to choose by its neighbours in the spectrum too large, since patches overlap.
    """
    energies = components.of_patches(images)
    count = energies.shape[1]
    order = energies[:, count // 2 :].mean(1).argsort(1)
    floor = energies[:, : max(round(_LAST * count), 1)].mean(1).gather(1, order)
    running = floor.cumsum(1) / torch.arange(1, floor.shape[1] + 1)
    at = [max(math.ceil(share * floor.shape[1]), 1) - 1 for share in _SHARES]
    return running[:, at].T


def numbers_of(components: Components, images: Tensor) -> Tensor:
    """What tells noise from picture (N, F): mean squares of components, everywhere and where there is least picture, of patches and of
    whole images."""
    rows = [
        components.of_patches(images).mean(2),
        sorted_floors(components, images).T,
        images.flatten(1).var(1, keepdim=True),
    ]
    if components.whole is not None:
        squares = components.of_whole(images)
        rows += [group.mean(1, keepdim=True) for group in squares.tensor_split(_GROUPS, dim=1)]
    return torch.cat(rows, 1)
