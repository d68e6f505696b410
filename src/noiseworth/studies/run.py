"""`noiseworth theory`: measure the cells of the studies, one after the other, and write the report page.

    OUT/theory.json                     the settings
    OUT/cells/STUDY/KEY.npz             what one cell measured (no pickle)
    OUT/STUDY.json                      numbers and figures of one study
    OUT/report.html                     the page

A cell whose file exists is not measured again, so that the same command goes on after an interruption. The
numbers do not depend on interruptions: every cell has a random generator of its own, seeded by (seed, study,
key).
"""

import io
import zlib
from importlib import import_module
from pathlib import Path
from time import monotonic

import numpy as np

from noiseworth.errors import Stopped, UserError
from noiseworth.progress import progress_bar
from noiseworth.records import TheoryStudy, load_record, to_json, versions, write_atomically
from noiseworth.records.directory import claim
from noiseworth.report.theory import write_theory_report
from noiseworth.studies.config import STUDIES, TheoryConfig
from noiseworth.studies.study import Cell, Study


def load_study(name: str) -> Study:
    """The study of a name, one of `config.STUDIES`."""
    study: Study = import_module(f"noiseworth.studies.{name}").STUDY
    return study


def run_theory(config: TheoryConfig) -> list[TheoryStudy]:
    """Run the studies of the configuration, or go on with them, and write `report.html`.

    The page shows all finished studies in the directory.

    Returns:
        The records of the studies, in the order of the configuration.

    Raises:
        UserError: the directory holds something else, or studies with other settings; or POT is not
            installed.
        Stopped: Ctrl-C; the cells that are finished are saved.
    """
    out = Path(config.out)
    if any(name in ("subspace", "regimes", "mixed") for name in config.names):
        _need_pot()
    settings = {"seed": config.seed, "effort": config.effort, "version": versions()["noiseworth"]}
    claim(out, "theory.json", settings, what="studies", fresh=config.fresh)
    done = []
    try:
        with _Progress(config, out) as step:
            for name in config.names:
                record = out / f"{name}.json"
                if not record.is_file():
                    write_atomically(record, to_json(_run_study(load_study(name), config, out, step)) + "\n")
                done.append(load_record(TheoryStudy, record))
    except KeyboardInterrupt:
        again = "the same command without --fresh" if config.fresh else "the same command"
        raise Stopped(f"stopped; {again} goes on from the last finished cell ({out})", 2) from None
    write_theory_report(finished(out), out / "report.html")
    return done


def finished(out: Path) -> list[TheoryStudy]:
    """Records of all finished studies in a directory, in the order of `config.STUDIES`."""
    return [
        load_record(TheoryStudy, out / f"{name}.json") for name in STUDIES if (out / f"{name}.json").is_file()
    ]


def _need_pot() -> None:
    try:
        import ot  # noqa: F401
    except ImportError:
        raise UserError(
            "W1 in several dimensions needs the package POT: pip install 'noiseworth[theory]'"
        ) from None


class _Progress:
    """A progress bar over the cost of all cells, with the remaining time."""

    def __init__(self, config: TheoryConfig, out: Path) -> None:
        total = sum(
            _remaining_cost(load_study(name), config, out)
            for name in config.names
            if not (out / f"{name}.json").is_file()
        )
        form = "{desc} |{bar}| {percentage:3.0f}%, {remaining} left"
        self.bar = progress_bar(total=total, bar_format=form, disable=total == 0)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def start(self, words: str) -> None:
        self.bar.set_description_str(f"{words:<28}")

    def done(self, cost: float) -> None:
        self.bar.update(min(cost, self.bar.total - self.bar.n))  # rounding must not exceed the total


def _remaining_cost(study: Study, config: TheoryConfig, out: Path) -> float:
    return sum(cell.cost for cell in study.cells(config.effort) if not _cell_path(out, study, cell).is_file())


def _cell_path(out: Path, study: Study, cell: Cell) -> Path:
    return out / "cells" / study.name / f"{cell.key}.npz"


def _run_study(study: Study, config: TheoryConfig, out: Path, step: _Progress) -> TheoryStudy:
    results = {}
    (out / "cells" / study.name).mkdir(parents=True, exist_ok=True)
    for cell in study.cells(config.effort):
        path = _cell_path(out, study, cell)
        step.start(f"{study.name} {cell.key}")
        if not path.is_file():
            rng = np.random.default_rng([config.seed, zlib.crc32(f"{study.name} {cell.key}".encode())])
            began = monotonic()
            values = cell.run(rng)
            buffer = io.BytesIO()
            np.savez(buffer, elapsed=np.array(monotonic() - began), **values)  # type: ignore[arg-type]
            write_atomically(path, buffer.getvalue())
            step.done(cell.cost)
        with np.load(path, allow_pickle=False) as file:
            results[cell.key] = dict(file)
    step.start(f"{study.name}: intervals")
    numbers, panels = study.summarise(results)
    seconds = float(sum(float(values["elapsed"]) for values in results.values()))
    return TheoryStudy(
        study.name, study.title, study.lead, numbers, panels, seconds, config.seed, config.effort
    )
