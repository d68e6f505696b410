"""The denoising risk, which diffusion models minimise: does worth predict the risk of a learned denoiser?

The data are a Gaussian mixture, whose ideal denoiser, risk `v(sigma)` and worth are known exactly. A small
network is trained with noiseworth's objective on thirty mixes of clean and noisy samples, each to its best
held-out risk.

The plain prediction: where the data limit the network, its excess risk at a level is that of an estimate from
`N_eff(sigma)` clean samples, `~ v(sigma) / N_eff(sigma)`. Its mean over the training levels has no free
parameter but the scale.

The plain prediction treats each level by itself. A network does not: what it learns at one level also serves
the neighbouring levels. This matters where a level has many informative samples and the level below has few.
The second prediction therefore averages `N_eff` over neighbouring levels, with Gaussian weights in ln sigma.
Their width is the one that fits best on ten other mixes.
"""

from collections.abc import Mapping
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.objective import ambient_loss
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.diffusion.worth import PosteriorVariance, n_effective
from noiseworth.records import Number, Panel, Series
from noiseworth.rng import Stream, normal
from noiseworth.studies.study import Cell, CellResult, Study, repeats
from noiseworth.theory.mixtures import GaussianMixture

Array = NDArray[np.float64]

LEVELS = LogNormalLevels()
N_LEVELS = 12
NOISES = (0.05, 0.1, 0.2)  # the noise levels of arXiv 2411.02780
CONFIGS = [
    (n_clean, n_noisy, s)
    for n_clean in (30, 100, 300)
    for n_noisy, s in [(0, 0.0)] + [(n, s) for n in (300, 1000, 3000) for s in NOISES]
]
# Other mixes, which choose the width of the average.
CALIBRATION = [
    (n_clean, n_noisy, s)
    for n_clean in (60, 200)
    for n_noisy, s in [(0, 0.0)] + [(n, s) for n in (600, 2000) for s in (0.07, 0.15)]
]
WIDTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
STEPS = 2400
BATCH = 256
EVERY = 150  # steps between two measurements of the held-out risk
HELD_OUT = 4000


