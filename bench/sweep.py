"""A sweep end to end, killed and resumed on the way, and what its law is good for: `python bench/sweep.py`.

Digits (scikit-learn's, 8x8), the grid `small-study`: five sizes, four shares of clean images, three noise
levels, two seeds. The law is fitted to up to 1,000 images and asked about 1,500; a fifth of the trainings is
made again by Ray, one of whose workers is killed; prices by the law are held against what single trainings
predict.

Writes `results/sweep.json` and the figures of `docs/laws.md`. About 40 minutes on two cores; the same command
goes on after an interruption. `--report` writes the results from the trainings that are there, `--page`
rewrites the page from the results that are there, and `--prices` measures the price of one training again, in
two minutes.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

import pages
from checks import RESULTS, Checklist, Results, table_rows
from noiseworth.data.pack import pack
from noiseworth.laws.fit import LAWS, fit_law, prediction_interval
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations, RunWorth, predicted_worth, read_observations
from noiseworth.laws.price import quote
from noiseworth.process import holder
from noiseworth.records import Panel, QuoteRecord, Series, from_json, load_record, write_atomically
from noiseworth.sweep.collect import collect
from noiseworth.sweep.config import SweepConfig, grids
from noiseworth.sweep.plan import load_plan, make_plan, save_plan
from noiseworth.sweep.trial import LOCK
from processes import ROOT, command_line

FILE = "sweep.json"
WHAT = "a sweep, its law, its prices"
COMMAND = "python bench/sweep.py"
SEEDS = [0, 1]
LARGER = 1500
CHECKED_BY_RAY = 5  # every fifth training
CURRENCIES = {"one": "one currency", "two": "two currencies"}
LARGER_MODELS = "sweep/kills-ray-and-larger-models"
PRICE = "sweep/price-of-one-training"
RAY = "sweep/ray-and-planner"


def run_sweep(out: Path, *options: str) -> "subprocess.Popen[bytes]":
    """`noiseworth sweep run`, begun."""
    return subprocess.Popen(command_line("sweep", "run", str(out), *options), stdout=subprocess.DEVNULL)


def load_trials(out: Path) -> dict[str, dict[str, Any]]:
    """What the trainings measured, by name."""
    files = (out / "trials").glob("*/trial.json")
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def without_time(trials: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same without the time that they took."""
    return {name: record | {"seconds": 0} for name, record in trials.items()}


def make_plans(work: Path) -> None:
    """The sweep, the larger models that it has to predict, and the part that Ray makes again."""
    data = work / "digits"
    if not data.exists():
        pack("sklearn:digits", data, sigma=0.0, held_out=297)
    grid = yaml.safe_load(grids()["small-study"].read_text(encoding="utf-8"))
    grid |= {
        "data": str(data / "train"),
        "held_out": str(data / "held-out"),
        "preset": "digits",
        "train": {"optimizer": "adam", "batch": 128, "precision": "fp32"},
    }
    for name, changes in (("sweep", {}), ("larger", {"total": str(LARGER)})):
        if not (work / name).exists():
            plan, _ = make_plan(SweepConfig(out=str(work / name), **(grid | changes)))
            save_plan(plan, work / name)
    if not (work / "ray").exists():
        plan = load_plan(work / "sweep")
        save_plan(replace(plan, trials=plan.trials[::CHECKED_BY_RAY]), work / "ray")


def run_killed(work: Path, jobs: int) -> None:
    """The sweep, whose command and workers are all killed once on the way."""
    out = work / "sweep"
    mark = work / "killed.json"
    if not mark.exists():
        process = run_sweep(out, "--jobs", str(jobs))
        while len(load_trials(out)) < 7 and process.poll() is None:
            time.sleep(0.2)
        holders = [by[1] for lock in (out / "trials").glob(f"*/{LOCK}") if (by := holder(lock))]
        for pid in (process.pid, *holders):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        write_atomically(mark, json.dumps({"done": len(load_trials(out)), "killed": 1 + len(holders)}))
    if run_sweep(out, "--jobs", str(jobs)).wait():
        raise SystemExit("the sweep did not end well")


