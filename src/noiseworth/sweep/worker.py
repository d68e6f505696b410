"""A worker of a sweep on this machine: takes one trial after another. The sweep's process starts it:

    python -m noiseworth.sweep.worker OUT PID < sweep.yaml

`PID` is the sweep's process: if that ends, the worker saves and stops, so that it does not keep the machine
busy. The name of the trial that it trains is written to OUT/trials/.worker-PID (here its own PID).

Exit codes: 0, no trial is left, or the last one was "broken" (see `try_trial`); 128 + number, stopped by a
signal, with the state saved; `NO_SPACE`, the disk is full; any other, it died.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from noiseworth.errors import Stopped, UserError
from noiseworth.process import Interrupted, is_disk_full
from noiseworth.sweep.plan import parse_plan
from noiseworth.sweep.trial import try_trial

NO_SPACE = os.EX_IOERR


def worker_note(out: Path, pid: int) -> Path:
    """The file in which a worker writes the name of its trial."""
    return out / "trials" / f".worker-{pid}"


def work(out: Path, parent: int) -> int:
    """Take trials in the plan's order."""
    signal.signal(signal.SIGTERM, _stop)  # for the time between trainings; a training handles it itself
    threading.Thread(target=_stop_with_parent, args=(parent,), daemon=True).start()
    plan, note = parse_plan(sys.stdin.read(), "stdin"), worker_note(out, os.getpid())
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        for trial in plan.trials:
            note.write_text(trial.name, encoding="utf-8")
            if try_trial(out, plan, trial) == "broken":
                break
    except (Stopped, Interrupted) as stop:
        note.unlink(missing_ok=True)  # a parent that was killed does not do it
        return 128 + stop.number
    except (OSError, UserError) as error:
        if not is_disk_full(error):
            raise
        return NO_SPACE
    return 0


def _stop(number: int, _: object) -> None:
    raise Interrupted(number)  # an import that it interrupts must not take it for an error of the trial


def _stop_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), int(sys.argv[2])))
