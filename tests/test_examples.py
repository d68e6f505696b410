"""The examples run as they stand, learn, and stay short; their targets are unbiased in their own parametrisation."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from sklearn.datasets import load_digits

from noiseworth.diffusion.objective import ambient_pair
from noiseworth.theory.mixtures import GaussianMixture

EXAMPLES = Path(__file__).parent.parent / "examples"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["own_loop", "diffusers_ddpm", "flow_matching"])
def test_the_example_learns(name: str) -> None:
    denoise = _load(name).main(steps=160)
    clean = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    for level in (0.3, 1.0):
        sigma = torch.full((len(clean),), level)
        with torch.no_grad():
            estimate = denoise(
                clean + level * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)), sigma
            )
        # The digits' mean removes all but their variance, 0.29; a network that learnt nothing does no better
        # than level^2.
        assert float((estimate - clean).square().mean()) < 0.6 * min(level**2, 0.29)


def test_the_plain_loop_fits_on_a_page() -> None:
    assert len((EXAMPLES / "own_loop.py").read_text().splitlines()) <= 40


def test_noise_and_velocity_targets_are_unbiased(mixture: GaussianMixture) -> None:
    """E[(x_sigma - T) / sigma | x_sigma] is the exact noise prediction, and with it the exact velocity."""
    n, s, level = 200_000, 0.5, 0.8
    generator = torch.Generator().manual_seed(2)
    x = mixture.sample(n, generator)
    y = (x + s * torch.randn(x.shape, generator=generator, dtype=x.dtype)).reshape(n, 1, 2, 2)
    many, sigma = torch.full((n,), s).double(), torch.full((n,), level).double()
    x_sigma, target = ambient_pair(y, many, sigma, torch.randn(y.shape, generator=generator, dtype=x.dtype))
    x_sigma, target = x_sigma.flatten(1), target.flatten(1)
    exact = mixture.posterior_mean(x_sigma, sigma)
    noise, exact_noise = (x_sigma - target) / level, (x_sigma - exact) / level
    for error in (noise - exact_noise, (noise - target) - (exact_noise - exact)):
        for test in (torch.ones_like(x_sigma), x_sigma, torch.tanh(2 * x_sigma)):
            moment = error * test
            assert (moment.mean(0).abs() < 4.5 * moment.std(0) / n**0.5).all()
