"""Settings of features. No torch here, so that `--help` is quick."""

from dataclasses import dataclass, field

from noiseworth.errors import UserError
from noiseworth.options import POSITIONAL, StrPath

KINDS = ("auto", "classifier", "rotations", "pca")  # features that can be trained and kept


@dataclass(frozen=True)
class FeaturesConfig:
    """Train features on clean images and keep them, so that later distances compare with today's."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set of clean images."""
    out: StrPath = field(metadata=POSITIONAL)
    """The new directory, for `noiseworth evaluate --features`."""
    kind: str = "auto"
    """"classifier" by the labels, "rotations" without labels, or "pca"; by default the first, or without labels the last."""
    held_out: StrPath | None = None
    """A packed data set of other clean images, on which the accuracy of a classifier is measured."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"--kind {self.kind}: must be one of {', '.join(KINDS)}")
