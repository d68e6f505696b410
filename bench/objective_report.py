"""What the trainings of `bench/objective.py` show: Frechet distances, checks, figures, the results' file and the page."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

import pages
from noiseworth.records import Check, Panel, Results, Series, machine, now, to_json, versions, write_atomically

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "objective.json"
ISSUE = 3
COMMAND = "python bench/objective.py"
N_GENERATED, SAMPLER_STEPS = 5000, 12
NAMES = {"fashion": "Fashion-MNIST 16x16", "cifar": "CIFAR-10-JPEG 16x16"}
Curve = list[dict[str, Any]]


def measure_distances(work: Path, cells: list[Any]) -> None:
    """`frechet.json` in each cell that wants one: images made by the weights of its best risk against the clean training images."""
    import torch
    from safetensors.torch import load_file

    from noiseworth.data.dataset import open_dataset
    from noiseworth.diffusion.precondition import PreconditionedDenoiser
    from noiseworth.diffusion.sampler import SamplerConfig, sample
    from noiseworth.evaluate.features import train_classifier
    from noiseworth.evaluate.frechet import frechet_distance, moments
    from noiseworth.experiments.features import read_all
    from noiseworth.networks import make_backbone

    for data in NAMES:
        wanted = [cell for cell in cells if cell.data == data and (work / "cells" / cell.name / "done").exists()]
        wanted = [cell for cell in wanted if not (work / "cells" / cell.name / "frechet.json").exists()]
        if not wanted:
            continue
        reference, held_out = open_dataset(work / "data" / data / "50000"), open_dataset(work / "data" / data / "held-out")
        some = reference.select(np.arange(20_000))
        assert some.labels is not None
        assert held_out.labels is not None
        features = train_classifier(read_all(some), some.labels, (read_all(held_out), held_out.labels))
        base = moments(features(read_all(reference)))
        floor = frechet_distance(moments(features(read_all(held_out))), base)
        for cell in wanted:
            run = work / "cells" / cell.name
            best = json.loads((run / "best.json").read_text())
            denoiser = PreconditionedDenoiser(make_backbone(best["preset"], reference.shape[0], 0), best["sigma_data"])
            denoiser.load_state_dict(load_file(run / "best.safetensors"))
            denoiser.eval().requires_grad_(False)

            def call(x: torch.Tensor, sigma: torch.Tensor, inner: PreconditionedDenoiser = denoiser) -> torch.Tensor:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    output: torch.Tensor = inner(x, sigma)
                return output

            made = [
                sample(
                    call,
                    torch.arange(i, i + 500),
                    reference.shape,
                    config=SamplerConfig(SAMPLER_STEPS),
                    trained_from=best["trained_from"],
                )
                for i in range(0, N_GENERATED, 500)
            ]
            images = torch.cat(made).clamp(-1, 1).numpy()
            told = features.describe()
            record = {
                "frechet": frechet_distance(moments(features(images)), base),
                "held_out": floor,
                "trained_from": best["trained_from"],
                "features": told.sha256,
                "accuracy": told.accuracy,
            }
            write_atomically(run / "frechet.json", json.dumps(record))
            print(cell.name, record, flush=True)


def images_needed(curve: Curve, risk: float) -> float:
    """Images at which a curve first reaches a risk, linear in ln(images) between measurements; infinite if it never does."""
    before = None
    for row in curve:
        if row["relative"] <= risk:
            if before is None:
                return float(row["n_images"])
            share = (before["relative"] - risk) / (before["relative"] - row["relative"])
            return float(before["n_images"] * (row["n_images"] / before["n_images"]) ** share)
        before = row
    return float("inf")


def best(curve: Curve) -> float:
    return float(min(row["relative"] for row in curve))


def worst_ratio(ours: Curve, theirs: Curve) -> float:
    """The greatest ratio of risks at any number of images that both were measured at."""
    other = {row["n_images"]: row["relative"] for row in theirs}
    return max(float(row["relative"] / other[row["n_images"]]) for row in ours if row["n_images"] in other)


class Found:
    """Everything that the cells left behind."""

    def __init__(self, work: Path, cells: list[Any]) -> None:
        self.cells = [cell for cell in cells if (work / "cells" / cell.name / "curve.json").is_file()]
        self.missing = [cell.name for cell in cells if not (work / "cells" / cell.name / "done").exists()]
        self.curves = {cell.name: json.loads((work / "cells" / cell.name / "curve.json").read_text()) for cell in self.cells}
        self.frechet: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            file = work / "cells" / cell.name / "frechet.json"
            if file.is_file():
                self.frechet[cell.name] = json.loads(file.read_text())
        self.done = {cell.name for cell in self.cells if cell.name not in self.missing}

    def pairs(self, count: int, clean: float, suffix: str = "") -> list[tuple[Any, Any]]:
        """(published, ours) cells of one kind that are done; "-long" trained for longer."""
        by_name = {cell.name: cell for cell in self.cells}
        found = []
        for cell in self.cells:
            if cell.arm == f"published{suffix}" and (cell.count, cell.clean) == (count, clean) and cell.name in self.done:
                ours = cell.name.replace("-published", "-worth")
                if ours in self.done:
                    found.append((cell, by_name[ours]))
        return found


def checks(found: Found) -> list[Check]:
    """Every line of the issue, held against what was measured."""
    made: list[Check] = []

    def check(
        line: int, what: str, value: float, unit: str, bound: float, direction: Literal["max", "min"], command: str = COMMAND
    ) -> None:
        made.append(Check(ISSUE, line, what, round(min(value, 1e6), 4), unit, bound, direction, command))

    groups: dict[tuple[str, float], list[float]] = {}
    for published, ours in found.pairs(50_000, 0.1):
        theirs = found.curves[published.name]
        needed = images_needed(found.curves[ours.name], theirs[-1]["relative"]) / theirs[-1]["n_images"]
        groups.setdefault((published.data, published.sigma), []).append(needed)
    for (data, sigma), values in groups.items():
        each = ", ".join(f"{v:.3f}" for v in values)
        check(1, f"images needed over the published 400,000, {NAMES[data]}, sigma {sigma:g}, median of {len(values)} seeds ({each})",
              median(values), "ratio", 0.30, "max")  # fmt: skip
    for published, ours in [*found.pairs(5_000, 0.1), *found.pairs(5_000, 0.1, "-long")]:
        clean = f"{published.data}-5000-s0-c1-{ours.arm}-{published.seed}"
        if clean not in found.done:
            continue
        where = f"{NAMES[published.data]}, sigma {published.sigma:g}, best of {published.n_images:,} images"
        names = (published.name, ours.name, clean)
        risks = [best(found.curves[name]) for name in names]
        check(2, f"gap to all clean that is closed, risk, {where} ({risks[0]:.4f}, ours {risks[1]:.4f}, clean {risks[2]:.4f})",
              (risks[0] - risks[1]) / (risks[0] - risks[2]), "ratio", 0.5, "min")  # fmt: skip
        if all(name in found.frechet for name in names):
            d = [found.frechet[name]["frechet"] for name in names]
            check(2, f"gap to all clean that is closed, Frechet distance, {where} ({d[0]:.3f}, ours {d[1]:.3f}, clean {d[2]:.3f})",
                  (d[0] - d[1]) / (d[0] - d[2]) if d[0] > d[2] else 0.0, "ratio", 0.5, "min")  # fmt: skip
    for count, suffix in ((50_000, ""), (5_000, ""), (5_000, "-long")):
        for published, ours in found.pairs(count, 0.1, suffix):
            value = worst_ratio(found.curves[ours.name], found.curves[published.name])
            kind = (
                f"{NAMES[published.data]}, N = {count:,}, sigma {published.sigma:g}, seed {published.seed}{suffix.replace('-', ', ')}"
            )
            what = f"greatest ratio of risks at any budget, {kind}"
            check(3, what, value, "ratio", 1.02, "max")
    for published, ours in found.pairs(50_000, 0.0):
        if published.name in found.frechet and ours.name in found.frechet:
            a, b = found.frechet[published.name]["frechet"], found.frechet[ours.name]["frechet"]
            where = f"{NAMES[published.data]}, sigma {published.sigma:g}"
            check(4, f"all noisy: Frechet distance over that of truncated sampling, {where} ({b:.3f}, {a:.3f})",
                  b / a, "ratio", 0.6, "max")  # fmt: skip
    closed_forms(check)
    return made


def closed_forms(check: Callable[..., None]) -> None:
    """Lines 5 and 6: the tests of the closed forms, the time of drawing pairs against a step's, the price in the text of `train`."""
    import torch

    from noiseworth.diffusion.levels import LogNormalLevels
    from noiseworth.diffusion.pairs import PairLaw
    from noiseworth.diffusion.worth import PosteriorVariance
    from noiseworth.networks import make_backbone

    command = "pytest tests/test_convergence.py tests/test_objective.py tests/test_pairs.py"
    tests = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, check=False)
    check(5, "training converges to the exact denoiser (4% of its risk), gradients and pairs have the stated laws",
          float(tests.returncode == 0), "yes", 1, "min", command)  # fmt: skip
    torch.set_num_threads(1)
    net = make_backbone("mini", 1, 0)
    x, t = torch.randn(128, 1, 16, 16), torch.randn(128)

    def step() -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = net(x, t).float().square().mean()
        torch.autograd.backward(loss)
        return time.perf_counter() - began

    whole = median(step() for _ in range(12))
    sets = {
        1: torch.full((50_000,), 0.3),
        2: torch.cat([torch.zeros(5_000), torch.full((45_000,), 0.5)]),
        1_000: torch.logspace(-1.5, 0.2, 1_000),
        1_000_000: torch.logspace(-1.5, 0.2, 1_000_000, dtype=torch.float64),
    }
    for levels, s in sets.items():
        law = PairLaw(s, LogNormalLevels(-1.6, 1.2), PosteriorVariance(torch.logspace(2, -3, 256, dtype=torch.float64)))
        times = []
        for window in range(5):
            began = time.perf_counter()
            law.refresh(100_000 + window)
            law.draw(0, torch.arange(window * 8192, (window + 1) * 8192))  # as in training: 64 steps of 128 at once
            times.append((time.perf_counter() - began) / 64)
        check(5, f"drawing pairs, {levels:,} noise levels, over a step of the smallest network at batch 128 ({whole * 1e3:.0f} ms)",
              median(times) / whole, "ratio", 0.02, "max", "python bench/objective.py --report")  # fmt: skip
    command = "pytest tests/test_cli.py -k price"
    tests = subprocess.run([sys.executable, "-m", "pytest", "tests/test_cli.py", "-k", "price"], cwd=ROOT, check=False)
    check(6, "train and the report print the price and what it assumes", float(tests.returncode == 0), "yes", 1, "min", command)


