"""The page of a data set: values, noise levels, pictures, and what is wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.records import Inspection
from noiseworth.report.figures import COLOURS, svg
from noiseworth.report.html import data_uri, write_page


def write_data_page(found: Inspection, out: Path, *, pictures: list[tuple[str, bytes]]) -> Path:
    """Write the page.

    Args:
        found: what `inspect` found.
        out: the HTML file; a file that is there is replaced.
        pictures: grids of images as PNG, with what they show.
    """
    return write_page(
        "data.html.j2",
        out,
        found=found,
        values=svg(_values(found)),
        noise=svg(_noise(found)) if any(group.sigma > 0 for group in found.noise) else None,
        pictures=[(name, data_uri(picture)) for name, picture in pictures],
    )


def _values(found: Inspection) -> Callable[[Any], None]:
    edges = np.linspace(found.minimum, found.maximum if found.maximum > found.minimum else found.minimum + 1, len(found.histogram) + 1)

    def draw(axes: Any) -> None:
        axes.stairs(np.array(found.histogram) / max(sum(found.histogram), 1), edges, fill=True, color=COLOURS[0], alpha=0.75)
        axes.axvline(-1, color="#999999", linewidth=0.8)
        axes.axvline(1, color="#999999", linewidth=0.8)
        axes.set(xlabel="pixel value (model units; clean ones lie between the lines)", ylabel="share of the pixels")

    return draw


def _noise(found: Inspection) -> Callable[[Any], None]:
    names = ["clean" if group.sigma == 0 else f"{group.sigma:.3g}" for group in found.noise]

    def draw(axes: Any) -> None:
        axes.bar(range(len(names)), [group.count for group in found.noise], color=COLOURS[1], width=0.7)
        axes.set_xticks(range(len(names)), names, rotation=45 if len(names) > 8 else 0)
        axes.set(xlabel="noise σ (model units)", ylabel="images")
        axes.grid(visible=False, axis="x")

    return draw
