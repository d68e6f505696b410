"""The price by a single training against closed forms."""

import pytest
import torch

from noiseworth.diffusion.replaced import HIGH, LOW, replaced_by, risk_levels
from noiseworth.diffusion.worth import worth

SIGMA = risk_levels()
V = SIGMA**2 / (1 + SIGMA**2)  # of Gaussian data


def test_levels_span_those_of_the_risk_and_what_they_share() -> None:
    assert SIGMA[0] < LOW * 0.5
    assert SIGMA[-1] > HIGH * 2
    assert torch.allclose(SIGMA.log().diff(), SIGMA.log().diff()[0])


def test_worth_that_is_the_same_at_all_levels_is_the_worth() -> None:
    """One currency: N = c + n r, so that n r clean images replace n noisy ones, whatever the rest."""
    table = torch.tensor([1.0, 0.3, 0.07, 0.0])[:, None].expand(4, len(SIGMA))
    found = replaced_by(table, torch.tensor([50, 900, 3000, 10]), V, 100)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.3, 0.07, 0.0], dtype=torch.float64))


def test_a_few_images_count_by_what_a_little_more_improves() -> None:
    """For a small group: the mean of its worth, weighted by the relative error that is left and by 1 / N^2."""
    many = worth(SIGMA, torch.tensor(0.5), V)
    few = worth(SIGMA, torch.tensor(0.2), V)
    table = torch.stack([torch.ones_like(many), many, few])
    found = replaced_by(table, torch.tensor([100, 5000, 1]), V, 100)
    x = SIGMA.log()
    shared = torch.exp(-0.5 * ((x[:, None] - x) / 0.4) ** 2)
    w = table @ (shared / shared.sum(1, keepdim=True)).T
    inside = (SIGMA >= LOW) & (SIGMA <= HIGH)
    weight = (V / SIGMA**2 / (200 + 5000 * w[1]) ** 2)[inside]
    expected = float((weight * w[2][inside]).sum() / weight.sum())
    assert float(found[2]) == pytest.approx(expected, rel=0.01)


def test_the_more_images_of_one_noise_the_less_each_is_worth() -> None:
    """They fill levels that are full, and leave those below their noise as they are."""
    table = torch.stack([torch.ones_like(SIGMA), worth(SIGMA, torch.tensor(0.5), V)])
    found = [float(replaced_by(table, torch.tensor([100, n]), V, 100)[1]) for n in (10, 300, 10_000)]
    assert found[0] > 1.1 * found[1] > 1.2 * found[2] > 0
