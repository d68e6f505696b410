"""A part of `bench/noise.py`: does each check of noise fire where its fault is, and nowhere else?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.data.measured import cut_off_at
from noiseworth.noise.checks import check_noise
from noiseworth.noise.components import fit_components
from noiseworth.noise.models import CorrelatedNoise, GaussianNoise
from noiseworth.noise.sensors import PoissonGaussianNoise

Images = NDArray[np.float64]
SETS, NOISY, CLEAN, SIGMA = 100, 900, 400, 0.3


@dataclass(frozen=True)
class Fault:
    """What is wrong with the noise: the check that is for it, its size in words, and how it is made."""

    check: str
    size: str
    make: Callable[[Images, int], Images]


def _plain(x: Images, seed: int) -> Images:
    return GaussianNoise(SIGMA).sample(x, seed, np.arange(len(x)))


def _smooth(x: Images, seed: int) -> Images:
    f = np.fft.fftfreq(x.shape[-1])
    spectrum = np.exp(-2 * (f[:, None] ** 2 + f[None] ** 2))
    return CorrelatedNoise(SIGMA**2 * spectrum / spectrum.mean()).sample(x, seed, np.arange(len(x)))


def _striped(x: Images, seed: int) -> Images:
    rows = 0.32 * SIGMA * np.random.default_rng(seed).standard_normal((len(x), 1, x.shape[2], 1))
    return GaussianNoise(0.9**0.5 * SIGMA).sample(x, seed, np.arange(len(x))) + rows


def _outliers(x: Images, seed: int) -> Images:
    """Student's t with 6 degrees of freedom: excess kurtosis 3."""
    noise = np.random.default_rng(seed).standard_t(6, x.shape) * (4 / 6) ** 0.5
    return np.asarray(x + SIGMA * noise)


def _shot(x: Images, seed: int) -> Images:
    """Variance in proportion to the signal, from 0.7 to 1.3 of the mean one."""
    return PoissonGaussianNoise(0.3 * SIGMA**2, -10 / 3).sample(x, seed, np.arange(len(x)))


FAULTS = (
    Fault(
        "the declared level", "a tenth more than declared", lambda x, seed: x + 1.1 * (_plain(x, seed) - x)
    ),
    Fault("white", "correlation 0.1 of neighbours", _smooth),
    Fault("free of stripes", "a tenth of the variance in rows", _striped),
    Fault("Gaussian", "excess kurtosis 3", _outliers),
    Fault("independent of the signal", "variance 0.7 to 1.3 of its mean", _shot),
    Fault("of mean zero", "half a sigma", lambda x, seed: _plain(x, seed) + 0.5 * SIGMA),
    Fault(
        "whole", "cut off two sigma below black", lambda x, seed: np.maximum(_plain(x, seed), -1 - 2 * SIGMA)
    ),
)


def check_checks(checklist: Checklist, pictures: torch.Tensor) -> dict[str, Any]:
    """How often each check fires, in data sets with its fault and in those without any.

    Args:
        pictures: (N, C, H, W) clean images, of which each data set has its own.
    """
    all_pictures = pictures.numpy().astype(np.float64)
    fired: dict[str, list[list[str]]] = {}
    for fault in (Fault("", "none", _plain), *FAULTS):
        sets = fired.setdefault(fault.check, [])
        for number in range(SETS):
            rows = np.random.default_rng(number).permutation(len(all_pictures))[: 2 * CLEAN + NOISY]
            clean, other, noisy = np.split(all_pictures[rows], [CLEAN, 2 * CLEAN])
            components = fit_components(torch.from_numpy(other).float())
            images = torch.from_numpy(fault.make(noisy, number)).float()
            checks = check_noise(
                components,
                images,
                np.full(NOISY, SIGMA),
                torch.from_numpy(clean).float(),
                cut_off_at(images)[2],
            )
            sets.append([check.name for check in checks if check.fires])
        print(
            fault.check or "no fault",
            {name: sum(name in s for s in sets) for name in {n for s in sets for n in s}},
            flush=True,
        )
    for fault in FAULTS:
        hits = sum(fault.check in names for names in fired[fault.check])
        alarms = sum(fault.check in names for names in fired[""])
        what = f"of {SETS} data sets in which the noise is not {fault.check} ({fault.size}), fires in"
        checklist.add("noise/checks", what, hits, 0.95 * SETS, "min", "sets")
        what = f"of {SETS} data sets without a fault, '{fault.check}' fires in"
        checklist.add("noise/checks", what, alarms, 0.05 * SETS, "max", "sets")
    names = {name for sets in fired.values() for one in sets for name in one}
    counts = {
        fault or "no fault": {name: sum(name in one for one in sets) for name in sorted(names)}
        for fault, sets in fired.items()
    }
    return {"fired": counts}
