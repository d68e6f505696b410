"""What the theory studies say: in text, as figures, and on one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseworth.records import Number, Panel, TheoryStudy
from noiseworth.report.figures import COLOURS, label_ticks, svg
from noiseworth.report.html import write_page


def theory_table(studies: Sequence[TheoryStudy]) -> str:
    """Every number of every study, a line each."""
    lines = []
    for study in studies:
        width = max(len(measured(number)) for number in study.numbers)
        lines += ["", f"{study.title} ({study.seconds:.0f} s)"]
        lines += [f"  {measured(number):<{width}}  {number.what}" for number in study.numbers]
    return "\n".join(lines[1:])


def measured(number: Number) -> str:
    """The value with its interval, and what was expected."""
    interval = "" if number.low is None or number.high is None else f" ({number.low:.3g} to {number.high:.3g})"
    unit = f" {number.unit}" if number.unit and number.unit != "ratio" else ""
    expected = "" if number.expected is None else f", expected {number.expected:.3g}"
    return f"{number.value:.3g}{interval}{unit}{expected}"


def panel_figure(panel: Panel) -> str:
    """The panel as SVG text."""

    def draw(axes: Any) -> None:
        colours = iter(COLOURS * len(panel.series))
        colour, guides = COLOURS[0], sum(series.guide for series in panel.series)
        for series in panel.series:
            if series.guide:
                # In the colour of the points before it, if every curve has a guide of its own.
                shade = colour if guides > 1 else "#8a8f94"
                axes.plot(series.x, series.y, color=shade, linewidth=1.1, linestyle="--", label=series.label, zorder=1)
                continue
            colour, bars = next(colours), None
            if series.low is not None and series.high is not None:
                below = [max(y - low, 0) for y, low in zip(series.y, series.low, strict=True)]
                bars = [below, [max(high - y, 0) for y, high in zip(series.y, series.high, strict=True)]]
            style: dict[str, Any] = {"color": colour, "label": series.label, "linestyle": "none" if guides else "-"}
            axes.errorbar(series.x, series.y, bars, marker="o", markersize=4, linewidth=1.1, **style)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label, xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            label_ticks(axis)
        axes.legend(fontsize=8, edgecolor="none", facecolor="white", framealpha=0.5)

    return svg(draw)


def figure_file(panel: Panel) -> str:
    """The panel as an SVG file of its own, on white, as readers of a page may have a dark background."""
    head, body = panel_figure(panel).split(">", 1)
    return f'{head}><rect width="100%" height="100%" fill="white"/>{body}'


def write_theory_report(studies: Sequence[TheoryStudy], out: Path) -> Path:
    """One self-contained page with all numbers and figures of the studies."""
    return write_page(
        "theory.html.j2",
        out,
        studies=studies,
        figures={panel.name: panel_figure(panel) for study in studies for panel in study.panels},
        measured=measured,
    )
