"""A cache of features on disk. The key: fingerprint of the images and SHA-256 of what computes the features.

It lies under `$NOISEWORTH_CACHE`, by default `~/.cache/noiseworth`, and may be removed at any time. If it
cannot be read or written, the features are computed again.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.process import file_beside


def cache_path(*key: str) -> Path:
    """Where the entry of this key lies, if there is one."""
    root = os.environ.get("NOISEWORTH_CACHE") or Path.home() / ".cache" / "noiseworth"
    return Path(root) / hashlib.sha256("\0".join(key).encode()).hexdigest()[:40]


def cached_array(key: tuple[str, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array of this key: read from the cache, or made by `make` and stored there."""
    path = cache_path(*key).with_suffix(".npy")
    try:
        kept: NDArray[Any] = np.load(path, allow_pickle=False)
        return kept
    except (OSError, ValueError, EOFError):
        pass
    made = make()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_beside(path) as file:
            np.save(file, made)
    return made
