"""A pilot in markets whose law is known: what it ends with, against the rules of thumb. Used by `bench/exposure.py --claims pilot`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.laws.exposure_market import ExposureMarket, Taken, together
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.pilot import first_round, next_round
from noiseworth.records import PilotRecord

Array = NDArray[np.float64]
CLAIM = "exposure/pilot"
MARKETS = 50
SEED = 1
_ROUNDS = 5


def market(number: int) -> tuple[Law, Instrument, float, float, np.random.Generator]:
    """A world of one currency or of levels, an instrument, a budget, and the scatter of single trainings."""
    rng = np.random.default_rng([SEED, number])

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    if number % 2:
        values = [rng.uniform(0.1, 0.5), rng.uniform(0.3, 1), rng.uniform(0.7, 3), between(0.7, 2.5)]
        values += [rng.uniform(2, 5), between(0.01, 0.3)]
        law, middle = (
            Law("levels", (), 10_000.0, np.log(values), np.zeros((6, 6)), 1, 0.0, 0.0),
            between(0.1, 0.5),
        )
    else:
        middle = between(0.1, 1)
        values = [rng.uniform(0.5, 2), rng.uniform(0.3, 3), rng.uniform(0.3, 1.5), middle, rng.uniform(1, 4)]
        law = Law("curve", (), 10_000.0, np.log(values), np.zeros((5, 5)), 1, 0.0, 0.0)
    # A dose, or a camera: noise from 3 times a middle one to a third of it.
    overhead = between(0.01, 1)
    if rng.random() < 0.5:
        machine = Instrument("dose", 1.0, 81.0, unit="e/A^2", sigma=3 * middle, overhead=81 * overhead)
    else:
        white, mean, read = rng.uniform(20, 500), rng.uniform(0.1, 0.6), rng.uniform(0, 5)

        def exposure_of(sigma: float) -> float:
            a, b = (sigma * white / 2) ** 2, white * mean
            return float((b + np.sqrt(b * b + 4 * a * read**2)) / (2 * a))

        least, most = exposure_of(3 * middle), exposure_of(middle / 3)
        machine = Instrument(
            "camera", least, most, white=white, mean=mean, read_noise=read, overhead=most * overhead
        )
    costs = machine.cost_of(np.array([machine.least, machine.most]))
    budget = float(np.sqrt(costs.prod())) * between(1000, 10_000)
    return law, machine, budget, float(rng.uniform(0.01, 0.03)), rng


def train(
    law: Law, record: PilotRecord, scatter: float, rng: np.random.Generator
) -> list[tuple[Array, float]]:
    """Models of the images so far, as the pilot wants them: numbers of images of each noise, and what they come to."""
    models = []
    for row in record.models:
        counts = np.array(row, np.float64)
        o = Observations(np.zeros(1), counts[None], tuple(record.sigmas), np.ones(1))
        exact = float(law.at(o.sigmas).predict(o)[0])
        models.append((counts, exact * float(np.exp(scatter * rng.standard_normal()))))
    return models


def observations_of(models: list[tuple[tuple[float, ...], Array, float]]) -> Observations:
    """One table of the models of all rounds."""
    sigmas = tuple(sorted({s for at, _, _ in models for s in at}))
    table = np.zeros((len(models), len(sigmas)))
    for row, (at, counts, _) in enumerate(models):
        table[row, [sigmas.index(s) for s in at]] = counts
    return Observations(np.zeros(len(models)), table, sigmas, np.array([quality for _, _, quality in models]))


def true_quality(law: Law, machine: Instrument, taken: Taken) -> float:
    return ExposureMarket(machine, 1.0, taken).quality(law, Taken())


def run_market(number: int) -> dict[str, Any]:
    """Rounds of a pilot until it stops, the purchase, and the regret of all that: relative to the best for the whole budget."""
    law, machine, budget, scatter, rng = market(number)
    whole = ExposureMarket(machine, budget)
    best = whole.quality(law, whole.best(law))
    ends = {"long": whole.one(-1), "short": whole.one(0)}
    regrets = {name: whole.quality(law, end) / best - 1 for name, end in ends.items()}
    record, have, left, models = first_round(machine, budget), Taken(), budget, []
    rounds, images = 0, 0
    while record.take and rounds < _ROUNDS:
        rounds += 1
        taken = Taken(
            np.array([i.exposure for i in record.take]), np.array([i.count for i in record.take], float)
        )
        images += int(taken.counts.sum())
        have, left = together(have, taken), left - record.cost
        models += [(tuple(record.sigmas), *model) for model in train(law, record, scatter, rng)]
        observed = observations_of(models)
        record = next_round(observed, machine, left, have)
    assert record.plan is not None
    bought = Taken(
        *(
            np.array([getattr(i, name) for i in record.plan.best.images], float)
            for name in ("exposure", "count")
        )
    )
    quality = true_quality(law, machine, together(have, bought))
    return {
        "world": law.name,
        "fitted": record.plan.law,
        "rounds": rounds,
        "images": images,
        "models": len(models),
        "pilot": quality / best - 1,
        "expected": record.regret,
        "spent": 1 - left / budget,
        **regrets,
    }


def check_pilot(checklist: Checklist) -> dict[str, Any]:
    """All markets."""
    rows = [run_market(number) for number in range(MARKETS)]
    regrets = {name: np.array([row[name] for row in rows]) for name in ("pilot", "long", "short")}
    what = f"{MARKETS} markets: those in which pilot and purchase come within 10% of the best quality of the whole budget"
    checklist.add(CLAIM, what, float((regrets["pilot"] <= 0.1).mean()), 0.8, "min", "share")
    for name in ("long", "short"):
        against = f"pilot and purchase: {np.quantile(regrets['pilot'], 0.8):.3f}"
        what = f"the regret that all {name} stays under in 80% of the markets ({against})"
        checklist.add(CLAIM, what, float(np.quantile(regrets[name], 0.8)), 0.25, "min", "relative")
    return {"markets": rows}


if __name__ == "__main__":
    for number in range(MARKETS):
        print(run_market(number), flush=True)
