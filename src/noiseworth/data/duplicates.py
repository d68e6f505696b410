"""Images with the same pixels: found, and kept on one side of a split."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.rng import Stream, permutation

_CHUNK = 1024


def same_pixels(batches: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """A number for each image (N,) of batches (B, C, H, W); the same for the same pixels."""
    seen: dict[bytes, int] = {}
    digests = (
        hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        for batch in batches
        for image in batch
    )
    return np.array([seen.setdefault(digest, len(seen)) for digest in digests], dtype=np.int64)


def held_out_rows(
    images: Any,
    count: int,
    seed: int,
    groups: Sequence[str] | None = None,
    strata: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Which images (N,) are held out, the first ones of a random order.

    Images with the same pixels stay together, so that none is on both sides; so do groups. What is too large
    for the number that is left stays in training.

    Args:
        images: anything that is sliced to (B, C, H, W).
        groups: of each image; with them, fewer than `count` may be held out.
        strata: of each image, such as its noise level; the same share of each is held out.

    Raises:
        UserError: images with the same pixels, taken in that order, do not add up to `count`.
    """
    together = same_pixels(in_batches(images))
    if groups is not None:
        together = _connected(together, np.unique(np.asarray(groups), return_inverse=True)[1])
    order = permutation(seed, Stream.HELD_OUT, len(images)).numpy()
    if strata is None:
        kept, left = _take(order, together, count)
    else:
        kept, left = np.zeros(len(images), dtype=bool), count
        for stratum, share in _shares(strata, count):
            more, _ = _take(order, np.where(stratum & ~kept, together, -1), share)
            kept |= np.isin(together, together[more])
        left = max(count - int(kept.sum()), 0)
    if left and groups is None and strata is None:
        raise UserError(
            f"--held-out {count}: images with the same pixels must stay together; {count - left} is possible"
        )
    if not kept.any():
        raise UserError(
            f"--held-out {count}: every group is larger than this; hold out more, or divide the groups"
        )
    return kept


def _take(order: NDArray[np.int64], together: NDArray[np.int64], count: int) -> tuple[NDArray[np.bool_], int]:
    """The first `count` images of an order, whole groups alone, without those of group -1; and how many are lacking."""
    sizes, kept, left = np.bincount(together[together >= 0]), np.zeros(len(order), dtype=bool), count
    for i in order:
        if left == 0:
            break
        if together[i] >= 0 and not kept[i] and sizes[together[i]] <= left:
            members = [i] if sizes[together[i]] == 1 else np.flatnonzero(together == together[i])
            kept[members] = True
            left -= len(members)
    return kept, left


def _shares(strata: NDArray[Any], count: int) -> Iterator[tuple[NDArray[np.bool_], int]]:
    """The images of each stratum, and how many of them are held out, by the largest remainder."""
    number, sizes = np.unique(strata, return_inverse=True, return_counts=True)[1:]
    exact = count * sizes / len(strata)
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: count - shares.sum()]] += 1
    for i, share in enumerate(shares):
        yield number.reshape(-1) == i, int(share)


def _connected(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each image; images that are together in `a`, or in `b`, or by way of others, have the same."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = np.arange(len(a))
    edges = (np.concatenate([rows, rows]), np.concatenate([len(a) + a, len(a) + a.max() + 1 + b.reshape(-1)]))
    size = int(edges[1].max()) + 1
    graph = coo_matrix((np.ones(2 * len(a), np.int8), edges), (size, size))
    number: NDArray[np.int64] = connected_components(graph, directed=False)[1][: len(a)].astype(np.int64)
    return number


def in_batches(images: Any) -> Iterator[NDArray[Any]]:
    """The images, in slices (B, C, H, W)."""
    return (images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK))
