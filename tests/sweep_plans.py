"""A small plan that the tests of sweeps share."""

from pathlib import Path
from typing import Any

from noiseworth.records import NoisyPart, SweepPlan, Trial

TRAIN: dict[str, Any] = {"n_images": 1280, "batch": 64}
TRIALS = [Trial(40), Trial(20, [NoisyPart(0.5, 60)]), Trial(20, [NoisyPart(0.2, 30), NoisyPart(0.5, 30)])]


def plan(digits: Path, trials: list[Trial] = TRIALS, **changes: Any) -> SweepPlan:
    """Three short trainings on digits, with changes."""
    settings: dict[str, Any] = {
        "data": str(digits / "train"),
        "held_out": str(digits / "held-out"),
        "train": TRAIN,
    }
    return SweepPlan(trials=trials, **(settings | changes))