def run_ray(work: Path) -> None:
    """A fifth of it on Ray, one of whose workers is killed in a trial."""
    out = work / "ray"
    mark = work / "ray-killed.json"
    process = run_sweep(out, "--on", "ray")
    while not mark.exists() and process.poll() is None:
        for metrics in (out / "trials").glob("*/run/metrics.jsonl"):
            trial = metrics.parent.parent
            by = holder(trial / LOCK)
            if by is not None and not mark.exists():
                os.kill(by[1], signal.SIGKILL)
                write_atomically(mark, json.dumps({"trial": trial.name}))
        time.sleep(0.05)
    if process.wait():
        raise SystemExit("the sweep on Ray did not end well")


def write_report(work: Path) -> None:
    """Checks, `results/sweep.json` and the page, from the trainings that are there."""
    checklist = Checklist(COMMAND)
    for name in ("sweep", "larger"):
        collect(work / name)
    trials = load_trials(work / "sweep")
    on_ray = load_trials(work / "ray")
    check_trainings(checklist, work, trials, on_ray)
    observed, larger = read_tables(work / "sweep", work / "larger")
    laws = fit_laws(observed)
    better = better_of(laws)
    inside = {}
    intervals = {}
    for name, law in laws.items():
        intervals[name] = prediction_interval(law, observed, larger)
        hits = (intervals[name][:, 0] <= larger.quality) & (larger.quality <= intervals[name][:, 1])
        inside[name] = float(hits.mean())
    check_larger(checklist, observed, larger, inside, better)
    seconds = {name: record["seconds"] for name, record in trials.items()}
    predicted = predicted_worth(str(work / "sweep"))
    quotes = check_prices(checklist, laws[better], observed, predicted, seconds)
    check_ray_and_planner(checklist, work, len(on_ray))
    data = {
        "observations": (work / "sweep" / "observations.csv").read_text(encoding="utf-8"),
        "larger": (work / "larger" / "observations.csv").read_text(encoding="utf-8"),
        "aicc": {name: law.aicc for name, law in laws.items()},
        "typical_residual": {name: law.scale for name, law in laws.items()},
        "inside": inside,
        "intervals": {name: values.tolist() for name, values in intervals.items()},
        "quotes": [asdict(record) for record in quotes],
        "seconds": sum(seconds.values()),
    }
    write_page(checklist.write(FILE, WHAT, SEEDS, data))


def check_trainings(
    checklist: Checklist, work: Path, trials: dict[str, dict[str, Any]], on_ray: dict[str, dict[str, Any]]
) -> None:
    """Whether the trainings are complete after the kills, and the same on Ray."""
    killed = json.loads((work / "killed.json").read_text(encoding="utf-8"))
    checklist.add(LARGER_MODELS, "trainings of the sweep", len(trials), 60, "min", "trainings")
    what = f"complete after all {killed['killed']} processes were killed with {killed['done']} done"
    checklist.yes(LARGER_MODELS, what, len(trials) == len(load_plan(work / "sweep").trials))
    expected = without_time(trials)
    same = sum(expected[name] == record for name, record in without_time(on_ray).items())
    what = f"of {len(on_ray)} trainings made again by Ray, those with the same record, weights included"
    checklist.add(LARGER_MODELS, what, same / len(on_ray), 1, "min", "share")


def check_larger(
    checklist: Checklist, observed: Observations, larger: Observations, inside: dict[str, float], better: str
) -> None:
    """Larger models against the law's prediction intervals."""
    most = int((observed.n_clean + observed.n_noisy.sum(1)).max())
    models = f"of {len(larger)} larger models ({LARGER:,} images; fitted up to {most:,})"
    each = ", ".join(f"{CURRENCIES[name]} {share:.0%}" for name, share in inside.items())
    interval = f"the 90% interval of the better law by AICc ({CURRENCIES[better]}; {each})"
    what = f"{models}, those inside {interval}"
    checklist.add(LARGER_MODELS, what, inside[better], 0.8, "min", "share")


