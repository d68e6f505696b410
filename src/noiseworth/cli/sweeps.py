"""What the commands on sweeps print."""

from pathlib import Path

from noiseworth.records import CollectRecord, SweepPlan, SweepStatus
from noiseworth.sweep.config import SweepCollectConfig, SweepConfig, SweepRunConfig, SweepStatusConfig


def print_plan(config: SweepConfig, plan: SweepPlan) -> None:
    """Where the plan is, and what to do with it."""
    path = Path(config.out) / "sweep.yaml"
    print(f"{path}: {len(plan.trials):,} trainings; read it, then: noiseworth sweep run {config.out}")


def print_run(config: SweepRunConfig, status: SweepStatus) -> None:
    """The failures, the counts, and the table."""
    _print_trials(status, states=("failed",))
    _print_counts(status)
    if status.done:
        print(f"{Path(config.out) / 'observations.csv'}: for noiseworth fit, price and plan")


def exit_code(status: SweepStatus) -> int:
    """1 if a training failed, or was left out."""
    return int(status.failed + status.running + status.waiting > 0)


def print_status(config: SweepStatusConfig, status: SweepStatus) -> None:
    """The failures, what is running, and the counts."""
    _print_trials(status, states=("failed", "running"))
    _print_counts(status)


def _print_trials(status: SweepStatus, states: tuple[str, ...]) -> None:
    for trial in status.trials:
        if trial.state in states:
            progress = (
                trial.error if trial.state == "failed" else f"{trial.n_images:,} of {trial.of:,} images"
            )
            print(f"{trial.state:<8} {trial.name}: {progress}")


def _print_counts(status: SweepStatus) -> None:
    counts = f"{status.done} done, {status.running} running, {status.failed} failed, {status.waiting} waiting"
    left = ""
    if status.running + status.waiting:
        left = (
            f", about {status.hours_left:.3g} to come"
            if status.hours_left is not None
            else ", no estimate of the rest yet"
        )
    print(f"{counts}; {status.hours_spent:.3g} worker hours spent{left}")


def print_collected(config: SweepCollectConfig, record: CollectRecord) -> None:
    """The table and what is missing from it."""
    missing = f"; {record.missing:,} are not done" if record.missing else ""
    print(f"{record.table}: {record.rows:,} trainings{missing}")
