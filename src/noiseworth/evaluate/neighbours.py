"""Do generated images look real, and are all kinds of real ones there? By nearest neighbours in features.

The ball of an image reaches to its `k`-th neighbour among images of the same kind (generated, or real).

    precision   share of generated images in the ball of a real one (Kynkäänniemi et al., arXiv 1904.06991)
    recall      share of real images in the ball of a generated one
    density     mean number of real balls around a generated image, over k (Naeem et al., arXiv 2002.09797)
    coverage    share of real balls with a generated image in them
    copied      share of generated images that are nearer to a training image than that image's own nearest
                neighbour; the same share of held-out real images says how many are so by chance
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.errors import UserError
from noiseworth.evaluate.intervals import share_interval
from noiseworth.evaluate.validation import check_features

_ROWS = 1000
_SAME = 1e-9  # squared distance, per mean squared norm, within which two training images are the same


@dataclass(frozen=True)
class NeighbourScores:
    """See the top of the module. All but `density` are shares, with standard error sqrt(p (1 - p) / n)."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(
    generated: NDArray[np.floating], real: NDArray[np.floating], k: int = 3
) -> NeighbourScores:
    """Scores of features (N, F) of generated and (M, F) of real images.

    Args:
        k: neighbours; 3 is usual for precision and recall (5 for density and coverage).

    Raises:
        UserError: fewer than k + 1 samples of either kind, different dimensions, or values that are not
            finite.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, got {k}")
    check_features(generated, real, least=k + 1)
    x, y = (torch.from_numpy(np.ascontiguousarray(features)) for features in (generated, real))
    if x.dtype != y.dtype:
        x, y = x.double(), y.double()
    of_x, of_y = _radii(x, k), _radii(y, k)
    squares = _squares(y)
    inside, count = torch.zeros(len(x), dtype=torch.bool), 0
    recalled, covered = torch.zeros(len(y), dtype=torch.bool), torch.zeros(len(y), dtype=torch.bool)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        squared = _squared(x[rows], y, squares)
        hit = squared <= of_y[None]
        inside[rows] = hit.any(dim=1)
        count += int(hit.sum())
        covered |= hit.any(dim=0)
        recalled |= (squared <= of_x[rows, None]).any(dim=0)
    return NeighbourScores(
        precision=float(inside.double().mean()),
        recall=float(recalled.double().mean()),
        density=count / (k * len(x)),
        coverage=float(covered.double().mean()),
    )


@dataclass(frozen=True)
class Memorisation:
    """`share` of generated images that count as copies, of `count`; `by_chance` is the same share of held-out images.

    Each has a 95% interval, that of a share of independent images. `pairs` are (generated image, training
    image), the nearest first.
    """

    share: float
    interval: tuple[float, float]
    count: int
    by_chance: float
    by_chance_interval: tuple[float, float]
    by_chance_count: int
    pairs: list[tuple[int, int]]


def memorisation(
    generated: NDArray[np.floating],
    train: NDArray[np.floating],
    held_out: NDArray[np.floating],
    most: int = 16,
) -> Memorisation:
    """Whether generated images are nearer to training images than images that were never trained on are.

    Args:
        generated, train, held_out: features (N, F).
        most: pairs to return.

    Raises:
        UserError: fewer than 2 different training images, or features that do not fit each other.
    """
    check_features(generated, train, least=2)
    check_features(held_out, train, least=2)
    t = torch.from_numpy(np.ascontiguousarray(train)).double()
    # The second copy of an image does not count as its neighbour.
    own = _radii(t, 1, _SAME * float((t * t).sum(1).mean()))
    hits, ratios, nearest = [], torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    for features in (held_out, generated):
        x = torch.from_numpy(np.ascontiguousarray(features)).double()
        nearest = _nearest(x, t)
        ratios = (x - t[nearest]).square().sum(1) / own[nearest]
        hits.append(int((ratios < 1).sum()))
    worst = torch.argsort(ratios)[:most]
    n, m = len(generated), len(held_out)
    return Memorisation(
        hits[1] / n,
        share_interval(hits[1], n),
        n,
        hits[0] / m,
        share_interval(hits[0], m),
        m,
        [(int(i), int(nearest[i])) for i in worst],
    )


def _squared(a: Tensor, b: Tensor, of_b: Tensor | None = None) -> Tensor:
    """Squared distances (N, M), by a product of matrices; `of_b` (M,): squared norms of `b`, if known."""
    squares: Tensor = torch.addmm(_squares(b) if of_b is None else of_b, a, b.T, alpha=-2)
    return squares.add_(_squares(a)[:, None]).clamp_(min=0)


def _squares(x: Tensor) -> Tensor:
    return torch.einsum("ij,ij->i", x, x)


def _radii(x: Tensor, k: int, beyond: float | None = None) -> Tensor:
    """Squared distance of each point to its k-th neighbour, of those farther than `beyond` (squared)."""
    radii_by_block, squares = [], _squares(x)
    for start in range(0, len(x), _ROWS):
        squared = _squared(x[start : start + _ROWS], x, squares)
        rows = torch.arange(len(squared))
        # A point is not its own neighbour. Without `beyond`, duplicates are neighbours at distance 0.
        squared[rows, rows + start] = float("inf")
        if beyond is not None:
            squared[squared <= beyond] = float("inf")
        radii_by_block.append(squared.topk(k, dim=1, largest=False).values[:, -1])
    radii = torch.cat(radii_by_block)
    if beyond is not None and not bool(torch.isfinite(radii).all()):
        raise UserError("copies cannot be detected: the training images are all the same")
    return radii


def _nearest(a: Tensor, b: Tensor) -> Tensor:
    squares = _squares(b)
    return torch.cat(
        [_squared(a[start : start + _ROWS], b, squares).argmin(dim=1) for start in range(0, len(a), _ROWS)]
    )
