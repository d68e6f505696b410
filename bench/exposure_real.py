"""Exposures of real images: what a sweep predicts of purchases that were not in it. Used by `bench/exposure.py --claims real`.

A sweep of several noise levels and sizes, alone and beside clean images, is what the law is fitted to. Two instruments and a budget each
make ten purchases: the recommended one, all longest, all shortest, a middle exposure, and half of the budget for each end. All are
trained, and held against the law.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.data.pack import pack
from noiseworth.laws.exposure import plan_exposures
from noiseworth.laws.fit import OF_NOISE, fit_best, prediction_interval
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations, read_observations
from noiseworth.records import ExposureRecord, NoisyPart, SweepPlan, Trial, load_record
from noiseworth.records.sweeps import TrialRecord
from noiseworth.sweep.collect import collect
from noiseworth.sweep.config import SweepConfig
from noiseworth.sweep.plan import load_plan, make_plan, save_plan
from processes import noiseworth

Array = NDArray[np.float64]
CLAIM = "exposure/real"
TRAIN = {"optimizer": "muon", "batch": 128}
FASHION = "/usr/share/datasets/fashion-mnist"


@dataclass(frozen=True)
class Case:
    """Images, the sweep of them, and what is bought.

    Attributes:
        name: in words.
        source, fit, held_out: of `noiseworth pack`.
        sweep: settings of `noiseworth sweep plan`.
        markets: instruments, each with a budget.
        seeds: trainings of each purchase.
    """

    name: str
    source: str
    fit: str | None
    held_out: int
    sweep: dict[str, Any]
    markets: list[tuple[Instrument, float]]
    seeds: int


# Of digits there are 1,500 images to take, each once.
_CAMERA = Instrument("camera", 0.1, 10.0, overhead=1.0, white=92.0, mean=0.4, read_noise=3.0)
_SCANNER = Instrument("averages", 1.0, 64.0, unit="averages", overhead=4.0, sigma=0.8)
CASES = {
    "digits": Case(
        name="digits 8x8",
        source="sklearn:digits",
        fit=None,
        held_out=297,
        sweep={
            "total": "150,450,1350",
            "share": "0,0.1,0.4",
            "sigma": "0.1,0.2,0.4,0.7,1.2",
            "clean": "50,150,300,450,800,1350",
            "seeds": 3,
            "n_images": "40000",
        },
        markets=[(replace(_CAMERA, objects=1500), 700.0), (replace(_SCANNER, objects=1500), 10_000.0)],
        seeds=3,
    ),
    "fashion": Case(
        name="Fashion-MNIST 16x16",
        source=FASHION,
        fit="resize:16x16",
        held_out=1000,
        sweep={
            "total": "300,1000,3000",
            "share": "0,0.2",
            "sigma": "0.1,0.3,0.6,1.2",
            "clean": "300,1000,3000",
            "n_images": "80000",
        },
        markets=[(_CAMERA, 2000.0), (_SCANNER, 20_000.0)],
        seeds=2,
    ),
}


def run_case(name: str, work: Path) -> None:
    """Pack, train the sweep, plan and train the purchases; goes on where it stopped."""
    case = CASES[name]
    data, sweep, bought = (work / f"{name}{part}" for part in ("", "-sweep", "-bought"))
    if not data.exists():
        pack(case.source, data, sigma=0.0, held_out=case.held_out, fit=case.fit)
    if not sweep.exists():
        config = SweepConfig(
            out=str(sweep),
            data=str(data / "train"),
            held_out=str(data / "held-out"),
            preset="light",
            train=TRAIN,
            **case.sweep,
        )
        save_plan(make_plan(config)[0], sweep)
    _run(sweep)
    if not bought.exists():
        save_plan(_plan_of(case, load_plan(sweep), _observed(sweep)), bought)
    _run(bought)


def _run(sweep: Path) -> None:
    done = noiseworth("sweep", "run", str(sweep), "--jobs", "2")
    if done.returncode:
        raise SystemExit(done.stderr)


def _observed(sweep: Path) -> Observations:
    collect(sweep)
    return read_observations(str(sweep), all_noisy=True)


def _plans(case: Case, observed: Observations) -> tuple[Law, list[ExposureRecord]]:
    law = fit_best(observed, OF_NOISE)
    return law, [plan_exposures(law, observed, machine, budget) for machine, budget in case.markets]


def _purchases(case: Case, plans: list[ExposureRecord]) -> list[tuple[str, list[tuple[float, int]]]]:
    """What to buy, in words, and the noise and the number of its images: five for each market."""
    purchases = []
    for (machine, budget), plan in zip(case.markets, plans, strict=True):
        ends = np.array([machine.least, machine.most])
        middle = float(np.rint(np.sqrt(ends.prod()))) if machine.kind == "averages" else np.sqrt(ends.prod())
        most = machine.objects or np.inf
        exposures = np.array([middle, *ends])
        counts = np.minimum(np.floor(np.array([1, 0.5, 0.5]) * budget / machine.cost_of(exposures)), most)
        counts[1] = min(counts[1], most - counts[2])  # objects are exposed once
        sigmas = np.round(machine.sigma_of(exposures), 4)
        for words, choice in (
            ("recommended", plan.best),
            ("all longest", plan.longest),
            ("all shortest", plan.shortest),
        ):
            purchases.append(
                (f"{machine.kind}: {words}", [(round(i.sigma, 4), i.count) for i in choice.images])
            )
        purchases.append((f"{machine.kind}: a middle exposure", [(float(sigmas[0]), int(counts[0]))]))
        half = [(float(sigmas[k]), int(counts[k])) for k in (1, 2)]
        purchases.append((f"{machine.kind}: half of the budget for each end", half))
    return purchases


def _plan_of(case: Case, plan: SweepPlan, observed: Observations) -> SweepPlan:
    """The purchases as trainings, each of several seeds."""
    _, plans = _plans(case, observed)
    trials = [
        Trial(0, [NoisyPart(sigma, count) for sigma, count in sorted(images)], seed)
        for _, images in _purchases(case, plans)
        for seed in range(case.seeds)
    ]
    return replace(plan, trials=list({trial.name: trial for trial in trials}.values()))


def report_case(checklist: Checklist, name: str, work: Path) -> dict[str, Any]:
    """The purchases against the law, from the trainings that are there."""
    case = CASES[name]
    observed = _observed(work / f"{name}-sweep")
    law, plans = _plans(case, observed)
    rows: list[dict[str, Any]] = []
    for words, images in _purchases(case, plans):
        model = Observations(
            np.zeros(1),
            np.array([[n for _, n in images]], np.float64),
            tuple(s for s, _ in images),
            np.ones(1),
        )
        low, high = prediction_interval(law, observed, model)[0]
        measured = [_risk_of(work / f"{name}-bought", images, seed) for seed in range(case.seeds)]
        rows.append(
            {
                "purchase": words,
                "images": images,
                "predicted": float(law.at(model.sigmas).predict(model)[0]),
                "low": float(low),
                "high": float(high),
                "measured": measured,
                "mean": float(np.exp(np.mean(np.log(measured)))),
            }
        )
    inside = sum(row["low"] <= row["mean"] <= row["high"] for row in rows)
    what = f"{case.name}: of ten purchases, those in the 90% interval that the sweep predicts ({law.name})"
    checklist.add(CLAIM, what, inside, 8, "min", "purchases")
    means = np.array([row["mean"] for row in rows]).reshape(2, 5)
    what = f"{case.name}: the recommended purchase over the best of the five, the worse of two instruments"
    checklist.add(CLAIM, what, float((means[:, 0] / means.min(axis=1)).max()), 1.05, "max", "ratio")
    for k, end in ((1, "longest"), (2, "shortest")):
        what = f"{case.name}: all {end} over the recommended, the lower of two instruments"
        checklist.add(CLAIM, what, float((means[:, k] / means[:, 0]).min()), 1.0, "min", "ratio")
    others = [fit_best(observed, (other,)) for other in OF_NOISE]
    return {
        "law": law.name,
        "aicc": {other.name: other.aicc for other in others},
        "typical residual": {other.name: other.scale for other in others},
        "trainings": len(observed),
        "purchases": rows,
    }


def _risk_of(bought: Path, images: list[tuple[float, int]], seed: int) -> float:
    trial = Trial(0, [NoisyPart(sigma, count) for sigma, count in sorted(images)], seed)
    record = load_record(TrialRecord, bought / "trials" / trial.name / "trial.json")
    risk = np.array(record.risk.risk) / np.array(record.risk.levels) ** 2
    return float(risk.mean())
