"""Carrying a sweep out, on this machine or on Ray: live progress, interruption, and what is tried again."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from noiseworth.errors import Stopped, UserError
from noiseworth.experiments.sweep.local import room, run_locally
from noiseworth.experiments.sweep.plan import load_plan
from noiseworth.experiments.sweep.status import Watch
from noiseworth.experiments.sweep.trial import FAILED, place_of
from noiseworth.records import SweepStatus


def run_sweep(
    out: Path | str, *, on: Literal["local", "ray"] = "local", jobs: int = 0, address: str | None = None, quiet: bool = False
) -> SweepStatus:
    """Train and measure every trial that is not done, also those that failed before.

    Args:
        out: the directory of a plan.
        on: workers of this machine, or a Ray cluster (`pip install 'noiseworth[ray]'`) whose machines all see `out` and the data; the
            records are the same.
        jobs: trainings at a time on this machine; 0 for as many as its cores, or GPUs, allow. Ray decides by what each needs.
        address: of a Ray cluster; by default a new one on this machine.
        quiet: no progress.

    Raises:
        UserError: the plan is wrong, or Ray is not installed.
        Stopped: SIGINT or SIGTERM; what was trained is saved.
    """
    if jobs < 0:
        raise UserError(f"--jobs {jobs}: must be at least 1, or 0 for as many as there is room for")
    out = Path(out)
    plan = load_plan(out)
    watch = Watch(out, plan)
    watch.look()  # refuses records of other settings before anything begins
    for trial in plan.trials:
        (place_of(out, trial) / FAILED).unlink(missing_ok=True)
    with _Progress(watch, quiet) as progress, _signals():
        try:
            if on == "ray":
                from noiseworth.experiments.sweep.on_ray import run_on_ray

                with redirect_stdout(sys.stderr):  # where Ray tells of lost workers; stdout is for what was asked
                    run_on_ray(out, plan, address, progress.look)
            else:
                run_locally(out, plan, jobs or room(plan), progress.look)
        except _Interrupted as stop:
            raise Stopped(f"{out}: stopped and saved; the same command goes on from there", stop.number) from None
    return watch.look()


class _Interrupted(BaseException):
    """A signal came; not an Exception, so that nothing on the way takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise `_Interrupted`, once: a second one does not keep the workers from saving."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise _Interrupted(number)

    before = {}
    with suppress(ValueError):  # not the main thread: signals are somebody else's
        before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """One line over all trials, in images; another for each failure."""

    def __init__(self, watch: Watch, quiet: bool) -> None:
        self.watch, self.quiet = watch, quiet
        status = watch.look()
        self.begun, self.began = sum(t.n_images for t in status.trials), time.monotonic()
        self.said: set[str] = set()
        self.bar = tqdm(
            total=sum(t.of for t in status.trials),
            initial=self.begun,
            bar_format="{desc} |{bar}| {percentage:3.0f}%",
            disable=quiet or not (status.running + status.waiting),
            leave=False,
            dynamic_ncols=True,
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def look(self) -> SweepStatus:
        """The status, which is shown, too."""
        status = self.watch.look()
        now = sum(t.n_images for t in status.trials)
        left = sum(t.of - t.n_images for t in status.trials if t.state in ("running", "waiting"))
        rate = (now - self.begun) / max(time.monotonic() - self.began, 1e-9)
        words = [f"{count} {name}" for name, count in _counts(status) if count]
        words += [f"{tqdm.format_interval(left / rate)} left"] if rate > 0 else []
        self.bar.set_description_str(", ".join(words), refresh=False)
        self.bar.update(now - self.bar.n)
        self.bar.refresh()
        for trial in status.trials:
            if trial.state == "failed" and trial.name not in self.said:
                self.said.add(trial.name)
                tqdm.write(f"noiseworth: failed: {trial.name}: {trial.error}", file=sys.stderr)
        return status


def _counts(status: SweepStatus) -> list[tuple[str, int]]:
    return [("done", status.done), ("running", status.running), ("failed", status.failed), ("waiting", status.waiting)]
