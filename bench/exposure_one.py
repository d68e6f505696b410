"""The price at every noise level from one training of mixed levels, against the sweep's. Used by `bench/exposure.py --claims one-training`.

The sweep is that of `exposure_real.py` on digits. Its price at a mix needs no law for noisy images: models of clean images alone, of six
sizes, tell how many clean images have the quality of the mix; prices by laws that are fitted to the sweep stand beside it. The single
training has the same numbers of clean and of noisy images, the noisy ones in equal parts of all five levels.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from checks import Checklist
from exposure_real import run_case
from noiseworth.laws.fit import LAWS, fit_best
from noiseworth.laws.marginal import average_price
from noiseworth.laws.observations import read_observations
from noiseworth.records import NoisyPart, Trial, TrialRecord, load_record
from noiseworth.sweep.plan import load_plan, save_plan
from processes import noiseworth

Array = NDArray[np.float64]
CLAIM = "exposure/one-training"
CLEAN, NOISY = 45, 405
SIGMAS = (0.1, 0.2, 0.4, 0.7, 1.2)
SEEDS = (0, 1, 2)
SIZES = (50, 150, 300, 450, 800, 1350)


def _record(folder: Path, trial: Trial) -> TrialRecord:
    return load_record(TrialRecord, folder / "trials" / trial.name / "trial.json")


def _risk(folder: Path, trial: Trial) -> float:
    risk: float = _record(folder, trial).risk.relative
    return risk


def _prices(sweep: Path, seed: int) -> Array:
    """Prices (S,) of the mix by the clean models of a seed: `E + A n^-alpha`, fitted to these, solved for the mix's quality."""
    n = np.array(SIZES, np.float64)
    log_risk = np.log([_risk(sweep, Trial(size, [], seed)) for size in SIZES])

    def off(p: Array) -> Array:
        return np.asarray(np.log(np.exp(p[0]) + np.exp(p[1]) * (n / 100) ** -np.exp(p[2])) - log_risk)

    fit = least_squares(off, np.log([0.9 * np.exp(log_risk.min()), 0.1, 1.0]), loss="soft_l1", f_scale=0.02)
    floor, amplitude, exponent = np.exp(fit.x)
    risks = np.array([_risk(sweep, Trial(CLEAN, [NoisyPart(s, NOISY)], seed)) for s in SIGMAS])
    alike = 100 * ((risks - floor) / amplitude) ** (-1 / exponent)
    return np.asarray(NOISY / (alike - CLEAN))


def check_one(checklist: Checklist, work: Path) -> dict[str, Any]:
    """Prices by three single trainings over those of the sweep."""
    run_case("digits", work)
    sweep, one = work / "digits-sweep", work / "digits-one"
    trials = [Trial(CLEAN, [NoisyPart(s, NOISY // len(SIGMAS)) for s in SIGMAS], seed) for seed in SEEDS]
    if not one.exists():
        save_plan(replace(load_plan(sweep), trials=trials), one)
    done = noiseworth("sweep", "run", str(one), "--jobs", "2")
    if done.returncode:
        raise SystemExit(done.stderr)
    by_sweep = np.array([_prices(sweep, seed) for seed in SEEDS])
    middle = np.exp(np.log(by_sweep).mean(axis=0))
    error = np.log(by_sweep).std(axis=0, ddof=1) / len(SEEDS) ** 0.5
    records = [_record(one, trial).worth for trial in trials]
    ends = [[w.price_low[-len(SIGMAS) :], w.price_high[-len(SIGMAS) :]] for w in records]
    by_one = np.array([w.price[-len(SIGMAS) :] for w in records], np.float64)
    low, high = (np.array([[np.inf if x is None else x for x in e[k]] for e in ends]) for k in (0, 1))
    ratio = by_one / middle
    words = f"price by one training of {CLEAN} clean and {NOISY} noisy images over the sweep's at that mix"
    for k, sigma in enumerate(SIGMAS):
        values = f"{by_one[:, k].mean():.2f} against {middle[k]:.2f}, whose standard error is {error[k]:.0%}"
        what = f"{words}, noise {sigma:g} ({values}), three seeds"
        checklist.add(CLAIM, f"{what}: at least", float(ratio[:, k].min()), 0.8, "min", "ratio")
        checklist.add(
            CLAIM, f"the same, noise {sigma:g}: at most", float(ratio[:, k].max()), 1.25, "max", "ratio"
        )
    covered = float(((low <= middle) & (middle <= high)).mean())
    what = (
        "intervals of the single trainings, whatever imputed images are worth, that contain the sweep's price"
    )
    checklist.add(CLAIM, what, covered, 1, "min", "share")
    observed = read_observations(str(sweep))
    some = observed.take(observed.n_clean >= CLEAN)
    for rows, words in ((observed, "all"), (some, f"those with {CLEAN} clean images or more")):
        law = fit_best(rows, LAWS)
        priced = [average_price(law, CLEAN, NOISY, rows.sigmas.index(sigma)) for sigma in SIGMAS]
        ratio = by_one / np.array(priced)
        what = f"the same over the price by the better law ({law.name}) of {words} of the sweep's models, five levels: at least"
        checklist.add(CLAIM, what, float(ratio.min()), 0.8, "min", "ratio")
        checklist.add(CLAIM, what.replace("at least", "at most"), float(ratio.max()), 1.25, "max", "ratio")
    return {
        "sweep, by seed": by_sweep.tolist(),
        "one training, by seed": by_one.tolist(),
        "sigmas": list(SIGMAS),
    }
