"""One training of a sweep, from its data to its record. The same on a worker of this machine and on one of a cluster."""

import fcntl
import os
import platform
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from noiseworth.data.corrupt import mix
from noiseworth.data.dataset import open_dataset
from noiseworth.errors import Stopped, UserError
from noiseworth.evaluate.features import Features
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.experiments.evaluation import evaluate
from noiseworth.experiments.features import make_features, read_all
from noiseworth.experiments.sweep.plan import train_config
from noiseworth.records import DoneRecord, SweepPlan, Trial, TrialRecord, load_record, to_json, write_atomically
from noiseworth.train.driver import run_training
from noiseworth.train.run import load_run

Outcome = Literal["done", "failed", "busy", "broken"]
FAILED, RECORD = "failed.txt", "trial.json"


def place_of(out: Path, trial: Trial) -> Path:
    """The directory of a trial."""
    return out / "trials" / trial.name


@contextmanager
def lock(place: Path) -> Iterator[bool]:
    """Whether this process holds the trial; a process that dies lets go of it. The file tells who holds it."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(f"{platform.node()} {os.getpid()}")
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


def holder(place: Path) -> tuple[str, int] | None:
    """Host and process that train it; None if nobody does. Only looks: to try the lock would keep a worker from it."""
    try:
        host, pid = (place / "lock").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ValueError):
        return None
    if host != platform.node():
        return host, int(pid)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return host, int(pid)


def try_trial(out: Path, plan: SweepPlan, trial: Trial) -> Outcome:
    """Train and measure a trial, unless it is done, has failed, or is in other hands; a failure is written down, not raised.

    Returns:
        "broken" if it failed in a way that nobody foresaw: this process may not be fit for another trial.

    Raises:
        Stopped: SIGINT or SIGTERM; the training is saved.
    """
    place = place_of(out, trial)
    with lock(place) as mine:
        if not mine:
            return "busy"
        if (place / RECORD).is_file():
            _clear(place)  # whoever wrote it may have died before
            return "done"
        if (place / FAILED).is_file():
            return "failed"
        try:
            record = _measure(place, plan, trial, _train(place, plan, trial))
            write_atomically(place / RECORD, to_json(record) + "\n")
        except UserError as error:
            write_atomically(place / FAILED, f"{error}\n")
            return "failed"
        except Stopped:
            raise
        except Exception as error:  # whatever it is, the other trials go on
            write_atomically(place / FAILED, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
            return "broken"
        _clear(place)
        return "done"


def _clear(place: Path) -> None:
    """Remove the trial's images, also those of a process that died while it wrote them."""
    for folder in (place / "data", *place.glob(".data.*.partial")):
        shutil.rmtree(folder, ignore_errors=True)


def _train(place: Path, plan: SweepPlan, trial: Trial) -> DoneRecord:
    """Train on the trial's data."""
    import torch
    from accelerate.state import AcceleratorState

    torch.set_num_threads(plan.threads)
    AcceleratorState._reset_state(reset_partial_state=True)  # it remembers the precision of the trial before
    if (place / "data").is_dir():
        made = open_dataset(place / "data").record.provenance[-1]
        if made.get("source_fingerprint") != _fingerprint(plan.data):
            raise UserError(f"{place}: was begun on other images than {plan.data} has; remove it to train it again")
    else:
        _clear(place)
        mix(plan.data, place / "data", clean=trial.clean, noisy=[(p.sigma, p.count) for p in trial.noisy], seed=trial.seed)
    return run_training(train_config(plan, trial, place), quiet=True)


def _measure(place: Path, plan: SweepPlan, trial: Trial, done: DoneRecord) -> TrialRecord:
    began = monotonic()
    distance = features = None
    if plan.n_generated:
        extract = _features(plan.data, plan.held_out)
        found = evaluate(
            place / "run",
            plan.data,
            held_out=plan.held_out,
            features=extract,
            n=plan.n_generated,
            steps=plan.steps,
            seed=trial.seed,
            quiet=True,
        )
        distance, features, risk = found.frechet_distance, found.features, found.risk
    else:
        risk = denoising_risk(load_run(place / "run").denoiser, read_all(open_dataset(plan.held_out)), seed=trial.seed)
    if risk is None:
        raise AssertionError("a run evaluated with held-out images has a risk")
    return TrialRecord(
        trial=trial,
        train=plan.train | trial.train,
        measured=_how(plan),
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
    """Trained once by each worker, and the same in all of them."""
    return make_features("auto", open_dataset(data), open_dataset(held_out))


def load_trial(out: Path, plan: SweepPlan, trial: Trial) -> TrialRecord | None:
    """The record of a trial that is done.

    Raises:
        UserError: it was made by other settings than the plan has now.
    """
    path = place_of(out, trial) / RECORD
    if not path.is_file():
        return None
    record = load_record(TrialRecord, path)
    for what, then, now in (("trained", record.train, plan.train | trial.train), ("measured", record.measured, _how(plan))):
        if then != now:
            key = next(key for key in {**then, **now} if then.get(key) != now.get(key))
            change = f"{key} was {then.get(key)!r}, is {now.get(key)!r}"
            raise UserError(f"{path}: was {what} otherwise than sweep.yaml says now ({change}); remove {path.parent} to train it again")
    return record


def _how(plan: SweepPlan) -> dict[str, Any]:
    """What decides how trials are measured."""
    return {
        "data": _fingerprint(plan.data),
        "held_out": _fingerprint(plan.held_out),
        "n_generated": plan.n_generated,
        "steps": plan.steps if plan.n_generated else None,
    }


@lru_cache(maxsize=8)
def _fingerprint(path: str) -> str:
    return open_dataset(path).record.fingerprint
