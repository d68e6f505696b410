"""Workers on one machine, each a process of its own: if one dies, the others and the sweep continue."""

import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from noiseworth.errors import UserError
from noiseworth.process import DiskFullError, holder, is_disk_full
from noiseworth.records import SweepPlan, SweepStatus, write_atomically
from noiseworth.sweep.plan import plan_text
from noiseworth.sweep.trial import FAILED, LOCK, trial_directory
from noiseworth.sweep.worker import NO_SPACE, worker_note

TRIES = 3  # times that a trial is tried whose worker dies
_PAUSE = 0.5  # seconds between looks at the workers
_ASK = 60.0  # seconds between checks whether another process has given up a trial
PATIENCE = 120.0  # seconds for workers to save their state before they are killed


def room(plan: SweepPlan) -> int:
    """How many trainings this machine can run at a time, by its GPUs if they use any, else by its cores.

    Raises:
        UserError: one training needs more GPUs than this machine has.
    """
    if plan.gpus:
        available = len(_gpus())
        if available < plan.gpus:
            raise UserError(
                f"a training needs {plan.gpus:g} GPUs, this machine has {available}; change gpus in"
                " sweep.yaml, or use a cluster (--on ray)"
            )
        if plan.gpus < 1:  # several trainings share one
            return available * int(1 / plan.gpus)
        return available // math.ceil(plan.gpus)
    return max(1, len(os.sched_getaffinity(0)) // plan.threads)


def run_locally(out: Path, plan: SweepPlan, jobs: int, read_status: Callable[[], SweepStatus]) -> None:
    """Keep `jobs` workers busy until every trial is done or has failed.

    Raises:
        UserError: workers die before they take a trial, the disk is full, or there are too few GPUs for `jobs`
            workers.
    """
    if plan.gpus and jobs > room(plan):
        raise UserError(f"--jobs {jobs}: there are only GPUs for {room(plan)}")
    workers: dict[int, subprocess.Popen[bytes]] = {}  # by slot
    deaths: Counter[str] = Counter()
    directories = {trial.name: trial_directory(out, trial) for trial in plan.trials}
    log, asked = out / "workers.log", -_ASK
    try:
        while True:
            for slot, worker in list(workers.items()):
                if worker.poll() is not None:
                    del workers[slot]
                    _note_death(out, worker, directories, deaths, log)
            left = [t.name for t in read_status().trials if t.state in ("running", "waiting")]
            if not left:
                return
            held = [by for name in left if (by := holder(directories[name] / LOCK))]
            busy = {pid for host, pid in held if host == platform.node()}
            idle = sum(worker.pid not in busy for worker in workers.values())
            free = len(left) - len(held)
            if free == 0 and not workers and time.monotonic() - asked > _ASK:
                # Others hold all trials, perhaps a machine that is gone: let one worker try to take one.
                free = 1
                asked = time.monotonic()
            for slot in range(jobs):
                if slot not in workers and idle < free:
                    workers[slot] = _start(out, plan, slot, log)
                    idle += 1
            time.sleep(_PAUSE)
    except OSError as error:
        raise (no_space(out) if is_disk_full(error) else error) from None
    finally:
        _stop(list(workers.values()))
        for note in (out / "trials").glob(".worker-*"):
            note.unlink(missing_ok=True)


def no_space(out: Path) -> DiskFullError:
    """The error that a sweep ends with where the disk is full."""
    return DiskFullError(f"{out}: no space left on the disk; make room, and the same command goes on")


def _note_death(
    out: Path,
    worker: "subprocess.Popen[bytes]",
    directories: dict[str, Path],
    deaths: Counter[str],
    log: Path,
) -> None:
    """Count a worker's death for the trial that it trained; after `TRIES` of them the trial has failed.

    A worker that was stopped by a signal to stop, or that ended normally, does not count.

    Raises:
        DiskFullError: it found the disk full, as would every other.
        UserError: workers die before they take a trial.
    """
    note = worker_note(out, worker.pid)
    name = note.read_text(encoding="utf-8") if note.is_file() else ""
    note.unlink(missing_ok=True)
    code = worker.returncode
    if code in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT):
        return
    if code == NO_SPACE:
        raise no_space(out)
    deaths[name] += 1
    if deaths[name] < TRIES:
        return
    if not name:
        raise UserError(f"{out}: workers die before they take a trial; the end of {log} says why")
    why = f"signal {-code}" if code < 0 else f"exit code {code}"
    write_atomically(
        directories[name] / FAILED, f"its worker died {TRIES} times ({why}; too little memory?); see {log}\n"
    )


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _start(out: Path, plan: SweepPlan, slot: int, log: Path) -> "subprocess.Popen[bytes]":
    """Start a worker in a session of its own: Ctrl-C reaches only the sweep, which then stops its workers."""
    mine = []  # a plan without GPUs hides them, so that records do not depend on the machine
    if plan.gpus:
        each = math.ceil(plan.gpus)
        sharing = max(1, int(1 / plan.gpus))
        mine = _gpus()[slot // sharing * each :][:each]
    environment = os.environ | {"OMP_NUM_THREADS": str(plan.threads), "CUDA_VISIBLE_DEVICES": ",".join(mine)}
    command = [sys.executable, "-m", "noiseworth.sweep.worker", str(out), str(os.getpid())]
    with log.open("ab") as file, tempfile.TemporaryFile() as text:
        text.write(plan_text(plan).encode())
        text.seek(0)
        return subprocess.Popen(
            command, stdin=text, stdout=file, stderr=file, env=environment, start_new_session=True
        )


def _stop(workers: "list[subprocess.Popen[bytes]]") -> None:
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + PATIENCE
    for worker in workers:
        try:
            worker.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
