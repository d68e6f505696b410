"""Seconds to quality, against the state before and against other projects' loops: `python bench/speed.py --cifar ARCHIVE`.

Trains with the defaults of this checkout and with those of the commit BEFORE (Adam, 32 bits, diffusers' U-Net), in turn, on the same
machine: scikit-learn's digits (8x8), Fashion-MNIST (28x28) and CIFAR-10 encoded as JPEG (32x32), a tenth clean, the rest with noise
0.5, three seeds. What counts is the seconds until ours has the risk that the other one ends with.

Writes `results/speed.json` and the tables of `docs/training.md`. About an hour on two quiet cores; needs git, Debian's package
dataset-fashion-mnist, and smalldiffusion (`pip install --no-deps smalldiffusion`). `--claims` measures some of the claims and
leaves the others as they are; `--page` rewrites the tables from the results that are there.

Results on CIFAR-10 encoded as JPEG compare with each other, not with published CIFAR-10 numbers.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pages
from checks import RESULTS, Check, Checklist, table_rows
from engine import speed_rows
from noiseworth.records import Panel, Series, SpeedRecord, from_json
from processes import ROOT, command_line
from speed_cases import BEFORE, CASES, Inputs, prepare, run_worker, train, training_of
from speed_limits import (
    check_clone,
    check_gpu,
    check_peers,
    check_resuming,
    check_scale,
    check_utilisation,
)
from speed_networks import check_networks

FILE, COMMAND = "speed.json", "python bench/speed.py"
SEEDS = (0, 1, 2)
SCALE_CAPTION = "Flat is what it must be: neither the number of images nor that of noise levels makes a step longer. 8x8 pixels, batch 64."


def check_quality(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Seconds to the risk that the state before ends with; images a second, risk after equal images and start beside."""
    kept: dict[str, Any] = {}
    for case in CASES:
        if not (inputs.data / case.data).exists():
            continue
        ratios, rates, risks, starts = [], [], [], []
        for seed in SEEDS:
            old, new = train(inputs, case, seed, True), train(inputs, case, seed, False)
            kept[f"{case.data}-{seed}"] = {"before": old, "now": new}
            _, old_seconds, target = old["curve"][-1]
            reached = [seconds for _, seconds, risk in new["curve"] if risk <= target]
            ratios.append(reached[0] / old_seconds if reached else float("inf"))
            rates.append(old_seconds / new["curve"][-1][1])
            risks.append(new["curve"][-1][2] / target)
            starts.append(new["first_step"] / old["first_step"])
            risk = f"the risk {target:.3f} that {BEFORE} has after {case.n_images:,} images"
            what = f"{case.data} {case.size}, seed {seed}: seconds to {risk}, over its {old_seconds:.0f} s"
            checklist.add("speed/to-quality", what, ratios[-1], 0.5, "max", "ratio")
        where = f"{case.data} {case.size}, median of {len(SEEDS)} seeds, over {BEFORE}"
        if case.data != "cifar":
            checklist.add(
                "speed/default", f"images/s of training, {where}", median(rates), 1.5, "min", "ratio"
            )
            checklist.add(
                "speed/default",
                f"risk after {case.n_images:,} images, {where}",
                median(risks),
                1.01,
                "max",
                "ratio",
            )
        kept[f"{case.data}-start"] = starts
        what = f"seconds from the start of Python to the end of the first step, {where}"
        checklist.add("speed/start", what, median(starts), 1.0, "max", "ratio")
    return kept


