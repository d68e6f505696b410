"""Packing a source, and what came of it."""

from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack


def packed(source: Path, out: Path, **options: Any) -> np.ndarray:
    """The raw images (N, C, H, W) of a source, in the type that they are stored in; clean unless `sigma` says otherwise."""
    pack(source, out, **({"sigma": 0.0} | options))
    data = open_dataset(out)
    return data.read_raw(np.arange(len(data)), data.record.parts[0].dtype)


def provenance(out: Path) -> dict[str, Any]:
    """What a packed data set says of how it was made."""
    made: dict[str, Any] = open_dataset(out).record.provenance[0]
    return made


def measured(source: Path, out: Path, **options: Any) -> np.ndarray:
    """As `packed`, with the range of the values as black and white."""
    return packed(source, out, **({"measured_range": True} | options))
