"""What a run, an evaluation and the demo say of themselves."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from noiseworth.records.checks import require, require_as_many

REGIMES = ("clean", "clean_small", "noisy", "mixed")


@dataclass(frozen=True)
class MonitorRecord:
    """What the monitors of a training measured, with the averaged model. `train/monitors.py` says what each number means, and its
    threshold. A number is null where it cannot be measured; `warnings` says in words what is wrong, and what would help."""

    risk: float | None  # over sigma^2, mean over levels, on held-out clean images
    distinct: float  # estimated number of distinct images that the model generates
    learned_noise: float | None  # noise in generated images, divided by the noise of the training images
    sigmas: list[float]  # noise of the groups of the two lists below
    calibration: list[float]  # measured noise of each group, divided by the declared noise
    loss_by_level: list[float]  # mean loss in each quarter of the levels, low to high
    gradient_share: list[float]  # of each quarter in the squared norm of the gradient
    memorised: float | None  # risk on held-out clean images, divided by that on clean training images
    warnings: list[str]


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step. `loss` is the weighted loss per pixel; `seconds` is the time since the process began training. `spike` are
    the ids of this process's images in a batch whose loss was far above the mean, `monitor` what the monitors measured after this step."""

    RENAMED: ClassVar[dict[str, str]] = {"watch": "monitor"}

    step: int
    n_images: int
    loss: float
    gradient_norm: float
    lr: float
    seconds: float
    spike: list[int] | None = None
    monitor: MonitorRecord | None = None


@dataclass(frozen=True)
class WorthRecord:
    """What the images of a run were worth, by level, when it ended (docs/architecture.md).

    `worth[k][j]` is the worth, at `levels[j]`, of one image whose noise is `sigmas[k]`; there are `counts[k]`
    of them. Below its noise an image counts as it is trusted there once imputed, if the run imputed; else for
    nothing. `n_effective[j]` sums the worth of all images. Of more than 20 distinct noise levels, groups are
    listed by their median. In all, `mean_worth[k]` clean images do for the denoising risk what one image of the group does beside all
    others (`diffusion/replaced.py`); `price[k] = 1 / mean_worth[k]` noisy images replace one clean image (null: never, or too few
    images to tell).
    What imputed images are worth is assumed: `price_low[k]` is the price if as much as clean ones,
    `price_high[k]` if nothing (null: never). `noise[k]` says in words what noise it is, where it is not white or pixels are
    missing; empty where it is white.
    """

    FEWEST: ClassVar[int] = 100  # images: fewer do not show the posterior variance that a price rests on

    levels: list[float]
    posterior_variance: list[float]
    sigmas: list[float]
    counts: list[int]
    worth: list[list[float]]
    n_effective: list[float]
    mean_worth: list[float]
    price: list[float | None]
    price_low: list[float | None] = field(default_factory=list)
    price_high: list[float | None] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_as_many(self, "levels", "posterior_variance", "n_effective")
        require_as_many(self, "sigmas", "counts", "worth", "mean_worth", "price")
        require(
            all(len(row) == len(self.levels) for row in self.worth), "worth must hold a value for each level"
        )

    def name(self, group: int) -> str | None:
        """Which noise a group's images have; None: none."""
        words = self.noise[group] if self.noise else ""
        sigma = f"sigma {self.sigmas[group]:.3g}" if self.sigmas[group] > 0 else ""
        return ", ".join(filter(None, (sigma, words))) or None

    def price_ends(self, group: int) -> tuple[float, float | None] | None:
        """Least and greatest price of a noise level, whatever imputed images are worth (null: never); None where that does not matter."""
        low = self.price_low[group] if self.price_low else None
        return None if low is None or low == self.price_high[group] else (low, self.price_high[group])


@dataclass(frozen=True)
class DoneRecord:
    """`DONE.json`: the run is complete. `trained_from` is the lowest level it was trained at (0: all levels)."""

    n_images: int
    seconds: float
    parameters: int
    trained_from: float
    data_fingerprint: str
    weights: dict[str, str]  # file -> SHA-256
    worth: WorthRecord


@dataclass(frozen=True)
class AverageRecord:
    """What `noiseworth ema` made: the run in the directory `out`, an average at `n_images` images seen."""

    out: str
    n_images: int


@dataclass(frozen=True)
class ReportRecord:
    """What `noiseworth report` made: the page `report`."""

    report: str


@dataclass(frozen=True)
class SpeedRecord:
    """What `noiseworth bench train` measured. Seconds of a step are least, median, greatest; `overhead` is of medians, over a bare loop
    of forward, backward and optimiser's step; `utilisation` is the share of the device's bf16 arithmetic (null where unknown)."""

    preset: str
    size: int
    batch: int
    precision: str
    parameters: int
    gflop_forward: float  # of one image
    images_per_second: float
    bare_images_per_second: float
    overhead: float
    step_seconds: list[float]
    bare_step_seconds: list[float]
    tflops: float
    utilisation: float | None
    peak_gib: float
    device: str


