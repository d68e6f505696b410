"""A part of `bench/speed.py`: the network that is taken by default against others, everything else alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from checks import Checklist
from speed_cases import CASES, Inputs, run_worker, training_of

SEEDS = (0, 1)


@dataclass(frozen=True)
class Contest:
    """Networks that learn one data set: the default first; images seen, and between measurements."""

    data: str
    presets: tuple[str, ...]
    n_images: int
    every: int


CONTESTS = (
    Contest("digits", ("medium", "light", "digits"), 40_000, 2_000),
    Contest("fashion", ("light", "medium", "mini"), 20_000, 1_000),
    Contest("cifar", ("light", "medium"), 8_192, 512),
)


def risk_after(curve: list[list[float]], seconds: float) -> float:
    """The risk at a time, between measurements along a power of the time."""
    times, risks = np.array([row[1] for row in curve]), np.array([row[2] for row in curve])
    return float(np.exp(np.interp(np.log(seconds), np.log(times), np.log(risks))))


def check_networks(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The risk of the default over that of each other network, after as many seconds as both trained."""
    kept: dict[str, Any] = {}
    for contest in CONTESTS:
        case = next(case for case in CASES if case.data == contest.data)
        if not (inputs.data / case.data).exists():
            continue
        curves: dict[str, list[list[list[float]]]] = {preset: [] for preset in contest.presets}
        for seed in SEEDS:
            for preset in contest.presets:
                settings = training_of(inputs, case, seed, False)
                settings["train"] |= {"preset": preset, "n_images": contest.n_images}
                settings["points"] = [
                    *range(contest.every, contest.n_images, contest.every),
                    contest.n_images,
                ]
                curves[preset].append(run_worker(inputs, "network", settings, False)["curve"])
                print(contest.data, preset, seed, curves[preset][-1][-1], flush=True)
        default, *others = contest.presets
        for other in others:
            for seed, (mine, theirs) in enumerate(zip(curves[default], curves[other], strict=True)):
                seconds = min(mine[-1][1], theirs[-1][1])
                ratio = risk_after(mine, seconds) / risk_after(theirs, seconds)
                what = f"risk of {default} over that of {other} after {seconds:.0f} s each, {case.data} {case.size}, seed {seed}"
                checklist.add("speed/network", what, ratio, 1.0, "max", "ratio")
        kept[contest.data] = curves
    return kept
