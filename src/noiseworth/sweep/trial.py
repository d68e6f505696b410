"""One trial of a sweep, from its data to its record; the same on this machine and on a cluster."""

import shutil
import traceback
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.errors import Stopped, UserError
from noiseworth.evaluate.feature_registry import make_features
from noiseworth.evaluate.features import Features
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.process import is_disk_full, lock
from noiseworth.progress import quiet
from noiseworth.records import (
    DoneRecord,
    SweepPlan,
    Trial,
    TrialRecord,
    load_record,
    to_json,
    write_atomically,
)
from noiseworth.runs.config import EvaluationConfig
from noiseworth.runs.evaluation import evaluate
from noiseworth.runs.model import load_run
from noiseworth.sweep.images import Images
from noiseworth.sweep.plan import train_config
from noiseworth.train.driver import run_training

Outcome = Literal["done", "failed", "busy", "broken"]
FAILED, LOCK, RECORD = "failed.txt", "lock", "trial.json"


def trial_directory(out: Path, trial: Trial) -> Path:
    """The directory of a trial."""
    return out / "trials" / trial.name


def try_trial(out: Path, plan: SweepPlan, trial: Trial) -> Outcome:
    """Train and measure a trial, unless it is done, has failed, or another process holds it.

    A failure is not raised, but written to `failed.txt`.

    Returns:
        "busy" if another process holds it; "failed" after a `UserError`, now or before; "broken" after any
        other exception: this process should not take another trial.

    Raises:
        Stopped: SIGINT or SIGTERM; the training is saved.
        DiskFullError, OSError: no space is left; the trial has not failed, and goes on once there is room.
    """
    directory = trial_directory(out, trial)
    with lock(directory / LOCK) as is_ours:
        if not is_ours:
            return "busy"
        if (directory / RECORD).is_file():
            _clear(directory)  # the process that wrote the record may have died before it did so
            return "done"
        if (directory / FAILED).is_file():
            return "failed"
        try:
            record = _measure(directory, plan, trial, _train(directory, plan, trial))
            write_atomically(directory / RECORD, to_json(record) + "\n")
        except Stopped:
            raise
        except Exception as error:  # so that the other trials go on
            if is_disk_full(error):
                raise  # they cannot
            if isinstance(error, UserError):
                write_atomically(directory / FAILED, f"{error}\n")
                return "failed"
            write_atomically(
                directory / FAILED, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
            )
            return "broken"
        _clear(directory)
        return "done"


def _clear(directory: Path) -> None:
    """Remove the trial's images, also those of a process that died while it wrote them."""
    for folder in (directory / "data", *directory.glob(".data.*.partial")):
        shutil.rmtree(folder, ignore_errors=True)


def clear_done(out: Path, plan: SweepPlan) -> None:
    """Remove the images of trials that are done: a process may have died between their records and this."""
    for directory in (trial_directory(out, trial) for trial in plan.trials):
        if (directory / RECORD).is_file() and (directory / "data").exists():
            with lock(directory / LOCK) as is_ours:
                if is_ours:
                    _clear(directory)


def _train(directory: Path, plan: SweepPlan, trial: Trial) -> DoneRecord:
    """Train on the trial's data."""
    import torch

    torch.set_num_threads(plan.threads)
    if (directory / "data").is_dir():
        made = open_dataset(directory / "data").record.provenance[-1]
        if made.get("source_fingerprint") != _fingerprint(plan.data):
            raise UserError(
                f"{directory}: was begun with other images than {plan.data} has; remove it to train it again"
            )
    else:
        _clear(directory)
        Images(plan.data).mix(directory / "data", trial)
    with quiet():
        return run_training(train_config(plan, trial, directory))


def _measure(directory: Path, plan: SweepPlan, trial: Trial, done: DoneRecord) -> TrialRecord:
    began = monotonic()
    distance = features = None
    if plan.n_generated:
        extract = _features(plan.data, plan.held_out)
        run, n, steps = str(directory / "run"), plan.n_generated, plan.steps
        config = EvaluationConfig(
            run,
            plan.data,
            plan.held_out,
            n=n,
            steps=steps,
            schedule=plan.schedule,
            check_steps=0,
            seed=trial.seed,
        )
        with quiet():
            evaluation = evaluate(config, extract)
        distance, features, risk = evaluation.frechet_distance, evaluation.features, evaluation.risk
    else:
        risk = denoising_risk(
            load_run(directory / "run").denoiser, read_all(open_dataset(plan.held_out)), seed=trial.seed
        )
    if risk is None:
        raise AssertionError("a run evaluated with held-out images has a risk")
    return TrialRecord(
        trial=trial,
        train=plan.train | trial.train,
        measured=_measurement(plan),
        n_images=done.n_images,
        parameters=done.parameters,
        risk=risk,
        frechet_distance=distance,
        features=features,
        worth=done.worth,
        weights=done.weights,
        data_fingerprint=done.data_fingerprint,
        seconds=done.seconds + monotonic() - began,
    )


@lru_cache(maxsize=1)
def _features(data: str, held_out: str) -> Features:
    """Features for the Frechet distance: trained at most once by each worker, and equal in all of them."""
    reference = open_dataset(data)
    clean = reference.sigma == 0
    return make_features(
        "auto", reference.select(clean) if clean.any() else reference, open_dataset(held_out)
    )


def load_trial(out: Path, plan: SweepPlan, trial: Trial) -> TrialRecord | None:
    """The record of a trial that is done.

    Raises:
        UserError: it was made with other settings than the plan has now.
    """
    path = trial_directory(out, trial) / RECORD
    if not path.is_file():
        return None
    record = load_record(TrialRecord, path)
    for what, before, after in (
        ("trained", record.train, plan.train | trial.train),
        ("measured", record.measured, _measurement(plan)),
    ):
        if before != after:
            key = next(key for key in {**before, **after} if before.get(key) != after.get(key))
            change = f"{key} was {before.get(key)!r}, is now {after.get(key)!r}"
            raise UserError(
                f"{path}: was {what} with other settings than sweep.yaml has now ({change}); remove"
                f" {path.parent} to train it again"
            )
    return record


def _measurement(plan: SweepPlan) -> dict[str, Any]:
    """The settings and data that trials are measured with."""
    return {
        "data": _fingerprint(plan.data),
        "held_out": _fingerprint(plan.held_out),
        "n_generated": plan.n_generated,
        "steps": plan.steps if plan.n_generated else None,
    } | ({"schedule": plan.schedule} if plan.n_generated and plan.schedule != "edm" else {})


@lru_cache(maxsize=8)
def _fingerprint(path: str) -> str:
    return open_dataset(path).record.fingerprint
