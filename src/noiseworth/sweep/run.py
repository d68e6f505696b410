"""Carrying out a sweep, on this machine or on Ray: progress, interruption, retries of failed trials."""

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from tqdm import tqdm

from noiseworth.errors import Stopped
from noiseworth.options import with_options
from noiseworth.process import Interrupted, raised_signals
from noiseworth.progress import notice, progress_bar
from noiseworth.records import SweepStatus
from noiseworth.sweep.collect import write_table
from noiseworth.sweep.config import SweepRunConfig
from noiseworth.sweep.local import room, run_locally
from noiseworth.sweep.plan import load_plan
from noiseworth.sweep.status import StatusReader
from noiseworth.sweep.trial import FAILED, clear_done, trial_directory


@with_options(SweepRunConfig)
def run_sweep(config: SweepRunConfig) -> SweepStatus:
    """Train and measure every trial that is not done, also those that failed before; then write the table.

    Raises:
        UserError: the plan is wrong, or Ray is not installed.
        Stopped: SIGINT or SIGTERM; what was trained is saved.
    """
    out = Path(config.out)
    plan = load_plan(out)
    reader = StatusReader(out, plan)
    reader.read()  # raises, before anything begins, if a record was made with other settings
    for trial in plan.trials:
        (trial_directory(out, trial) / FAILED).unlink(missing_ok=True)
    with _Progress(reader) as progress, raised_signals():
        try:
            if config.on == "ray":
                from noiseworth.sweep.on_ray import run_on_ray

                # Ray reports lost workers on stdout, which is for the command's own output.
                with redirect_stdout(sys.stderr):
                    run_on_ray(out, plan, config.address, progress.read)
            else:
                run_locally(out, plan, config.jobs or room(plan), progress.read)
        except Interrupted as stop:
            raise Stopped(
                f"{out}: stopped and saved; the same command goes on from there", stop.number
            ) from None
    status = reader.read()
    clear_done(out, plan)
    if status.done:
        write_table(out, plan)
    return status


class _Progress:
    """One progress bar for all trials, in images seen; and a line for each failure."""

    def __init__(self, reader: StatusReader) -> None:
        self.reader = reader
        status = reader.read()
        self.begun = sum(t.n_images for t in status.trials)  # images seen before this sweep was started
        self.began = time.monotonic()
        self.reported: set[str] = set()
        self.bar = progress_bar(
            total=sum(t.of for t in status.trials),
            initial=self.begun,
            bar_format="{desc} |{bar}| {percentage:3.0f}%",
            disable=not (status.running + status.waiting),
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def read(self) -> SweepStatus:
        """Read the status, and show it."""
        status = self.reader.read()
        seen = sum(t.n_images for t in status.trials)
        left = sum(t.of - t.n_images for t in status.trials if t.state in ("running", "waiting"))
        rate = (seen - self.begun) / max(time.monotonic() - self.began, 1e-9)
        words = [f"{count} {name}" for name, count in _counts(status) if count]
        words += [f"{tqdm.format_interval(left / rate)} left"] if rate > 0 else []
        self.bar.set_description_str(", ".join(words), refresh=False)
        self.bar.update(seen - self.bar.n)
        self.bar.refresh()
        for trial in status.trials:
            if trial.state == "failed" and trial.name not in self.reported:
                self.reported.add(trial.name)
                notice(f"failed: {trial.name}: {trial.error}")
        return status


def _counts(status: SweepStatus) -> list[tuple[str, int]]:
    return [
        ("done", status.done),
        ("running", status.running),
        ("failed", status.failed),
        ("waiting", status.waiting),
    ]
