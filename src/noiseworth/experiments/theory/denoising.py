"""The same question for what diffusion models minimise: does worth predict the risk of a learned denoiser?

A Gaussian mixture whose ideal denoiser, risk `v(sigma)` and worth are known exactly. A small network is trained by noiseworth's
objective on thirty mixes of clean and noisy samples, each to its best held-out risk. Where data is what limits it, its excess risk at a
level should be as that of an estimate from `N_eff(sigma)` clean samples, `~ v(sigma) / N_eff(sigma)`; averaged over the training levels
this is the plain prediction, free of parameters but for its scale.

It takes each level by itself. A network does not: what it learns at one level serves its neighbours, which matters where a level has
many samples that speak about it and the one below has few. The second prediction therefore averages `N_eff` over neighbouring levels,
with a normal weight in ln sigma whose width is the one that fits best on ten other mixes.
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
from noiseworth.diffusion.worth import PosteriorVariance, n_effective
from noiseworth.experiments.theory.study import Cell, Found, Study, repeats
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
# Other mixes, for the width of the average.
CALIBRATION = [
    (n_clean, n_noisy, s) for n_clean in (60, 200) for n_noisy, s in [(0, 0.0)] + [(n, s) for n in (600, 2000) for s in (0.07, 0.15)]
]
WIDTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
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


def levels(count: int = N_LEVELS) -> Tensor:
    """Levels at the middle of equal shares of p(sigma)."""
    return LEVELS.quantile((torch.arange(count, dtype=torch.float64) + 0.5) / count)


@cache
def exact_v() -> PosteriorVariance:
    """`v(sigma)` of the mixture, exact on the grid of levels."""
    law, v = mixture(), PosteriorVariance(torch.ones(1))
    v.value = torch.tensor([law.risk(float(s), nodes_per_unit=4) for s in v.grid], dtype=torch.float64)
    return v


def predicted_excess(n_clean: int, n_noisy: int, s: float, v: PosteriorVariance, width: float = 0.0) -> float:
    """Mean over the levels of `v / (sigma^2 N_eff)`: the excess risk over sigma^2, up to its scale.

    With a `width`, `N_eff` is averaged over the training levels around each, with normal weights of that width in ln sigma.
    """
    noise, sigma = _noise(n_clean, n_noisy, s), levels()
    speaking = n_effective(sigma, noise, v(sigma))
    if width > 0:
        around = levels(96)
        weights = torch.softmax(-((sigma.log()[:, None] - around.log()[None]) ** 2) / (2 * width**2), dim=1)
        speaking = weights @ n_effective(around, noise, v(around))
    return float((v(sigma) / sigma**2 / speaking).mean())


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
    pairs = PairLaw(noise, LEVELS, v)
    held = _held_out(law, generator)
    best = float("inf")
    for step in range(1, STEPS + 1):
        ids = torch.arange((step - 1) * BATCH, step * BATCH)
        drawn = pairs.draw(seed, ids)
        own, fresh = noise[drawn.index], normal(seed, Stream.NOISE, ids, (1, 1, d))
        loss = ambient_loss(model, y[drawn.index], own, drawn.sigma, fresh, sigma_data, drawn.weight)
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
            pairs.refresh(step * BATCH)
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
    predicted = [predicted_excess(n_clean, n_noisy, s, v, width) for width in WIDTHS]
    return {"excess": np.array(excess), "predicted": np.array(predicted), "ideal": np.array(ideal)}


def _key(n_clean: int, n_noisy: int, s: float) -> str:
    return f"c{n_clean}-n{n_noisy}-s{s:g}"


def _cells(effort: float) -> list[Cell]:
    number = repeats(3, effort, 1)
    return [Cell(_key(*config), partial(_run, *config, number), number * 8.0) for config in CONFIGS + CALIBRATION]


def _logs(found: Mapping[str, Found], configs: list[tuple[int, int, float]]) -> tuple[Array, Array]:
    """Logarithms of the predictions, (configs, widths), and of the measured excess risks, (configs)."""
    cells = [found[_key(*config)] for config in configs]
    return np.log([c["predicted"] for c in cells]), np.log([c["excess"].mean() for c in cells])


def _summarise(found: Mapping[str, Found]) -> tuple[list[Number], list[Panel]]:
    from scipy.stats import spearmanr

    predicted, excess = _logs(found, CALIBRATION)
    fits = [float(np.corrcoef(column, excess)[0, 1]) for column in predicted.T]
    best = int(np.argmax(fits))
    predicted, excess = _logs(found, CONFIGS)
    ideal = float(found[_key(*CONFIGS[0])]["ideal"])
    numbers, panels = [], []
    for key, w, words in (("plain", 0, "each level by itself"), ("shared", best, f"neighbouring levels share, width {WIDTHS[best]:g}")):
        x, rank = predicted[:, w], float(spearmanr(predicted[:, w], excess).statistic)
        numbers += [
            Number(
                f"{key}_rank",
                f"rank correlation of predicted and measured risk over {len(CONFIGS)} mixes ({words})",
                rank,
                expected=1.0,
            ),
            Number(
                f"{key}_exponent",
                f"exponent of the measured excess risk in the predicted one ({words})",
                float(np.polyfit(x, excess, 1)[0]),
                expected=1.0,
            ),
            Number(
                f"{key}_factor", f"measured over predicted, scale fitted: typical factor ({words})", float(np.exp(np.std(excess - x)))
            ),
        ]
        series = []
        for s in (0.0, *NOISES):
            chosen = [i for i, config in enumerate(CONFIGS) if config[2] == s]
            label = f"some noisy, σ = {s:g}" if s else "clean alone"
            series.append(Series(label, np.exp(x[chosen]).tolist(), np.exp(excess[chosen]).tolist()))
        ends = np.array([x.min(), x.max()])
        series.append(Series("proportional", np.exp(ends).tolist(), np.exp(ends + np.mean(excess - x)).tolist(), guide=True))
        panels.append(
            Panel(
                f"denoising-{key}",
                f"Worth predicts the risk of a learned denoiser ({words})",
                _CAPTIONS[key],
                "predicted: mean of v / (σ² N_eff)",
                "measured excess risk / σ²",
                series,
            )
        )
    numbers.append(Number("ideal", "risk over sigma^2 of the exact denoiser, mean over the levels", ideal))
    return numbers, panels


_CAPTIONS = {
    "plain": "Excess of the risk over that of the exact denoiser, for thirty mixes of 30 to 300 clean and up to 3,000 noisy samples."
    " The prediction needs no training: it is the mean of v(σ) / σ² N_eff(σ) over the levels, and only its scale is fitted. Where the"
    " noise is small the network does better than predicted: what it learns at one level serves the next.",
    "shared": "The same, with N_eff averaged over neighbouring levels. The width of the average was chosen on ten other mixes.",
}

STUDY = Study(
    "denoising",
    "The risk that diffusion models minimise",
    "A small network learns to denoise a known mixture from thirty mixes of clean and noisy samples.",
    _cells,
    _summarise,
)