def mixture() -> GaussianMixture:
    """Four components of standard deviation 0.15 in R^4 that span three dimensions, with unequal weights."""
    means = torch.tensor(
        [[1.0, 0.4, -0.6, 0.2], [-0.9, 0.7, 0.3, -0.5], [0.2, -1.0, 0.5, 0.6], [-0.3, -0.2, -0.9, -0.4]],
        dtype=torch.float64,
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
    """Levels (count,) at the middle of equal shares of the noise distribution p(sigma)."""
    return LEVELS.quantile((torch.arange(count, dtype=torch.float64) + 0.5) / count)


@cache
def exact_v() -> PosteriorVariance:
    """`v(sigma)` of the mixture, exact on the grid of levels."""
    truth = mixture()
    v = PosteriorVariance(torch.ones(1))
    v.value = torch.tensor([truth.risk(float(s), nodes_per_unit=4) for s in v.grid], dtype=torch.float64)
    return v


def predicted_excess(n_clean: int, n_noisy: int, s: float, v: PosteriorVariance, width: float = 0.0) -> float:
    """Mean over the levels of `v / (sigma^2 N_eff)`: the predicted excess risk over sigma^2, up to its scale.

    Args:
        n_clean: number of clean samples.
        n_noisy: number of noisy samples.
        s: their noise.
        v: `v(sigma)` of the mixture.
        width: if above 0, `N_eff` is averaged over neighbouring levels, with Gaussian weights of this
            standard deviation in ln sigma.
    """
    noise = _noise(n_clean, n_noisy, s)
    sigma = levels()
    effective = n_effective(sigma, noise, v(sigma))
    if width > 0:
        around = levels(96)
        weights = torch.softmax(-((sigma.log()[:, None] - around.log()[None]) ** 2) / (2 * width**2), dim=1)
        effective = weights @ n_effective(around, noise, v(around))
    return float((v(sigma) / sigma**2 / effective).mean())


def _noise(n_clean: int, n_noisy: int, s: float) -> Tensor:
    return torch.cat(
        [torch.zeros(n_clean, dtype=torch.float64), torch.full((n_noisy,), s, dtype=torch.float64)]
    )


def train(
    truth: GaussianMixture, n_clean: int, n_noisy: int, s: float, v: PosteriorVariance, seed: int
) -> float:
    """Train a network on samples of the mixture, and return its least held-out excess risk over sigma^2.

    The excess risk is the squared distance `|D - E[x | x_sigma]|^2` to the exact denoiser, on held-out
    samples. Over sigma^2, it is averaged over the levels.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = _noise(n_clean, n_noisy, s)
    x = truth.sample(len(noise), generator)
    d = x.shape[1]
    y = x + noise[:, None] * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    y = y.to(torch.float32).reshape(-1, 1, 1, d)
    sigma_data = float((x**2).mean().sqrt())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PreconditionedDenoiser(_Network(d), sigma_data)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    pairs = PairSampler(noise, LEVELS, v)
    held = _held_out(truth, generator)
    best = float("inf")
    for step in range(1, STEPS + 1):
        ids = torch.arange((step - 1) * BATCH, step * BATCH)
        drawn = pairs.draw(seed, ids)
        own = noise[drawn.index]
        fresh = normal(seed, Stream.NOISE, ids, (1, 1, d))
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


def _held_out(truth: GaussianMixture, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out noisy samples (n, d), their levels (n,), and the output of the exact denoiser (n, d)."""
    sigma = levels().repeat_interleave(HELD_OUT // N_LEVELS)
    x = truth.sample(len(sigma), generator)
    noisy = x + sigma[:, None] * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return noisy, sigma, truth.posterior_mean(noisy, sigma)


def _excess(model: nn.Module, weights: dict[str, Tensor], held: tuple[Tensor, Tensor, Tensor]) -> float:
    noisy, sigma, ideal = held
    with torch.no_grad():
        estimate = torch.func.functional_call(model, weights, (noisy.to(torch.float32)[:, None, None], sigma))
    return float((((estimate[:, 0, 0] - ideal) ** 2).mean(1) / sigma**2).mean())


def _run(n_clean: int, n_noisy: int, s: float, number: int, rng: np.random.Generator) -> dict[str, Array]:
    truth = mixture()
    v = exact_v()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network is slower on several threads
    try:
        excess = [train(truth, n_clean, n_noisy, s, v, int(rng.integers(2**31))) for _ in range(number)]
    finally:
        torch.set_num_threads(threads)
    risk = torch.tensor([truth.risk(float(level), 4) for level in levels()], dtype=torch.float64)
    ideal = float((risk / levels() ** 2).mean())
    predicted = [predicted_excess(n_clean, n_noisy, s, v, width) for width in WIDTHS]
    return {"excess": np.array(excess), "predicted": np.array(predicted), "ideal": np.array(ideal)}


def _key(n_clean: int, n_noisy: int, s: float) -> str:
    return f"c{n_clean}-n{n_noisy}-s{s:g}"


def _cells(effort: float) -> list[Cell]:
    number = repeats(3, effort, 1)
    return [
        Cell(_key(*config), partial(_run, *config, number), number * 8.0) for config in CONFIGS + CALIBRATION
    ]


def _logs(results: Mapping[str, CellResult], configs: list[tuple[int, int, float]]) -> tuple[Array, Array]:
    """Logarithms of the predictions (configs, widths) and of the measured excess risks (configs,)."""
    cells = [results[_key(*config)] for config in configs]
    return np.log([c["predicted"] for c in cells]), np.log([c["excess"].mean() for c in cells])


def _summarise(results: Mapping[str, CellResult]) -> tuple[list[Number], list[Panel]]:
    from scipy.stats import spearmanr

    predicted, excess = _logs(results, CALIBRATION)
    fits = [float(np.corrcoef(column, excess)[0, 1]) for column in predicted.T]
    best = int(np.argmax(fits))
    predicted, excess = _logs(results, CONFIGS)
    ideal = float(results[_key(*CONFIGS[0])]["ideal"])
    numbers = []
    panels = []
    for key, w, words in (
        ("plain", 0, "each level by itself"),
        ("shared", best, f"neighbouring levels share, width {WIDTHS[best]:g}"),
    ):
        x = predicted[:, w]
        rank = float(spearmanr(x, excess).statistic)
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
                f"{key}_factor",
                f"measured over predicted, scale fitted: typical factor ({words})",
                float(np.exp(np.std(excess - x))),
            ),
        ]
        series = []
        for s in (0.0, *NOISES):
            chosen = [i for i, config in enumerate(CONFIGS) if config[2] == s]
            label = f"some noisy, σ = {s:g}" if s else "clean alone"
            series.append(Series(label, np.exp(x[chosen]).tolist(), np.exp(excess[chosen]).tolist()))
        ends = np.array([x.min(), x.max()])
        series.append(
            Series(
                "proportional", np.exp(ends).tolist(), np.exp(ends + np.mean(excess - x)).tolist(), guide=True
            )
        )
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
    "plain": (
        "Excess risk over that of the exact denoiser, for thirty mixes of 30 to 300 clean and up to 3,000"
        " noisy samples. The prediction needs no training: it is the mean of v(σ) / (σ² N_eff(σ)) over the"
        " levels; only its scale is fitted. Where the noise is small, the network is better than predicted,"
        " because what it learns at one level also serves the neighbouring levels."
    ),
    "shared": (
        "The same, with N_eff averaged over neighbouring levels. The width of the average was chosen on"
        " ten other mixes."
    ),
}

STUDY = Study(
    "denoising",
    "The risk that diffusion models minimise",
    "A small network learns to denoise a known mixture from thirty mixes of clean and noisy samples.",
    _cells,
    _summarise,
)
