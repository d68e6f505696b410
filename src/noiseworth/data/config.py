"""Settings of what makes data sets. No numpy and no torch here, so that `--help` is quick."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from noiseworth.errors import UserError
from noiseworth.options import (
    POSITIONAL,
    SEVERAL,
    StrPath,
    check,
    require,
    require_at_least,
    require_new_name,
)


@dataclass(frozen=True)
class PackConfig:
    """Pack images, with the noise level of each, into a data set."""

    sources: StrPath | Sequence[StrPath] = field(metadata=SEVERAL)
    """What to read: folders; zip or tar archives of images (PNG, JPEG, WebP, TIFF, BMP, GIF, ...); .npy and .npz; IDX
    (MNIST) and CIFAR-10's binary files; HDF5, Zarr, FITS, MRC, NIfTI, DICOM; hf:NAME:SPLIT (Hugging Face) or
    Parquet; sklearn:digits."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set; with --held-out or --splits, of several data sets, one for each
    split."""
    sigma: float | str | None = None
    """Noise standard deviation of the images, where clean values span [-1, 1] (model units): one number for
    all (0: clean); rules on the names of folders and files, clean/=0,noisy/=0.2; or a table (CSV, TSV, Parquet) with
    the column sigma and one of file names. By default what the source says; if it says nothing, the noise is unknown, and
    training refuses such images."""
    sigma_units: Literal["model", "raw"] = "model"
    """Units of sigma: model units, or those of the raw values."""
    labels: str | None = None
    """A table with the column label and one of file names, or "none". By default the source's own labels; if it has none,
    its folders are the classes."""
    range: tuple[float, float] | None = None
    """Raw values that become -1 and 1 in model units. By default the range of the integer type; for
    floating-point images, give it or --measured-range."""
    measured_range: bool = False
    """Take the smallest and the largest raw value as the range."""
    float_range: tuple[float, float] | None = None
    """The range of floating-point images alone; integer images keep that of their type."""
    fit: str | None = None
    """Bring images of different sizes to one size: crop:64x64, pad:64x64, shrink:2 (means of 2x2 pixels), resize:64x64 (clean images
    alone); or cut them into tiles, tiles:64, side by side, or tiles:64:32, one every 32 pixels. Tiles of one picture are held out
    together."""
    held_out: int = 0
    """Number of images to set aside for measuring, chosen at random. Images with the same pixels stay
    together."""
    splits: bool = False
    """Treat the outermost folders (train, test) as splits; likewise the files of CIFAR-10 and MNIST."""
    key: str | None = None
    """Which array or column holds the images, where a file has several."""
    label_key: str | None = None
    """Which array or column holds the labels."""
    shape: str | tuple[int, int, int] | None = None
    """Channels, height and width (C,H,W) of images that are stored as rows of numbers."""
    axes: str | None = None
    """What each dimension of an array is, by a letter: H and W (or Y and X), C for channels, any other (N, T, Z)
    for one that counts images; such as NHWC or TCZYX. By default what the file says of itself, else its shape."""
    by_row: bool = False
    """The rows of tables are in the order of the images. By default a column with names of images says to which
    image a row belongs."""
    stored_values: bool = False
    """Take values as they are stored, and not multiplied and shifted as the file says (DICOM, NIfTI, FITS, HDF5,
    Zarr)."""
    allow_rounding: bool = False
    """Store values in float32 even if this changes them by more than a millionth of their range; how much is
    recorded."""
    drop_alpha: bool = False
    """Take the colours of transparent pixels as they are stored. By default only an alpha channel that is opaque
    everywhere is left out."""
    noise: StrPath | None = None
    """A noise model in a JSON file (of `noiseworth noise calibrate`, or of your own), of the images that are not known to be
    clean: noise of a camera or a scanner, a variance map, a spectrum."""
    missing: float | Literal["keep"] | None = None
    """Value for pixels that were not measured (NaN, FITS BLANK, DICOM padding, _FillValue, GDAL's no data), in the
    units of the values; or "keep": they stay NaN, and training learns from the others. By default images that have such pixels
    are refused."""
    trust_sizes: bool = False
    """Read files that unpack to far more than they hold, which are refused as decompression bombs by default."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do with an image that cannot be read: stop, or leave it out with a warning."""
    part_images: int | None = None
    """Largest number of images in one part of the data set. A large remote data set can then be read part by
    part."""
    seed: int = 0
    """Decides which images are held out."""
    groups: str | None = None
    """With --held-out, what stays together (patient, slide, scene): a table with the column group and one of file
    names, or "folders" for the folder that each image lies in."""
    name: str | None = None
    """Name of the data set; by default that of the source."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        _require_level(self.sigma)
        for name in ("range", "float_range"):
            ends = getattr(self, name)
            if ends is not None and not ends[0] < ends[1]:
                raise UserError(
                    f"--{name.replace('_', '-')} {ends[0]} {ends[1]}: must be two finite numbers, the lower"
                    " one first"
                )
        if self.range is not None and self.measured_range:
            raise UserError("--range and --measured-range exclude each other; give one of them")
        require_at_least(self, 1, "part_images")
        require_at_least(self, 0, "held_out")
        if isinstance(self.shape, tuple):
            require(min(self.shape) >= 1, "shape", self.shape, "three numbers of at least 1")
        if self.held_out and self.splits:
            raise UserError(
                "--held-out and --splits exclude each other: use the source's own splits, and `noiseworth"
                " split` later"
            )


@dataclass(frozen=True)
class CorruptConfig:
    """Add noise to all but a fraction of a clean data set: drawn once, and then fixed."""

    source: StrPath = field(metadata=POSITIONAL)
    """A packed data set of clean images."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set."""
    clean_fraction: float
    """Share of the images, chosen at random, that stay clean: 0 to 1."""
    sigma: float | str | None = None
    """Noise standard deviation of the other images, where clean values span [-1, 1]: a number;
    choice:0.1,0.5; uniform:0.1:0.5; loguniform:0.05:0.8; or a table (CSV, TSV, Parquet) with the columns id
    and sigma."""
    noise: StrPath | None = None
    """A noise model in a JSON file, in place of --sigma: that of a camera (`noiseworth noise calibrate`) or a scanner,
    a variance map, or a spectrum."""
    missing: float = 0.0
    """Share of the pixels of the other images that are lost, at random; they become NaN. It goes with one --sigma, too."""
    blur: float = 0.0
    """Blur the other images, by a Gaussian of this standard deviation in pixels; their noise counts as unknown."""
    seed: int = 0
    """Decides which images stay clean, and the noise."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        _require_level(self.sigma)
        require(0 <= self.missing < 1, "missing", self.missing, "a share of at least 0, and below 1")
        require(self.blur >= 0, "blur", self.blur, "0 or more")
        given = [self.sigma is not None, self.noise is not None, self.blur > 0]
        if sum(given) > 1 or not (any(given) or self.missing):
            raise UserError(
                "what becomes of the other images: give one of --sigma, --noise, --missing and --blur"
            )
        if self.missing and (self.noise is not None or self.blur):
            raise UserError(f"--missing {self.missing:g}: goes with --sigma alone")
        require(
            0 <= self.clean_fraction <= 1, "clean_fraction", self.clean_fraction, "a share between 0 and 1"
        )


@dataclass(frozen=True)
class JoinConfig:
    """Join several data sets into one, without copying their pixels."""

    sources: Sequence[StrPath] = field(metadata=SEVERAL)
    """Packed data sets whose images have one shape."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set, which works as long as the joined ones stay where they are."""
    name: str | None = None
    """Name of the data set; by default the names of the joined ones."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)


@dataclass(frozen=True)
class SplitConfig:
    """Split a data set into OUT/train and OUT/held-out, which share no image, without copying pixels."""

    source: StrPath = field(metadata=POSITIONAL)
    """A packed data set."""
    out: StrPath = field(metadata=POSITIONAL)
    """Folder of both new data sets."""
    held_out: float
    """Number of images to set aside or, below 1, their share."""
    seed: int = 0
    """Decides which images are set aside."""
    groups: str | None = None
    """A table with the columns id and group (patient, slide, scene): a group stays together. Ids are those of
    `noiseworth unpack`'s table."""
    by_noise: bool = False
    """Set aside the same share of each noise level."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require(self.held_out > 0, "held_out", self.held_out, "above 0")


@dataclass(frozen=True)
class SubsetConfig:
    """Take a random part of a data set, without copying pixels."""

    source: StrPath = field(metadata=POSITIONAL)
    """A packed data set."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set."""
    take: float | None = None
    """Number of images or, below 1, their share. By default all that --use leaves."""
    use: Literal["all", "clean", "noisy"] = "all"
    """Take from all images, from the clean ones, or from the noisy ones."""
    seed: int = 0
    """Decides which images are taken. With the same seed, a larger subset contains every smaller one."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require(self.take is None or self.take > 0, "take", self.take, "above 0")


def _require_level(sigma: float | str | None) -> None:
    """Refuse a noise level that is a number, also one in text, but no level.

    Raises:
        UserError: it is negative or not finite.
    """
    try:
        level = float(sigma or 0)
    except ValueError:
        return  # a rule, a distribution, or a table
    require(isfinite(level) and level >= 0, "sigma", sigma, "finite, and 0 or more")


@dataclass(frozen=True)
class UnpackConfig:
    """Write the images of a data set as files, in the units that they were packed from, with a table of noise levels."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set, or the images that `sample` generated."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the files."""
    format: Literal["png", "tif", "npy", "npz"] | None = None
    """PNG (whole numbers alone), TIFF, NumPy's array files, or one file images.npz of all images with their levels. By default PNG
    where it holds every value, else TIFF."""
    dtype: Literal["uint8", "uint16", "float32"] | None = None
    """Type of the values. Of float32 they are in raw units; of the others, black and white of the data set become 0 and the type's
    largest value, and what lies beyond is cut off. By default the type that they were packed from, in raw units."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
