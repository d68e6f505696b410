"""Counter-based random numbers.

Every draw in noiseworth is a pure function of (seed, stream, id): there is no generator state to save, no
order to keep, and any subset of ids can be drawn by any process. The generator is Philox4x32-10 (Salmon,
Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), in integer arithmetic that
gives the same bits on every device.

Notation: `B` images in a batch; `ids` are int64, one per image.
"""

import math
from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Stream(IntEnum):
    """What a draw is for. Two streams never share a number, whatever the ids. Values are part of the format: never reuse."""

    PAIR = 1  # level and image of a training pair
    NOISE = 2  # noise that lifts a training image to its level
    LATENT = 4  # starting noise of a generated image
    CORRUPT = 5  # simulated noise of a data set
    ELECTRONS = 18  # numbers of electrons that a simulated camera counts
    CALIBRATE = 19  # noise added to clean images, from which the measurement of noise learns
    MISSING = 20  # which pixels of an image are lost
    HIDE = 22  # noise that hides damage
    TELL = 21  # images and noise that a network learns to tell damaged images from
    CLEAN = 6  # which images of a data set stay clean
    HELD_OUT = 7  # which images of a data set are held out
    RISK = 8  # noise added to held-out images
    LEVEL = 10  # start of the sequence of training levels
    LABEL = 12  # from which images their label is hidden
    IMPUTE = 11  # noise of the reverse process that imputes an image
    IMPUTE_ORDER = 26  # order in which noisy images are imputed
    SIGMA = 13  # simulated noise level of an image
    AUGMENT = 14  # how a training image is turned and flipped
    ORDER = 15  # order in which a loader gives the images of an epoch
    SUBSET = 16  # which images are in a subset
    COMPARE = 17  # noise added to generated images that are compared with noisy ones
    STEP = 25  # noise of a step of a sampler
    PROBE = 24  # signs, by which pixels are moved to see what an estimate owes to each
    CHECK = 23  # noise added to clean images, beside which noise is shown
    SHUFFLE = 9  # order in which a classifier sees its images


def _multiply_32(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of the 64-bit product of `a` (int64 holding 32-bit values) and `b`."""
    product = a * b  # wraps modulo 2^64, as wanted; the shift below is arithmetic, hence the mask
    return (product >> 32) & _MASK, product & _MASK


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four 32-bit words for each counter.

    Args:
        counter: four int64 tensors of one (broadcastable) shape, each holding values in [0, 2^32).
        key: 64 bits; the low and the high half are the two key words.

    Returns:
        Four int64 tensors of that shape with values in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & _MASK, (key >> 32) & _MASK
    for _ in range(_ROUNDS):
        high0, low0 = _multiply_32(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply_32(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _words(
    seed: int, stream: Stream, ids: Tensor, n_blocks: int, attempt: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four (B, n_blocks) tensors of 32-bit words for each id."""
    ids = ids.to(torch.int64)[:, None]
    block = torch.arange(n_blocks, dtype=torch.int64, device=ids.device)[None, :].expand(len(ids), n_blocks)
    purpose = torch.full_like(block, int(stream) | (attempt << 8))
    return philox(
        (block, (ids & _MASK).expand_as(block), ((ids >> 32) & _MASK).expand_as(block), purpose), seed
    )


def uniform(seed: int, stream: Stream, ids: Tensor, n: int, attempt: int = 0) -> Tensor:
    """`n` uniform numbers in (0, 1) for each id; a function of (seed, stream, id, attempt) alone.

    Args:
        ids: (B,) integers.
        n: numbers per id.
        attempt: another, independent set of numbers for the same ids (rejection sampling).

    Returns:
        (B, n) float64, on the device of `ids`.
    """
    w0, w1, w2, w3 = _words(seed, stream, ids, (n + 1) // 2, attempt)
    # 52 bits, centred in their cells, so that neither 0 nor 1 can come out.
    pairs = [((a << 20 | b >> 12).to(torch.float64) + 0.5) * 2.0**-52 for a, b in ((w0, w1), (w2, w3))]
    return torch.stack(pairs, dim=-1).flatten(1)[:, :n]


def normal(seed: int, stream: Stream, ids: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers for each id, by Box and Muller; a function of (seed, stream, id) alone.

    Computed in float64 and rounded to float32, so that machines whose `log` differs in the last bit still
    agree.

    Args:
        ids: (B,) integers.
        shape: shape of one image, for instance (C, H, W).

    Returns:
        (B, *shape) float32, on the device of `ids`.
    """
    size = math.prod(shape)
    w0, w1, w2, w3 = _words(seed, stream, ids, (size + 3) // 4, 0)
    values = []
    for a, b in ((w0, w1), (w2, w3)):
        radius = torch.sqrt(-2 * torch.log((a.to(torch.float64) + 0.5) * 2.0**-32))
        angle = (b.to(torch.float64) + 0.5) * (2.0**-32 * 2 * math.pi)
        values += [radius * torch.cos(angle), radius * torch.sin(angle)]
    return torch.stack(values, dim=-1).flatten(1)[:, :size].to(torch.float32).reshape(len(ids), *shape)


def permutation(seed: int, stream: Stream, n: int) -> Tensor:
    """A random order of 0 .. n-1 (int64), a function of (seed, stream, n): argsort of one uniform number per item."""
    return torch.argsort(uniform(seed, stream, torch.arange(n), 1)[:, 0], stable=True)
