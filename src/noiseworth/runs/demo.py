"""`noiseworth demo`: Table 1 of arXiv 2411.02780 in miniature, on scikit-learn's 8x8 digits.

Four models of the same size and training length differ only in their data: all images clean (`clean`); only
a tenth of them, clean (`clean_small`); all noisy (`noisy`); that tenth clean and the rest noisy (`mixed`).
About 4 minutes on two cores. Expected: the Frechet distance of `mixed` is close to that of `clean`; those of
`clean_small` and `noisy` are several times larger.
"""

import resource
from pathlib import Path
from time import monotonic

from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.image_grid import grid_png
from noiseworth.data.pack import pack
from noiseworth.data.sources import DIGITS
from noiseworth.evaluate.feature_registry import make_features
from noiseworth.evaluate.features import Features
from noiseworth.progress import notice
from noiseworth.records import (
    REGIMES,
    DemoSummary,
    Evaluation,
    RegimeSummary,
    Use,
    load_record,
    machine,
    to_json,
    versions,
    write_atomically,
)
from noiseworth.records.directory import claim
from noiseworth.report.demo import write_demo_report
from noiseworth.runs.config import DemoConfig, EvaluationConfig
from noiseworth.runs.evaluation import evaluate
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

CLEAN_FRACTION = 0.1
HELD_OUT = 297  # of 1,797, so that 1,500 are trained on

# With levels chosen for the data ten steps have converged: twice as many move no distance by more than its
# interval (results/demo.json). The time saved goes into more images, since the Frechet distance of few images is
# biased upwards.
_STEPS = 10
_SHEET = 96  # images on a picture


def run_demo(config: DemoConfig) -> DemoSummary:
    """Run the demo, or continue one that was interrupted: finished parts are not repeated.

    Writes `summary.json`, `report.html` and, for each regime, a run with `evaluation.json`.

    Raises:
        UserError: the directory holds something else, or a demo with other settings.
        Stopped: SIGINT or SIGTERM came while training; the state is saved.
    """
    out = Path(config.out)
    settings = {name: getattr(config, name) for name in ("seed", "sigma", "n_images", "n_generated")}
    claim(out, "demo.json", settings, what="a demo", fresh=config.fresh)
    if (out / "summary.json").is_file():
        notice(f"{out}: is complete already; --fresh runs it again")
        summary = load_record(DemoSummary, out / "summary.json")
    else:
        summary = _run(config, out)
        write_atomically(out / "summary.json", to_json(summary) + "\n")
    clean = open_dataset(out / "data" / "digits" / "train")
    write_demo_report(summary, out, grid_png(clean.read_first(_SHEET)))
    return summary


def _run(config: DemoConfig, out: Path) -> DemoSummary:
    """Train and measure the four models."""
    began = monotonic()
    data = _make_data(out / "data", config)
    train, held_out = data["clean"], out / "data" / "digits" / "held-out"
    features = make_features("classifier", open_dataset(train), open_dataset(held_out))
    overhead = monotonic() - began
    regimes, result = {}, None
    for number, regime in enumerate(REGIMES, 1):
        run = out / regime
        use: Use = "clean" if regime == "clean_small" else "all"
        train_config = TrainConfig(
            data=str(data[regime]),
            out=str(run),
            use=use,
            n_images=config.n_images,
            seed=config.seed,
            held_out=str(held_out),
            monitor_every=config.n_images // 2,
            device="cpu",  # the same numbers with and without a GPU
        )
        done = run_training(train_config, label=f"[{number}/{len(REGIMES)}] {regime}")
        began = monotonic()
        result = _evaluate_once(run, train, held_out, features, config)
        sigma = open_dataset(data[regime]).use(use).sigma
        if result.risk is None:
            raise AssertionError("a run evaluated with held-out images has a risk")
        regimes[regime] = RegimeSummary(
            frechet_distance=result.frechet_distance,
            denoising_risk=result.risk.relative,
            n_images=done.n_images,
            seconds=done.seconds + monotonic() - began,
            n_clean=int((sigma == 0).sum()),
            n_noisy=int((sigma > 0).sum()),
            trained_from=done.trained_from,
            worth=done.worth,
            risk=result.risk,
        )
    if result is None or result.held_out_distance is None:
        raise AssertionError("the demo has regimes, and held-out images")
    return DemoSummary(
        regimes=regimes,
        seconds=overhead + sum(r.seconds for r in regimes.values()),
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        seed=config.seed,
        sigma=config.sigma,
        held_out_distance=result.held_out_distance,
        features=result.features,
        machine=machine(),
        versions=versions(),
    )


def _make_data(folder: Path, config: DemoConfig) -> dict[str, Path]:
    """The data set of each regime. The split does not depend on the seed, so neither do the features."""
    digits, noisy, mixed = folder / "digits", folder / "noisy", folder / "mixed"
    if not digits.exists():
        pack(DIGITS, str(digits), sigma=0.0, held_out=HELD_OUT, name="digits")
    for directory, fraction in ((noisy, 0.0), (mixed, CLEAN_FRACTION)):
        if not directory.exists():
            corrupt(
                str(digits / "train"),
                str(directory),
                clean_fraction=fraction,
                sigma=config.sigma,
                seed=config.seed,
            )
    return {"clean": digits / "train", "clean_small": mixed, "noisy": noisy, "mixed": mixed}


def _evaluate_once(
    run: Path, train: Path, held_out: Path, features: Features, config: DemoConfig
) -> Evaluation:
    if (run / "evaluation.json").is_file():
        kept = load_record(Evaluation, run / "evaluation.json")
        asked = (config.n_generated, _STEPS, config.seed, features.describe())
        if kept.risk is not None and (kept.n_generated, kept.steps, kept.seed, kept.features) == asked:
            return kept
    evaluation = EvaluationConfig(
        str(run), str(train), str(held_out), n=config.n_generated, steps=_STEPS, seed=config.seed
    )
    return evaluate(evaluation, features)
