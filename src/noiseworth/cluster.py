"""A Ray cluster, joined or started for one command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noiseworth.errors import UserError


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected; if it was not before, for as long as the block lasts.

    Args:
        address: of the cluster; None starts one on this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--on ray needs Ray: pip install 'noiseworth[ray]'") from None
    own = not ray.is_initialized()
    try:
        if own:
            # Ray's workers have a low priority by default; those that we start shall not.
            os.environ.setdefault("RAY_worker_niceness", "0")
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"--address {address}: no Ray cluster there ({' '.join(str(error).split())[:200]})"
        ) from None
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()