def check_prices(
    checklist: Checklist,
    law: Law,
    observed: Observations,
    predicted: list[RunWorth],
    seconds: dict[str, float],
) -> list[QuoteRecord]:
    """Prices by the law, and by single trainings at the same mix; returns them."""
    quotes = []
    for sigma in observed.sigmas:
        record = quote(law, observed, sigma, predicted=predicted)
        if record.predicted is None or record.predicted_by is None:
            raise AssertionError("every noise level has trainings of its own")
        quotes.append(record)
        ratio = record.predicted / record.average
        mix = f"{record.n_clean} clean + {record.n_noisy} noisy"
        interval = f"{record.average_low:.2f} to {record.average_high:.2f}"
        values = f"({record.predicted:.2f} against {record.average:.2f}, {interval})"
        what = f"price predicted by one training over that of the sweep, noise {sigma:g}, {mix} {values}"
        checklist.add(PRICE, f"{what}: at least", ratio, 0.67, "min", "ratio")
        checklist.add(PRICE, f"the same, noise {sigma:g}: at most", ratio, 1.5, "max", "ratio")
        share = seconds[record.predicted_by] / sum(seconds.values())
        what = f"time of that one training over that of the sweep, noise {sigma:g}"
        checklist.add(PRICE, what, share, 0.05, "max", "ratio")
    return quotes


def check_ray_and_planner(checklist: Checklist, work: Path, n_on_ray: int) -> None:
    """Whether the sweep on Ray is complete, and the tests of the planner in a browser."""
    killed = json.loads((work / "ray-killed.json").read_text(encoding="utf-8"))
    what = f"the sweep on Ray ends complete, a worker killed in {killed['trial']}"
    checklist.yes(RAY, what, n_on_ray == len(load_plan(work / "ray").trials))
    command = "pytest tests/test_planner.py"
    words = [sys.executable, "-m", *command.split(), "-rs"]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    what = "the planner works in Chromium, 390 and 1,280 pixels wide, and by keyboard"
    checklist.yes(RAY, what, done.returncode == 0 and "skipped" not in done.stdout, command)


def measure_prices(work: Path) -> None:
    """The price of one training again, for when its prediction has changed and training has not.

    The trainings that are quoted are made anew. They must come to the same risk as in the sweep of
    `results/sweep.json`, and are held against that sweep's law. Results of the other claims stay.
    """
    before = load_record(Results, RESULTS / FILE)
    make_plans(work)
    names = {record["predicted_by"] for record in before.data["quotes"]}
    out = work / "prices"
    if not out.exists():
        plan = load_plan(work / "sweep")
        save_plan(replace(plan, trials=[trial for trial in plan.trials if trial.name in names]), out)
    if run_sweep(out, "--jobs", "1").wait():
        raise SystemExit("the trainings did not end well")
    collect(out)
    rows = rows_by_trial(before.data["observations"])
    again = rows_by_trial((out / "observations.csv").read_text(encoding="utf-8"))
    difference = max(abs(float(row["risk"]) / float(rows[name]["risk"]) - 1) for name, row in again.items())
    observed, _ = stored_tables(before.data)
    laws = fit_laws(observed)
    checklist = Checklist(f"{COMMAND} --prices")
    seconds = {name: float(row["seconds"]) for name, row in rows.items()}
    predicted = predicted_worth(str(out))
    quotes = check_prices(checklist, laws[better_of(laws)], observed, predicted, seconds)
    what = "the trainings that were made again, off the sweep's in risk"
    checklist.add(PRICE, what, difference, 1e-3, "max", "ratio")
    first = [check.claim for check in before.checks].index(PRICE)
    kept = [check for check in before.checks if check.claim != PRICE]
    checklist.checks = [*kept[:first], *checklist.checks, *kept[first:]]
    checklist.command = before.command
    data = before.data | {"quotes": [asdict(record) for record in quotes]}
    write_page(checklist.write(FILE, WHAT, SEEDS, data))


def rows_by_trial(table: str) -> dict[str, dict[str, str]]:
    """The rows of a sweep's table, by the names of its trials."""
    return {row["trial"]: row for row in csv.DictReader(table.splitlines())}


