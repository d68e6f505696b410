"""The commands on scaling laws: fit, price, plan."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from noiseworth.errors import UserError
from noiseworth.options import (
    PAGE,
    POSITIONAL,
    StrPath,
    check,
    flag_of,
    require,
    require_at_least,
    with_options,
)
from noiseworth.progress import notice
from noiseworth.records import BudgetRecord, ExposureRecord, LawRecord, QuoteRecord

_MOST_IMAGES = 10**15  # far beyond every collection, and exact in floating point
_MOST_MONEY = 1e15


@dataclass(frozen=True)
class FitConfig:
    """Fit scaling laws of quality against the numbers of clean and noisy images, and say what a noisy image is worth."""

    source: StrPath = field(metadata=POSITIONAL)
    """Directory of a sweep; a CSV file with the columns n_clean, n_noisy, sigma and quality (lower is better), one trained model a row;
    or published:cifar10, published:celeba_hq_64, published:imagenet_64."""
    quality: str | None = None
    """The column that the law explains; by default "quality", or a sweep's "risk"."""
    where: str = ""
    """Models to keep, such as n_images=20000,preset=digits."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file for the figures: measured against predicted quality, and the residuals."""

    def __post_init__(self) -> None:
        check(self)


@with_options(FitConfig)
def fit(config: FitConfig) -> LawRecord:
    """Fit both laws to a table of trained models, and compare them.

    Raises:
        UserError: the table cannot be read, or does not determine a law.
    """
    from noiseworth.laws.describe import describe
    from noiseworth.laws.observations import read_observations
    from noiseworth.report.laws import write_law_page

    observations = read_observations(str(config.source), quality=config.quality, where=config.where)
    law = describe(observations, str(config.source))
    if config.page:
        write_law_page(observations, law, Path(config.page))
    _notice_left_out(observations.left_out)
    return law


def print_fit(config: FitConfig, law: LawRecord) -> None:
    """The law, the price of each noise level, and how well each law predicts."""
    exponent = f"{law.exponent:.3g} ({law.exponent_low:.3g} to {law.exponent_high:.3g})"
    print(
        f"{law.n_observations} models, quality = {law.floor:.3g} + A n_eff^-alpha, where a noisy image adds"
        " its worth to n_eff"
    )
    print(f"alpha = {exponent}, typical residual {law.typical_residual:.1%}")
    for p in law.prices:
        worth = f"worth {p.rate:.2f} clean ones ({p.rate_low:.2f} to {p.rate_high:.2f}), price {p.price:.2f}"
        print(f"  noise {p.sigma:g}: {worth}; by inequalities {_bounds(p.least, p.most)}")
    for name, words in (("one", "one currency"), ("two", "two currencies")):
        if name in law.aicc:
            errors = f"held-out error {law.held_out_median[name]:.1%} (median), {law.held_out_p90[name]:.1%} (90th percentile)"
            better = ", the better" if name == law.better and len(law.aicc) > 1 else ""
            print(f"{words}: AICc {law.aicc[name]:.1f}, {errors}{better}")
    _print_remarks(law.remarks)
    if config.page:
        print(f"{config.page}: open it in a browser")


def _print_remarks(remarks: list[str]) -> None:
    for remark in remarks:
        print(f"beware: {remark}")


def _bounds(least: float, most: float | None) -> str:
    """Bounds on a price, in words."""
    upper = "any" if most is None else f"{most:.3g}"
    return f"{least:.3g} to {upper}" + (" (contradictory)" if most is not None and least > most else "")


def _notice_left_out(count: int) -> None:
    if count:
        notice(f"{count} models without clean images are left out: they follow no law of both kinds of image")


@dataclass(frozen=True)
class PriceConfig:
    """Say how many noisy images replace one clean image, at a given mix: by the law, by inequalities, and as one training predicts."""

    source: StrPath = field(metadata=POSITIONAL)
    """Trained models, as for `noiseworth fit`."""
    sigma: float
    """Noise of the noisy images; one of the source's noise levels."""
    n_clean: int | None = None
    """Clean images of the mix; by default those of the observed mix with the most noisy images."""
    n_noisy: int | None = None
    """Noisy images of the mix."""
    law: Literal["one", "two"] = "one"
    """The law that is fitted: one currency, or two (coarse and fine detail)."""
    quality: str | None = None
    """The column that the law explains; by default "quality", or a sweep's "risk"."""
    where: str = ""
    """Models to keep, such as n_images=20000,preset=digits."""

    def __post_init__(self) -> None:
        check(self)
        require(self.sigma > 0, "sigma", self.sigma, "above 0")
        require_at_least(self, 1, "n_clean", "n_noisy", most=_MOST_IMAGES)


