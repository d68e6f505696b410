"""Settings of training. No torch here, so that `noiseworth train --help` is quick."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from noiseworth.errors import UserError
from noiseworth.options import (
    POSITIONAL,
    StrPath,
    check,
    flag_of,
    require,
    require_at_least,
    require_new_name,
)
from noiseworth.records import Use

_MUON_RATE, _ADAM_RATE = 0.02, 2e-3  # the first at a batch of 128; it grows with the root of the batch
OWN, NONE = "own", "none"  # of --held-out
_LARGEST_BATCH = 1_000_000  # images
_LEAST_MONITOR_INTERVAL = 20_000  # images: the monitors cost as much time as some hundred images


@dataclass(frozen=True)
class TrainConfig:
    """Train one denoiser on images of mixed noise. The same command goes on after an interruption."""

    RENAMED: ClassVar[dict[str, str]] = {
        "views": "presentations",
        "watch_every": "monitor_every",
        "below": "below_noise",
    }

    data: str
    """Packed data set to train on: a directory, or an address that fsspec knows (s3://..., hf://...)."""
    out: str
    """Directory of the run; the same command goes on there after an interruption."""
    use: Use = "all"
    """Train on all images, or on the clean or the noisy ones alone."""
    preset: str | None = None
    """Size of the network: light, medium or heavy, whose depth follows the size of the images; or diffusers' U-Net as digits, mini, small,
    cifar or imagenet64. light+haar:1 works on the images' Haar coefficients, for large images. By default it follows the images: medium up
    to 16x16 and light above, on a GPU medium or heavy."""
    n_images: int = 100_000
    """Length of the training, in images seen (one image may be seen many times). With a greater number a finished run goes on."""
    batch: int = 64
    """Images in one optimiser step, over all processes."""
    accumulate: int = 1
    """Number of pieces in which each process computes its share of a batch, one after the other, to save memory."""
    optimizer: Literal["muon", "adam"] = "muon"
    """"muon" moves convolutions along their orthogonalised momentum (Jordan et al., 2024), and the rest by Adam; "adam" moves all
    weights."""
    lr: float | None = None
    """Peak learning rate; by default 0.02 times the root of batch / 128 with "muon" (its part by Adam takes a fifth of it), and 0.002 with
    "adam"."""
    warmup: int = 5_000
    """Images over which the learning rate rises to its peak."""
    decay: Literal["cosine", "none"] = "cosine"
    """How the learning rate goes on: it falls to 0 along a cosine, or stays ("none": a run is then the beginning of a longer one)."""
    clip: float = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""
    objective: Literal["worth", "published"] = "worth"
    """What is minimised: "worth" draws and weighs training pairs by their information; "published" is the objective of
    arXiv 2411.02780, for comparison."""
    below_noise: Literal["imputation", "consistency", "none"] = "imputation"
    """What noisy images teach at levels below their own noise: images imputed by the model, a consistency loss, or nothing ("none";
    always so with "published")."""
    presentations: float = 3.0
    """Presentations of one image, per unit of ln sigma, after which half of its information is used up. An image shown more often is
    drawn less often."""
    labels: bool = False
    """Condition the model on the class labels of the data. They are hidden from a tenth of the images, so that sampling needs none."""
    augment: Literal["none", "flip", "turns", "shift"] = "none"
    """Change images at random in ways that keep white noise white: "flip" left and right; "turns" also by quarter turns; "shift" flips,
    and moves by whole pixels round the edge."""
    level_mean: float | None = None
    """Mean of ln sigma over the training levels; by default -1.6, and EDM's -1.2 with "published"."""
    level_std: float = 1.2
    """Standard deviation of ln sigma over the training levels."""
    ema: int = 10_000
    """Half-life of the averaged weights (exponential moving average), in images; shorter at the beginning of the training."""
    more_ema: list[int] = field(default_factory=list)
    """Half-lives of further averages of the weights, which are saved too."""
    power_ema: list[float] = field(default_factory=list)
    """Relative widths, such as [0.05,0.1], of power-function averages that are saved at each checkpoint, so that `noiseworth ema` can
    make an average of any width after training."""
    checkpoint_every: int = 25_000
    """Images between checkpoints."""
    keep: int = 2
    """Number of the newest checkpoints that are kept."""
    keep_every: int = 0
    """Images between checkpoints that are kept for good; 0: none."""
    held_out: str | None = OWN
    """Packed data set of images that are not trained on. Clean ones show what the model knows by heart, which decides what it is trained
    on next and which of its averages is kept; a few dozen suffice. Noisy ones tell the risk alone, at levels above their noise. "own"
    holds a tenth of the data's own clean images back, at most 32; "none" trains on all."""
    monitor_every: int | None = None
    """Images between uses of the monitors, which measure the risk and warn of what goes wrong; they also run at the end. By default a
    quarter of the training, 20,000 at least; 0: never."""
    tensorboard: bool = False
    """Write metrics for TensorBoard, too (needs the package tensorboard)."""
    seed: int = 0
    """Seed of every random draw."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the network: 32 bits, or bfloat16; by default bfloat16 where the device computes with it."""
    compile: bool | None = None
    """Compile the network with torch.compile. By default it is tried before a training of more than an hour, and kept if faster."""
    channels_last: bool | None = None
    """Store images with their channels last in memory. By default it is tried before a training of more than 10 minutes, and kept if
    faster."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to train: on the GPU if there is one ("auto"), or on the processor."""
    init: str | None = None
    """Weights to begin with, in place of random ones: the averaged ones of a run, whose network must be the same; or a folder with an
    unconditional DDPM as diffusers saves it, whose network is taken over. The optimiser is new."""
    resume: Literal["auto", "never"] = "auto"
    """Go on with the run in the directory ("auto"), or refuse a directory that is not empty ("never")."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require_at_least(self, 1, "n_images", "batch", "accumulate", "ema", "checkpoint_every", "keep")
        require(self.n_images >= self.batch, "n_images", self.n_images, f"at least one batch of {self.batch}")
        require_at_least(self, 1, "batch", most=_LARGEST_BATCH)
        for name in ("lr", "clip", "level_std", "presentations"):
            value = getattr(self, name)
            require(value is None or value > 0, name, value, "a finite number above 0")
        require_at_least(self, 0, "keep_every", "monitor_every", "warmup")
        if self.init is not None and Path(self.init).absolute() == Path(self.out).absolute():
            raise UserError(f"--init {self.init}: is this run itself; the same command goes on with it")
        half_lives = [self.ema, *self.more_ema]
        if min(half_lives) < 1 or len(set(half_lives)) < len(half_lives):
            must = "different half-lives of at least 1 image, none of them that of --ema"
            raise UserError(f"{flag_of('more_ema')} {self.more_ema}: must be {must}")
        if any(not 1e-3 <= width <= 12**-0.5 for width in self.power_ema) or len(set(self.power_ema)) < len(
            self.power_ema
        ):
            must = f"different relative widths from 0.001 to {12**-0.5:.3f}"
            raise UserError(f"{flag_of('power_ema')} {self.power_ema}: must be {must}")

    @property
    def levels(self) -> tuple[float, float]:
        """Mean and standard deviation of ln sigma over the training levels."""
        default = -1.2 if self.objective == "published" else -1.6
        return default if self.level_mean is None else self.level_mean, self.level_std

    @property
    def monitor_interval(self) -> int:
        """Images between uses of the monitors; 0: never."""
        return (
            max(_LEAST_MONITOR_INTERVAL, self.n_images // 4)
            if self.monitor_every is None
            else self.monitor_every
        )

    @property
    def steps(self) -> int:
        """Optimiser steps: `n_images` rounded up to whole batches."""
        return math.ceil(self.n_images / self.batch)

    @property
    def peak_rate(self) -> float:
        """The greatest learning rate."""
        if self.lr is not None:
            return self.lr
        return _ADAM_RATE if self.optimizer == "adam" else _MUON_RATE * math.sqrt(self.batch / 128)

    def learning_rate(self, n_images: int) -> float:
        """The learning rate when `n_images` have been seen."""
        rise = min(1.0, (n_images + self.batch) / self.warmup) if self.warmup else 1.0
        if self.decay == "none":
            return self.peak_rate * rise
        return self.peak_rate * rise * 0.5 * (1 + math.cos(math.pi * n_images / (self.steps * self.batch)))


@dataclass(frozen=True)
class EmaConfig:
    """Average a run's weights in another way, after training, into a run of its own (the run needs --power-ema)."""

    run: StrPath = field(metadata=POSITIONAL)
    """Directory of a run that was trained with --power-ema."""
    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the new run, which can be sampled and evaluated."""
    sigma_rel: float
    """Relative width of the average (arXiv 2312.02696)."""
    n_images: int | None = None
    """Where in the training, in images seen; by default at its end."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require(
            0 < self.sigma_rel <= 12**-0.5, "sigma_rel", self.sigma_rel, f"above 0, at most {12**-0.5:.3f}"
        )
        require_at_least(self, 1, "n_images")


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure the speed of training, its overhead over a bare PyTorch loop, and its memory."""

    preset: str = "medium"
    """Size of the network."""
    size: int = 32
    """Height and width of the images, which are made up for the purpose."""
    channels: int = 3
    """Channels of the images."""
    batch: int = 64
    """Images in a step."""
    steps: int = 12
    """Steps of each loop that are timed, after some that are not."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the network; by default bfloat16 where the device computes with it."""
    compile: bool = False
    """Compile both networks with torch.compile."""
    channels_last: bool = False
    """Store images with their channels last in memory."""

    def __post_init__(self) -> None:
        check(self)
        require_at_least(self, 1, "size", "channels", "batch", "steps", most=_LARGEST_BATCH)
