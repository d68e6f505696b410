"""What the commands on noise found."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class LevelRecord:
    """The noise of one image, in raw units: standard deviation, and the ends of its 95% interval; 0, 0, 0 if it is the same everywhere."""

    name: str
    sigma: float
    low: float
    high: float


@dataclass(frozen=True)
class EstimateRecord:
    """What `noiseworth noise estimate` found in `count` images. Levels are in model units.

    Attributes:
        path: the new data set; null where none was asked for.
        raw: raw units in one model unit; null where the images are of several.
        first: at most 20 of the images that were measured.
        learned_from: number of clean images that it learned from; 0 where there are too few.
        quantiles: of the measured levels: the lowest, the quarters, the highest.
        precision: median of the intervals' half widths, as a share of the level.
        unclear: images whose interval is wider than a factor of 2, or that are the same everywhere; they are left out of the new data set.
        like_clean: images that cannot be told from clean ones.
        clipped: share of the measured pixels at the ends of the range, where noise was cut off.
    """

    path: str | None
    count: int
    raw: float | None
    first: list[LevelRecord]
    learned_from: int
    quantiles: list[float]
    precision: float
    unclear: int
    like_clean: int
    clipped: float


@dataclass(frozen=True)
class CameraRecord:
    """What `noiseworth noise calibrate` found. `gain` (raw units for each electron), `offset` and `read_noise` (raw units) with the ends of
    their 95% intervals; the last two are null where there were no dark frames to tell them apart, all three where the images are
    magnitudes.

    Attributes:
        sigma: without dark frames, for dark, middle and bright pixels (of magnitudes, once): raw value, noise, and the ends of its
            interval.
        stripes: share of the dark frames' variance that rows or columns have in common; 0 where none is sure.
        hot: of so many `pixels`, those that are far noisier or brighter in the dark than others.
        has_maps: whether the model has numbers for each pixel.
        model: the noise model, for `noiseworth.noise.models.from_json`.
    """

    path: str
    gain: tuple[float, float, float] | None
    offset: tuple[float, float, float] | None
    read_noise: tuple[float, float, float] | None
    sigma: list[list[float]]
    stripes: float
    hot: int
    pixels: int
    has_maps: bool
    model: dict[str, Any]


@dataclass(frozen=True)
class StabiliseRecord:
    """What `noiseworth noise stabilise` made: `noisy` images of Gaussian noise `sigma` (model units), and `clean` ones.

    Attributes:
        least, most: between which the standard deviation of noise, over sigma, lies for nine of ten noisy pixels.
    """

    path: str
    noisy: int
    clean: int
    sigma: float
    least: float
    most: float


@dataclass(frozen=True)
class HideRecord:
    """What `noiseworth noise hide` did to `damaged` images. Levels are in model units.

    Attributes:
        left_out: images whose damage no level hides.
        quantiles: of the levels of noise that was added: the lowest, the quarters, the highest.
        levels: at which images were judged.
        told_apart: at each, the share of images that a network puts on the right side; one half is chance.
    """

    path: str
    damaged: int
    left_out: int
    quantiles: list[float]
    levels: list[float]
    told_apart: list[float]


@dataclass(frozen=True)
class CleanRecord:
    """What `noiseworth noise clean` found among `count` images. Levels are in model units, and medians of a side.

    Attributes:
        clean: images that are clean.
        unsure: images that seem clean, but less than 80% surely, or are the same everywhere; they are left out of the new data set.
        confidence: mean probability of the side that an image was put on.
        clean_level: what looks like noise in clean images: fine texture.
        noisy_level: noise of the others.
    """

    path: str
    count: int
    clean: int
    unsure: int
    confidence: float
    clean_level: float
    noisy_level: float


@dataclass(frozen=True)
class ComparisonRecord:
    """What shows the answer to a question on the noise: the noise of these images beside what it would be if all were well.

    Attributes:
        x: numbers of a curve, or names of bars.
        here: of these images.
        ideal: of the clean ones, to which white Gaussian noise of the declared level was added.
        x_label, y_label: what they are.
        logarithmic: whether `here` and `ideal` are shares over many powers of ten.
    """

    x: list[float] | list[str]
    here: list[float]
    ideal: list[float]
    x_label: str
    y_label: str
    logarithmic: bool


@dataclass(frozen=True)
class NoiseCheckRecord:
    """One question that `noiseworth noise check` asked.

    Attributes:
        name: what was asked.
        verdict: "holds"; "fails": the effect matters, and is no chance; "unclear": one that matters could be overlooked.
        effect: the number, 0 where all is well, with its standard `error`; it `matters` from this size.
        words: the number in plain words.
        remedy: what to do if it fails.
        picture: what shows it; null in the summary of `noiseworth inspect`.
    """

    name: str
    verdict: Literal["holds", "fails", "unclear"]
    effect: float
    error: float
    matters: float
    words: str
    remedy: str
    picture: ComparisonRecord | None
