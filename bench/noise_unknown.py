"""A part of `bench/noise.py`: noise that nobody says: trainings on levels that were measured, and clean images that are found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks import Checklist
from noise_worth import fresh, risk_after, trained, with_levels
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.estimate_noise import estimate_noise, find_clean
from noiseworth.data.pack import pack
from noiseworth.data.views import subset

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """Where data lie, and where work is kept."""

    work: Path
    fashion: Path
    cifar: Path


def prepare_mixed(inputs: Inputs) -> dict[str, Path]:
    """Digits and Fashion-MNIST 16x16, a tenth clean and the others with noise 0.2 or 0.5: folders with `all` and `true`."""
    folders = {}
    for name, source, fit in (
        ("digits 8x8", "sklearn:digits", None),
        ("Fashion-MNIST 16x16", str(inputs.fashion), "resize:16x16"),
    ):
        folder = folders[name] = inputs.work / name.split()[0]
        if not (folder / "true").exists():
            pack(source, folder / "all", sigma=0.0, held_out=297 if fit is None else 2000, fit=fit)
            subset(folder / "all" / "train", folder / "some", take=1500 if fit is None else 5000)
            corrupt(folder / "some", folder / "true", clean_fraction=0.1, sigma="choice:0.2,0.5")
    return folders


def check_unknown(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The risk after training on levels that were measured, over that on the true ones."""
    kept: dict[str, Any] = {}
    for name, folder in prepare_mixed(inputs).items():
        true = open_dataset(folder / "true")
        hidden = _hide(folder / "true", folder / "hidden", np.where(true.sigma > 0, np.nan, 0.0))
        estimate_noise(hidden, fresh(folder / "measured"))
        risks = {
            (knowledge, seed): risk_after(
                trained(folder / knowledge, folder / "run", seed), folder / "all" / "held-out"
            )
            for knowledge in ("true", "measured")
            for seed in range(3)
        }
        for seed in range(3):
            ratio = risks["measured", seed] / risks["true", seed]
            what = f"risk after training on measured levels over that on true ones, {name}, seed {seed}"
            checklist.add("noise/unknown", what, ratio, 1.03, "max", "ratio")
        kept[name] = {f"{knowledge} {seed}": risk for (knowledge, seed), risk in risks.items()}
    return kept


def check_clean(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Which images are clean, where nobody says."""
    for name, folder in prepare_mixed(inputs).items():
        true = open_dataset(folder / "true")
        hidden = _hide(folder / "true", folder / "nothing", np.full(len(true), np.nan))
        find_clean(hidden, fresh(folder / "parted"))
        parted = open_dataset(folder / "parted")
        right = (parted.sigma == 0) == (true.sigma[parted.ids] == 0)
        where = f"{name}, a tenth clean, the others with noise 0.2 or 0.5, and nobody says which"
        what = f"images that are put on the right side, of those that are put on one, {where}"
        checklist.add("noise/clean", what, float(right.mean()), 0.99, "min", "share")
        what = f"images that are put on no side, {where}"
        checklist.add("noise/clean", what, 1 - len(parted) / len(true), 0.02, "max", "share")
    return {}


def _hide(true: Path, out: Path, sigma: Array) -> Path:
    """The same pixels, packed into `out` with other levels; NaN is an unknown one."""
    return with_levels(read_all(open_dataset(true)), out, sigma)
