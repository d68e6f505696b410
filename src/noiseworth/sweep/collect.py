"""`observations.csv`: a row for each finished trial, for `noiseworth fit`, `price`, `plan` and others."""

import csv
import io
from pathlib import Path
from typing import Any

from noiseworth.errors import UserError
from noiseworth.laws.tables import TABLE
from noiseworth.options import with_options
from noiseworth.records import CollectRecord, SweepPlan, TrialRecord, write_atomically
from noiseworth.sweep.config import SweepCollectConfig
from noiseworth.sweep.plan import load_plan
from noiseworth.sweep.trial import load_trial


@with_options(SweepCollectConfig)
def collect(config: SweepCollectConfig) -> CollectRecord:
    """Write the table of a sweep.

    Raises:
        UserError: no trial is done.
    """
    out = Path(config.out)
    return write_table(out, load_plan(out))


def write_table(out: Path, plan: SweepPlan) -> CollectRecord:
    """Write the table of the sweep in `out`, whose plan was loaded already.

    Raises:
        UserError: no trial is done.
    """
    records = [record for trial in plan.trials if (record := load_trial(out, plan, trial)) is not None]
    if not records:
        raise UserError(f"{out}: no trial is done yet; `noiseworth sweep run {out}` trains them")
    settings = sorted({key for record in records for key in record.train})
    rows = [_row(record, settings) for record in records]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(out / TABLE, text.getvalue())
    return CollectRecord(str(out / TABLE), len(rows), len(plan.trials) - len(rows))


def _row(record: TrialRecord, settings: list[str]) -> dict[str, Any]:
    noisy = record.trial.noisy
    of = record.worth
    worth = dict(zip(of.sigmas, of.mean_worth, strict=True))
    # Of records of older versions the ends are unknown.
    low, high = (
        dict(zip(of.sigmas, ends, strict=True)) if ends else {} for ends in (of.price_low, of.price_high)
    )
    # The record's noise levels were stored in float32: take the nearest to each level of the plan.
    own = [min(worth, key=lambda s, p=part: abs(s - p.sigma)) for part in noisy]  # type: ignore[misc]
    return {
        "trial": record.trial.name,
        "n_clean": record.trial.clean,
        "n_noisy": ";".join(str(part.count) for part in noisy) or 0,
        "sigma": ";".join(f"{part.sigma:g}" for part in noisy),
        "risk": record.risk.relative,
        "frechet_distance": "" if record.frechet_distance is None else record.frechet_distance,
        "seed": record.trial.seed,
        "predicted_worth": ";".join(f"{worth[s]:.6g}" for s in own),
        "predicted_price_low": ";".join(_text(low.get(s)) for s in own),
        "predicted_price_high": ";".join(_text(high.get(s)) for s in own),
        "seconds": round(record.seconds, 1),
        **{f"train.{key}": record.train.get(key, "") for key in settings},
    }


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"
