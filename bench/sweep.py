"""A sweep end to end, killed and resumed on the way, and what its law is good for: `python bench/sweep.py`.

Digits (scikit-learn's, 8x8), the recipe `small-study`: five sizes, four shares of clean images, three noise levels, two seeds. The law
is fitted to up to 1,000 images and asked about 1,500; a fifth of the trainings is made again by Ray, one of whose workers is killed;
prices by the law are held against what single trainings say. Writes `results/sweep.json` and the figures of `docs/laws.md`. About 40
minutes on two cores; the same command goes on after an interruption.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

import pages
from noiseworth.data.pack import pack
from noiseworth.experiments.config import SweepConfig, recipe
from noiseworth.experiments.sweep.collect import collect
from noiseworth.experiments.sweep.plan import load_plan, make_plan, save_plan
from noiseworth.laws.fit import LAWS, Law, fit_law, prediction_interval
from noiseworth.laws.observations import Observations, RunWorth, predicted_worth, read_observations
from noiseworth.laws.price import quote
from noiseworth.records import Check, Panel, Results, Series, machine, now, to_json, versions, write_atomically

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "sweep.json"
ISSUE, COMMAND = 8, "python bench/sweep.py"
LARGER = 1500
CHECKED_BY_RAY = 5  # every fifth training


def sweep(out: Path, *options: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "noiseworth.cli", "sweep", "run", str(out), *options], stdout=subprocess.DEVNULL)


def records(out: Path) -> dict[str, Any]:
    """What the trainings found, by name, without the time that they took."""
    found = {f.parent.name: json.loads(f.read_text()) for f in (out / "trials").glob("*/trial.json")}
    return {name: record | {"seconds": 0} for name, record in found.items()}


def seconds(out: Path) -> dict[str, float]:
    return {f.parent.name: json.loads(f.read_text())["seconds"] for f in (out / "trials").glob("*/trial.json")}


def plans(work: Path) -> None:
    """The sweep, the larger models that it has to predict, and the part that Ray makes again."""
    data = work / "digits"
    if not data.exists():
        pack("sklearn:digits", data, sigma=0.0, held_out=297)
    settings = yaml.safe_load(recipe("small-study").read_text(encoding="utf-8"))
    places: dict[str, Any] = {"data": str(data / "train"), "held_out": str(data / "held-out")}
    for name, change in (("sweep", {}), ("larger", {"total": str(LARGER)})):
        if not (work / name).exists():
            plan, _ = make_plan(SweepConfig(out=str(work / name), **places, **(settings | change)))
            save_plan(plan, work / name)
    if not (work / "ray").exists():
        plan = load_plan(work / "sweep")
        save_plan(replace(plan, trials=plan.trials[::CHECKED_BY_RAY]), work / "ray")


def run_killed(work: Path, jobs: int) -> None:
    """The sweep, whose command and workers are all killed once on the way."""
    out, mark = work / "sweep", work / "killed.json"
    if not mark.exists():
        process = sweep(out, "--jobs", str(jobs))
        while len(records(out)) < 7 and process.poll() is None:
            time.sleep(0.2)
        holders = [int(text.split()[1]) for f in (out / "trials").glob("*/lock") if (text := f.read_text())]
        for pid in (process.pid, *holders):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        write_atomically(mark, json.dumps({"done": len(records(out)), "killed": 1 + len(holders)}))
    if sweep(out, "--jobs", str(jobs)).wait():
        raise SystemExit("the sweep did not end well")


def run_ray(work: Path) -> None:
    """A fifth of it on Ray, one of whose workers is killed in a trial."""
    out, mark = work / "ray", work / "ray-killed.json"
    process = sweep(out, "--on", "ray")
    while not mark.exists() and process.poll() is None:
        for begun in (out / "trials").glob("*/run/metrics.jsonl"):
            words = (begun.parent.parent / "lock").read_text().split()  # who trains it
            if words and not mark.exists():
                os.kill(int(words[1]), signal.SIGKILL)
                write_atomically(mark, json.dumps({"trial": begun.parent.parent.name}))
        time.sleep(0.05)
    if process.wait():
        raise SystemExit("the sweep on Ray did not end well")


def report(work: Path) -> None:
    """Checks, figures, `results/sweep.json` and the page."""
    made: list[Check] = []

    def check(
        line: int, what: str, value: float, unit: str, bound: float, direction: Literal["max", "min"], command: str = COMMAND
    ) -> None:
        made.append(Check(ISSUE, line, what, round(value, 4), unit, bound, direction, command))

    for name in ("sweep", "larger"):
        collect(work / name)
    plan, here, ray = load_plan(work / "sweep"), records(work / "sweep"), records(work / "ray")
    killed = json.loads((work / "killed.json").read_text())
    check(3, "trainings of the sweep", len(here), "trainings", 60, "min")
    check(
        3,
        f"complete after all {killed['killed']} processes were killed with {killed['done']} done",
        float(len(here) == len(plan.trials)),
        "yes",
        1,
        "min",
    )
    same = sum(here[name] == record for name, record in ray.items())
    check(
        3,
        f"of {len(ray)} trainings made again by Ray, those with the same record, weights included",
        same / len(ray),
        "share",
        1,
        "min",
    )

    observed, larger = (read_observations(str(work / name)) for name in ("sweep", "larger"))
    larger = _same_levels(larger, observed)
    laws = {name: fit_law(observed, name) for name in LAWS}
    better = min(laws, key=lambda name: laws[name].aicc)
    inside, intervals = {}, {}
    for name, law in laws.items():
        intervals[name] = prediction_interval(law, observed, larger)
        hit = (intervals[name][:, 0] <= larger.quality) & (larger.quality <= intervals[name][:, 1])
        inside[name] = float(hit.mean())
    words = {"one": "one currency", "two": "two currencies"}
    most = int((observed.n_clean + observed.n_noisy.sum(1)).max())
    each = ", ".join(f"{words[n]} {v:.0%}" for n, v in inside.items())
    models = f"of {len(larger)} larger models ({LARGER:,} images; fitted up to {most:,})"
    which = f"the 90% interval of the better law by AICc ({words[better]}; {each})"
    check(3, f"{models}, those inside {which}", inside[better], "share", 0.8, "min")

    cost = seconds(work / "sweep")
    quotes = price_checks(check, laws[better], observed, predicted_worth(str(work / "sweep")), cost)

    lost = json.loads((work / "ray-killed.json").read_text())
    check(
        5,
        f"the sweep on Ray ends complete, a worker killed in {lost['trial']}",
        float(len(ray) == len(load_plan(work / "ray").trials)),
        "yes",
        1,
        "min",
    )
    command = "pytest tests/test_planner.py"
    text = subprocess.run([sys.executable, "-m", *command.split(), "-rs"], cwd=ROOT, check=False, capture_output=True, text=True)
    passed = text.returncode == 0 and "skipped" not in text.stdout
    check(5, "the planner works in Chromium, 390 and 1,280 pixels wide, and by keyboard", float(passed), "yes", 1, "min", command)

    data = {
        "observations": (work / "sweep" / "observations.csv").read_text(),
        "larger": (work / "larger" / "observations.csv").read_text(),
        "aicc": {name: law.aicc for name, law in laws.items()},
        "typical_residual": {name: law.scale for name, law in laws.items()},
        "inside": inside,
        "intervals": {name: values.tolist() for name, values in intervals.items()},
        "quotes": [asdict(q) for q in quotes],
        "seconds": sum(cost.values()),
    }
    results = Results("issue 8: a sweep, its law, its prices", COMMAND, now(), machine(), versions(), [0, 1], made, data)
    write_atomically(RESULTS, to_json(results) + "\n")
    rows = [*pages.check_rows(made), "", *pages.figure_rows(panels(larger, laws[better].predict(larger), intervals[better], quotes))]
    pages.put("laws.md", "results: bench/sweep.py writes them", rows)
    pages.say(made)


def price_checks(
    check: Callable[..., None], law: Law, observed: Observations, predicted: list[RunWorth], cost: dict[str, float]
) -> list[Any]:
    """Line 4: prices by the law, and by single trainings at the same mix."""
    quotes = []
    for sigma in observed.sigmas:
        found = quote(law, observed, sigma, predicted=predicted)
        if found.predicted is None or found.predicted_by is None:
            raise AssertionError("every noise level has trainings of its own")
        quotes.append(found)
        mix = f"{found.n_clean} clean + {found.n_noisy} noisy"
        check(4, f"price predicted by one training over that of the sweep, noise {sigma:g}, {mix} "
                 f"({found.predicted:.2f} against {found.average:.2f}, {found.average_low:.2f} to {found.average_high:.2f}): at least",
              found.predicted / found.average, "ratio", 0.67, "min")  # fmt: skip
        check(4, f"the same, noise {sigma:g}: at most", found.predicted / found.average, "ratio", 1.5, "max")
        share = cost[found.predicted_by] / sum(cost.values())
        check(4, f"time of that one training over that of the sweep, noise {sigma:g}", share, "ratio", 0.05, "max")
    return quotes


def prices(work: Path) -> None:
    """Line 4 again, where what a training says of itself has changed and training has not: the trainings that are quoted are made anew,
    must come to the same risk as in the sweep of `results/sweep.json`, and are held against that sweep's law."""
    before = json.loads(RESULTS.read_text(encoding="utf-8"))
    plans(work)
    for name in ("observations", "larger"):
        write_atomically(work / f"{name}.csv", before["data"][name])
    rows = {row["trial"]: row for row in csv.DictReader(before["data"]["observations"].splitlines())}
    names = {q["predicted_by"] for q in before["data"]["quotes"]}
    if not (work / "prices").exists():
        plan = load_plan(work / "sweep")
        save_plan(replace(plan, trials=[trial for trial in plan.trials if trial.name in names]), work / "prices")
    if sweep(work / "prices", "--jobs", "1").wait():
        raise SystemExit("the trainings did not end well")
    collect(work / "prices")
    again = {row["trial"]: row for row in csv.DictReader((work / "prices" / "observations.csv").read_text().splitlines())}
    off = max(abs(float(row["risk"]) / float(rows[name]["risk"]) - 1) for name, row in again.items())
    observed, larger = (read_observations(str(work / f"{name}.csv")) for name in ("observations", "larger"))
    larger = _same_levels(larger, observed)
    laws = {name: fit_law(observed, name) for name in LAWS}
    better = min(laws, key=lambda name: laws[name].aicc)
    kept = [Check(**c) for c in before["checks"]]
    made = [c for c in kept if c.line < 4]

    def check(line: int, what: str, value: float, unit: str, bound: float, direction: Literal["max", "min"]) -> None:
        made.append(Check(ISSUE, line, what, round(value, 4), unit, bound, direction, f"{COMMAND} --prices"))

    cost = {name: float(row["seconds"]) for name, row in rows.items()}
    quotes = price_checks(check, laws[better], observed, predicted_worth(str(work / "prices")), cost)
    check(4, "the trainings that were made again, off the sweep's in risk", off, "ratio", 1e-3, "max")
    made += [c for c in kept if c.line > 4]
    data = before["data"] | {"quotes": [asdict(q) for q in quotes]}
    results = Results("issue 8: a sweep, its law, its prices", COMMAND, now(), machine(), versions(), [0, 1], made, data)
    write_atomically(RESULTS, to_json(results) + "\n")
    interval = np.array(before["data"]["intervals"][better])
    figures = pages.figure_rows(panels(larger, laws[better].predict(larger), interval, quotes))
    pages.put("laws.md", "results: bench/sweep.py writes them", [*pages.check_rows(made), "", *figures])
    pages.say(made)


