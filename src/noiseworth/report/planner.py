"""The planner: a self-contained page that computes the best purchase for a budget, with sliders."""

import json
from pathlib import Path
from typing import Any

from noiseworth.laws.budget import Market, least_clean_share
from noiseworth.laws.fit import refits
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.report.html import read_asset, write_page

_DRAWS = 60  # refits of the law, for the intervals


def write_planner(
    law: Law,
    observations: Observations,
    market: Market,
    budget: float,
    have: tuple[float, float],
    out: Path,
    *,
    source: str,
) -> Path:
    """Write the page, and return its path.

    Args:
        law: fitted to `observations`; its bootstrap gives the intervals of the page.
        observations: trained models.
        market, budget, have: initial values of the sliders; `have` is the numbers of clean and of noisy
            images that are there already.
        out: the HTML file; an existing file is replaced.
        source: name of the source of the observations.
    """
    totals = observations.n_clean + observations.n_noisy.sum(axis=1)
    data = {
        "sigmas": list(law.sigmas),
        "law": law_of_page(law),
        "draws": [law_of_page(other) for other in refits(law, observations, _DRAWS)],
        "least": [least_clean_share(observations, column) for column in range(len(law.sigmas))],
        "seen": [float(totals.min()), float(totals.max())],
        "start": {
            "budget": budget,
            "clean_price": market.clean_price,
            "noisy_price": market.noisy_price,
            "sigma": law.sigmas.index(market.sigma),
            "have_clean": have[0],
            "have_noisy": have[1],
        },
    }
    return write_page(
        "planner.html.j2",
        out,
        tool_style=read_asset("planner.css"),
        script="".join(read_asset(name) for name in ("sliders.js", "purchase.js", "planner.js")),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        source=source,
        count=len(observations),
        currencies=len(law.terms()[1]),
    )


def law_of_page(law: Law) -> dict[str, Any]:
    """The law as purchase.js evaluates it."""
    floor, terms = law.terms()
    rows = [{"A": A, "alpha": alpha, "r": rates.tolist()} for A, alpha, rates in terms]
    return {"unit": law.unit, "E": floor, "terms": rows}
