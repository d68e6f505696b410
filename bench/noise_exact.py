"""Whether training on noise that is not white leads to the exact denoiser: a Gaussian mixture in four dimensions, a small perceptron.

A tenth of the images are clean. Excess is the mean, over the levels 0.1 to 2, of the squared distance from the exact
denoiser over the exact risk.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from checks import Checklist
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.diffusion.conditional import impute_given
from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.noise.base import NoiseModel
from noiseworth.noise.models import CorrelatedNoise, VariableNoise
from noiseworth.noise.sensors import PoissonGaussianNoise, RicianNoise
from noiseworth.noise.stabilise import Stabiliser
from noiseworth.rng import Stream, normal, uniform
from noiseworth.theory.mixtures import GaussianMixture
from noiseworth.train.config import TrainConfig
from noiseworth.train.structure import NoiseStructure
from processes import tests_pass

COUNT, BATCH, STEPS = 20_000, 256, 1500
LEVELS = LogNormalLevels(-0.7, 1.0)
RISK_LEVELS = (0.1, 0.2, 0.4, 0.7, 1.0, 2.0)
_SCALE = 4.0  # stabilised units per model unit, where noise is of a camera or a scanner: sigma is 1/4
_MEANS = [[1.0, 0.5, -0.5, 0.0], [-1.0, 0.3, 0.6, 0.2], [0.0, -0.9, 0.1, 0.8]]
MIXTURE = GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor(_MEANS).double(), 0.2)
SPECTRUM = CorrelatedNoise([[2.0, 0.1], [0.1, 0.02]])
MAP = VariableNoise([[0.01, 0.04], [0.36, 1.6]])


class Network(nn.Module):
    """A small perceptron on 1x2x2 images and ln(sigma) / 4."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(7, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 4)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """The output for images (B, 1, 2, 2) at conditions (B,)."""
        c = 4 * condition[:, None]
        output: Tensor = self.layers(torch.cat([x.flatten(1), c, c.square(), (2 * c).sin()], 1))
        return output.reshape(x.shape)


def _clean() -> NDArray[np.float64]:
    return MIXTURE.sample(COUNT, torch.Generator().manual_seed(4)).reshape(-1, 1, 2, 2).numpy()


def make_data(folder: Path, kind: str) -> Dataset:
    """A tenth clean images, and the others with noise of a kind."""
    x, ids, cut = _clean(), np.arange(COUNT), COUNT // 10
    rest, rows = x[cut:], ids[cut:]
    noise: NoiseModel | None = None
    sigma, missing = 0.0, False
    if kind in ("variance map", "coloured"):
        model = MAP if kind == "variance map" else SPECTRUM
        sigma, noise = model.sigma, model.scaled(1 / model.sigma)
        y = rest + model.sample(np.zeros_like(rest), 1, rows)
    elif kind == "missing pixels":
        lost = uniform(1, Stream.MISSING, torch.from_numpy(rows), 4).numpy().reshape(rest.shape) < 0.5
        lost[lost.all(axis=(1, 2, 3))] = False
        sigma, missing = 0.2, True
        white = normal(1, Stream.CORRUPT, torch.from_numpy(rows), (1, 2, 2)).numpy()
        y = np.where(lost, np.nan, rest + sigma * white)
    else:  # in the units after stabilising, in which clean images are a mixture
        camera = PoissonGaussianNoise(1.5, 10.0, 2.0)
        stabiliser = Stabiliser(camera if kind == "camera" else RicianNoise(3.0))
        middle = 16.0 if kind == "camera" else 10.0
        signal = stabiliser.inverse(middle + _SCALE * rest)
        y = (stabiliser.forward(stabiliser.model.sample(signal, 1, rows)) - middle) / _SCALE
        sigma = 1 / _SCALE
    with new_directory(folder) as out:
        parts = [
            Part(Columns(np.zeros(cut, np.float32), ids[:cut]), x[:cut].astype(np.float32)),
            Part(
                Columns(np.full(COUNT - cut, sigma, np.float32), rows),
                y.astype(np.float32),
                noise=noise,
                missing=missing,
            ),
        ]
        write_dataset(
            out, parts, name=kind, offset=0.0, scale=1.0, units="model", provenance=[{"command": "bench"}]
        )
    return open_dataset(folder)


def train(data: Dataset, steps: int = STEPS) -> PreconditionedDenoiser:
    """A denoiser trained on it as `noiseworth train` does, with imputed images twice."""
    config = TrainConfig(data=data.path, out="unused", n_images=steps * BATCH, batch=BATCH)
    structure = NoiseStructure(data, config, np.arange(0, COUNT, 2))
    v = PosteriorVariance(structure.eigenvalues)
    sampler = structure.pair_sampler(LEVELS, v, config.presentations)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = PreconditionedDenoiser(Network(), structure.sigma_data)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=4e-3, betas=(0.9, 0.99))
    y = torch.from_numpy(data.read(np.arange(COUNT)))
    noisy, imputed = torch.nonzero(structure.highest > 0)[:, 0], y.clone()
    for step in range(steps):
        if step in (steps // 3, 2 * steps // 3):
            sampler.set_imputed(noisy)
            imputed[noisy] = impute_given(
                denoiser, y[noisy], structure.noise_of(noisy, y[noisy]), noisy + step * COUNT,
                seed=0, sigma_data=structure.sigma_data,
            )  # fmt: skip
        if step % 50 == 0 and step:
            v.refresh()
            sampler.refresh(step * BATCH)
        ids = torch.arange(step * BATCH, (step + 1) * BATCH)
        pairs = sampler.draw(0, ids)
        mine = y[pairs.index]
        filled = torch.where(pairs.imputed.reshape(-1, 1, 1, 1), imputed[pairs.index], mine)
        noise = normal(0, Stream.NOISE, ids, (1, 2, 2))
        loss, known = structure.loss(denoiser, pairs, mine, filled, noise, ids, v, config)
        v.observe(pairs.sigma, known, loss.residual)
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / steps)
        optimizer.zero_grad()
        torch.autograd.backward(loss.weighted.mean())
        optimizer.step()
    return denoiser.requires_grad_(False)


def excess(denoiser: Callable[[Tensor, Tensor], Tensor]) -> float:
    """How far a denoiser is from the exact one, see the module's docstring."""
    x = MIXTURE.sample(20_000, torch.Generator().manual_seed(9))
    shares = []
    for number, level in enumerate(RISK_LEVELS):
        noisy = x + level * normal(9, Stream.RISK, torch.arange(len(x)) + (number << 40), (4,)).double()
        sigma = torch.full((len(x),), level).double()
        estimate = denoiser(noisy.float().reshape(-1, 1, 2, 2), sigma).flatten(1).double()
        distance = (estimate - MIXTURE.posterior_mean(noisy, sigma)).square().mean()
        shares.append(float(distance / MIXTURE.posterior_variance(noisy, sigma).mean()))
    return sum(shares) / len(shares)


KINDS = ("variance map", "coloured", "missing pixels", "camera", "magnitude")


def excess_of(kind: str) -> float:
    """The excess after training on noise of a kind."""
    with tempfile.TemporaryDirectory(prefix="noiseworth-") as folder:
        return excess(train(make_data(Path(folder) / "data", kind)))


def check_exact(checklist: Checklist) -> dict[str, float]:
    """Claims on the excess of each kind of noise."""
    found = {kind: excess_of(kind) for kind in KINDS}
    for kind, value in found.items():
        words = "Rician noise, stabilised" if kind == "magnitude" else kind
        what = f"risk beyond the exact one, over it, of a mixture learned with a tenth clean images: {words}"
        checklist.add("noise/exact", what, value, 0.04, "max", "ratio")
    what = "targets are unbiased and have the stated variance, stabilised values the stated mean and variance: against closed forms"
    checklist.yes("noise/exact", what, tests_pass("tests/test_diagonal.py tests/test_stabilise.py"))
    return found
