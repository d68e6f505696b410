"""What to expose, and what images are worth: `python bench/exposure.py`. Writes `results/exposure.json` and the tables of `docs/laws.md`.

`known`: 200 worlds of one currency, whose worth is a curve of the noise; 12 to 40 models of each, with scatter. Do the intervals of the
curve cover, and how good is the plan that is made by the law that fits best?
`real`: sweeps of digits and of Fashion-MNIST 16x16 predict ten purchases each, which are then trained (`exposure_real.py`).
`pilot`: 50 worlds, in which nothing is known at first (`exposure_pilot.py`).
`one-training`: the price at five noise levels from one training, against the sweep's (`exposure_one.py`).
`worth`: twelve groups of images, each left out and all others trained on (`exposure_worth.py`).
`page`: the planner's page in Chromium.

Trainings lie in `--work`; the same command goes on after an interruption. About an hour and a half on two cores, alone on the machine.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pages
from checks import RESULTS, Checklist, Results, table_rows
from exposure_one import check_one
from exposure_pilot import check_pilot
from exposure_real import CASES, report_case, run_case
from exposure_worth import check_worth
from noiseworth.laws.exposure import plan_exposures
from noiseworth.laws.fit import OF_NOISE, fit_best, fit_law
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations, from_rows
from noiseworth.laws.quality import log_quality
from noiseworth.records import Panel, Series, load_record
from processes import ROOT

WORLDS = 200
SEED = 0
LEVELS = 5  # of the models
CLAIMS = ("known", "real", "pilot", "one-training", "worth", "page")


def true_law(rng: np.random.Generator) -> Law:
    """A world: floor, amplitude, exponent, and the curve."""
    parameters = np.log(
        [
            rng.uniform(0.5, 2),
            rng.uniform(0.3, 3),
            rng.uniform(0.3, 1.5),
            np.exp(rng.uniform(np.log(0.1), 0)),
            rng.uniform(1, 4),
        ]
    )
    return Law("curve", (), 10_000.0, parameters, np.zeros((5, 5)), 1, 0.0, 0.0)


def models(law: Law, rng: np.random.Generator) -> Observations:
    """12 to 40 models, of clean images, noisy ones, and both, at five levels around the curve's own."""
    s0 = float(np.exp(law.parameters[3]))
    levels = s0 * np.geomspace(0.3, 3, LEVELS)
    count, scatter = int(rng.integers(12, 41)), rng.uniform(0.01, 0.03)
    rows = []
    for number in range(count):
        total = float(rng.choice([300, 1000, 3000, 10_000]))
        clean = total * (0.0, 0.1, 1.0)[number % 3]
        rows.append((clean, total - clean, float(levels[number % LEVELS]) if clean < total else 0.0, 1.0))
    exact = from_rows(rows)
    quality = np.exp(log_quality("curve", law.parameters, exact, law.unit))
    quality *= np.exp(scatter * rng.standard_normal(count))
    return Observations(exact.n_clean, exact.n_noisy, exact.sigmas, quality)


def instrument_for(law: Law, rng: np.random.Generator) -> tuple[Instrument, float]:
    """An instrument whose noise the models have seen, and a budget of 300 to 10,000 middle exposures."""
    s0 = float(np.exp(law.parameters[3]))
    white, mean = rng.uniform(20, 500), rng.uniform(0.1, 0.6)
    read = rng.uniform(0, 5)

    def exposure_of(sigma: float) -> float:
        a, b = (sigma * white / 2) ** 2, white * mean
        return float((b + np.sqrt(b * b + 4 * a * read**2)) / (2 * a))

    least, most = exposure_of(2.9 * s0), exposure_of(0.31 * s0)
    overhead = rng.uniform(0, 1) * most
    objects = None if rng.random() < 0.5 else int(rng.integers(300, 3000))
    machine = Instrument(
        "camera", least, most, white=white, mean=mean, read_noise=read, overhead=overhead, objects=objects
    )
    middle = float(np.sqrt(least * most)) + overhead
    return machine, middle * float(rng.uniform(300, 3000))


def true_quality(law: Law, machine: Instrument, images: Any) -> float:
    """Of images that a plan names, by the world's own law."""
    exposures = np.array([image.exposure for image in images])
    counts = np.array([[image.count for image in images]], dtype=np.float64)
    sigmas = tuple(machine.sigma_of(exposures).tolist())
    o = Observations(np.zeros(1), counts, sigmas, np.ones(1))
    return float(law.at(sigmas).predict(o)[0])


