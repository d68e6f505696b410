"""Settings of `restore`. No torch here, so that `--help` is quick."""

from dataclasses import dataclass, field
from typing import Literal

from noiseworth.errors import UserError
from noiseworth.options import PAGE, POSITIONAL, StrPath, check, require_at_least, require_new_name


@dataclass(frozen=True)
class RestoreConfig:
    """Take the noise out of images with a trained model, and say of each pixel how sure that is.

    After an interruption, the same command goes on; given several times at once, the processes share the work.
    """

    run: StrPath = field(metadata=POSITIONAL)
    """Directory of the run."""
    images: StrPath = field(metadata=POSITIONAL)
    """Noisy images: a packed data set; or a file, or a folder of files (TIFF, PNG, FITS, MRC, NIfTI, .npy), whose values
    are in the raw units of the training data."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory for what is restored: files under their own names, in their own format; of a data set, a data set called
    restored, and maps as .npy. Maps are in raw units: std, the standard deviation of each pixel; low and high, the ends of its 90%
    interval; share, how much of what is shown the data show."""
    sigma: float | str | None = None
    """Noise of files: one number for all, rules on names, or a table, as for `noiseworth pack`. By default it is measured, with the
    run itself; data sets have their own."""
    sigma_units: Literal["model", "raw"] = "raw"
    """Units of sigma: those of the raw values, or model units."""
    maps: bool = True
    """Make the maps; they take sixteen more calls of the network for each channel."""
    samples: int = 0
    """Draws of each clean image: what else it could be."""
    clean: StrPath | None = None
    """A packed data set of clean images that the run was not trained on: intervals are then made to cover 90% of their pixels. By
    default they are calibrated on the noisy images alone."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do with a file that cannot be restored: stop, or leave it out with a warning."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file that shows some of the images before and after, with what is known of them."""
    batch: int = 64
    """Images, or tiles of them, that are restored at a time."""
    on: Literal["local", "ray"] = "local"
    """"local": this process; "ray": a Ray cluster, a worker for each GPU (or core), whose machines must all see the images and OUT. The
    result is the same."""
    address: str | None = None
    """Address of a Ray cluster ("auto": the one of this machine); by default Ray is started for the command."""
    seed: int = 0
    """Decides all that is drawn by chance."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require_at_least(self, 1, "batch")
        require_at_least(self, 0, "samples", most=1000)
        if self.address is not None and self.on != "ray":
            raise UserError(f"--address {self.address}: is of a Ray cluster; give --on ray, too")
