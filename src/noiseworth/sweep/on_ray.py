"""Trials on Ray: one machine, or a cluster whose machines all see the sweep's directory and its data."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noiseworth.cluster import ray_cluster
from noiseworth.errors import Stopped, UserError
from noiseworth.process import is_disk_full
from noiseworth.records import SweepPlan, SweepStatus, write_atomically
from noiseworth.sweep.local import PATIENCE, TRIES, no_space
from noiseworth.sweep.plan import parse_plan, plan_text
from noiseworth.sweep.trial import FAILED, try_trial


def run_on_ray(
    out: Path, plan: SweepPlan, address: str | None, read_status: Callable[[], SweepStatus]
) -> None:
    """Give all trials to Ray, and wait. If a worker or machine is lost, another goes on from the checkpoint.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, none of its machines has enough
            cores or GPUs for a training, or the disk is full.
    """
    with ray_cluster(address) as ray:
        waiting = {}
        try:
            for name, wanted in (("CPU", plan.threads), ("GPU", plan.gpus)):
                most = max(
                    (node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]), default=0
                )
                if wanted > most:
                    raise UserError(
                        f"a training needs {wanted:g} {name}s, no machine of the cluster has more than"
                        f" {most:g}; change sweep.yaml"
                    )
            task = ray.remote(
                num_cpus=plan.threads,
                num_gpus=plan.gpus,
                max_retries=TRIES - 1,
                retry_exceptions=[TrialStoppedError],
            )(_task)
            text, folder = plan_text(plan), str(Path.cwd())
            left = [t.name for t in read_status().trials if t.state in ("running", "waiting")]
            waiting = {task.options(name=name).remote(str(out), text, name, folder): name for name in left}
            while waiting:
                ready, _ = ray.wait(list(waiting), timeout=0.5)
                for reference in ready:
                    _take(ray, reference, out / "trials" / waiting.pop(reference))
                read_status()
        finally:
            for reference in waiting:
                ray.cancel(reference)  # SIGINT to its worker: the training is saved
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=PATIENCE)


class TrialStoppedError(Exception):
    """A worker was stopped by something other than the sweep: another worker takes its trial."""


def _take(ray: Any, reference: Any, directory: Path) -> None:
    """If a trial has no result, write down why.

    Raises:
        DiskFullError: the disk is full, so that no other trial can have one.
    """
    try:
        ray.get(reference)
        return
    except ray.exceptions.RayTaskError as error:
        if error.cause is not None and is_disk_full(error.cause):
            raise no_space(directory.parent.parent) from None
        reason = str(error.cause or error).strip().splitlines()[-1]
    except ray.exceptions.RayError as error:
        reason = f"its worker was lost {TRIES} times ({str(error).strip().splitlines()[0]})"
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / FAILED, reason + "\n")


def _task(out: str, text: str, name: str, folder: str) -> str:
    """One trial on a Ray worker. Paths are relative to `folder`, in which the sweep was started."""
    os.chdir(folder)
    plan = parse_plan(text, "the plan")
    if not plan.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # so that records do not depend on the machine
    trial = {trial.name: trial for trial in plan.trials}[name]
    try:
        while (outcome := try_trial(Path(out), plan, trial)) == "busy":
            time.sleep(1)  # a worker that Ray has given up still holds it
    except Stopped:
        raise TrialStoppedError(name) from None
    return outcome