@dataclass(frozen=True)
class RiskCurve:
    """Mean squared denoising error per pixel on held-out clean images, by level, with standard errors over images."""

    levels: list[float]
    risk: list[float]
    standard_error: list[float]
    n_images: int

    def __post_init__(self) -> None:
        require_as_many(self, "levels", "risk", "standard_error")
        require(all(level > 0 for level in self.levels), "levels must be above 0")

    @property
    def relative(self) -> float:
        """Mean over the levels of risk / sigma^2: 1 means no better than leaving the noise where it is."""
        return sum(r / s**2 for r, s in zip(self.risk, self.levels, strict=True)) / len(self.levels)


@dataclass(frozen=True)
class FeatureRecord:
    """Where the features of a Frechet distance come from. `accuracy` is the classifier's on held-out images, `images` how they were
    prepared, `inception` whether they are those of FID."""

    name: str
    dimension: int
    sha256: str | None = None
    accuracy: float | None = None
    images: str = "float32 in model units, not resized"
    inception: bool = False


@dataclass(frozen=True)
class DistanceRecord:
    """How far generated images are from real ones in some features, in every way that is measured.

    `frechet` is the squared distance of these images as the field reports it, biased upwards; `frechet_limit`
    that of infinitely many, from the same reference, with its 95% interval (null: too few images to tell, as
    `warnings` says). `kernel` is unbiased; both reach
    below 0 where nothing can be told apart. `sliced`, `precision`, `recall`, `density` and `coverage` compare
    `compared` images of either kind, the last four by `neighbours` nearest neighbours (null: too few). `copied`
    is the share of generated images nearer to a clean training image than that one's own neighbour,
    `copied_by_chance` that of held-out real images, each with a 95% interval (null: not measured).
    `learned_noise` is the noise in generated images beyond that of real ones, in model units, negative where
    they have less fine detail. `inception_score` is there with Inception's features.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "leaked_noise": "learned_noise",
        "leaked_low": "learned_noise_low",
        "leaked_high": "learned_noise_high",
    }

    frechet: float
    frechet_limit: float | None
    frechet_low: float | None
    frechet_high: float | None
    kernel: float
    kernel_low: float | None
    kernel_high: float | None
    sliced: float
    neighbours: int
    compared: int
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    copied: float | None
    copied_by_chance: float | None
    learned_noise: float | None
    learned_noise_low: float | None
    learned_noise_high: float | None
    warnings: list[str]
    inception_score: float | None = None
    inception_score_sd: float | None = None
    copied_low: float | None = None
    copied_high: float | None = None
    copied_by_chance_low: float | None = None
    copied_by_chance_high: float | None = None


@dataclass(frozen=True)
class ConvergenceRecord:
    """The Frechet distance of the first `n` generated images, and of the same from `steps` steps, twice as many: the sampler has
    `converged` if the two differ by no more than `interval`, half the width of the distance's 95% interval."""

    n: int
    steps: int
    frechet: float
    frechet_doubled: float
    interval: float
    converged: bool


@dataclass(frozen=True)
class Evaluation:
    """Generated images against a reference. Called FID only where `features.inception`.

    `held_out_distance` is that of real held-out images from the same reference. A Frechet distance of few
    images is biased upwards, so a good model that made many may come out below it.
    """

    frechet_distance: float
    held_out_distance: float | None
    features: FeatureRecord
    n_generated: int
    n_reference: int
    steps: int | None  # of the sampler; null for images that were there already
    risk: RiskCurve | None
    seed: int
    distances: DistanceRecord | None = None
    held_out_limit: float | None = None  # of infinitely many held-out images
    n_held_out: int | None = None
    risk_on_noisy: bool = False  # estimated from held-out noisy images
    bits: float | None = None  # per dimension in raw units, at most, by the risk
    bits_by_flow: float | None = (
        None  # the same, exactly, by the probability flow, of the first held-out images
    )
    bits_by_flow_error: float | None = None  # its standard error
    reference: str = ""  # fingerprint of the data set
    convergence: ConvergenceRecord | None = None  # of the sampler; null: not measured

    def __post_init__(self) -> None:
        require(self.risk is None or bool(self.risk.levels), "risk must hold at least one level")


@dataclass(frozen=True)
class RegimeSummary:
    """One row of the demo's table."""

    frechet_distance: float
    denoising_risk: float
    n_images: int
    seconds: float
    n_clean: int
    n_noisy: int
    trained_from: float
    worth: WorthRecord
    risk: RiskCurve


@dataclass(frozen=True)
class DemoSummary:
    """`summary.json` of `noiseworth demo`."""

    regimes: dict[str, RegimeSummary]
    seconds: float
    peak_rss_mb: float
    seed: int
    sigma: float
    held_out_distance: float
    features: FeatureRecord
    machine: dict[str, Any]
    versions: dict[str, str]

    def __post_init__(self) -> None:
        require(set(REGIMES) <= set(self.regimes), f"regimes must be {', '.join(REGIMES)}")
        require(self.regimes["clean"].frechet_distance > 0, "frechet_distance must be above 0")
