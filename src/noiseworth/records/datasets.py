"""What a data set says of itself."""

from dataclasses import dataclass
from typing import Any, Literal

DATASET_FORMAT = 1
Use = Literal["all", "clean", "noisy"]  # which images of a data set


@dataclass(frozen=True)
class PartRecord:
    """One folder of a data set: `count` images of one dtype, with or without labels."""

    folder: str
    dtype: str
    count: int
    labels: bool


@dataclass(frozen=True)
class DatasetRecord:
    """`dataset.json`. `model = (raw - offset) / scale`; sigma is always in model units."""

    format: int
    name: str
    shape: tuple[int, int, int]  # C, H, W
    offset: float
    scale: float
    units: str
    parts: list[PartRecord]
    fingerprint: str
    provenance: list[dict[str, Any]]

    @property
    def count(self) -> int:
        """Number of images in all parts."""
        return sum(part.count for part in self.parts)


@dataclass(frozen=True)
class SigmaGroup:
    """`count` images with noise level `sigma` (model units); `snr_db` is null for clean ones."""

    sigma: float
    count: int
    snr_db: float | None


@dataclass(frozen=True)
class Inspection:
    """What `noiseworth inspect` found. Values are in model units."""

    name: str
    shape: tuple[int, int, int]
    count: int
    parts: list[PartRecord]
    noise: list[SigmaGroup]
    unknown: int
    label_counts: list[int] | None
    minimum: float
    maximum: float
    mean: float
    standard_deviation: float
    fingerprint: str
