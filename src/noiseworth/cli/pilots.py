"""The command pilot: which images to take first, in rounds."""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from noiseworth.errors import UserError
from noiseworth.options import POSITIONAL, TABLE, StrPath, check, with_options
from noiseworth.records import PilotRecord, write_atomically

if TYPE_CHECKING:
    from noiseworth.laws.exposure_market import Taken

_TAKEN = re.compile(r"(\d+)x(\d+(?:\.\d*)?(?:e[-+]?\d+)?)")


@dataclass(frozen=True)
class PilotConfig:
    """Say which images to take first, so that it becomes known how long to expose; in rounds, until another one does not pay.

    Without --source it is the first round. Train models on what was taken, and give them as --source for the next.
    """

    instrument: StrPath = field(metadata=POSITIONAL)
    """A YAML file of an instrument, which says what an exposure costs and how noisy its image is."""
    budget: float | str
    """What is left to spend, in the instrument's unit, or a time such as 90min or 1h."""
    source: StrPath | None = None
    """Models that were trained on the images so far: a sweep, or a CSV file, as for `noiseworth fit`."""
    taken: str = ""
    """The images so far, numbers and exposures: 120x0.3,40x2."""
    table: StrPath | None = field(default=None, metadata=TABLE)
    """A new CSV file to write: the models to train on the images after this round, with an empty quality."""
    quality: str | None = None
    """The column that the law explains; by default "quality", or a sweep's "risk"."""
    where: str = ""
    """Models to keep, such as n_images=20000,preset=digits."""

    def __post_init__(self) -> None:
        check(self)
        if (self.source is None) != (not self.taken):
            raise UserError(
                "--source and --taken go together: models, and the images that they were trained on"
            )
        for part in filter(None, self.taken.split(",")):
            if not _TAKEN.fullmatch(part.strip()):
                raise UserError(
                    f"--taken {part.strip()}: must be a number of images and an exposure, such as 120x0.3"
                )


@with_options(PilotConfig)
def pilot(config: PilotConfig) -> PilotRecord:
    """The next images to take, or that enough is known.

    Raises:
        UserError: the instrument or the table cannot be read, or the budget is too small for a pilot.
    """
    from noiseworth.laws.instrument import read_instrument
    from noiseworth.laws.observations import read_observations
    from noiseworth.laws.pilot import first_round, next_round

    machine = read_instrument(Path(config.instrument))
    budget = machine.budget(config.budget)
    if config.source is None:
        record = first_round(machine, budget)
    else:
        observed = read_observations(
            str(config.source), quality=config.quality, where=config.where, all_noisy=True
        )
        record = next_round(observed, machine, budget, _taken(config.taken))
    if config.table is not None:
        path, text = Path(config.table), _table(record)
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise UserError(f"--table {path}: exists, and may have been filled in; choose another name")
        write_atomically(path, text)
    return record


def _taken(text: str) -> "Taken":
    import numpy as np

    from noiseworth.laws.exposure_market import Taken, together

    all_taken = Taken()
    for part in filter(None, text.split(",")):
        match = _TAKEN.fullmatch(part.strip())
        assert match is not None
        all_taken = together(all_taken, Taken(np.array([float(match[2])]), np.array([float(match[1])])))
    return all_taken


def _table(record: PilotRecord) -> str:
    """The models to train, as a table for `noiseworth fit` whose quality is to be filled in."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("n_clean", "n_noisy", "sigma", "quality"))
    for row in record.models:
        parts = [(count, sigma) for count, sigma in zip(row, record.sigmas, strict=True) if count]
        counts, sigmas = (";".join(f"{part[k]:.6g}" for part in parts) for k in (0, 1))
        writer.writerow((0, counts, sigmas, ""))
    return out.getvalue()


def print_pilot(config: PilotConfig, p: PilotRecord) -> None:
    """What to take, why, and how to go on."""
    if p.unsure:
        print(f"the models do not determine a law yet: {p.unsure}")
    if p.regret is not None and p.regret_after is not None and p.price is not None:
        print(
            f"spent by what is known now, the rest is expected to end {p.regret:.1%} above the best possible value; after another round"
            f" {p.regret_after:.1%}, for which its images cost {p.price:.1%}"
        )
    if p.plan is not None and not p.take:
        from noiseworth.cli.exposures import print_exposures

        print(
            "enough is known: spend the rest"
            if p.regret_after is not None
            else "no money for another round: spend the rest"
        )
        print_exposures(p.plan)
        return
    for image in p.take:
        exposure = f"{image.exposure:.3g} {p.unit}"
        print(f"take {image.count:>6,} of {exposure:<16} noise {image.sigma:.3g}")
    print(f"cost {p.cost:.4g} {p.unit}, {p.cost / p.budget:.0%} of what is left")
    print(
        f"then train {len(p.models)} models on all images so far: on each exposure alone and on all together, on all, a third and a ninth"
        f" of these images ({config.table or '--table FILE lists the models'})"
    )
    more = ",".join(f"{image.count}x{image.exposure:.6g}" for image in p.take)
    so_far = f"{config.taken},{more}" if config.taken else more
    print(
        f"and go on: noiseworth pilot {config.instrument} --budget {p.budget - p.cost:.6g} --taken {so_far} --source MODELS"
    )
