"""Commands on laws, prices and the theory."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

from noiseworth.cli.words import print_settings, say
from noiseworth.experiments.config import TheoryConfig
from noiseworth.records import to_json


def fit(source: str, quality: str | None = None, where: str = "", page: str | None = None, *, as_json: bool) -> None:
    """Fit laws of quality against numbers of clean and noisy images, and say what a noisy image is worth.

    Args:
        source: a sweep; a CSV file with the columns n_clean, n_noisy, sigma, quality (lower is better), one row a trained model; or
            published:cifar10, published:celeba_hq_64, published:imagenet_64.
        quality: the column to be explained; by default "quality", or a sweep's "risk".
        where: models to keep, as n_images=20000,preset=digits.
        page: an HTML file for the figures: measured against predicted, and what is left over.
    """
    from noiseworth.laws.describe import describe
    from noiseworth.laws.observations import read_observations

    observations = read_observations(source, quality=quality, where=where)
    law = describe(observations, source)
    if page:
        from noiseworth.report.laws import write_law_page

        write_law_page(observations, law, Path(page))
    if as_json:
        print(to_json(law))
        return
    _tell_left_out(observations.left_out)
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
    if page:
        print(f"{page}: open it in a browser")


def _tell_left_out(count: int) -> None:
    if count:
        say(f"noiseworth: {count} models without clean images are left out: they follow no law of both kinds")


def price(
    source: str,
    sigma: float,
    n_clean: int | None = None,
    n_noisy: int | None = None,
    law: Literal["one", "two"] = "one",
    quality: str | None = None,
    where: str = "",
    *,
    as_json: bool,
) -> None:
    """Say how many noisy images replace a clean one, at a mix: by the law, by inequalities, and by what one training says of itself.

    Args:
        source: trained models, as for `noiseworth fit`.
        sigma: noise of the noisy images; one of the source's.
        n_clean: clean images of the mix; by default those of the observed mix with the most noisy images.
        n_noisy: noisy images of the mix.
        law: one currency, or two (coarse and fine), fitted to the source.
        quality: the column to be explained; by default "quality", or a sweep's "risk".
        where: models to keep, as n_images=20000,preset=digits.
    """
    from noiseworth.laws.fit import fit_law
    from noiseworth.laws.observations import predicted_worth, read_observations
    from noiseworth.laws.price import quote

    observations = read_observations(source, quality=quality, where=where)
    predicted = predicted_worth(source, where=where)
    found = quote(fit_law(observations, law), observations, sigma, n_clean, n_noisy, predicted)
    if as_json:
        print(to_json(found))
        return
    _tell_left_out(observations.left_out)
    print(f"noise {found.sigma:g}, beside {found.n_clean:,} clean and {found.n_noisy:,} such noisy images: noisy images for one clean")
    print(f"  on average     {found.average:.3g} ({found.average_low:.3g} to {found.average_high:.3g})")
    print(f"  the next one   {found.marginal:.3g} ({found.marginal_low:.3g} to {found.marginal_high:.3g})")
    most = "any" if found.most is None else f"{found.most:.3g}"
    contradictory = " (contradictory)" if found.most is not None and found.least > found.most else ""
    print(f"  by inequalities, over all mixes: {found.least:.3g} to {most}{contradictory}")
    if found.predicted is not None:
        assumed = "as if levels mattered as often as trained, and imputed images were worth what they are trusted"
        print(f"  predicted by one training, {found.predicted_by}: {found.predicted:.3g} ({assumed})")


def plan(
    source: str,
    budget: float,
    clean_price: float,
    noisy_price: float,
    sigma: float,
    law: Literal["one", "two"] = "one",
    have_clean: int = 0,
    have_noisy: int = 0,
    quality: str | None = None,
    where: str = "",
    page: str | None = None,
    *,
    as_json: bool,
) -> None:
    """Say what to buy with a budget: how many clean and how many noisy images, and which trainings would make that surer.

    Args:
        source: trained models, as for `noiseworth fit`.
        budget: to spend.
        clean_price: of one clean image, in the budget's currency.
        noisy_price: of one noisy image.
        sigma: noise of the noisy images; one of the source's.
        law: one currency, or two (coarse and fine), fitted to the source.
        have_clean: clean images that are there already.
        have_noisy: noisy images of that noise that are there already.
        quality: the column to be explained; by default "quality", or a sweep's "risk".
        where: models to keep, as n_images=20000,preset=digits.
        page: an HTML file to plan with by hand: budget, prices and noise as sliders.
    """
    from noiseworth.laws.budget import Market, plan_purchase
    from noiseworth.laws.fit import fit_law
    from noiseworth.laws.observations import read_observations

    observations = read_observations(source, quality=quality, where=where)
    market, fitted = Market(clean_price, noisy_price, sigma), fit_law(observations, law)
    found = plan_purchase(fitted, observations, market, budget, have_clean, have_noisy)
    if page:
        from noiseworth.report.planner import write_planner

        write_planner(fitted, observations, market, budget, (have_clean, have_noisy), Path(page), source=source)
    if as_json:
        print(to_json(found))
        return
    _tell_left_out(observations.left_out)
    for name, purchase in (("buy", found.best), ("all clean", found.all_clean)):
        predicted = f"predicted quality {purchase.quality:.3g} ({purchase.low:.3g} to {purchase.high:.3g})"
        print(f"{name:<10} {purchase.n_clean:>10,} clean {purchase.n_noisy:>10,} noisy   {predicted}")
    ratio = found.clean_price / found.noisy_price
    print(f"a clean image costs {ratio:.3g} noisy ones; noisy ones pay from a ratio of {found.flip_ratio:.3g} on")
    if found.best.n_noisy:
        print(f"the mix beats all clean with probability {found.better_with:.0%}, under the law's uncertainty")
    nxt = found.following
    ratio_of = f"{nxt.quality:.3g} to {nxt.more_clean:.3g} with {nxt.count:,} more clean, {nxt.more_noisy:.3g} with as many noisy"
    print(f"from {nxt.n_clean:,} clean and {nxt.n_noisy:,} noisy: {ratio_of}; for the money the next are best {nxt.best}")
    runs = "; ".join(f"{r.n_clean:,} clean + {r.n_noisy:,} noisy ({r.narrower:.0%})" for r in found.next_runs)
    print(f"trainings that would narrow the ratio most (to so much of its interval, one after the other): {runs}")
    print(f"kept to at least {found.least_clean_share:.0%} clean, the least that was observed")
    if found.beyond:
        others = "fewer" if found.beyond == "more" else "more"
        print(f"beyond what was observed: every model had {others} images, and the law may not hold here")
    if page:
        print(f"{page}: open it in a browser")


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
