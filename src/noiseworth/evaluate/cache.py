"""What a reference's features are need not be computed twice: kept by the fingerprint of the images and the SHA-256 of the features.

Lies under `$NOISEWORTH_CACHE`, by default `~/.cache/noiseworth`; it may be removed at any time. A cache that
cannot be read or written is done without.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def cache_path(*key: str) -> Path:
    """Where the thing with this key lies, if it is there."""
    root = os.environ.get("NOISEWORTH_CACHE") or Path.home() / ".cache" / "noiseworth"
    return Path(root) / hashlib.sha256("\0".join(key).encode()).hexdigest()[:40]


def cached_array(key: tuple[str, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array of this key: from the cache, or made and kept."""
    path = cache_path(*key).with_suffix(".npy")
    try:
        kept: NDArray[Any] = np.load(path, allow_pickle=False)
        return kept
    except (OSError, ValueError, EOFError):
        pass
    made = make()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            np.save(file, made, allow_pickle=False)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
    return made
