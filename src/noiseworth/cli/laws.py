"""Commands on laws, prices and the theory."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

from noiseworth.cli.words import print_settings
from noiseworth.experiments.config import TheoryConfig
from noiseworth.records import to_json


def fit(source: str, *, as_json: bool) -> None:
    """Fit laws of quality against numbers of clean and noisy images, and say what a noisy image is worth.

    Args:
        source: a CSV file with the columns n_clean, n_noisy, sigma, quality (lower is better), one row a trained model; or
            published:cifar10, published:celeba_hq_64, published:imagenet_64.
    """
    from noiseworth.laws.describe import describe
    from noiseworth.laws.observations import read_observations

    law = describe(read_observations(source), source)
    if as_json:
        print(to_json(law))
        return
    exponent = f"{law.exponent:.3g} ({law.exponent_low:.3g} to {law.exponent_high:.3g})"
    print(f"{law.n_observations} models, quality = {law.floor:.3g} + A n_eff^-alpha, where a noisy image adds its worth to n_eff")
    print(f"alpha = {exponent}, typical residual {law.typical_residual:.1%}")
    for p in law.prices:
        most = "any" if p.most is None else f"{p.most:.3g}"
        bounds = f"{p.least:.3g} to {most}" + (" (contradictory)" if p.most is not None and p.least > p.most else "")
        worth = f"worth {p.rate:.2f} clean ones ({p.rate_low:.2f} to {p.rate_high:.2f}), price {p.price:.2f}"
        print(f"  noise {p.sigma:g}: {worth}; by inequalities {bounds}")
    for name, words in (("one", "one currency"), ("two", "two currencies")):
        if name in law.aicc:
            held = f"held-out error {law.held_out_median[name]:.1%} (median), {law.held_out_p90[name]:.1%} (90th percentile)"
            better = ", the better" if name == law.better and len(law.aicc) > 1 else ""
            print(f"{words}: AICc {law.aicc[name]:.1f}, {held}{better}")


def plan(
    source: str,
    budget: float,
    clean_price: float,
    noisy_price: float,
    sigma: float,
    law: Literal["one", "two"] = "one",
    have_clean: int = 0,
    have_noisy: int = 0,
    *,
    as_json: bool,
) -> None:
    """Say what to buy with a budget: how many clean and how many noisy images.

    Args:
        source: trained models, as for `noiseworth fit`.
        budget: to spend.
        clean_price: of one clean image, in the budget's currency.
        noisy_price: of one noisy image.
        sigma: noise of the noisy images; one of the source's.
        law: one currency, or two (coarse and fine), fitted to the source.
        have_clean: clean images that are there already.
        have_noisy: noisy images of that noise that are there already.
    """
    from noiseworth.laws.budget import Market, plan_purchase
    from noiseworth.laws.fit import fit_law
    from noiseworth.laws.observations import read_observations

    observations = read_observations(source)
    market = Market(clean_price, noisy_price, sigma)
    found = plan_purchase(fit_law(observations, law), observations, market, budget, have_clean, have_noisy)
    if as_json:
        print(to_json(found))
        return
    for name, purchase in (("buy", found.best), ("all clean", found.all_clean)):
        predicted = f"predicted quality {purchase.quality:.3g} ({purchase.low:.3g} to {purchase.high:.3g})"
        print(f"{name:<10} {purchase.n_clean:>10,} clean {purchase.n_noisy:>10,} noisy   {predicted}")
    ratio = found.clean_price / found.noisy_price
    print(f"a clean image costs {ratio:.3g} noisy ones; noisy ones pay from a ratio of {found.flip_ratio:.3g} on")
    if found.best.n_noisy:
        print(f"the mix beats all clean with probability {found.better_with:.0%}, under the law's uncertainty")
    print(f"kept to at least {found.least_clean_share:.0%} clean, the least that was observed")
    if found.beyond:
        others = "fewer" if found.beyond == "more" else "more"
        print(f"beyond what was observed: every model had {others} images, and the law may not hold here")


def theory(config: TheoryConfig, dry_run: bool, as_json: bool) -> None:
    """Measure the theory of mixtures under mixed noise, and draw it: rates, exchange rates, competitors; about 40 minutes."""
    if dry_run:
        print_settings(config)
        return
    from noiseworth.experiments.theory.run import finished, run_theory
    from noiseworth.report.theory import theory_table, write_theory_report

    studies = run_theory(config, quiet=as_json)
    page = write_theory_report(finished(Path(config.out)), Path(config.out) / "report.html")
    if as_json:
        print(json.dumps([dataclasses.asdict(study) for study in studies], indent=1, allow_nan=False))
        return
    print(theory_table(studies))
    print(f"\nreport: {page}")
