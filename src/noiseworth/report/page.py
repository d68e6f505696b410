"""The report page of finished runs."""

from dataclasses import dataclass
from pathlib import Path

from noiseworth.errors import UserError
from noiseworth.records import DoneRecord, Evaluation, StepRecord, WorthRecord, load_lines, load_record
from noiseworth.report.figures import loss_figure, risk_figure, risk_ratio_figure, worth_figure
from noiseworth.report.html import data_uri, write_page


@dataclass(frozen=True)
class Row:
    """A finished run, as the page shows it."""

    name: str
    done: DoneRecord
    evaluation: Evaluation | None
    picture: str | None  # data URI
    metrics: list[StepRecord]

    @property
    def n_clean(self) -> int:
        """Number of clean images in its training data."""
        return sum(c for group, c in enumerate(self.done.worth.counts) if self.done.worth.name(group) is None)

    @property
    def noisy(self) -> list[tuple[str, int, float, str]]:
        """(which noise, number of images, mean worth, price in words) of each noise level of its training data."""
        w = self.done.worth
        prices = [_price(w, group) for group in range(len(w.sigmas))]
        names = [w.name(group) for group in range(len(w.sigmas))]
        rows = zip(names, w.counts, w.mean_worth, prices, strict=True)
        return [(name, count, worth, price) for name, count, worth, price in rows if name is not None]

    @property
    def n_noisy(self) -> int:
        """Number of noisy images in its training data."""
        return sum(count for _, count, _, _ in self.noisy)


def _price(w: WorthRecord, group: int) -> str:
    """A price, and between which prices the unknown worth of imputed images lets it lie."""
    price, ends = w.price[group], w.price_ends(group)
    if price is None:
        return "too few images" if sum(w.counts) < w.FEWEST else "never"
    if ends is None:
        return f"{price:.1f}"
    return f"{price:.1f} ({ends[0]:.1f} to {'never' if ends[1] is None else f'{ends[1]:.1f}'})"


def read_row(run: Path) -> Row:
    """Read a finished run from its directory.

    Raises:
        UserError: the directory is not a run, or the run is not finished.
    """
    if not (run / "DONE.json").is_file():
        if (run / "config.yaml").is_file():
            raise UserError(f"{run}: the run is not finished; `noiseworth train` goes on with it")
        raise UserError(f"{run}: is not a run; give the directory that `noiseworth train` wrote")
    evaluation = run / "evaluation.json"
    grid = run / "samples" / "grid.png"
    return Row(
        name=run.resolve().name,
        done=load_record(DoneRecord, run / "DONE.json"),
        evaluation=load_record(Evaluation, evaluation) if evaluation.is_file() else None,
        picture=data_uri(grid.read_bytes()) if grid.is_file() else None,
        metrics=load_lines(StepRecord, run / "metrics.jsonl"),
    )


def write_report(
    runs: list[Path],
    out: Path,
    *,
    title: str,
    lead: str = "",
    real: bytes | None = None,
    following: list[str] | None = None,
) -> Path:
    """Write one self-contained HTML page on finished runs, and return its path.

    Args:
        runs: directories of finished runs; the others are compared with the first.
        out: the HTML file; its folder is created, an existing file is replaced.
        title: title of the page.
        lead: first paragraph, plain text.
        real: a grid of real images, PNG.
        following: next steps, one line of plain text each, with commands in backquotes.

    Raises:
        UserError: a directory is not a finished run, or two runs have the same name.
    """
    rows = [read_row(run) for run in runs]
    if len({row.name for row in rows}) < len(rows):
        raise UserError("two of the runs have the same name; rename the directory of one")
    evaluations = {row.name: row.evaluation for row in rows if row.evaluation is not None}
    return write_page(
        "page.html.j2",
        out,
        title=title,
        lead=lead,
        rows=rows,
        base=evaluations.get(rows[0].name),
        any_noisy=any(row.n_noisy for row in rows),
        real=data_uri(real) if real else None,
        following=following or [],
        risk=risk_figure(evaluations, {row.name: row.done.trained_from for row in rows}),
        ratio=risk_ratio_figure(evaluations),
        worth=worth_figure({row.name: row.done.worth for row in rows}),
        loss=loss_figure({row.name: row.metrics for row in rows}),
        features=next((e.features for e in evaluations.values()), None),
        held_out=next((e.held_out_distance for e in evaluations.values()), None),
    )
