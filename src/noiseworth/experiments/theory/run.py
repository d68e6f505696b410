"""`noiseworth theory`: measure the cells of the studies, one after the other, and put what they say on one page.

    OUT/theory.json                     the settings
    OUT/cells/STUDY/KEY.npz             what one cell measured (no pickle)
    OUT/STUDY.json                      numbers and figures of one study

A cell that is there is not measured again, so the same command goes on after an interruption, with the same numbers: every cell draws
from a generator of its own, a function of (seed, study, key).
"""

import io
import zlib
from importlib import import_module
from pathlib import Path
from time import monotonic

import numpy as np

from noiseworth import __version__
from noiseworth.errors import Stopped, UserError
from noiseworth.experiments.config import STUDIES, TheoryConfig
from noiseworth.experiments.directory import claim
from noiseworth.experiments.theory.study import Cell, Study
from noiseworth.records import TheoryStudy, load_record, to_json, write_atomically


def load_study(name: str) -> Study:
    """The study of that name."""
    study: Study = import_module(f"noiseworth.experiments.theory.{name}").STUDY
    return study


def run_theory(config: TheoryConfig, *, quiet: bool = False) -> list[TheoryStudy]:
    """Run the studies that are asked for, or go on with them.

    Raises:
        UserError: the directory holds something else, or studies with other settings; POT is not installed.
        Stopped: Ctrl-C; the cells that are done are saved.
    """
    out = Path(config.out)
    if any(name in ("subspace", "regimes", "mixed") for name in config.names):
        _need_pot()
    settings = {"seed": config.seed, "effort": config.effort, "version": __version__}
    claim(out, "theory.json", settings, what="studies", fresh=config.fresh)
    done = []
    try:
        with _Progress(config, out, quiet) as step:
            for name in config.names:
                record = out / f"{name}.json"
                if not record.is_file():
                    write_atomically(record, to_json(_run_study(load_study(name), config, out, step)) + "\n")
                done.append(load_record(TheoryStudy, record))
    except KeyboardInterrupt:
        again = "the same command without --fresh" if config.fresh else "the same command"
        raise Stopped(f"stopped; {again} goes on where it was ({out})", 2) from None
    return done


def finished(out: Path) -> list[TheoryStudy]:
    """All studies that are finished under a directory, in their usual order."""
    return [load_record(TheoryStudy, out / f"{name}.json") for name in STUDIES if (out / f"{name}.json").is_file()]


def _need_pot() -> None:
    try:
        import ot  # noqa: F401
    except ImportError:
        raise UserError("W1 in several dimensions needs POT: pip install 'noiseworth[theory]'") from None


class _Progress:
    """A bar over the cost of all cells, with the time that is left."""

    def __init__(self, config: TheoryConfig, out: Path, quiet: bool) -> None:
        from tqdm import tqdm

        total = sum(_left(load_study(name), config, out) for name in config.names if not (out / f"{name}.json").is_file())
        form = "{desc} |{bar}| {percentage:3.0f}%, {remaining} left"
        self.bar = tqdm(total=total, bar_format=form, disable=quiet or total == 0, leave=False)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def start(self, words: str) -> None:
        self.bar.set_description_str(f"{words:<28}")

    def done(self, cost: float) -> None:
        self.bar.update(min(cost, self.bar.total - self.bar.n))  # rounding must not go beyond the total


def _left(study: Study, config: TheoryConfig, out: Path) -> float:
    return sum(cell.cost for cell in study.cells(config.effort) if not _place(out, study, cell).is_file())


def _place(out: Path, study: Study, cell: Cell) -> Path:
    return out / "cells" / study.name / f"{cell.key}.npz"


def _run_study(study: Study, config: TheoryConfig, out: Path, step: _Progress) -> TheoryStudy:
    found = {}
    (out / "cells" / study.name).mkdir(parents=True, exist_ok=True)
    for cell in study.cells(config.effort):
        place = _place(out, study, cell)
        step.start(f"{study.name} {cell.key}")
        if not place.is_file():
            rng = np.random.default_rng([config.seed, zlib.crc32(f"{study.name} {cell.key}".encode())])
            began = monotonic()
            values = cell.run(rng)
            whole = io.BytesIO()
            np.savez(whole, elapsed=np.array(monotonic() - began), **values)  # type: ignore[arg-type]
            write_atomically(place, whole.getvalue())
            step.done(cell.cost)
        with np.load(place, allow_pickle=False) as file:
            found[cell.key] = dict(file)
    step.start(f"{study.name}: intervals")
    numbers, panels = study.summarise(found)
    seconds = float(sum(float(values["elapsed"]) for values in found.values()))
    return TheoryStudy(study.name, study.title, study.lead, numbers, panels, seconds, config.seed, config.effort)
