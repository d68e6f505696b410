"""Settings of the commands on noise. No numpy and no torch here, so that `--help` is quick."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from noiseworth.errors import UserError
from noiseworth.options import PAGE, PICTURE, POSITIONAL, SEVERAL, StrPath, check, require_new_name


@dataclass(frozen=True)
class EstimateConfig:
    """Measure the noise level of each image, with a 95% interval; clean images in the data set make it sharp."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set: the images of unknown noise are measured, those of sigma 0 are learned from. Without OUT, also what
    `noiseworth pack` reads: a folder, an archive, a file."""
    out: StrPath | None = field(default=None, metadata=POSITIONAL)
    """Directory of the new data set, with the levels that were measured. It works as long as the measured one stays where
    it is. Without it the levels are only said."""
    table: StrPath | None = field(default=None, metadata={"written": (".csv",)})
    """A CSV file for the level of each image with its 95% interval, in raw units; `noiseworth pack --sigma` reads it."""
    again: bool = False
    """Measure the noisy images whose level is known, too, and put what was measured in its place."""
    seed: int = 0
    """Decides the noise that is added to clean images to learn from."""

    def __post_init__(self) -> None:
        check(self)
        if self.out is not None:
            require_new_name(self)


@dataclass(frozen=True)
class CleanConfig:
    """Find out which images are clean, where nobody says: those that seem to have far less noise than the others."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set with images of unknown noise."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set, in which the clean images are clean; it works as long as the other one stays where it
    is. Images of which it is not sure are left out."""
    picture: StrPath | None = field(default=None, metadata=PICTURE)
    """A PNG file for a grid of images, from the cleanest to the noisiest."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)


@dataclass(frozen=True)
class CheckConfig:
    """Check that noise is what training takes it for: white, Gaussian, independent of the signal, of mean zero, whole, of the declared
    level."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set of noisy images, and of clean ones of the same kind, which they are compared with."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file for all of it, with a picture of each answer."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CalibrateConfig:
    """Measure a camera's noise, with 95% intervals: gain, offset and read noise from frames of even light and frames without light; or
    how noise grows with brightness, from ordinary pictures; or the noise of an MRI scanner, from its magnitude images."""

    flats: Sequence[StrPath] = field(metadata=SEVERAL)
    """Packed data sets of raw frames of even, constant light, one for each level of light, three frames or more in each; without
    --dark, of raw pictures of ordinary scenes, a hundred or more."""
    out: StrPath = field(metadata={"written": (".json",)})
    """A JSON file for the numbers."""
    dark: StrPath | None = None
    """A packed data set of raw frames without light, of the same exposure; from 50 on, pixels are told from each other."""
    same_scene: bool = False
    """Without --dark: the pictures of each data set are of one scene, in which nothing moves; two of each are enough."""
    magnitude: bool = False
    """The images are magnitudes, as of MRI, with air around what they show: measures the noise of the complex signal."""
    header: str | None = None
    """Measure nothing, and take what the headers of FITS files (given in place of data sets) state, under the keywords of electrons
    for each raw unit, of the read noise in electrons and, if there is one, of the offset in raw units: EGAIN,RDNOISE,PEDESTAL."""

    def __post_init__(self) -> None:
        check(self)
        if self.same_scene + self.magnitude + (self.dark is not None) + (self.header is not None) > 1:
            raise UserError(
                "--dark, --same-scene, --magnitude and --header exclude each other: each is a way of its own"
            )


@dataclass(frozen=True)
class StabiliseConfig:
    """Make the noise of a camera or an MRI scanner Gaussian and of one level, by a transform of all values; training then takes it."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set with a noise model (`pack --noise`), of noisy images, clean ones, or both."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set."""
    noise: StrPath | None = None
    """The noise model in a JSON file, where the data set has none: images of unknown noise have it. Held-out clean images need the
    one of the images that are trained on."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)


@dataclass(frozen=True)
class HideConfig:
    """Add to damaged images (blurred, compressed, of unknown quality) the noise that hides the damage: with it, training can use them."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set of clean images (sigma 0) and of damaged ones, whose noise is unknown."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set: the damaged images, each with noise of its own level, and the clean ones."""
    seed: int = 0
    """Decides the noise."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
