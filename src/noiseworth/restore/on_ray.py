"""Restoring on a Ray cluster, whose machines must all see the images and the output: the workers are processes of the same command."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from noiseworth.cluster import ray_cluster
from noiseworth.errors import UserError
from noiseworth.progress import progress_bar, quiet
from noiseworth.restore.config import RestoreConfig

_PATIENCE = 10.0  # seconds, for workers that are stopped


def restore_on_ray(config: RestoreConfig, pieces: int, count_done: Callable[[], int]) -> None:
    """Restore the pieces on as many GPUs (or cores, where there is none) as the cluster has, and wait.

    A worker that is lost leaves its pieces to the others, and the last ones to the process that called this.

    Raises:
        UserError: Ray is not installed, there is no cluster, or a worker refused what it was given.
    """
    with ray_cluster(config.address) as ray:
        gpus, cores = (int(ray.cluster_resources().get(name, 0)) for name in ("GPU", "CPU"))
        task = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=0)(_task)
        alone = replace(config, on="local", address=None, page=None)
        waiting = [task.remote(alone, str(Path.cwd())) for _ in range(max(min(gpus or cores, pieces), 1))]
        try:
            with progress_bar(
                total=pieces, unit=" pieces", desc=f"restoring in {len(waiting)} workers"
            ) as bar:
                while waiting:
                    ready, waiting = ray.wait(waiting, timeout=0.5)
                    bar.update(count_done() - bar.n)
                    for reference in ready:
                        _take(ray, reference)
        finally:
            for reference in waiting:
                ray.cancel(reference)
            if waiting:
                ray.wait(waiting, num_returns=len(waiting), timeout=_PATIENCE)


def _take(ray: Any, reference: Any) -> None:
    """Raises what a worker refused; a worker that was lost is no error, since others do its work."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise
    except ray.exceptions.RayError:
        pass


def _task(config: RestoreConfig, folder: str) -> None:
    """The same command on a worker. Paths are relative to `folder`, in which it was started."""
    from noiseworth.restore.command import restore_images

    os.chdir(folder)
    with quiet():
        restore_images.run(config)
