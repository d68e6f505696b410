"""The samplers beside each other: `python bench/sampler_methods.py`. Adds to `results/sampler.json`.

`order`: how errors fall with the steps, of Gaussian data in closed form. `moments`: 20,000 samples of a mixture. `knee`: the Frechet
distance of what trained models generate against calls of the network; the default shall be within a twentieth of the best of all,
with few calls. `same`: one image at a time or many; one process, two, or one that is killed and started again.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pages
from checks import RESULTS, Checklist, Results, table_rows
from noise_exact import MIXTURE
from noiseworth.diffusion.integrators import Method, ancestral, churned, heun, multistep
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.records import Panel, Series, load_record
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
DEFAULT = SampleConfig.sampler, 2 * SampleConfig.steps - 1  # method and calls
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


def check_same(checklist: Checklist, work: Path) -> dict[str, Any]:
    """One image at a time, seven, or all, of the exact denoiser; then folders of a trained one."""
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
    run = work / "digits-8x8" / "run"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = [
            sys.executable,
            "-m",
            "noiseworth.cli",
            "sample",
            str(run),
            "--n=2000",
            "--batch=50",
            "--json",
        ]
        _run([[*command, str(folder / "one")]])
        expected = _files(folder / "one")
        ranks = [[*command, str(folder / "two")]] * 2
        _run(ranks, ranked=True)
        same = float(_files(folder / "two") == expected)
        checklist.add("sampler/same", "2 ranks make the same folder as 1", same, 1, "min", "yes")
        kills = 0
        while not (folder / "killed").exists():
            kills += _killed([*command, str(folder / "killed")], 0.3 + 0.1 * kills)
        same = float(_files(folder / "killed") == expected)
        checklist.add("sampler/same", f"the same folder after {kills} kills", same, 1, "min", "yes")
        left = float(sorted(path.name for path in folder.iterdir()) == ["killed", "one", "two"])
        checklist.add("sampler/same", "nothing is left behind by them", left, 1, "min", "yes")
    return {"kills": kills}


def _run(commands: list[list[str]], *, ranked: bool = False) -> None:
    """Processes at once, each of one thread, that must all succeed; `ranked`: as torchrun starts them."""
    processes = []
    for rank, command in enumerate(commands):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment |= {"RANK": str(rank), "WORLD_SIZE": str(len(commands))} if ranked else {}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit("a process failed")


def _killed(command: list[str], seconds: float) -> int:
    """Kill a command so many seconds after it has made its first piece of this time; 0 if it had ended before."""
    folder = Path(command[-1]).parent
    before = len(list(folder.glob(".killed.*/*.npy")))
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(folder.glob(".killed.*/*.npy"))) <= before:
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    return 1


def _files(folder: Path) -> dict[str, bytes]:
    """What a data set is: all but the note of the command, which differs by the place."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".command.json"
    }


def distances_of(work: Path, name: str) -> dict[str, dict[int, float]]:
    """Method -> calls -> distance of what the run of `bench/restore.py` on these data generates."""
    distances: dict[str, dict[int, float]] = {}
    for method in WAYS:
        for calls in CALLS:
            out = work / name / "samples" / f"{method}-{calls}"
            steps = calls if method in ("dpm++", "ancestral") else (calls + 1) // 2
            sample_run.run(SampleConfig(work / name / "run", out, n=GENERATED, steps=steps, sampler=method))
            distance = run_evaluation(out, against=work / name / "some", check_steps=0).frechet_distance
            distances.setdefault(method, {})[calls] = distance
            print(name, method, calls, f"{distance:.4f}", flush=True)
    return distances


def check_knee(checklist: Checklist, work: Path) -> dict[str, Any]:
    """The default over the best of all on each data set; and its calls over the fewest that do as well on all of them."""
    found = {name: distances_of(work, name) for name in DATA}
    method, calls = DEFAULT
    best = {name: min(min(each.values()) for each in of.values()) for name, of in found.items()}
    for name, of in found.items():
        what = f"distance of the default ({method}, {calls} calls) over the best of all, {name}"
        checklist.add("sampler/knee", what, of[method][calls] / best[name], WITHIN, "max", "ratio")
        plain = f"distance of the default over that of Heun's method with as many calls, {name}"
        checklist.add("sampler/knee", plain, of[method][calls] / of["heun"][calls], WITHIN, "max", "ratio")
    enough = [(c, m) for m in WAYS for c in CALLS if all(found[n][m][c] <= WITHIN * best[n] for n in DATA)]
    fewest = min(enough, default=(max(CALLS), "none"))
    what = f"calls of the default over the fewest that do as well on all data ({fewest[1]}, {fewest[0]})"
    checklist.add("sampler/knee", what, calls / fewest[0], 1.5, "max", "ratio")
    return {"distances": found, "fewest calls": fewest[0], "method": fewest[1]}


def write_page() -> None:
    """The table and the figures of docs/sampling.md, from the results that are there."""
    results = load_record(Results, RESULTS / "sampler.json")
    knee = results.data["sampler/knee"]["distances"]
    rows = [
        f"| data | method | {' | '.join(f'{calls} calls' for calls in CALLS)} |",
        "|---|---" + "|---" * len(CALLS) + "|",
    ]
    for name, of in knee.items():
        for method, each in of.items():
            rows.append(f"| {name} | {method} | " + " | ".join(f"{each[str(c)]:.3g}" for c in CALLS) + " |")
    panels = [
        Panel(
            name=f"sampler-{name.lower()}",
            title=f"Methods of sampling, {name}",
            caption="Lower is better; a curve that is level has converged.",
            x_label="calls of the network for an image",
            y_label="Frechet distance (pca)",
            series=[
                Series(method, list(CALLS), [each[str(c)] for c in CALLS]) for method, each in of.items()
            ],
        )
        for name, of in knee.items()
    ]
    checks = [check for check in results.checks if check.claim.startswith("sampler/")]
    pages.put(
        "sampling.md",
        "methods: bench/sampler_methods.py writes it",
        [*rows, "", *pages.figure_rows(panels), *table_rows(checks)],
    )


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
    write_page()


if __name__ == "__main__":
    main()
