"""Images with the same pixels: found, and kept on one side of a split."""

import hashlib
from collections.abc import Iterable, Iterator
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


def held_out_rows(images: Any, count: int, seed: int) -> NDArray[np.bool_]:
    """Which images are held out: the first `count` of a random order.

    Images with the same pixels stay together, so that none is on both sides; a group that is too large for
    the number that is left stays in training.

    Args:
        images: anything that is sliced to (B, C, H, W).

    Raises:
        UserError: the groups, taken in that order, do not add up to `count`.
    """
    group = same_pixels(in_batches(images))
    order = permutation(seed, Stream.HELD_OUT, len(images)).numpy()
    sizes, kept, left = np.bincount(group), np.zeros(len(images), dtype=bool), count
    for i in order:
        if left == 0:
            break
        if not kept[i] and sizes[group[i]] <= left:
            members = [i] if sizes[group[i]] == 1 else np.flatnonzero(group == group[i])
            kept[members] = True
            left -= len(members)
    if left:
        raise UserError(
            f"--held-out {count}: images with the same pixels must stay together; {count - left} is possible"
        )
    return kept


def in_batches(images: Any) -> Iterator[NDArray[Any]]:
    """The images, in slices (B, C, H, W)."""
    return (images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK))
