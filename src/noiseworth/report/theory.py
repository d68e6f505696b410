"""The results of the studies of the theory: a text table, figures, and a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseworth.records import Number, Panel, TheoryStudy
from noiseworth.report.figures import COLOURS, label_ticks, plain_label, svg
from noiseworth.report.html import write_page


def theory_table(studies: Sequence[TheoryStudy]) -> str:
    """A text table with one line for each number of each study."""
    lines = []
    for study in studies:
        width = max(len(measured(number)) for number in study.numbers)
        lines += ["", f"{study.title} ({study.seconds:.0f} s)"]
        lines += [f"  {measured(number):<{width}}  {number.what}" for number in study.numbers]
    return "\n".join(lines[1:])


def measured(number: Number) -> str:
    """A number in words: value, 95% interval, unit, and the value that the theory gives."""
    interval = (
        "" if number.low is None or number.high is None else f" ({number.low:.3g} to {number.high:.3g})"
    )
    unit = f" {number.unit}" if number.unit and number.unit != "ratio" else ""
    expected = "" if number.expected is None else f", expected {number.expected:.3g}"
    return f"{number.value:.3g}{interval}{unit}{expected}"


def panel_figure(panel: Panel) -> str:
    """A panel as SVG text."""

    def draw(axes: Any) -> None:
        colours = iter(COLOURS * len(panel.series))
        colour = COLOURS[0]
        guides = sum(series.guide for series in panel.series)
        for series in panel.series:
            if series.guide:
                # Where every curve has a guide of its own, the guide gets the colour of the curve before it.
                shade = colour if guides > 1 else "#8a8f94"
                axes.plot(
                    series.x,
                    series.y,
                    color=shade,
                    linewidth=1.1,
                    linestyle="--",
                    label=plain_label(series.label),
                    zorder=1,
                )
                continue
            colour = next(colours)
            bars = None
            if series.low is not None and series.high is not None:
                below = [max(y - low, 0) for y, low in zip(series.y, series.low, strict=True)]
                bars = [below, [max(high - y, 0) for y, high in zip(series.y, series.high, strict=True)]]
            style: dict[str, Any] = {
                "color": colour,
                "label": plain_label(series.label),
                "linestyle": "none" if guides else "-",
            }
            axes.errorbar(series.x, series.y, bars, marker="o", markersize=4, linewidth=1.1, **style)
        axes.set(
            xlabel=plain_label(panel.x_label), ylabel=plain_label(panel.y_label), xscale="log", yscale="log"
        )
        for axis in (axes.xaxis, axes.yaxis):
            label_ticks(axis)
        axes.legend(fontsize=8, edgecolor="none", facecolor="white", framealpha=0.5)

    return svg(draw)


def figure_file(panel: Panel) -> str:
    """A panel as the text of an SVG file, on white, because a page may have a dark background."""
    head, body = panel_figure(panel).split(">", 1)
    return f'{head}><rect width="100%" height="100%" fill="white"/>{body}'


def write_theory_report(studies: Sequence[TheoryStudy], out: Path) -> Path:
    """Write one self-contained page with all numbers and figures of the studies, and return its path."""
    return write_page(
        "theory.html.j2",
        out,
        studies=studies,
        figures={panel.name: panel_figure(panel) for study in studies for panel in study.panels},
        measured=measured,
    )
