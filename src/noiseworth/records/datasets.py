"""What a data set says of itself."""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from noiseworth.records.checks import require
from noiseworth.records.noise import NoiseCheckRecord

DATASET_FORMAT = 1
_DTYPE = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|[<>=|]?[biuf][1248]")
_MOST_VALUES = 2**40  # in one image
Use = Literal["all", "clean", "noisy"]  # which images of a data set


@dataclass(frozen=True)
class PartRecord:
    """One folder of a data set: `count` images of one dtype, with or without labels.

    Of a view the images lie elsewhere: `images` is the path of their `images.npy` (relative to this data set,
    or an address), of which `rows.npy` in the folder says which; `fingerprint` is that of the data set that
    they belong to, `offset` and `scale` those of its raw values where they differ from this data set's.
    `interval` says whether its noise was measured: `interval.npy` then has the ends of each image's interval.
    `noise` is the kind of its noise where that is not white and Gaussian: `noise.json` in the folder then has the model
    (`noiseworth.noise.models`), for an image of sigma 1 where sigma is a measure of it. `missing` says whether NaN in its
    images stands for pixels that were not measured.
    """

    folder: str
    dtype: str
    count: int
    labels: bool
    images: str | None = None
    fingerprint: str = ""
    offset: float | None = None
    scale: float | None = None
    interval: bool = False
    noise: str = ""
    missing: bool = False

    def __post_init__(self) -> None:
        is_name = self.folder not in ("", ".", "..") and not set("/\\\0") & set(self.folder)
        require(is_name, f"folder {self.folder!r:.60} must be the name of a folder of the data set")
        require(bool(_DTYPE.fullmatch(self.dtype)), f"dtype {self.dtype!r:.60} must be a type of numbers")
        require(self.count >= 0, f"count {self.count} must be 0 or more")
        require(self.scale is None or self.scale > 0, f"scale {self.scale} must be above 0")


@dataclass(frozen=True)
class StabilisedRecord:
    """The units before noise was stabilised (`noiseworth.noise.stabilise`): the noise model, and `model = (raw - offset) / scale`."""

    noise: dict[str, Any]
    offset: float
    scale: float
    units: str


@dataclass(frozen=True)
class DatasetRecord:
    """`dataset.json`. `model = (raw - offset) / scale`; sigma is always in model units. Of a data set whose noise was made Gaussian,
    `stabilised` says what its values were before."""

    format: int
    name: str
    shape: tuple[int, int, int]  # C, H, W
    offset: float
    scale: float
    units: str
    parts: list[PartRecord]
    fingerprint: str
    provenance: list[dict[str, Any]]
    stabilised: StabilisedRecord | None = None

    def __post_init__(self) -> None:
        is_shape = min(self.shape) >= 1 and math.prod(self.shape) <= _MOST_VALUES
        require(is_shape, f"shape {self.shape} must be channels, height and width of an image")
        require(self.scale > 0, f"scale {self.scale} must be above 0")
        require(self.count >= 1, "parts must hold at least one image")
        require(len(self.provenance) >= 1, "provenance must say how the data set was made")

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
    other_noise: list[str]  # what is not white, or has missing pixels, in words
    unknown: int
    label_counts: list[int] | None
    minimum: float
    maximum: float
    mean: float
    standard_deviation: float
    fingerprint: str
    histogram: list[int]  # of the values, in equal bins from minimum to maximum
    not_finite: int  # pixels
    at_limits: float  # share of the noisy images' pixels at the ends of a type that clips
    duplicates: list[list[int]]  # groups of images with the same pixels
    duplicate_images: int  # in all such groups
    leaks: list[
        list[int]
    ]  # (noisy image, clean image): the noisy one looks like the clean one with noise added
    leak_checked: int  # noisy images that were looked at
    noise_checks: list[
        NoiseCheckRecord
    ]  # as `noiseworth noise check`; none where there are too few clean or noisy images to tell


@dataclass(frozen=True)
class UnpackRecord:
    """What `noiseworth unpack` wrote: `count` files of a format and a type of values in `path`; `rounding` is the largest change of a
    value, in raw units."""

    path: str
    count: int
    format: str
    dtype: str
    rounding: float