def fit_laws(observed: Observations) -> dict[str, Law]:
    """Every law, by name."""
    return {name: fit_law(observed, name) for name in LAWS}


def better_of(laws: dict[str, Law]) -> str:
    """The law of the lower AICc."""
    return min(laws, key=lambda name: laws[name].aicc)


def read_tables(sweep: Path, larger: Path) -> tuple[Observations, Observations]:
    """The models of the sweep, and the larger ones, with a column for each noise level of the sweep."""
    observed, models = (read_observations(str(source)) for source in (sweep, larger))
    columns = [
        models.n_noisy[:, models.sigmas.index(s)] if s in models.sigmas else np.zeros(len(models))
        for s in observed.sigmas
    ]
    counts = np.stack(columns, axis=1)
    return observed, Observations(models.n_clean, counts, observed.sigmas, models.quality)


def stored_tables(data: dict[str, Any]) -> tuple[Observations, Observations]:
    """The same from the data of the results."""
    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder:
        files = [Path(folder) / f"{name}.csv" for name in ("observations", "larger")]
        for file in files:
            file.write_text(data[file.stem], encoding="utf-8")
        return read_tables(*files)


def write_page(results: Results) -> None:
    """The table and the figures of `docs/laws.md`."""
    observed, larger = stored_tables(results.data)
    laws = fit_laws(observed)
    better = better_of(laws)
    interval = np.array(results.data["intervals"][better])
    quotes = [from_json(QuoteRecord, record, "quotes") for record in results.data["quotes"]]
    drawn = [larger_panel(larger, laws[better].predict(larger), interval), price_panel(quotes)]
    rows = [*table_rows(results.checks), "", *pages.figure_rows(drawn)]
    pages.put("laws.md", "results: bench/sweep.py writes them", rows)


def larger_panel(
    larger: Observations, predicted: NDArray[np.float64], interval: NDArray[np.float64]
) -> Panel:
    """Larger models against their prediction."""
    order = np.argsort(predicted)
    measured = larger.quality[order].tolist()
    x = predicted[order].tolist()
    low, high = interval[order].T.tolist()
    ends = [min(x), max(x)]
    return Panel(
        name="sweep-larger",
        title="Larger models than the law has seen",
        caption="Bars are the law's 90% intervals, drawn at what it predicts.",
        x_label="predicted risk / sigma^2",
        y_label="risk / sigma^2",
        series=[
            Series("measured", x, measured),
            Series("predicted", x, x, low, high),
            Series("equal", ends, ends, guide=True),
        ],
    )


def price_panel(quotes: list[QuoteRecord]) -> Panel:
    """Prices against the noise."""
    sigmas = [record.sigma for record in quotes]
    low = [record.average_low for record in quotes]
    high = [record.average_high for record in quotes]
    predicted = [record.predicted for record in quotes if record.predicted is not None]
    return Panel(
        name="sweep-prices",
        title="What a clean image costs in noisy ones",
        caption="By the whole sweep, and by one of its trainings.",
        x_label="noise (model units)",
        y_label="noisy images for one clean",
        series=[
            Series("the sweep's law, 95%", sigmas, [record.average for record in quotes], low, high),
            Series("one training", sigmas, predicted),
        ],
    )


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/sweep"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--report", action="store_true", help="write the results from the trainings that are there"
    )
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument(
        "--prices",
        action="store_true",
        help="measure price-of-one-training alone, by trainings made anew,\nagainst the law of the results",
    )
    arguments = parser.parse_args()
    if arguments.page:
        write_page(load_record(Results, RESULTS / FILE))
        return
    if arguments.prices:
        measure_prices(arguments.work)
        return
    if not arguments.report:
        make_plans(arguments.work)
        run_killed(arguments.work, arguments.jobs)
        if run_sweep(arguments.work / "larger", "--jobs", str(arguments.jobs)).wait():
            raise SystemExit("the larger models did not end well")
        run_ray(arguments.work)
    write_report(arguments.work)


if __name__ == "__main__":
    main()
