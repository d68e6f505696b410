"""Settings of the commands that use runs. No torch here, so that `--help` is quick."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from noiseworth.errors import UserError
from noiseworth.options import (
    PAGE,
    POSITIONAL,
    REPEATED,
    SEVERAL,
    StrPath,
    check,
    require,
    require_at_least,
    require_new_name,
)

_MOST_IMAGES = 10**9  # that one command generates
_MOST_STEPS = 100_000


@dataclass(frozen=True)
class DemoConfig:
    """Train on four mixes of clean and noisy digits, and compare the models; about 4 minutes on two cores."""

    out: str = "runs/demo"
    """Directory for all that the demo makes."""
    seed: int = 0
    """Seed of the choice of clean images, of the noise, of the training and of the generated images."""
    sigma: float = 0.5
    """Noise standard deviation of the noisy images, in model units."""
    n_images: int = 52_000
    """Length of each training, in images seen."""
    n_generated: int = 4_000
    """Images that each model generates for its Frechet distance."""
    fresh: bool = False
    """First remove an earlier demo in the directory."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require(self.sigma > 0, "sigma", self.sigma, "above 0")
        require_at_least(self, 128, "n_images")
        require_at_least(self, 6, "n_generated", most=_MOST_IMAGES)


@dataclass(frozen=True)
class RecipeConfig:
    """Go from the files of a data set to a trained model, by one YAML file (see the folder recipes).

    After an interruption, the same command goes on.
    """

    file: StrPath = field(metadata=POSITIONAL)
    """The recipe."""
    out: StrPath
    """Directory of the packed data, of the mixed data, and of the run."""
    source: StrPath | None = None
    """The files; by default those that the recipe names."""
    set: list[str] = field(default_factory=list, metadata=REPEATED)
    """An option in place of the recipe's, such as train.n_images=1000; may be given several times."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)

    def resolved(self) -> dict[str, object]:
        """The recipe as it would be carried out."""
        from noiseworth.runs.recipe import load_recipe

        return load_recipe(self.file, self.set) | ({"source": self.source} if self.source else {})


@dataclass(frozen=True)
class SampleConfig:
    """Generate images with a run, into a data set of their own with a picture of them, grid.png."""

    run: StrPath = field(metadata=POSITIONAL)
    """Directory of the run."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new data set: raw values in float32, clipped to the range of clean data; grid.png
    shows the first 96."""
    n: int = 64
    """Number of images. For the same seed, image i does not depend on n."""
    steps: int = 18
    """Steps of the sampler; "heun" and "churn" call the network about twice in each, "dpm++" and "ancestral" once."""
    sampler: Literal["heun", "dpm++", "churn", "ancestral"] = "churn"
    """The method: Heun's on the probability flow (arXiv 2206.00364), of which "churn" adds noise before each step and so takes off what the
    network did wrong in earlier ones; DPM-Solver++(2M) (arXiv 2211.01095); or the reverse process of DDPM ("ancestral")."""
    churn: float = 7.5
    """Strength of the noise that "churn" adds, S_churn of arXiv 2206.00364."""
    stop_at: float | None = None
    """Level (model units) at which sampling stops, and gives the estimate of the clean image: a mean, smoother than an image. By
    default the lowest level that the run was trained at, 0 where it saw clean images; 0 goes on to the end whatever it was trained
    at, which leaves noise in the images of a run that knows no low level."""
    schedule: Literal["data", "edm"] = "data"
    """Levels of the sampler: chosen by the "data", as training measured them, or those of "edm" (arXiv
    2206.00364), from 80 to 0.002."""
    batch: int = 500
    """Images that are generated at a time."""
    seed: int = 0
    """Seed of the noise that sampling starts from."""
    label: int | None = None
    """The class to generate, for a run trained with --labels; by default any."""
    guidance: float = 1.0
    """Strength of guidance: 1 is the model as trained, and 1.5 to 3 are usual. With --guide it leads away from what a worse model does
    (arXiv 2406.02507); with --label alone towards the label (classifier-free guidance, arXiv 2207.12598), which makes images more
    typical of the class, and less varied."""
    guide: StrPath | int | None = None
    """A worse model that --guidance leads away from: how many images the run itself had seen at an earlier checkpoint (kept by `train
    --keep-every`), or the directory of another run of the same images, such as one of a smaller network."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require_at_least(self, 1, "n", "batch", most=_MOST_IMAGES)
        require_at_least(self, 2, "steps", most=_MOST_STEPS)
        require_at_least(self, 0, "label")
        require(self.guidance >= 0, "guidance", self.guidance, "a finite number, 0 or more")
        require(self.churn >= 0, "churn", self.churn, "a finite number, 0 or more")
        require(self.stop_at is None or self.stop_at >= 0, "stop_at", self.stop_at, "a level of 0 or more")
        if self.label is None and self.guide is None and self.guidance != 1:
            raise UserError(
                f"--guidance {self.guidance:g}: needs a worse model (--guide) to lead away from, or a class (--label)"
            )
        if self.guide is not None and self.guidance == 1:
            raise UserError(f"--guide {self.guide}: changes nothing at --guidance 1; give 1.5, say")


