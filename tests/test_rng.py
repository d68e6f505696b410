"""Random numbers: known answers, independence from batching, moments within their standard errors."""

import math

import pytest
import torch

from noiseworth.diffusion.precondition import per_image
from noiseworth.rng import Stream, normal, permutation, philox, uniform


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers of Random123 for philox4x32-10
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(
    counter: tuple[int, int, int, int], key: int, expected: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = (torch.tensor([c]) for c in counter)
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), key)) == expected


def test_draws_depend_on_seed_stream_and_id_alone() -> None:
    ids = torch.tensor([5, 2**40 + 1, 0, 7])
    together = normal(3, Stream.NOISE, ids, (1, 3, 3))
    for i, one in enumerate(ids):
        assert torch.equal(normal(3, Stream.NOISE, one[None], (1, 3, 3))[0], together[i])
    for other in (normal(4, Stream.NOISE, ids, (1, 3, 3)), normal(3, Stream.LATENT, ids, (1, 3, 3))):
        assert not (other == together).any()
    assert not (uniform(3, Stream.PAIR, ids, 2, 0) == uniform(3, Stream.PAIR, ids, 2, 1)).any()


def test_normal_moments() -> None:
    z = normal(0, Stream.NOISE, torch.arange(20_000), (3, 5, 3)).double().flatten()
    n = len(z)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((z**power).mean()) - expected) < 4.5 * math.sqrt(variance / n)
    pairs = z[: n // 2 * 2].reshape(-1, 2)
    assert abs(float((pairs[:, 0] * pairs[:, 1]).mean())) < 4.5 / math.sqrt(
        n / 2
    )  # the two halves of Box and Muller


def test_uniform_is_uniform() -> None:
    u = uniform(1, Stream.PAIR, torch.arange(40_000), 3).flatten()
    counts = torch.histc(u, 64, 0, 1)
    expected = len(u) / 64
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - 63) < 4.5 * math.sqrt(2 * 63)
    assert 0 < float(u.min()) < float(u.max()) < 1


def test_permutation_holds_each_number_once() -> None:
    order = permutation(0, Stream.CLEAN, 1000)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(order, permutation(1, Stream.CLEAN, 1000))


def test_per_image_refuses_other_shapes() -> None:
    images = torch.zeros(3, 1, 2, 2)
    assert per_image(torch.ones(3), images).shape == (3, 1, 1, 1)
    with pytest.raises(ValueError, match="one number per image"):
        per_image(torch.ones(2), images)
