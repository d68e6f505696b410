"""Settings of features. No torch here, so that `--help` is quick."""

from dataclasses import dataclass, field

from noiseworth.errors import UserError
from noiseworth.options import POSITIONAL, StrPath, check, require_new_name

KINDS = ("auto", "classifier", "rotations", "pca")  # features that can be trained and saved


@dataclass(frozen=True)
class FeaturesConfig:
    """Train features on clean images and save them, so that later distances can be compared with today's."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set of clean images."""
    out: StrPath = field(metadata=POSITIONAL)
    """The new directory, for `noiseworth evaluate --features`."""
    kind: str = "auto"
    """"classifier" (needs labels), "rotations" (needs none) or "pca"; "auto" is "classifier" if there are
    labels, else "pca"."""
    held_out: StrPath | None = None
    """A packed data set of other clean images, on which the accuracy of a classifier is measured."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        if self.kind not in KINDS:
            raise UserError(f"--kind {self.kind}: must be one of {', '.join(KINDS)}")
