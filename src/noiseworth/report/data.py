"""The page of a data set: pixel values, noise levels, images, and faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.records import Inspection
from noiseworth.report.figures import COLOURS, svg
from noiseworth.report.html import data_uri, write_page


def write_data_page(inspection: Inspection, out: Path, *, pictures: list[tuple[str, bytes]]) -> Path:
    """Write the page of a data set, and return its path.

    Args:
        inspection: the record of `inspect`.
        out: the HTML file; an existing file is replaced.
        pictures: grids of images as (caption, PNG).
    """
    return write_page(
        "data.html.j2",
        out,
        inspection=inspection,
        values=svg(_values(inspection)),
        noise=svg(_noise(inspection)) if any(group.sigma > 0 for group in inspection.noise) else None,
        pictures=[(name, data_uri(picture)) for name, picture in pictures],
    )


def _values(inspection: Inspection) -> Callable[[Any], None]:
    edges = np.linspace(
        inspection.minimum,
        inspection.maximum if inspection.maximum > inspection.minimum else inspection.minimum + 1,
        len(inspection.histogram) + 1,
    )

    def draw(axes: Any) -> None:
        axes.stairs(
            np.array(inspection.histogram) / max(sum(inspection.histogram), 1),
            edges,
            fill=True,
            color=COLOURS[0],
            alpha=0.75,
        )
        axes.axvline(-1, color="#999999", linewidth=0.8)
        axes.axvline(1, color="#999999", linewidth=0.8)
        axes.set(
            xlabel="pixel value (model units; clean ones lie between the lines)", ylabel="share of the pixels"
        )

    return draw


def _noise(inspection: Inspection) -> Callable[[Any], None]:
    names = ["clean" if group.sigma == 0 else f"{group.sigma:.3g}" for group in inspection.noise]

    def draw(axes: Any) -> None:
        axes.bar(range(len(names)), [group.count for group in inspection.noise], color=COLOURS[1], width=0.7)
        axes.set_xticks(range(len(names)), names, rotation=45 if len(names) > 8 else 0)
        axes.set(xlabel="noise σ (model units)", ylabel="images")
        axes.grid(visible=False, axis="x")

    return draw
