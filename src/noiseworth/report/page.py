"""One self-contained HTML page from the directories of finished runs."""

from dataclasses import dataclass
from pathlib import Path

from noiseworth.errors import UserError
from noiseworth.records import DoneRecord, Evaluation, StepRecord, load_lines, load_record
from noiseworth.report.figures import loss_figure, risk_figure, risk_ratio_figure, worth_figure
from noiseworth.report.html import data_uri, write_page


@dataclass(frozen=True)
class Row:
    """One run as the page shows it."""

    name: str
    done: DoneRecord
    evaluation: Evaluation | None
    picture: str | None  # data URI
    metrics: list[StepRecord]

    @property
    def n_clean(self) -> int:
        """Clean images it was trained on."""
        return sum(c for s, c in zip(self.done.worth.sigmas, self.done.worth.counts, strict=True) if s == 0)

    @property
    def noisy(self) -> list[tuple[float, int, float, float | None]]:
        """(sigma, count, mean worth, price) of each noise level it was trained on."""
        w = self.done.worth
        return [row for row in zip(w.sigmas, w.counts, w.mean_worth, w.price, strict=True) if row[0] > 0]

    @property
    def n_noisy(self) -> int:
        """Noisy images it was trained on."""
        return sum(count for _, count, _, _ in self.noisy)


def read_row(run: Path) -> Row:
    """Read a finished run.

    Raises:
        UserError: the run is not finished.
    """
    if not (run / "DONE.json").is_file():
        what = "is not finished; `noiseworth train` goes on with it" if (run / "config.yaml").is_file() else "is not a run"
        raise UserError(f"{run}: {what}")
    evaluation, grid = run / "evaluation.json", run / "samples" / "grid.png"
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
    """Write the page.

    Args:
        runs: directories of finished runs; the first one is the measure of the others.
        out: the HTML file; its folder is made, a file that is there is replaced.
        lead: what the page is about, plain text.
        real: a picture of real images, PNG.
        following: how to go on, one plain line each; lines in backquotes are commands.
    """
    rows = [read_row(run) for run in runs]
    if len({row.name for row in rows}) < len(rows):
        raise UserError("two of the runs have the same name; rename one, so that the page can tell them apart")
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