@with_options(PriceConfig)
def price(config: PriceConfig) -> QuoteRecord:
    """The price of a noisy image in clean ones.

    Raises:
        UserError: the table cannot be read, does not determine a law, or has no such noise level.
    """
    from noiseworth.laws.fit import fit_law
    from noiseworth.laws.observations import predicted_worth, read_observations
    from noiseworth.laws.price import quote

    observations = read_observations(str(config.source), quality=config.quality, where=config.where)
    predicted = predicted_worth(str(config.source), where=config.where)
    law = fit_law(observations, config.law)
    record = quote(law, observations, config.sigma, config.n_clean, config.n_noisy, predicted)
    _notice_left_out(observations.left_out)
    return record


def print_price(config: PriceConfig, q: QuoteRecord) -> None:
    """The price on average and of the next image, its bounds, and a prediction."""
    print(
        f"noise {q.sigma:g}, beside {q.n_clean:,} clean and {q.n_noisy:,} such noisy images: noisy images"
        " for one clean"
    )
    print(f"  on average     {q.average:.3g} ({q.average_low:.3g} to {q.average_high:.3g})")
    print(f"  the next one   {q.marginal:.3g} ({q.marginal_low:.3g} to {q.marginal_high:.3g})")
    print(f"  by inequalities, over all mixes: {_bounds(q.least, q.most)}")
    if q.predicted is not None:
        assumed = "as if error fell as 1 / N, and imputed images were worth what they are trusted"
        ends = ""
        if q.predicted_low is not None:
            most = "any" if q.predicted_high is None else f"{q.predicted_high:.3g}"
            ends = f"; {q.predicted_low:.3g} to {most}, whatever they are worth"
        print(f"  predicted by one training, {q.predicted_by}: {q.predicted:.3g} ({assumed}{ends})")
    _print_remarks(q.remarks)


@dataclass(frozen=True)
class PlanConfig:
    """Say what to buy with a budget: how many clean and noisy images, and which further trainings would make the answer more certain.

    Or, with --instrument, how long to expose.
    """

    source: StrPath = field(metadata=POSITIONAL)
    """Trained models, as for `noiseworth fit`."""
    budget: float | str
    """The budget; with --instrument in its unit, or a time such as 90min or 1h."""
    clean_price: float | None = None
    """Price of one clean image, in the budget's currency."""
    noisy_price: float | None = None
    """Price of one noisy image."""
    sigma: float | None = None
    """Noise of the noisy images; one of the source's noise levels."""
    law: Literal["one", "two", "levels"] | None = None
    """The law that is fitted: one currency (the default; with --instrument as a curve of the noise), or two (coarse and fine detail); with
    --instrument also levels (an image teaches what lies above its own noise), and by default that which fits best."""
    have_clean: int = 0
    """Clean images that you have already."""
    have_noisy: int = 0
    """Noisy images of that noise that you have already."""
    quality: str | None = None
    """The column that the law explains; by default "quality", or a sweep's "risk"."""
    where: str = ""
    """Models to keep, such as n_images=20000,preset=digits."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file to plan with by hand, with sliders: budget, prices and noise, or budget, overhead and exposure."""
    instrument: StrPath | None = None
    """In place of prices and sigma: a YAML file of an instrument, which says what an exposure costs and how noisy its image is."""
    beyond: bool = False
    """Take the law also where the instrument's noise lies beyond that of the source's models."""

    def __post_init__(self) -> None:
        check(self)
        prices = ("clean_price", "noisy_price", "sigma")
        missing = [flag_of(name) for name in prices if getattr(self, name) is None]
        if self.instrument is not None:
            given = [flag_of(name) for name in prices if getattr(self, name) is not None]
            given += [flag_of(n) for n in ("have_clean", "have_noisy") if getattr(self, n)]
            if given:
                raise UserError(f"{given[0]}: goes with prices, and not with --instrument")
            return
        if missing:
            raise UserError(f"missing: {', '.join(missing)}; or --instrument, for exposures")
        if self.beyond or self.law == "levels":
            raise UserError(f"{'--beyond' if self.beyond else '--law levels'}: goes with --instrument")
        try:
            object.__setattr__(self, "budget", float(self.budget))
        except ValueError:
            raise UserError(f"--budget {self.budget}: must be a number; times go with --instrument") from None
        require(self.sigma is not None and self.sigma > 0, "sigma", self.sigma, "above 0")
        for name in ("budget", "clean_price", "noisy_price"):
            value = getattr(self, name)
            require(
                1 / _MOST_MONEY <= value <= _MOST_MONEY, name, value, f"above 0 and at most {_MOST_MONEY:g}"
            )
        require_at_least(self, 0, "have_clean", "have_noisy", most=_MOST_IMAGES)


