"""The page of a fit: measured against predicted quality, residuals, and prices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.laws.fit import fit_law
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.records import LawRecord
from noiseworth.report.figures import COLOURS, label_ticks, svg
from noiseworth.report.html import write_page

NAMES = {"one": "One currency", "two": "Two currencies"}


def write_law_page(observations: Observations, record: LawRecord, out: Path) -> Path:
    """Write the page of a fit, and return its path.

    Args:
        observations: trained models, to which the laws are fitted.
        record: the record of `laws.describe.describe` for these observations.
        out: the HTML file; an existing file is replaced.
    """
    laws = {name: fit_law(observations, name) for name in record.aicc}
    return write_page(
        "laws.html.j2",
        out,
        record=record,
        names=NAMES,
        prices=svg(_prices(record)),
        figures={
            name: (svg(measured_figure(observations, law)), svg(residual_figure(observations, law)))
            for name, law in laws.items()
        },
    )


def _groups(o: Observations) -> list[tuple[str, Any]]:
    """Groups of models, as (label, mask): clean images alone, each noise level, several levels at once."""
    noisy = o.n_noisy > 0
    groups = [("clean alone", ~noisy.any(axis=1))]
    groups += [(f"noise {s:g}", noisy[:, k] & (noisy.sum(axis=1) == 1)) for k, s in enumerate(o.sigmas)]
    groups += [("several levels", noisy.sum(axis=1) > 1)]
    return [(label, rows) for label, rows in groups if rows.any()]


def measured_figure(o: Observations, law: Law) -> Callable[[Any], None]:
    """Draws measured against predicted quality."""
    predicted = law.predict(o)

    def draw(axes: Any) -> None:
        ends = [min(predicted.min(), o.quality.min()), max(predicted.max(), o.quality.max())]
        axes.plot(ends, ends, color="#999999", linewidth=0.8)
        for (label, rows), colour in zip(_groups(o), COLOURS * len(o), strict=False):
            axes.plot(predicted[rows], o.quality[rows], "o", markersize=4.5, color=colour, label=label)
        axes.set(xscale="log", yscale="log", xlabel="predicted quality", ylabel="measured quality")
        label_ticks(axes.xaxis)
        label_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=9)

    return draw


def residual_figure(o: Observations, law: Law) -> Callable[[Any], None]:
    """Draws what is left over, against the number of clean images; of all images where some models have no clean ones."""
    residuals = 100 * (o.quality / law.predict(o) - 1)
    has_clean = bool((o.n_clean > 0).all())
    count = o.n_clean if has_clean else o.n_clean + o.n_noisy.sum(axis=1)

    def draw(axes: Any) -> None:
        axes.axhline(0, color="#999999", linewidth=0.8)
        axes.axhspan(-200 * law.scale, 200 * law.scale, color="#1b6ca8", alpha=0.07, linewidth=0)
        for (label, rows), colour in zip(_groups(o), COLOURS * len(o), strict=False):
            axes.plot(count[rows], residuals[rows], "o", markersize=4.5, color=colour, label=label)
        words = "clean images" if has_clean else "images"
        axes.set(xscale="log", xlabel=words, ylabel="measured over predicted, percent")
        axes.legend(frameon=False, fontsize=9)

    return draw


def _prices(record: LawRecord) -> Callable[[Any], None]:
    sigmas = [p.sigma for p in record.prices]
    price = np.array([p.price for p in record.prices])
    low = np.array([1 / p.rate_high for p in record.prices])
    high = np.maximum([1 / max(p.rate_low, 1e-3) for p in record.prices], price)

    def draw(axes: Any) -> None:
        axes.errorbar(
            sigmas,
            price,
            [price - low, high - price],
            fmt="o",
            color=COLOURS[0],
            label="one currency, 95% interval",
        )
        for p in record.prices:
            if p.most is not None:
                wrong = p.least > p.most
                axes.plot(
                    [p.sigma * 1.03] * 2,
                    [p.least, p.most],
                    color=COLOURS[1],
                    linewidth=3,
                    alpha=0.4 if wrong else 0.9,
                )
        axes.plot([], [], color=COLOURS[1], linewidth=3, label="by inequalities (pale: contradictory)")
        axes.set(
            xscale="log", yscale="log", xlabel="noise (model units)", ylabel="noisy images for one clean"
        )
        label_ticks(axes.xaxis)
        label_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=9)

    return draw
