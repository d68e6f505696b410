"""The samplers beside each other: `python bench/sampler_methods.py`. Adds to `results/sampler.json`.

`order`: how errors fall with the steps, of Gaussian data in closed form. `moments`: 20,000 samples of a mixture. `knee`: the Frechet
distance of what trained models generate against calls of the network; the default is the fewest calls from which on none is
better by more than a twentieth. `same`: one image at a time or many.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from checks import Checklist
from noise_exact import MIXTURE
from noiseworth.diffusion.integrators import Method, ancestral, churned, heun, multistep
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.runs.config import SampleConfig
from noiseworth.runs.evaluation import run_evaluation
from noiseworth.runs.sampling import sample_run

WAYS: dict[Method, tuple[Callable[..., Tensor], float]] = {
    "heun": (lambda denoiser, x, levels, _: heun(denoiser, x, levels), 2),
    "dpm++": (lambda denoiser, x, levels, _: multistep(denoiser, x, levels), 2),
    "churn": (lambda denoiser, x, levels, fresh: churned(denoiser, x, levels, fresh, 4.0), 2),
    "ancestral": (ancestral, 1),
}
CALLS = (9, 13, 19, 27, 35, 51, 71)
DEFAULT = "heun", 35  # method and calls
WITHIN = 1.05  # of the best
SAMPLES = 20_000
GENERATED = 3000
DATA = ("digits-8x8", "Fashion-MNIST-28x28")
CLAIMS = ("order", "moments", "same", "knee")


def measured_order(method: Method, steps: tuple[int, ...] = (32, 64, 128, 256)) -> float:
    """Of the variances of Gaussian data: a step is linear, so that the variance is a sum over the noises that went in."""
    run, _ = WAYS[method]
    v = torch.tensor([1.0, 0.25, 0.04, 4.0], dtype=torch.float64)
    one, none = torch.ones(1, 4, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.float64)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return x * v / (v + sigma[:, None] ** 2)

    def error(steps: int) -> float:
        ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        levels = (5.0 ** (1 / 3) + ramp * (0.05 ** (1 / 3) - 5.0 ** (1 / 3))) ** 3
        made = run(denoiser, one, levels, lambda _: none) ** 2 * (v + levels[0] ** 2)
        for k in range(steps if method in ("churn", "ancestral") else 0):
            made = made + run(denoiser, none, levels, lambda step, k=k: one if step == k else none) ** 2
        return float((made - v - levels[-1] ** 2).abs().mean())

    return float(-np.polyfit(np.log(steps), np.log([error(n) for n in steps]), 1)[0])


def check_order(checklist: Checklist, _: Path) -> dict[str, Any]:
    """Of each method, against what it should be."""
    found: dict[str, Any] = {method: measured_order(method) for method in WAYS}
    for method in WAYS:
        order = found[method]
        what = f"order of {method} less {WAYS[method][1]:g}, Gaussian data"
        checklist.add("sampler/order", what, abs(order - WAYS[method][1]), 0.2, "max")
    return found


def of_mixture(x: Tensor, sigma: Tensor) -> Tensor:
    """The exact denoiser of three components in four dimensions."""
    return MIXTURE.posterior_mean(x.flatten(1).double(), sigma.double()).reshape(x.shape).float()


def check_moments(checklist: Checklist, _: Path) -> dict[str, Any]:
    """Means, variances and weights of the components, in standard errors of so many samples."""
    mean = MIXTURE.weights @ MIXTURE.means
    variance = MIXTURE.tau**2 + MIXTURE.weights @ (MIXTURE.means - mean) ** 2
    fourth = MIXTURE.weights @ (
        (MIXTURE.means - mean) ** 4 + 6 * MIXTURE.tau**2 * (MIXTURE.means - mean) ** 2 + 3 * MIXTURE.tau**4
    )
    found: dict[str, Any] = {}
    for method in WAYS:
        config = SamplerConfig(1000 if method == "ancestral" else 100, method)
        made = sample(of_mixture, torch.arange(SAMPLES), (1, 2, 2), config=config).flatten(1).double()
        shares = MIXTURE.responsibilities(made, torch.full((SAMPLES,), 1e-3, dtype=torch.float64)).mean(0)
        off = {
            "mean": (made.mean(0) - mean) / (variance / SAMPLES).sqrt(),
            "variance": (made.var(0) - variance) / ((fourth - variance**2) / SAMPLES).sqrt(),
            "weight": (shares - MIXTURE.weights) / (MIXTURE.weights * (1 - MIXTURE.weights) / SAMPLES).sqrt(),
        }
        found[method] = {name: float(z.abs().max()) for name, z in off.items()}
        for name, z in found[method].items():
            checklist.add(
                "sampler/moments", f"{name}s, the furthest, {method}", z, 4, "max", "standard errors"
            )
    return found


def check_same(checklist: Checklist, _: Path) -> dict[str, Any]:
    """One image at a time, seven, or all, of the exact denoiser."""
    for method in WAYS:
        config = SamplerConfig(18, method)
        whole = sample(of_mixture, torch.arange(64), (1, 2, 2), config=config)
        off = 0.0
        for batch in (1, 7):
            parts = [
                sample(of_mixture, ids, (1, 2, 2), config=config)
                for ids in torch.split(torch.arange(64), batch)
            ]
            off = max(off, float((torch.cat(parts) - whole).abs().max()))
        checklist.add(
            "sampler/same", f"largest difference between batches of 1, 7 and 64, {method}", off, 1e-5, "max"
        )
    return {}


def check_knee(checklist: Checklist, work: Path) -> dict[str, Any]:
    """Distances of what the runs of `bench/restore.py` generate."""
    found: dict[str, Any] = {}
    for name in DATA:
        run, clean = work / name / "run", work / name / "some"
        distances: dict[str, dict[int, float]] = {}
        for method in WAYS:
            for calls in CALLS:
                steps = calls if method in ("dpm++", "ancestral") else (calls + 1) // 2
                out = work / name / "samples" / f"{method}-{calls}"
                config = SampleConfig(run, out, n=GENERATED, steps=steps, sampler=method)
                sample_run.run(config)
                distance = run_evaluation(out, against=clean, check_steps=0).frechet_distance
                distances.setdefault(method, {})[calls] = distance
                print(name, method, calls, f"{distance:.4f}", flush=True)
        best = min(d for each in distances.values() for d in each.values())
        cheap = min(
            (calls, method)
            for method, each in distances.items()
            for calls, d in each.items()
            if all(later <= WITHIN * best for c, later in each.items() if c >= calls)
        )
        over = distances[DEFAULT[0]][DEFAULT[1]] / best
        checklist.add(
            "sampler/knee",
            f"distance of the default over the best of all, {name}",
            over,
            WITHIN,
            "max",
            "ratio",
        )
        checklist.add(
            "sampler/knee",
            f"calls of the default over the fewest that do as well ({cheap[1]}, {cheap[0]}), {name}",
            DEFAULT[1] / cheap[0],
            1.5,
            "max",
            "ratio",
        )
        found[name] = {"distances": distances, "fewest calls": cheap[0], "method": cheap[1]}
    return found


def main() -> None:
    """Measure the claims that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--work", type=Path, default=Path("runs/restore"))
    arguments = parser.parse_args()
    measures = {"order": check_order, "moments": check_moments, "same": check_same, "knee": check_knee}
    for claim in arguments.claims:
        checklist = Checklist(f"python bench/sampler_methods.py --claims {claim}")
        checklist.update("sampler.json", measures[claim](checklist, arguments.work))


if __name__ == "__main__":
    main()
