"""Workers of one machine: processes of their own, so that none can bring down another, or the sweep."""

import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from noiseworth.errors import UserError
from noiseworth.experiments.sweep.trial import FAILED, held_by, holder, place_of
from noiseworth.records import SweepPlan, SweepStatus, write_atomically

TRIES = 3  # of a trial whose worker dies
_PAUSE = 0.5
_ASK = 60.0  # seconds between looking whether somebody else's trial has become free
_PATIENCE = 120.0  # seconds for workers to save what they train


def room(plan: SweepPlan) -> int:
    """Trainings at a time: as many as there are GPUs, or else cores, for.

    Raises:
        UserError: they want a GPU, and this machine has none.
    """
    if plan.gpus:
        import torch

        if not torch.cuda.is_available():
            raise UserError("the plan wants GPUs and there is none here; set gpus: 0 in sweep.yaml, or use a cluster (--on ray)")
        return max(1, int(torch.cuda.device_count() / plan.gpus))
    return max(1, len(os.sched_getaffinity(0)) // plan.threads)


def run_locally(out: Path, plan: SweepPlan, jobs: int, look: Callable[[], SweepStatus]) -> None:
    """Keep `jobs` workers at work until every trial is done or failed.

    Raises:
        UserError: workers die before they take a trial.
    """
    workers: dict[int, subprocess.Popen[bytes]] = {}  # by slot
    deaths: Counter[str] = Counter()
    places = {trial.name: place_of(out, trial) for trial in plan.trials}
    log, asked = out / "workers.log", -_ASK
    try:
        while True:
            for slot, worker in list(workers.items()):
                if worker.poll() is None:
                    continue
                del workers[slot]
                if worker.returncode == 0:
                    continue
                name = next((name for name, place in places.items() if held_by(place, worker.pid)), "")
                deaths[name] += 1
                if deaths[name] >= TRIES:
                    if not name:
                        raise UserError(f"{out}: its workers die before they take a trial; the end of {log} says why")
                    why = f"signal {-worker.returncode}" if worker.returncode < 0 else f"exit code {worker.returncode}"
                    write_atomically(places[name] / FAILED, f"its worker died {TRIES} times ({why}; too little memory?); see {log}\n")
            left = [t.name for t in look().trials if t.state in ("running", "waiting")]
            if not left:
                return
            held = [found for name in left if (found := holder(places[name]))]
            busy = {pid for host, pid in held if host == platform.node()}
            idle, free = sum(worker.pid not in busy for worker in workers.values()), len(left) - len(held)
            if free == 0 and not workers and time.monotonic() - asked > _ASK:
                free, asked = 1, time.monotonic()  # all in others' hands, perhaps those of a machine that has gone
            for slot in range(jobs):
                if slot not in workers and idle < free:
                    workers[slot] = _start(out, plan, slot, log)
                    idle += 1
            time.sleep(_PAUSE)
    finally:
        _stop(list(workers.values()))


def _start(out: Path, plan: SweepPlan, slot: int, log: Path) -> "subprocess.Popen[bytes]":
    """A worker in a session of its own: Ctrl-C in the terminal is for the sweep, which tells its workers."""
    environment = os.environ | {"OMP_NUM_THREADS": str(plan.threads)}
    if plan.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = str(int(slot * plan.gpus))
    command = [sys.executable, "-m", "noiseworth.experiments.sweep.worker", str(out)]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def _stop(workers: "list[subprocess.Popen[bytes]]") -> None:
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + _PATIENCE
    for worker in workers:
        try:
            worker.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