@with_options(PlanConfig)
def plan(config: PlanConfig) -> BudgetRecord | ExposureRecord:
    """The best purchase for a budget, or the best exposures.

    Raises:
        UserError: the table cannot be read, does not determine a law, or the budget, a price or the instrument makes no sense.
    """
    from noiseworth.laws.budget import Market, plan_purchase
    from noiseworth.laws.fit import fit_law
    from noiseworth.laws.observations import read_observations
    from noiseworth.report.planner import write_planner

    if config.instrument is not None:
        from noiseworth.cli.exposures import exposures_for

        return exposures_for(config, config.instrument)
    observations = read_observations(str(config.source), quality=config.quality, where=config.where)
    assert config.clean_price is not None
    assert config.noisy_price is not None
    assert config.sigma is not None
    market = Market(config.clean_price, config.noisy_price, config.sigma)
    law = fit_law(observations, config.law or "one")
    have = (config.have_clean, config.have_noisy)
    budget = float(config.budget)
    record = plan_purchase(law, observations, market, budget, *have)
    if config.page:
        write_planner(law, observations, market, budget, have, Path(config.page), source=str(config.source))
    _notice_left_out(observations.left_out)
    return record


def print_plan(config: PlanConfig, record: BudgetRecord | ExposureRecord) -> None:
    """What to buy, or how long to expose."""
    if isinstance(record, BudgetRecord):
        print_purchase(config, record)
    else:
        from noiseworth.cli.exposures import print_exposures

        print_exposures(record, config.page)


def print_purchase(config: PlanConfig, b: BudgetRecord) -> None:
    """What to buy, what it is compared with, and what would make it more certain."""
    for name, purchase in (("buy", b.best), ("all clean", b.all_clean)):
        predicted = f"predicted quality {purchase.quality:.3g} ({purchase.low:.3g} to {purchase.high:.3g})"
        print(f"{name:<10} {purchase.n_clean:>10,} clean {purchase.n_noisy:>10,} noisy   {predicted}")
    ratio = b.clean_price / b.noisy_price
    print(f"a clean image costs {ratio:.3g} noisy ones; noisy ones pay from a ratio of {b.flip_ratio:.3g} on")
    if b.best.n_noisy and ratio <= b.flip_ratio:
        print("the noisy images use up what clean ones alone would leave over")
    elif b.best.n_noisy:
        print(f"the mix beats all clean with probability {b.better_with:.0%}, under the law's uncertainty")
    n = b.following
    choices = f"{n.quality:.3g} to {n.more_clean:.3g} with {n.count:,} more clean, {n.more_noisy:.3g} with as many noisy"
    print(
        f"from {n.n_clean:,} clean and {n.n_noisy:,} noisy: {choices}; for the money the next are best"
        f" {n.best}"
    )
    most_noisy = (1 / b.least_clean_share - 1) * n.n_clean
    if n.n_noisy + n.count > most_noisy:
        print(f"so many more noisy ones would leave less than {b.least_clean_share:.0%} clean")
    runs = "; ".join(f"{r.n_clean:,} clean + {r.n_noisy:,} noisy ({r.narrower:.0%})" for r in b.next_runs)
    print(
        "trainings that would narrow the ratio most (to so much of its interval, one after the other):"
        f" {runs}"
    )
    print(f"kept to at least {b.least_clean_share:.0%} clean, the least that was observed")
    if b.beyond:
        others = "fewer" if b.beyond == "more" else "more"
        print(f"beyond what was observed: every model had {others} images, and the law may not hold there")
    if config.page:
        print(f"{config.page}: open it in a browser")
