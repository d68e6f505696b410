"""The planner against brute force, on laws drawn at random: `python bench/planner.py`.

Expected: the command and its page buy the same images, and no other purchase is predicted to be better by a
tenth of a percent, at prices of a clean image of a millionth of a noisy one to a million of them. Needs
Chromium. Writes `results/planner.json`, in about a minute.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.cli.laws import plan
from noiseworth.laws.budget import Market
from noiseworth.laws.fit import fit_law
from noiseworth.laws.law import Law
from noiseworth.laws.observations import published
from noiseworth.laws.purchase import Offer, best_purchase
from noiseworth.records import BudgetRecord
from noiseworth.report.planner import law_of_page, write_planner

Array = NDArray[np.float64]

ROOT = Path(__file__).parent.parent
CLAIM = "numbers/planner"
LAWS = 1000
POINTS = 200_000  # shares of the budget in brute force
EVERY = 20_000  # numbers of clean images up to which brute force tries every one
SIGMAS = (0.2, 0.5)
BUDGET, CLEAN_PRICE, NOISY_PRICE, SIGMA = 10_000.0, 1.0, 0.0001, 0.2  # of the example


@dataclass(frozen=True)
class Case:
    """A law, a noise level by its index, and what can be bought."""

    law: Law
    column: int
    offer: Offer


def random_case(seed: int) -> Case:
    """A law of one or two currencies with worths of 1e-5 to 1, and prices of ratios of 1e-6 to 1e6."""
    rng = np.random.default_rng([seed, 18])

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    unit = between(100, 1e6)
    shape = [np.log(between(0.1, 10)), np.log(between(0.01, 10)), np.log(between(0.2, 3))]
    if seed % 2:
        name = "two"
        shape += [np.log(between(0.01, 10)), np.log(between(0.2, 3))]
        # 1 / (1 + (s / scale)^power) is the worth wanted at the first noise level.
        for power in (1.0, between(0.5, 3)):
            scale = SIGMAS[0] / (1 / between(1e-5, 0.99) - 1) ** (1 / power)
            shape += [np.log(scale), np.log(power)]
    else:
        name = "one"
        shape += [-np.log(1 / between(1e-5, 0.99) - 1) for _ in SIGMAS]
    parameters = np.array(shape)
    law = Law(name, SIGMAS, unit, parameters, np.eye(len(parameters)), 10, 0.01, 0.0)
    clean_price = between(1e-3, 1e3)
    offer = Offer(
        budget=clean_price * between(2, 1e7),
        clean_price=clean_price,
        noisy_price=clean_price / between(1e-6, 1e6),
        least_clean_share=between(0.001, 0.9),
        have_clean=float(rng.integers(2) * round(between(1, 1e5))),
        have_noisy=float((rng.random() < 0.3) * round(between(1, 1e4))),
    )
    return Case(law, int(rng.integers(2)), offer)


def quality_of(case: Case, clean: Array, noisy: Array) -> Array:
    """Quality by the formula, written out again: with so many images bought."""
    floor, terms = case.law.terms()
    images, noise = case.offer.have_clean + clean, case.offer.have_noisy + noisy
    with np.errstate(divide="ignore"):
        powers = [
            A * ((images + noise * rates[case.column]) / case.law.unit) ** -alpha for A, alpha, rates in terms
        ]
    return np.asarray(floor + sum(powers))


def fits(case: Case, clean: Array, noisy: Array) -> NDArray[np.bool_]:
    """Whether purchases are within the budget, and keep to the least share of clean images, to rounding."""
    o = case.offer
    images, noise = o.have_clean + clean, o.have_noisy + noisy
    cost = o.clean_price * clean + o.noisy_price * noisy
    enough = images >= o.least_clean_share * (images + noise) * (1 - 1e-9)
    return np.asarray(enough & (images > 0) & (cost <= o.budget * (1 + 1e-9)))


def brute_force(case: Case, points: int = POINTS) -> float:
    """The best quality of very many purchases of whole images; infinite if none is allowed.

    They are even shares of the budget, shares that are dense at both ends, and, where they are few, all
    numbers of clean images, each with as many noisy ones as may be.
    """
    o = case.offer
    dense = np.logspace(-15, 0, points // 4)
    share = np.concatenate([np.linspace(0, 1, points // 2), dense, 1 - dense])
    clean = np.floor(o.budget * (1 - share) / o.clean_price)
    noisy = np.floor(o.budget * share / o.noisy_price)
    if o.budget / o.clean_price < EVERY:
        every = np.arange(np.floor(o.budget / o.clean_price) + 1)
        rest = (o.budget - o.clean_price * every) / o.noisy_price
        most = (o.have_clean + every) * (1 - o.least_clean_share) / o.least_clean_share - o.have_noisy
        clean = np.concatenate([clean, every])
        noisy = np.concatenate([noisy, np.floor(np.minimum(rest, most))])
    allowed = fits(case, clean, noisy) & (noisy >= 0)
    return float(quality_of(case, clean[allowed], noisy[allowed]).min(initial=np.inf))


def regret(case: Case, purchase: Sequence[float] | None, points: int = POINTS) -> float:
    """How much worse a purchase is than the best by brute force, as a share; infinite if it is not allowed.

    A refusal has no regret where brute force finds nothing either.
    """
    best = brute_force(case, points)
    if purchase is None:
        return np.inf if np.isfinite(best) else 0.0
    clean, noisy = np.array(purchase[:1]), np.array(purchase[1:])
    whole = np.all(np.array(purchase) == np.floor(purchase)) and min(purchase) >= 0
    if not (whole and fits(case, clean, noisy)[0]):
        return np.inf
    return max(float(quality_of(case, clean, noisy)[0]) / best - 1, 0.0)


def by_page(file: Path, cases: Sequence[Case]) -> list[list[float] | None]:
    """Purchases by the JavaScript of a planner's page in Chromium."""
    sys.path.append(str(ROOT / "tests"))
    from browser import Page

    asked = []
    for case in cases:
        offer = asdict(case.offer)
        offer["least"] = offer.pop("least_clean_share")
        asked.append([law_of_page(case.law), case.column, offer])
    script = f"{json.dumps(asked)}.map((x) => bestPurchase(...x)).map((p) => p && [p.clean, p.noisy])"
    with Page(file, 1280, 900) as page:
        plans: list[list[float] | None] = page.evaluate(script)
    return plans


