"""The planner of exposures: a self-contained page that computes the best exposures for a budget, with sliders."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import WORDS, Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.quality import AT, CURVE, LEVELS
from noiseworth.report.figures import svg
from noiseworth.report.html import read_asset, write_page
from noiseworth.report.laws import measured_figure, residual_figure


def write_exposure_planner(
    law: Law,
    others: list[Law],
    observations: Observations,
    instrument: Instrument,
    budget: float,
    out: Path,
    *,
    source: str,
    beyond: list[str],
) -> Path:
    """Write the page, and return its path.

    Args:
        law: of two currencies, or a curve; fitted to `observations`.
        others: laws that are as likely, for the intervals of the page.
        observations: trained models.
        instrument, budget: initial values of the sliders.
        out: the HTML file; an existing file is replaced.
        source: name of the source of the observations.
        beyond: what the page shall say of noise beyond that of the observed models.
    """
    totals = observations.n_clean + observations.n_noisy.sum(axis=1)
    data = {
        "law": curves_of_page(law),
        "draws": [curves_of_page(other) for other in others],
        "seen": [float(totals.min()), float(totals.max())],
        "machine": asdict(instrument),
        "budget": budget,
        "beyond": beyond,
    }
    return write_page(
        "exposure.html.j2",
        out,
        tool_style=read_asset("planner.css"),
        script="".join(read_asset(name) for name in ("sliders.js", "exposure.js", "exposure-page.js")),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        source=source,
        count=len(observations),
        law=WORDS[law.name],
        measured=svg(measured_figure(observations, law)),
        residuals=svg(residual_figure(observations, law)),
    )


def curves_of_page(law: Law) -> dict[str, Any]:
    """The law as exposure.js evaluates it: worth as a curve of the noise in each currency."""
    p = np.exp(law.parameters)
    E, A, alpha = (float(value) for value in p[:3])
    if law.name == LEVELS:
        k, q, n0 = (float(value) for value in p[3:])
        rows = [{"A": A / len(AT), "alpha": alpha, "s0": k * float(t), "q": q, "n0": n0} for t in AT]
    else:
        curves = [(1, 2, 3, 4)] if law.name == CURVE else [(1, 2, 5, 6), (3, 4, 7, 8)]
        rows = [dict(zip(("A", "alpha", "s0", "q"), p[list(at)].tolist(), strict=True)) for at in curves]
    return {"unit": law.unit, "E": E, "terms": rows}