def _same_levels(models: Observations, like: Observations) -> Observations:
    """The models with a column for each noise level that `like` knows."""
    columns = [models.n_noisy[:, models.sigmas.index(s)] if s in models.sigmas else np.zeros(len(models)) for s in like.sigmas]
    return Observations(models.n_clean, np.stack(columns, axis=1), like.sigmas, models.quality)


def panels(larger: Observations, predicted: Any, interval: Any, quotes: list[Any]) -> list[Panel]:
    """Larger models against their prediction, and prices against the noise."""
    order = np.argsort(predicted)
    q, p, low, high = (values[order].tolist() for values in (larger.quality, predicted, interval[:, 0], interval[:, 1]))
    ends = [min(p), max(p)]
    held = Panel(
        name="sweep-larger",
        title="Larger models than the law has seen",
        caption="Bars are the law's 90% intervals, drawn at what it predicts.",
        x_label="predicted risk / sigma^2",
        y_label="risk / sigma^2",
        series=[Series("measured", p, q), Series("predicted", p, p, low, high), Series("equal", ends, ends, guide=True)],
    )
    s, average = [x.sigma for x in quotes], [x.average for x in quotes]
    prices = Panel(
        name="sweep-prices",
        title="What a clean image costs in noisy ones",
        caption="By the whole sweep, and by one of its trainings.",
        x_label="noise (model units)",
        y_label="noisy images for one clean",
        series=[
            Series("the sweep's law, 95%", s, average, [x.average_low for x in quotes], [x.average_high for x in quotes]),
            Series("one training", s, [x.predicted for x in quotes]),
        ],
    )
    return [held, prices]


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/sweep"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="write the results from the trainings that are there")
    parser.add_argument(
        "--prices", action="store_true", help="line 4 alone, by trainings made anew, against the law of results/sweep.json"
    )
    arguments = parser.parse_args()
    if arguments.prices:
        prices(arguments.work)
        return
    if not arguments.report:
        plans(arguments.work)
        run_killed(arguments.work, arguments.jobs)
        if sweep(arguments.work / "larger", "--jobs", str(arguments.jobs)).wait():
            raise SystemExit("the larger models did not end well")
        run_ray(arguments.work)
    report(arguments.work)


if __name__ == "__main__":
    main()
