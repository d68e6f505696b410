"""What the mean over levels and the count of images leave out: `python bench/objective_costs.py`. One second.

Reads the curves in `results/objective.json`. Ours against the published objective at N = 50,000: seconds of
training, those of imputation included, to the published final risk; and the ratio of risks level by level.
Writes `results/objective-costs.json`.
"""

import json
from statistics import median
from typing import Any

from checks import RESULTS, Checklist
from noiseworth.evaluate.risk import DEFAULT_LEVELS
from objective_report import images_needed

FEWEST = 40_000  # images seen; the curves are compared from here on, and here


def seconds_needed(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    """Seconds of ours to the final risk of theirs, over all of theirs; linear in images between measurements."""
    needed = images_needed(ours, theirs[-1]["relative"])
    before = {"n_images": 0, "seconds": 0.0}
    for row in ours:
        if row["n_images"] >= needed:
            share = (needed - before["n_images"]) / (row["n_images"] - before["n_images"])
            seconds = before["seconds"] + share * (row["seconds"] - before["seconds"])
            return float(seconds / theirs[-1]["seconds"])
        before = row
    return 1e6  # never; infinity has no JSON


def worst_level(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, float, int]:
    """The largest ratio of risks at any level from `FEWEST` images on; the level, and the number of images."""
    other = {row["n_images"]: row["risk"] for row in theirs}
    return max(
        (a / b, level, row["n_images"])
        for row in ours
        if row["n_images"] in other and row["n_images"] >= FEWEST
        for a, b, level in zip(row["risk"], other[row["n_images"]], DEFAULT_LEVELS, strict=True)
    )


def main() -> None:
    """See above."""
    curves = json.loads((RESULTS / "objective.json").read_text(encoding="utf-8"))["data"]["curves"]
    checklist = Checklist("python bench/objective_costs.py")
    groups: dict[str, list[float]] = {}
    for name, theirs in curves.items():
        ours = curves.get(name.replace("-published-", "-worth-"))
        if "-50000-" not in name or "-c0.1-published-" not in name or ours is None:
            continue
        where = name.partition("-c0.1")[0].replace("-50000-s", ", sigma ")
        groups.setdefault(where, []).append(seconds_needed(ours, theirs))
        ratio, level, count = worst_level(ours, theirs)
        what = f"{where}, seed {name[-1]}: largest ratio of risks at one level (level {level:g}, {count:,} images)"
        checklist.add("numbers/every-level", what, ratio, 1, "max", "ratio")
    for where, values in groups.items():
        each = ", ".join(f"{value:.3f}" for value in values)
        what = f"{where}: seconds needed over the published, median of {len(values)} ({each})"
        checklist.add("numbers/seconds-to-match", what, median(values), 1, "max", "ratio")
    checklist.write("objective-costs.json", "what means and counts of images leave out")


if __name__ == "__main__":
    main()
