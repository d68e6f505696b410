"""Which levels make a Frechet distance: `python bench/objective_levels.py`, after `bench/objective.py`. Ten minutes on two cores.

While images are drawn, the denoiser is that of one model above a level and that of another below it: of the model of all clean images
and of ours, or the other way round (N = 5,000, sigma 0.5, seed 0). So the difference between their distances falls to levels. Distances
in the features of a classifier, of a network that tells by how much images are turned, and in principal components; the model of all
clean images also with twice and four times the steps. Writes `results/objective-levels.json` and its part of `docs/objective.md`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pages
from checks import Checklist, table_rows
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.evaluate.features import train_classifier, train_rotations
from noiseworth.evaluate.frechet import frechet_estimate, moments
from noiseworth.evaluate.pca import principal_components
from noiseworth.records import write_atomically
from objective_report import NAMES, SAMPLER_STEPS, load_best

COUNT = 5000
CUTS = (0.1, 0.3, 1.0)
CELLS = {
    "clean": "{data}-5000-s0-c1-worth-0",
    "ours": "{data}-5000-s0.5-c0.1-worth-0",
    "published": "{data}-5000-s0.5-c0.1-published-0",
}
CLAIM = "objective/levels"
Distances = dict[
    str, dict[str, tuple[float, float]]
]  # features -> what was drawn -> distance, half its interval


def swapped(above: Denoiser, below: Denoiser, cut: float) -> Denoiser:
    """One denoiser above a level, another below it."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return (above if float(sigma[0]) > cut else below)(x, sigma)

    return denoise


def draw(denoiser: Denoiser, shape: tuple[int, int, int], v: PosteriorVariance, steps: int) -> np.ndarray:
    """Images (N, C, H, W), all from the same starting noise."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return denoiser(x, sigma)

    config = SamplerConfig(steps)
    batches = [
        sample(denoise, torch.arange(i, i + 500), shape, config=config, v=v) for i in range(0, COUNT, 500)
    ]
    images: np.ndarray = torch.cat(batches).clamp(-1, 1).numpy()
    return images


def measure(work: Path, data: str) -> Distances:
    """All distances of one data set."""
    reference, held_out = (open_dataset(work / "data" / data / name) for name in ("50000", "held-out"))
    images, real = read_all(reference), read_all(held_out)
    some = reference.select(np.arange(20_000))
    if some.labels is None or held_out.labels is None:
        raise AssertionError("both have labels")
    classifier = train_classifier(read_all(some), some.labels, (real, held_out.labels))
    features: dict[str, Callable[[np.ndarray], Any]] = {
        "classifier": classifier,
        "turns": train_rotations(read_all(some)),
        "principal components": principal_components(images[:20_000]),
    }
    models = {
        name: load_best(work / "cells" / cell.format(data=data), images.shape[1])
        for name, cell in CELLS.items()
    }
    v = PosteriorVariance(torch.ones(1))
    v.load_state(
        json.loads((work / "cells" / CELLS["clean"].format(data=data) / "best.json").read_text())["v"]
    )
    wanted: dict[str, tuple[Denoiser, int]] = {name: (model, SAMPLER_STEPS) for name, model in models.items()}
    for factor in (2, 4):
        wanted[f"clean, {factor} times the steps"] = models["clean"], factor * SAMPLER_STEPS
    for cut in CUTS:
        for above, below in (("clean", "ours"), ("ours", "clean")):
            wanted[f"{above} above {cut:g}, {below} below"] = (
                swapped(models[above], models[below], cut),
                SAMPLER_STEPS,
            )
    references = {name: moments(extract(images)) for name, extract in features.items()}
    found: Distances = {name: {} for name in features}
    drawn = {"held-out images": real}
    for words, (denoiser, steps) in wanted.items():
        drawn = {words: draw(denoiser, reference.shape, v, steps)} | ({} if found["classifier"] else drawn)
        for what, made in drawn.items():
            for name, extract in features.items():
                estimate = frechet_estimate(extract(made), references[name])
                found[name][what] = estimate.distance, (estimate.high - estimate.low) / 2
            print(data, what, {name: round(found[name][what][0], 4) for name in features}, flush=True)
    return found


def check(checklist: Checklist, data: str, found: Distances) -> None:
    """What the distances say."""
    for name, of in found.items():
        where = f"{NAMES[data]}, features: {name}"
        clean, error = of["clean"]
        moved = abs(of["clean, 4 times the steps"][0] - clean)
        what = (
            f"four times the steps move the distance of all clean ({clean:.4f}), over its interval, {where}"
        )
        checklist.add(CLAIM, what, moved / (2 * error), 1, "max", "ratio")
        real = of["held-out images"][0]
        what = f"distance of all clean over that of held-out real images ({real:.4f}), {where}"
        checklist.add(CLAIM, what, clean / real, 2, "max", "ratio")
        gap = of["ours"][0] - clean
        shares = [(of[f"clean above {cut:g}, ours below"][0] - clean) / gap for cut in CUTS]
        each = ", ".join(f"below {cut:g} {share:.2f}" for cut, share in zip(CUTS, shares, strict=True))
        what = f"share of ours over all clean ({of['ours'][0]:.4f}) that is made below its own noise, 0.3 and less, {where} ({each})"
        checklist.add(CLAIM, what, shares[1], 0.5, "min", "ratio")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/objective"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checklist, tables = Checklist("python bench/objective_levels.py"), {}
    for data in ("fashion", "cifar"):
        path = arguments.work / f"levels-{data}.json"
        if not path.is_file():
            write_atomically(path, json.dumps(measure(arguments.work, data)))
        tables[data] = json.loads(path.read_text())
        check(checklist, data, tables[data])
    checklist.write("objective-levels.json", "which levels make a Frechet distance", 0, tables)
    pages.put("objective.md", "results: bench/objective_levels.py writes them", table_rows(checklist.checks))


if __name__ == "__main__":
    main()