def check_known(checklist: Checklist) -> dict[str, Any]:
    """Coverage of the curve's intervals; regret of the plan; coverage of its own interval."""
    covered, regrets, inside, laws, two = [], [], [], [], 0
    for world in range(WORLDS):
        rng = np.random.default_rng([SEED, world])
        law = true_law(rng)
        observed = models(law, rng)
        fitted = fit_law(observed, "curve")
        at = np.exp(law.parameters[3]) * np.geomspace(0.3, 3, 9)
        sigmas = tuple(at.tolist())
        intervals, truth = fitted.at(sigmas).rate_intervals(), law.at(sigmas).rates()
        covered.append((intervals[:, 0] <= truth) & (truth <= intervals[:, 1]))
        machine, budget = instrument_for(law, rng)
        chosen = fit_best(observed, OF_NOISE)
        laws.append(chosen.name)
        plan = plan_exposures(chosen, observed, machine, budget)
        ideal = plan_exposures(law, observed, machine, budget, others=[law, law])
        quality = true_quality(law, machine, plan.best.images)
        regrets.append(quality / ideal.best.quality - 1)
        inside.append(plan.best.low <= quality <= plan.best.high)
        two += len(plan.best.images) > 1
    share = float(np.mean(covered))
    what = "95% intervals of the worth that cover, nine levels of 200 worlds"
    checklist.add("exposure/known", f"{what}: at least", share, 0.92, "min", "share")
    checklist.add("exposure/known", f"{what}: at most", share, 0.98, "max", "share")
    good = float(np.mean(np.array(regrets) <= 0.02))
    what = "plans within 2% of the best quality that there is"
    checklist.add("exposure/known", what, good, 0.8, "min", "share")
    what = "plans whose true quality lies in the interval that they state"
    checklist.add("exposure/known", what, float(np.mean(inside)), 0.9, "min", "share")
    return {
        "coverage by level": np.mean(covered, axis=0).tolist(),
        "regret, median": float(np.median(regrets)),
        "regret, 95th percentile": float(np.quantile(regrets, 0.95)),
        "plans of two exposures": two,
        "laws that fit best": {name: laws.count(name) for name in OF_NOISE},
    }


def check_real(checklist: Checklist, work: Path) -> dict[str, Any]:
    """Purchases of digits and of Fashion-MNIST."""
    for name in CASES:
        run_case(name, work)
    return {name: report_case(checklist, name, work) for name in CASES}


def check_page(checklist: Checklist) -> dict[str, Any]:
    """The tests of the page in a browser."""
    command = "pytest tests/test_exposure_page.py"
    words = [sys.executable, "-m", *command.split(), "-rs"]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    what = "the page in Chromium: 390 and 1,280 pixels wide, by keyboard alone, no error of the console, the command's answer"
    checklist.yes("exposure/page", what, done.returncode == 0 and "skipped" not in done.stdout, command)
    return {}


def main() -> None:
    """Measure the claims that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--work", type=Path, default=Path("runs/exposure"))
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    arguments = parser.parse_args()
    work = arguments.work
    measures: dict[str, Callable[[Checklist], dict[str, Any]]] = {
        "known": check_known,
        "real": lambda checklist: check_real(checklist, work),
        "pilot": check_pilot,
        "one-training": lambda checklist: check_one(checklist, work),
        "worth": lambda checklist: check_worth(checklist, work),
        "page": check_page,
    }
    for claim in [] if arguments.page else arguments.claims:
        checklist = Checklist(f"python bench/exposure.py --claims {claim}")
        found = measures[claim](checklist)
        checklist.update("exposure.json", found)
    results = load_record(Results, RESULTS / "exposure.json")
    rows = ["By `python bench/exposure.py` into [`results/exposure.json`](../results/exposure.json):", ""]
    rows += table_rows(results.checks)
    real = results.data["exposure/real"]
    purchases = [purchase_panel(CASES[name].name, name, real[name]) for name in CASES]
    rows += ["", *pages.figure_rows(purchases)]
    pages.put("laws.md", "exposure: bench/exposure.py writes it", rows)


def purchase_panel(words: str, name: str, found: dict[str, Any]) -> Panel:
    """Ten purchases against what the sweep predicted."""
    rows = sorted(found["purchases"], key=lambda row: float(row["predicted"]))
    x = [row["predicted"] for row in rows]
    ends = [min(x), max(x)]
    return Panel(
        name=f"exposure-{name}",
        title=f"Ten purchases of {words}, predicted and trained",
        caption="Bars are the 90% intervals that the sweep predicts.",
        x_label="predicted risk / sigma^2",
        y_label="risk / sigma^2",
        series=[
            Series("trained", x, [row["mean"] for row in rows]),
            Series("predicted", x, x, [row["low"] for row in rows], [row["high"] for row in rows]),
            Series("equal", ends, ends, guide=True),
        ],
    )


if __name__ == "__main__":
    main()
