"""The same question for what diffusion models minimise: does worth predict the risk of a learned denoiser?

A Gaussian mixture whose ideal denoiser, risk `v(sigma)` and worth are known exactly. A small network is trained by noiseworth's
objective on thirty mixes of clean and noisy samples, each to its best held-out risk. Where data is what limits it, its excess risk at a
level should be as that of an estimate from `N_eff(sigma)` clean samples, `~ v(sigma) / N_eff(sigma)`; averaged over the training levels
this is the prediction. It has no free parameter but its scale.
"""

from collections.abc import Mapping
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseworth.diffusion.levels import LogNormalLevels
from noiseworth.diffusion.objective import ambient_loss
from noiseworth.diffusion.pairs import PairLaw
from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.experiments.theory.study import Cell, Found, Study, repeats, slope
from noiseworth.records import Number, Panel, Series
from noiseworth.tensors import Stream, normal
from noiseworth.theory.mixtures import GaussianMixture

Array = NDArray[np.float64]

LEVELS = LogNormalLevels()
N_LEVELS = 12
NOISES = (0.05, 0.1, 0.2)  # the paper's
CONFIGS = [
    (n_clean, n_noisy, s)
    for n_clean in (30, 100, 300)
    for n_noisy, s in [(0, 0.0)] + [(n, s) for n in (300, 1000, 3000) for s in NOISES]
]
STEPS, BATCH, EVERY, HELD_OUT = 2400, 256, 150, 4000


def mixture() -> GaussianMixture:
    """Four components of standard deviation 0.15 in R^4 that span three dimensions, with unequal weights."""
    means = torch.tensor(
        [[1.0, 0.4, -0.6, 0.2], [-0.9, 0.7, 0.3, -0.5], [0.2, -1.0, 0.5, 0.6], [-0.3, -0.2, -0.9, -0.4]], dtype=torch.float64
    )
    return GaussianMixture(torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64), means, tau=0.15)


class _Network(nn.Module):
    """Three hidden layers of 96 units."""

    def __init__(self, d: int, width: int = 96) -> None:
        super().__init__()
        self.d = d
        sizes = [d + 1, width, width, width, d]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        output: Tensor = self.layers(torch.cat([x.flatten(1), c_noise[:, None].to(x.dtype)], dim=1))
        return output.reshape(x.shape)


def levels() -> Tensor:
    """Levels at the middle of equal shares of p(sigma)."""
    return LEVELS.quantile((torch.arange(N_LEVELS, dtype=torch.float64) + 0.5) / N_LEVELS)


@cache
def exact_v() -> PosteriorVariance:
    """`v(sigma)` of the mixture, exact on the grid of levels."""
    law, v = mixture(), PosteriorVariance(torch.ones(1))
    v.value = torch.tensor([law.risk(float(s), nodes_per_unit=4) for s in v.grid], dtype=torch.float64)
    return v


def predicted_excess(n_clean: int, n_noisy: int, s: float, v: PosteriorVariance) -> float:
    """Mean over the levels of `v / (sigma^2 N_eff)`: the excess risk over sigma^2, up to its scale."""
    pair_law = PairLaw(_noise(n_clean, n_noisy, s), LEVELS, v, 0.0)
    sigma = levels()
    return float((v(sigma) / sigma**2 / pair_law.n_effective(sigma)).mean())


def _noise(n_clean: int, n_noisy: int, s: float) -> Tensor:
    return torch.cat([torch.zeros(n_clean, dtype=torch.float64), torch.full((n_noisy,), s, dtype=torch.float64)])