@dataclass(frozen=True)
class EvaluationConfig:
    """Measure a run, or generated images, against clean images."""

    target: StrPath = field(metadata=POSITIONAL)
    """Directory of a run; or generated images: a packed data set, a folder, .npz, or what else `pack` reads
    (integers use the full range of their type, floating-point numbers are in the reference's raw units)."""
    against: StrPath
    """The reference, a packed data set: its clean images. If it has none, generated images are given its noise, and compared
    with the noisy ones."""
    held_out: StrPath | None = None
    """A packed data set of images that were not trained on, for the denoising risk. If they are noisy, it
    is estimated without bias at levels above their own noise."""
    features: str = "auto"
    """Features that distances are measured in: of a small "classifier" trained on the reference's labels, or
    on "rotations", without labels; principal components ("pca"); "pixels"; a directory made by
    `noiseworth features train`; "inception" (FID) or another network of torch-fidelity. "auto" is
    "classifier" if there are labels, else "pca"."""
    weights: StrPath | None = None
    """File with the weights of torch-fidelity's network; nothing is downloaded."""
    n: int = 3000
    """Images to generate with a run."""
    steps: int = 18
    """Steps of the sampler."""
    schedule: Literal["data", "edm"] = "data"
    """Levels of the sampler, see `noiseworth sample`."""
    check_steps: int = 500
    """Generate so many of the images again with twice the steps, and warn if the Frechet distance moves; 0: do
    not."""
    seed: int = 0
    """Seed of the generated images and of the noise in the risk."""
    bits: bool = False
    """Also bound the likelihood of held-out clean images, in bits per dimension, by the risk at 65 levels."""
    flow: int = 0
    """Also integrate the likelihood of this many held-out clean images, the first ones, along the probability
    flow; slow, for small images only."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file to write all results to, with pictures."""

    def __post_init__(self) -> None:
        check(self)
        require_at_least(self, 6, "n", most=_MOST_IMAGES)
        require_at_least(self, 2, "steps", most=_MOST_STEPS)
        require_at_least(self, 0, "flow", "check_steps", most=_MOST_IMAGES)


@dataclass(frozen=True)
class ShareConfig:
    """Write a run's model into a directory that can be given away: weights, what their use needs, and a model card.

    Every command takes the directory in place of a run. Nothing is uploaded.
    """

    run: StrPath = field(metadata=POSITIONAL)
    """Directory of a finished run."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory for config.json, model.safetensors and README.md."""
    name: str | None = None
    """Name of the model; by default that of the run's directory."""
    licence: str = "other"
    """Licence of the weights, as Hugging Face names it, such as cc-by-4.0 or apache-2.0."""
    onnx: bool = False
    """Also write model.onnx, the denoiser for other programs: x (B, C, H, W) and sigma (B,) in, the estimate out."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)


@dataclass(frozen=True)
class ReportConfig:
    """Put finished runs side by side on one self-contained HTML page."""

    runs: Sequence[StrPath] = field(metadata=SEVERAL)
    """Directories of finished runs; the others are compared with the first."""
    out: StrPath = field(default="report.html", metadata=PAGE)
    """The HTML file."""
    title: str = "noiseworth report"
    """Title of the page."""

    def __post_init__(self) -> None:
        check(self)