def ablations(found: Found) -> list[str]:
    """What each part of the objective does, as lines of a Markdown table: risks at the end of the shorter of two trainings."""
    rows = ["| changed | data | risk without | with | images seen |", "|---|---|---|---|---|"]
    changes = {
        "published-our-levels": ("published", "levels of mean -1.6, not -1.2, for the published objective"),
        "worth": ("published-our-levels", "our pairs in place of the published ones, on the same levels"),
        "worth-consistency": ("worth-none", "consistency below the noise, in place of nothing"),
    }
    cells = {cell.name: cell for cell in found.cells if cell.name in found.done}
    for arm, (base, words) in [*changes.items(), ("worth", ("worth-none", "imputation below the noise, in place of nothing"))]:
        for name, cell in cells.items():
            other = name.replace(f"-{arm}-{cell.seed}", f"-{base}-{cell.seed}")
            if cell.arm != arm or other not in cells or other == name:
                continue
            curves = [{row["n_images"]: row["relative"] for row in found.curves[n]} for n in (other, name)]
            last = max(curves[0].keys() & curves[1].keys())
            where = f"{NAMES[cell.data]}, N = {cell.count:,}, sigma {cell.sigma:g}"
            rows.append(f"| {words} | {where} | {curves[0][last]:.4f} | {curves[1][last]:.4f} | {last:,} |")
    return rows


