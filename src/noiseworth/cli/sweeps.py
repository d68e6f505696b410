"""Commands on sweeps: many trainings by one plan."""

import json
from pathlib import Path
from typing import Literal

from noiseworth.cli.words import print_settings, say
from noiseworth.experiments.config import SweepConfig
from noiseworth.records import SweepStatus, to_json


def sweep_plan(config: SweepConfig, dry_run: bool, as_json: bool) -> None:
    """Write the plan of a sweep, OUT/sweep.yaml, to be read and edited before it is run."""
    from noiseworth.experiments.sweep.plan import make_plan, save_plan

    if dry_run:
        print_settings(config)
        return
    plan, too_many = make_plan(config)
    path = save_plan(plan, Path(config.out))
    if as_json:
        print(to_json(plan))
        return
    if too_many:
        say(f"noiseworth: {too_many} of the mixes need more images than {config.data} has, and were left out")
    print(f"{path}: {len(plan.trials):,} trainings; read it, then: noiseworth sweep run {config.out}")


def sweep_run(out: str, on: Literal["local", "ray"] = "local", jobs: int = 0, address: str | None = None, *, as_json: bool) -> int:
    """Train what is not trained yet. Ctrl-C stops and saves, the same command goes on. Exit code 1 if a training failed.

    Args:
        out: the sweep's directory.
        on: workers of this machine, or a Ray cluster that sees the directory and the data.
        jobs: trainings at a time on this machine; 0 for as many as its cores, or GPUs, allow.
        address: of a Ray cluster ("auto": the one of this machine); by default Ray is started for the sweep.
    """
    from noiseworth.experiments.sweep.collect import collect
    from noiseworth.experiments.sweep.run import run_sweep

    status = run_sweep(out, on=on, jobs=jobs, address=address, quiet=as_json)
    if status.done:
        table, _, _ = collect(out)
    if as_json:
        print(to_json(status))
    else:
        _print_status(status, failures_only=True)
        if status.done:
            print(f"{table}: for noiseworth fit, price and plan")
    return 1 if status.failed + status.running + status.waiting else 0


def sweep_status(out: str, *, as_json: bool) -> None:
    """Say how far a sweep has come, also while it runs elsewhere.

    Args:
        out: the sweep's directory.
    """
    from noiseworth.experiments.sweep.plan import load_plan
    from noiseworth.experiments.sweep.status import Watch

    status = Watch(Path(out), load_plan(Path(out))).look()
    if as_json:
        print(to_json(status))
    else:
        _print_status(status, failures_only=False)


def _print_status(status: SweepStatus, *, failures_only: bool) -> None:
    for trial in status.trials:
        if trial.state == "failed":
            print(f"failed   {trial.name}: {trial.error}")
        elif trial.state == "running" and not failures_only:
            print(f"running  {trial.name}: {trial.n_images:,} of {trial.of:,} images")
    counts = f"{status.done} done, {status.running} running, {status.failed} failed, {status.waiting} waiting"
    left = ""
    if status.running + status.waiting:
        left = ", nothing to estimate the rest from yet" if status.hours_left is None else f", about {status.hours_left:.3g} to come"
    print(f"{counts}; {status.hours_spent:.3g} worker hours spent{left}")


def sweep_collect(out: str, *, as_json: bool) -> None:
    """Write what is done into one table, OUT/observations.csv.

    Args:
        out: the sweep's directory.
    """
    from noiseworth.experiments.sweep.collect import collect

    table, rows, missing = collect(out)
    if as_json:
        print(json.dumps({"table": str(table), "rows": rows, "missing": missing}))
        return
    print(f"{table}: {rows:,} trainings" + (f"; {missing:,} are not done" if missing else ""))