def check_sample(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Sampling by the networks that both states take by default, in turn; how well they are trained makes no difference."""
    rates: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        if not (inputs.data / case.data).exists():
            continue
        times: dict[str, list[float]] = {"before": [], "now": []}
        for seed in SEEDS:
            for name, values in times.items():
                settings = training_of(inputs, case, seed, name == "before")
                settings["train"]["n_images"] = 128
                settings |= {"points": [], "sample": {"n": case.sampled, "steps": 8}}
                values.append(run_worker(inputs, "sampled", settings, name == "before")["sample"])
        rates[case.data] = times
        what = f"images/s of sampling at equal evaluations, {case.sampled:,} images, {case.data} {case.size}, median of 3, over {BEFORE}"
        checklist.add(
            "speed/sample", what, median(times["now"]) / median(times["before"]), 1.5, "min", "ratio"
        )
    return {"images_per_second": rates}


def check_evaluate(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The same evaluation of a short run by both states, in turn."""
    digits = inputs.data / "digits" / "all"
    sources = {"now": ROOT / "src", "before": inputs.before}

    def seconds(name: str, *words: str) -> float:
        environment = os.environ | {"PYTHONPATH": str(sources[name])}
        began = time.perf_counter()
        subprocess.run(command_line(*words), env=environment, capture_output=True, check=True)
        return time.perf_counter() - began

    for name in sources:
        data = str(inputs.data / "digits" / "mixed")
        seconds(
            name,
            "train",
            f"--data={data}",
            f"--out={inputs.work}/evaluated-{name}",
            "--n-images=2560",
            "--device=cpu",
        )
    times: dict[str, list[float]] = {name: [] for name in sources}
    for seed in range(3):
        for name, values in times.items():
            run = f"{inputs.work}/evaluated-{name}"
            words = (
                f"--against={digits}/train",
                f"--held-out={digits}/held-out",
                "--n=1000",
                f"--seed={seed}",
                "--features=pca",
            )
            values.append(seconds(name, "evaluate", run, *words))
    ratio = median(times["now"]) / median(times["before"])
    checklist.add(
        "speed/evaluate",
        f"seconds of `noiseworth evaluate`, digits, 1,000 images, over {BEFORE}",
        ratio,
        1.0,
        "max",
        "ratio",
    )
    return {"seconds": times}


CHECKS: dict[str, Callable[[Checklist, Inputs], dict[str, Any]]] = {
    "utilisation": check_utilisation,  # first: a process begins with the peak memory of the one that starts it
    "peers": check_peers,
    "scale": check_scale,
    "resume": check_resuming,
    "sample": check_sample,
    "evaluate": check_evaluate,
    "clone": check_clone,
    "gpu": check_gpu,
    "networks": check_networks,
    "to-quality": check_quality,
}


def write_page() -> None:
    """The tables of `docs/training.md`."""
    stored = json.loads((RESULTS / FILE).read_text(encoding="utf-8"))
    checks = [from_json(Check, check, FILE) for check in stored["checks"]]
    pages.put("training.md", "speed: bench/speed.py writes it", table_rows(checks))
    timed = stored["data"].get("speed/overhead", {}).get("records", [])
    records = [
        from_json(SpeedRecord, {k: v for k, v in r.items() if k != "peak_gflops"}, FILE) for r in timed
    ]
    growth = stored["data"].get("speed/scale", {}).get("curves", [])
    if growth:
        lines = [Series(c["label"], c["x"], [y / c["y"][0] for y in c["y"]]) for c in growth]
        guides = [Series(f"{n:g} times as long", [1, 1e6], [n, n], guide=True) for n in (0.5, 2)]
        labels = ("number of", "time of a step over that of the fewest")
        panel = Panel("scale", "A step as the data grow", SCALE_CAPTION, *labels, [*lines, *guides])
        pages.put("training.md", "scale: bench/speed.py writes it", pages.figure_rows([panel]))
    pages.put("training.md", "presets: bench/speed.py writes it", speed_rows(records))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "speed")
    parser.add_argument("--claims", nargs="+", choices=list(CHECKS), default=list(CHECKS))
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    arguments = parser.parse_args()
    if not arguments.page:
        inputs = prepare(arguments.work, arguments.fashion, arguments.cifar)
        for name in arguments.claims:
            checklist = Checklist(COMMAND)
            made = CHECKS[name](checklist, inputs)
            checklist.update(FILE, made)
    write_page()


if __name__ == "__main__":
    main()
