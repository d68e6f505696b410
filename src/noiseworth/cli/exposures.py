"""`plan --instrument`: how long to expose, and what it prints."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from noiseworth.options import StrPath
from noiseworth.records import ExposureRecord

if TYPE_CHECKING:
    from noiseworth.cli.laws import PlanConfig


_HALF = 3  # parameter of the noise at which an image is worth a half


def exposures_for(config: "PlanConfig", instrument: StrPath) -> ExposureRecord:
    """The best exposures, by the settings of `plan`.

    Raises:
        UserError: the table or the instrument cannot be read, or the law says nothing of its noise.
    """
    import numpy as np

    from noiseworth.laws.exposure import REFITS, beyond_levels, plan_exposures
    from noiseworth.laws.fit import OF_NOISE, fit_best, refits
    from noiseworth.laws.instrument import read_instrument
    from noiseworth.laws.observations import read_observations
    from noiseworth.laws.profile import profile_interval
    from noiseworth.laws.quality import CURVE, LEVELS
    from noiseworth.report.exposures import write_exposure_planner

    machine = read_instrument(Path(instrument))
    budget = machine.budget(config.budget)
    observations = read_observations(
        str(config.source), quality=config.quality, where=config.where, all_noisy=True
    )
    # One currency with a rate for each level says nothing of the levels between.
    names = {None: OF_NOISE, "one": (CURVE,)}.get(config.law, (str(config.law),))
    law = fit_best(observations, names)
    others = refits(law, observations, REFITS, student=True)
    record = plan_exposures(law, observations, machine, budget, beyond=config.beyond, others=others)
    if law.name != "two":
        ends = np.array([law.parameters[_HALF], *profile_interval(law, observations, _HALF)])
        if law.name == LEVELS:
            ends = -ends[[0, 2, 1]]  # the level over the noise, not the noise over the level
        value, low, high = (float(np.exp(end)) for end in ends)
        record = replace(record, half=(value, low if low > 0 else None, high if high < np.inf else None))
    if config.page:
        beyond = beyond_levels(observations, machine, allowed=config.beyond)
        out, source = Path(config.page), str(config.source)
        write_exposure_planner(law, others, observations, machine, budget, out, source=source, beyond=beyond)
    return record


def print_exposures(e: ExposureRecord, page: StrPath | None = None) -> None:
    """What to expose, what it is compared with, and how exactly it must be kept to."""
    from noiseworth.laws.law import WORDS

    print(f"predicted by {WORDS[e.law]}")
    choices = [("take", e.best), ("all longest", e.longest), ("all shortest", e.shortest)]
    if len(e.best.images) > 1:
        choices.insert(1, ("of one kind", e.single))
    for name, choice in choices:
        images = " and ".join(f"{i.count:,} of {i.exposure:.3g} {e.unit}" for i in choice.images)
        print(
            f"{name:<13}{images:<32} predicted quality {choice.quality:.3g} ({choice.low:.3g} to {choice.high:.3g})"
        )
    for i in e.best.images:
        print(
            f"an image of {i.exposure:.3g} {e.unit} has noise {i.sigma:.3g}, and is worth {i.worth:.2f} clean ones"
        )
    for name, (ratio, low, high) in (("longest", e.over_longest), ("shortest", e.over_shortest)):
        print(
            f"all {name}: {ratio:.3f} times the value of the best ({low:.3f} to {high:.3f}); lower is better"
        )
    print(
        f"single exposures of {e.flat[0]:.3g} to {e.flat[1]:.3g} {e.unit} are within 1% of the best single one"
    )
    price, low, high = e.price
    print(
        f"further images worth a clean one cost {price:.3g} {e.unit} ({low:.3g} to {high:.3g}) at the best single exposure"
    )
    if e.half is not None:
        value = (
            f"{e.half[0]:.3g} ({' to '.join('any' if end is None else f'{end:.3g}' for end in e.half[1:])})"
        )
        if e.law == "curve":
            print(f"an image of noise {value} is worth half a clean one")
        else:
            print(f"an image is worth half a clean one at a level of {value} times its own noise")
    for words in e.beyond:
        print(f"beyond what was observed: {words}; the law may not hold there")
    if page:
        print(f"{page}: open it in a browser")
