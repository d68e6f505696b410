"""How far a sweep has come, from what lies in its directory; any process can ask, also while it runs elsewhere."""

import json
from pathlib import Path

from noiseworth.experiments.sweep.plan import train_config
from noiseworth.experiments.sweep.trial import FAILED, holder, load_trial, place_of
from noiseworth.records import SweepPlan, SweepStatus, TrialRecord, TrialState

_TAIL = 4096


class Watch:
    """Looks again and again; records that were read once are not read again."""

    def __init__(self, out: Path, plan: SweepPlan) -> None:
        self.out, self.plan = out, plan
        self._records: dict[str, TrialRecord] = {}
        self._cost = {trial.name: train_config(plan, trial, place_of(out, trial)).n_images for trial in plan.trials}

    def look(self) -> SweepStatus:
        """The status now.

        Raises:
            UserError: a record cannot be read, or was made by other settings.
        """
        states = []
        for trial in self.plan.trials:
            name, of = trial.name, self._cost[trial.name]
            place = place_of(self.out, trial)
            if name not in self._records and (record := load_trial(self.out, self.plan, trial)) is not None:
                self._records[name] = record
            if name in self._records:
                states.append(TrialState(name, "done", of, of))
            elif (place / FAILED).is_file():
                states.append(TrialState(name, "failed", seen(place), of, first_line(place / FAILED)))
            else:
                began = seen(place)
                states.append(TrialState(name, "running" if holder(place) else "waiting", began, of))
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
        """Hours of one worker to come, at the time for each image of those that are done."""
        left = [s.of - s.n_images for s in states if s.state in ("running", "waiting")]
        if not left:
            return 0.0
        done = list(self._records.values())
        if not done:
            return None
        per_image = sum(r.seconds for r in done) / sum(r.n_images for r in done)
        return sum(left) * per_image / 3600


def seen(place: Path) -> int:
    """Images that a run has seen, by the end of its metrics."""
    path = place / "run" / "metrics.jsonl"
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
            continue  # a line that is being written, or the end of a longer one
    return 0


def first_line(path: Path) -> str:
    """What failed, in one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0] if lines else "it does not say why"
