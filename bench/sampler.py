"""Levels chosen for the data against EDM's, at equal calls of exact denoisers: `python bench/sampler.py`. Five minutes.

Gaussian data have errors in closed form: those of the standard deviations of all components, over the data's.
For mixtures both samplers start from the same noise, and what they make is compared with what the exact
equation makes of it (300 levels from 1000 down) by the sliced Wasserstein distance. Writes
`results/sampler.json`.
"""

import math

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from checks import Checklist
from noiseworth.diffusion.integrators import heun
from noiseworth.diffusion.sampler import SamplerConfig
from noiseworth.diffusion.schedule import levels_for
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.theory.mixtures import GaussianMixture

STEPS = (6, 8, 10, 14, 18, 25, 40, 80)
SAMPLES, DIRECTIONS = 400, 200


def spectra(digits: Tensor) -> dict[str, Tensor]:
    """Variances of Gaussian data's components."""
    k = torch.arange(1, 785, dtype=torch.float64)
    flat, steep = 1 / k, 1 / k**2
    return {
        "one scale": torch.full((64,), 0.25, dtype=torch.float64),
        "digits' spectrum": torch.linalg.eigvalsh(torch.cov(digits.T)).clamp(min=1e-6),
        "spectrum 1/k": 0.25 * flat / flat.mean(),
        "spectrum 1/k^2, most of it brightness": 0.25 * steep / steep.mean(),
    }


def mixtures(digits: Tensor) -> dict[str, GaussianMixture]:
    """Data whose denoiser is not linear."""
    means = torch.tensor(
        [[1.0, 0.5, -0.5, 0.0], [-1.0, 0.3, 0.6, 0.2], [0.0, -0.9, 0.1, 0.8]], dtype=torch.float64
    )
    digits = digits[:300]  # every call of the exact denoiser looks at all of them
    equal = torch.full((len(digits),), 1 / len(digits), dtype=torch.float64)
    return {
        "three components": GaussianMixture(
            torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, tau=0.2
        ),
        "digits with noise 0.3": GaussianMixture(equal, digits, tau=0.3),
        "digits with noise 0.1": GaussianMixture(equal, digits, tau=0.1),
    }


def gaussian_error(variance: Tensor, levels: Tensor, corrected: bool) -> float:
    """Error of the standard deviations, root mean square over components, over that of the data."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x * variance / (variance + sigma[:, None] ** 2)

    x = levels[0] * torch.ones(1, len(variance), dtype=torch.float64)
    if corrected:
        x = x + 0.75 * denoise(x, levels[:1]) + 0.25 * denoise(-x, levels[:1])
    made = heun(denoise, x, levels)[0]
    return math.sqrt(((made - variance.sqrt()) ** 2).sum() / variance.sum())


def measured_variance(mixture: GaussianMixture) -> PosteriorVariance:
    """As training measures it."""
    generator = torch.Generator().manual_seed(0)
    clean = mixture.sample(800, generator)
    v = PosteriorVariance(torch.cov(clean.T).diagonal())
    for i, sigma in enumerate(v.grid):
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        v.value[i] = (mixture.posterior_mean(noisy, sigma.expand(len(clean))) - clean).square().mean()
    return v


def mixture_errors(mixture: GaussianMixture) -> tuple[list[float], list[float]]:
    """Errors of EDM's levels and of the chosen ones, at each number of steps."""
    dimension = mixture.means.shape[1]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(SAMPLES, dimension, generator=generator, dtype=torch.float64)
    directions = torch.randn(dimension, DIRECTIONS, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=0)
    fine = torch.cat([torch.logspace(3, -3.3, 300, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    exact = (heun(mixture.posterior_mean, noise * fine[0], fine) @ directions).sort(0).values

    def error(levels: Tensor, corrected: bool) -> float:
        x, at = noise * levels[0], levels[0].expand(SAMPLES)
        if corrected:
            x = x + 0.75 * mixture.posterior_mean(x, at) + 0.25 * mixture.posterior_mean(-x, at)
        made = (heun(mixture.posterior_mean, x, levels) @ directions).sort(0).values
        return float((made - exact).square().mean().sqrt())

    v = measured_variance(mixture)
    edm = [error(SamplerConfig(steps=n).levels(), False) for n in STEPS]
    return edm, [error(levels_for(v, n), True) for n in STEPS]


def main() -> None:
    """See above."""
    checklist = Checklist("python bench/sampler.py")
    digits = torch.from_numpy(load_digits().images.reshape(-1, 64) / 8 - 1)
    table: dict[str, dict[str, list[float]]] = {}
    for name, variance in spectra(digits).items():
        v = PosteriorVariance(variance)
        edm = [gaussian_error(variance, SamplerConfig(steps=n).levels(), False) for n in STEPS]
        table[name] = {
            "edm": edm,
            "chosen": [gaussian_error(variance, levels_for(v, n), True) for n in STEPS],
        }
    for name, mixture in mixtures(digits).items():
        before, chosen = mixture_errors(mixture)
        table[name] = {"edm": before, "chosen": chosen}
    for name, errors in table.items():
        ratios = {n: c / e for n, e, c in zip(STEPS, errors["edm"], errors["chosen"], strict=True)}
        for n in (10, 18):
            what = f"{name}: error of the chosen levels over EDM's, {n} steps"
            checklist.add("numbers/schedule", what, ratios[n], 0.5, "max", "ratio")
        what = f"{name}: the same, the largest ratio from 6 to 80 steps"
        checklist.add("numbers/schedule", what, max(ratios.values()), 1, "max", "ratio")
    checklist.write("sampler.json", "levels of the sampler", 0, {"steps": list(STEPS), "errors": table})


if __name__ == "__main__":
    main()