def train(law: GaussianMixture, n_clean: int, n_noisy: int, s: float, v: PosteriorVariance, seed: int) -> float:
    """Train on a data set drawn with this seed; the least mean over the levels of the held-out excess risk over sigma^2.

    The excess `|D - E[x | x_sigma]|^2` is measured against the exact denoiser, on held-out points.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = _noise(n_clean, n_noisy, s)
    x = law.sample(len(noise), generator)
    d = x.shape[1]
    y = (x + noise[:, None] * torch.randn(x.shape, generator=generator, dtype=x.dtype)).to(torch.float32).reshape(-1, 1, 1, d)
    sigma_data = float((x**2).mean().sqrt())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PreconditionedDenoiser(_Network(d), sigma_data)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    pairs = PairLaw(noise, LEVELS, v, 0.5)
    held = _held_out(law, generator)
    best = float("inf")
    for step in range(1, STEPS + 1):
        ids = torch.arange((step - 1) * BATCH, step * BATCH)
        drawn = pairs.draw(seed, ids)
        loss = ambient_loss(
            model, y[drawn.index], noise[drawn.index], drawn.sigma, normal(seed, Stream.NOISE, ids, (1, 1, d)), sigma_data
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss.weighted.mean())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / (STEPS + 1)) ** 0.5
        optimiser.step()
        with torch.no_grad():
            for name, p in model.named_parameters():
                average[name].lerp_(p, max(0.01, 1 / step))
        if step % EVERY == 0:
            best = min(best, _excess(model, average, held))
    return best


def _held_out(law: GaussianMixture, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    sigma = levels().repeat_interleave(HELD_OUT // N_LEVELS)
    x = law.sample(len(sigma), generator)
    noisy = x + sigma[:, None] * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return noisy, sigma, law.posterior_mean(noisy, sigma)


def _excess(model: nn.Module, weights: dict[str, Tensor], held: tuple[Tensor, Tensor, Tensor]) -> float:
    noisy, sigma, ideal = held
    with torch.no_grad():
        found = torch.func.functional_call(model, weights, (noisy.to(torch.float32)[:, None, None], sigma))
    return float((((found[:, 0, 0] - ideal) ** 2).mean(1) / sigma**2).mean())


def _run(n_clean: int, n_noisy: int, s: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    law, v = mixture(), exact_v()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network is slower on several
    try:
        excess = [train(law, n_clean, n_noisy, s, v, int(rng.integers(2**31))) for _ in range(number)]
    finally:
        torch.set_num_threads(threads)
    ideal = float((torch.tensor([law.risk(float(level), 4) for level in levels()], dtype=torch.float64) / levels() ** 2).mean())
    return {"excess": np.array(excess), "predicted": np.array(predicted_excess(n_clean, n_noisy, s, v)), "ideal": np.array(ideal)}


def _key(n_clean: int, n_noisy: int, s: float) -> str:
    return f"c{n_clean}-n{n_noisy}-s{s:g}"


def _cells(effort: float) -> list[Cell]:
    number = repeats(3, effort, 1)
    return [Cell(_key(*config), partial(_run, *config, number), number * 8.0) for config in CONFIGS]


def _summarise(found: Mapping[str, Found]) -> tuple[list[Number], list[Panel]]:
    from scipy.stats import spearmanr

    cells = [found[_key(*config)] for config in CONFIGS]
    predicted = np.array([float(c["predicted"]) for c in cells])
    excess = np.array([c["excess"].mean() for c in cells])
    ideal = float(cells[0]["ideal"])
    series = []
    for s in (0.0, *NOISES):
        chosen = [i for i, config in enumerate(CONFIGS) if config[2] == s]
        label = f"some noisy, σ = {s:g}" if s else "clean alone"
        series.append(Series(label, predicted[chosen].tolist(), excess[chosen].tolist()))
    scale = float(np.exp(np.mean(np.log(excess / predicted))))
    ends = [float(predicted.min()), float(predicted.max())]
    series.append(Series("proportional", ends, [scale * e for e in ends], guide=True))
    numbers = [
        Number(
            "rank",
            f"rank correlation of predicted and measured risk over {len(CONFIGS)} mixes",
            float(spearmanr(predicted, excess).statistic),
            expected=1.0,
        ),
        Number(
            "exponent",
            "exponent of the measured excess risk in the predicted one",
            slope(predicted, excess),
            expected=1.0,
        ),
        Number(
            "residual", "standard deviation of log10 (measured / predicted), scale fitted", float(np.std(np.log10(excess / predicted)))
        ),
        Number("ideal", "risk over sigma^2 of the exact denoiser, mean over the levels", ideal),
    ]
    panel = Panel(
        "denoising",
        "Worth predicts the risk of a learned denoiser",
        "Excess of the risk over that of the exact denoiser, for thirty mixes of 30 to 300 clean and up to 3,000 noisy samples. The"
        " prediction needs no training: it is the mean of v(σ) / σ² N_eff(σ) over the levels, and only its scale is fitted.",
        "predicted: mean of v / (σ² N_eff)",
        "measured excess risk / σ²",
        series,
    )
    return numbers, [panel]


STUDY = Study(
    "denoising",
    "The risk that diffusion models minimise",
    "A small network learns to denoise a known mixture from thirty mixes of clean and noisy samples.",
    _cells,
    _summarise,
)
