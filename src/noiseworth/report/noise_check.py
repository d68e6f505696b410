"""The page of `noise check`: a verdict, a picture and a remedy for each question."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noiseworth.records import ComparisonRecord, NoiseCheckRecord
from noiseworth.report.figures import COLOURS, svg
from noiseworth.report.html import data_uri, write_page


def write_noise_page(
    name: str, checks: list[NoiseCheckRecord], out: Path, *, pictures: list[tuple[str, bytes]]
) -> Path:
    """Write the page, and return its path.

    Args:
        name: of the data set.
        checks: with their pictures.
        out: the HTML file; an existing file is replaced.
        pictures: grids of images as (caption, PNG).
    """
    return write_page(
        "noise-check.html.j2",
        out,
        name=name,
        checks=[(c, svg(_drawing(c.picture)) if c.picture is not None else "") for c in checks],
        failing=[check.name for check in checks if check.verdict == "fails"],
        unclear=[check.name for check in checks if check.verdict == "unclear"],
        pictures=[(caption, data_uri(picture)) for caption, picture in pictures],
    )


def _drawing(picture: ComparisonRecord) -> Callable[[Any], None]:
    series = (("these images", picture.here, COLOURS[1]), ("white Gaussian noise", picture.ideal, COLOURS[0]))

    def draw(axes: Any) -> None:
        if picture.x and isinstance(picture.x[0], str):
            for number, (label, values, colour) in enumerate(series):
                places = [place + 0.38 * (number - 0.5) for place in range(len(values))]
                axes.bar(places, values, width=0.36, color=colour, label=label)
            axes.set_xticks(range(len(picture.x)), picture.x)
            axes.grid(visible=False, axis="x")
        else:
            for (label, values, colour), line in zip(series, ("-", "--"), strict=True):
                shown = [value if value > 0 or not picture.logarithmic else math.nan for value in values]
                axes.plot(picture.x, shown, line, color=colour, label=label, linewidth=1.8)
        if picture.logarithmic:
            axes.set_yscale("log")
            axes.margins(y=0.2)
        else:
            axes.set_ylim(0, 1.3 * max([*picture.here, *picture.ideal, 1e-12]))  # room for the legend
        axes.set(xlabel=picture.x_label, ylabel=picture.y_label)
        axes.legend(frameon=False, fontsize=9, ncols=2, loc="upper right")

    return draw