def kind_of(case: Case, purchase: Sequence[float] | None) -> str:
    """Which part of the line of the budget a purchase lies on."""
    if purchase is None:
        return "none is allowed"
    clean, noisy = purchase
    if noisy * case.offer.noisy_price < case.offer.clean_price:
        return "all clean, to less than the price of one image"
    most = case.offer.allowed_noisy(case.offer.have_clean + clean + 1)
    return "as noisy as allowed" if case.offer.have_noisy + noisy >= 0.999 * most else "between"


def check_laws(checklist: Checklist, file: Path) -> dict[str, Any]:
    """Regret of the command and of the page over all laws."""
    cases = [random_case(seed) for seed in range(LAWS)]
    command = [best_purchase(case.law, case.column, case.offer) for case in cases]
    page = by_page(file, cases)
    for who, purchases in (("command", command), ("page", page)):
        worst = max(regret(case, bought) for case, bought in zip(cases, purchases, strict=True))
        what = f"largest regret against brute force over {LAWS:,} laws, the {who}"
        checklist.add(CLAIM, what, 100 * worst, 0.1, "max", "%")
    same = sum((None if a is None else list(a)) == b for a, b in zip(command, page, strict=True))
    checklist.add(CLAIM, "laws for which command and page buy the same", same, LAWS, "min", "laws")
    kinds = [kind_of(case, bought) for case, bought in zip(cases, command, strict=True)]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def check_example(checklist: Checklist, file: Path) -> dict[str, Any]:
    """Cheap noisy images, published prices: the purchase by command and page."""
    record = plan("published:cifar10", BUDGET, CLEAN_PRICE, NOISY_PRICE, SIGMA)
    assert isinstance(record, BudgetRecord)
    law = fit_law(published("cifar10"))
    offer = Offer(BUDGET, CLEAN_PRICE, NOISY_PRICE, record.least_clean_share)
    case = Case(law, law.column(SIGMA), offer)
    bought = [record.best.n_clean, record.best.n_noisy]
    words = "CIFAR-10, 10,000 to spend, 1 a clean and 0.0001 a noisy image"
    checklist.add(CLAIM, f"{words}: predicted quality", record.best.quality, 2.2, "max")
    checklist.add(CLAIM, f"{words}: regret", 100 * regret(case, bought), 0.1, "max", "%")
    checklist.yes(CLAIM, f"{words}: the page buys the same", by_page(file, [case]) == [bought])
    return {"n_clean": bought[0], "n_noisy": bought[1], "all clean": record.all_clean.quality}


def main() -> None:
    """See the module's docstring."""
    formatter = argparse.RawTextHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=formatter).parse_args()
    checklist = Checklist("python bench/planner.py")
    table = published("cifar10")
    with tempfile.TemporaryDirectory() as folder:
        market = Market(CLEAN_PRICE, NOISY_PRICE, SIGMA)
        start = (market, BUDGET, (0.0, 0.0))
        file = write_planner(fit_law(table), table, *start, Path(folder) / "plan.html", source="bench")
        data = {"purchases": check_laws(checklist, file), "example": check_example(checklist, file)}
    checklist.write("planner.json", "the planner's purchases against brute force", 0, data)


if __name__ == "__main__":
    main()
