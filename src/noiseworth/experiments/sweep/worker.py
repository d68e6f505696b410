"""A worker of a sweep on this machine: `python -m noiseworth.experiments.sweep.worker OUT` takes trial after trial until none is left.

Exit codes: 0 nothing left to take; 128 + number, stopped by a signal with the state saved; anything else, it died.
"""

import os
import signal
import sys
from pathlib import Path

from noiseworth.errors import Stopped
from noiseworth.experiments.sweep.plan import load_plan
from noiseworth.experiments.sweep.trial import try_trial


def work(out: Path) -> int:
    """Take trials in the plan's order."""
    signal.signal(signal.SIGTERM, _stop)  # between trainings too; while one runs it sees to it itself
    plan, parent = load_plan(out), os.getppid()
    try:
        for trial in plan.trials:
            if os.getppid() != parent:
                return 0  # the sweep was killed; another one's workers go on
            try_trial(out, plan, trial)
    except Stopped as stop:
        return 128 + stop.number
    return 0


def _stop(number: int, _: object) -> None:
    raise Stopped("stopped", number)


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1])))