def panels(found: Found) -> list[Panel]:
    """Risk against images seen: a figure for each data set, size and noise."""
    labels = {"published": "published", "worth": "ours", "worth-none": "ours, nothing below the noise",
              "worth-consistency": "ours, consistency", "published-our-levels": "published, our levels"}  # fmt: skip
    longer = {cell.name.replace("-long", "") for cell in found.cells if cell.arm.endswith("-long")}  # shown in place of the shorter
    made = []
    for count in (50_000, 5_000):
        for data, name in NAMES.items():
            for sigma in (0.2, 0.5):
                series = []
                for cell in found.cells:
                    here = (cell.data, cell.count) == (data, count) and cell.seed == 0 and cell.name not in longer
                    if here and (cell.sigma, cell.clean) in ((sigma, 0.1), (0.0, 1.0)):
                        curve = found.curves[cell.name]
                        label = "all clean" if cell.clean == 1 else labels[cell.arm.removesuffix("-long")]
                        series.append(Series(label, [r["n_images"] for r in curve], [r["relative"] for r in curve]))
                if series:
                    title = f"{name}, N = {count:,}, a tenth clean, the rest sigma {sigma:g}"
                    made.append(
                        Panel(f"objective-{data}-{count}-{sigma:g}", title, "", "images seen", "held-out risk / sigma^2", series)
                    )
    return made


def write(work: Path, cells: list[Any]) -> None:
    """Results, figures and page, from what is there."""
    found = Found(work, cells)
    made = checks(found)
    data = {"missing": found.missing, "curves": found.curves, "frechet": found.frechet}
    what = "issue 3: our objective against the published one"
    results = Results(what, COMMAND, now(), machine(), versions(), [0, 1, 2], made, data)
    write_atomically(RESULTS, to_json(results) + "\n")
    rows = [*pages.check_rows(made), "", *ablations(found), "", *pages.figure_rows(panels(found))]
    pages.put("objective.md", "results: bench/objective.py --report writes them", rows)
    pages.say(made)
    print(f"missing: {', '.join(found.missing) or 'nothing'}")
