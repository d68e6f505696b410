"""Progress of a sweep, read from the files in its directory, so that any process can ask while it runs."""

import json
from pathlib import Path

from noiseworth.options import with_options
from noiseworth.process import holder
from noiseworth.records import SweepPlan, SweepStatus, TrialRecord, TrialState
from noiseworth.sweep.config import SweepStatusConfig
from noiseworth.sweep.plan import load_plan, train_config
from noiseworth.sweep.trial import FAILED, LOCK, load_trial, trial_directory

_TAIL = 4096


@with_options(SweepStatusConfig)
def read_status(config: SweepStatusConfig) -> SweepStatus:
    """Progress of a sweep.

    Raises:
        UserError: there is no such sweep, or a record was made with other settings.
    """
    out = Path(config.out)
    return StatusReader(out, load_plan(out)).read()


class StatusReader:
    """Reads the status as often as asked; a trial's record is read only once."""

    def __init__(self, out: Path, plan: SweepPlan) -> None:
        self.out, self.plan = out, plan
        self._records: dict[str, TrialRecord] = {}
        self._cost = {
            trial.name: train_config(plan, trial, trial_directory(out, trial)).n_images
            for trial in plan.trials
        }

    def read(self) -> SweepStatus:
        """The status now.

        Raises:
            UserError: a record cannot be read, or was made with other settings.
        """
        states = []
        for trial in self.plan.trials:
            name, of = trial.name, self._cost[trial.name]
            directory = trial_directory(self.out, trial)
            if name not in self._records and (record := load_trial(self.out, self.plan, trial)) is not None:
                self._records[name] = record
            if name in self._records:
                states.append(TrialState(name, "done", of, of))
            elif (directory / FAILED).is_file():
                states.append(
                    TrialState(name, "failed", images_seen(directory), of, _failure(directory / FAILED))
                )
            else:
                seen = images_seen(directory)
                states.append(
                    TrialState(name, "running" if holder(directory / LOCK) else "waiting", seen, of)
                )
        spent = sum(record.seconds for record in self._records.values())
        return SweepStatus(
            done=sum(s.state == "done" for s in states),
            running=sum(s.state == "running" for s in states),
            failed=sum(s.state == "failed" for s in states),
            waiting=sum(s.state == "waiting" for s in states),
            hours_spent=spent / 3600,
            hours_left=self._hours(states),
            trials=states,
        )

    def _hours(self, states: list[TrialState]) -> float | None:
        """Hours that one worker still needs, at the mean time per image of the trials that are done."""
        left = [s.of - s.n_images for s in states if s.state in ("running", "waiting")]
        if not left:
            return 0.0
        done = list(self._records.values())
        if not done:
            return None
        per_image = sum(r.seconds for r in done) / sum(r.n_images for r in done)
        return sum(left) * per_image / 3600


def images_seen(directory: Path) -> int:
    """Images that a run has seen, from the last line of its metrics."""
    path = directory / "run" / "metrics.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["n_images"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that is still being written, or one whose start was not read
    return 0


def _failure(path: Path) -> str:
    """Why a trial failed, in one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0] if lines else "no reason is recorded"
