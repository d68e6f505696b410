"""What a wrong noise level costs: digits, a tenth clean, the others with noise of 0.3 that is declared otherwise."""

from pathlib import Path
from typing import Any

import numpy as np

from checks import Checklist
from noise_worth import fresh, risk_after, trained
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.views import select_view
from noiseworth.data.writer import new_directory

TRUE = 0.3
OFF = (-0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5)
SEEDS = range(3)


def _declared(true: Path, out: Path, off: float) -> Path:
    """A view of the data set whose noisy images have another level."""
    fresh(out)
    data = open_dataset(true)
    sigma = data.sigma.astype(np.float64) * (1 + off)
    with new_directory(out) as folder:
        view = data.with_noise(sigma, np.stack([sigma, sigma], 1))
        select_view(view, folder, out, "declared", {"command": "bench", "off": off})
    return out


def check_wrong(checklist: Checklist, work: Path) -> dict[str, Any]:
    """The risk after training on levels that are off, over that on the right ones."""
    name, folder = "digits 8x8", work / "wrong-digits"
    if not (folder / "true").exists():
        pack("sklearn:digits", folder / "all", sigma=0.0, held_out=297)
        corrupt(folder / "all" / "train", folder / "true", clean_fraction=0.1, sigma=TRUE)
    risks = {
        off: [
            risk_after(
                trained(_declared(folder / "true", folder / "declared", off), folder / "run", seed),
                folder / "all" / "held-out",
            )
            for seed in SEEDS
        ]
        for off in OFF
    }
    ratios = {off: (np.array(each) / np.array(risks[0.0])).tolist() for off, each in risks.items()}
    print(name, ratios, flush=True)
    for off in (-0.1, 0.1):
        what = f"risk with a level that is {off:+.0%} off over that with the right one, the greatest of 3 seeds, {name}"
        checklist.add("noise/wrong-level", what, max(ratios[off]), 1.05, "max", "ratio")
    return {"off": list(OFF), name: {f"{off:+.2f}": each for off, each in ratios.items()}}
