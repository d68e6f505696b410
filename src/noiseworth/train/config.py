"""Settings of a training run. No torch here, so that `noiseworth train --help` is quick."""

import math
from dataclasses import dataclass, field
from typing import Literal

from noiseworth.errors import UserError
from noiseworth.records import Use

_LOOK_EVERY = 20_000  # images, at least: a look costs as much as some hundred images


@dataclass(frozen=True)
class TrainConfig:
    """Train one denoiser on images of mixed noise.

    Args:
        data: packed data set to train on: a directory, or an address that fsspec knows (s3://..., hf://...).
        out: directory of the run; the same command goes on there after an interruption.
        use: train on all images, or on the clean or the noisy ones alone.
        preset: size of the network (digits, mini, small, cifar, imagenet64).
        n_images: training length, in images seen.
        batch: images in a step, over all processes.
        accumulate: pieces that each process takes its share of a batch in, one after the other, to save memory.
        lr: peak learning rate of Adam.
        warmup: images over which the learning rate rises.
        decay: the learning rate then falls to 0 along a cosine, or stays ("none": a run is then the beginning of a longer one).
        clip: largest norm of the gradient; larger ones are scaled down.
        objective: "worth" draws and weighs pairs by what they tell; "published" is that of arXiv 2411.02780, for comparison.
        below: what noisy images teach below their own noise: "imputation", "consistency", or "none" (as with "published").
        views: views of an image, per unit of ln sigma, after which it has told half of what it can.
        labels: condition on the class labels of the data; they are hidden from a tenth of the images, so that none are needed later.
        augment: change images at random in ways that keep white noise white: "flip" left and right, "turns" that and quarter turns,
            "shift" flips and moves by whole pixels round the edge.
        level_mean: mean of ln sigma over the training levels; by default -1.6, and EDM's -1.2 with "published".
        level_std: standard deviation of ln sigma over the training levels.
        ema: half-life of the averaged weights, in images; shorter at the beginning.
        more_ema: half-lives of further averages, which are kept beside it.
        power_ema: relative widths (0.05, 0.1) of power-function averages that are saved at each checkpoint, so that one of any width
            can be made afterwards (`noiseworth ema`).
        checkpoint_every: images between checkpoints.
        keep: the newest checkpoints that are kept.
        keep_every: images between checkpoints that are kept for good; 0: none.
        held_out: packed data set of clean images that are not trained on, for the risk that is reported on the way.
        watch_every: images between looks at how training goes (risk, what could go wrong); by default a quarter of the run, 20,000 at
            least, and at its end; 0: none.
        tensorboard: write metrics for TensorBoard, too (needs the package tensorboard).
        seed: of every random draw.
        precision: arithmetic of the network.
        compile: let torch compile the network.
        channels_last: store images with their channels last, which suits convolutions on GPUs.
        device: where to train.
        resume: "auto" goes on with what is in the run directory, "never" refuses a directory that is not empty.
    """

    data: str
    out: str
    use: Use = "all"
    preset: str = "digits"
    n_images: int = 100_000
    batch: int = 128
    accumulate: int = 1
    lr: float = 2e-3
    warmup: int = 5_000
    decay: Literal["cosine", "none"] = "cosine"
    clip: float = 1.0
    objective: Literal["worth", "published"] = "worth"
    below: Literal["imputation", "consistency", "none"] = "imputation"
    views: float = 3.0
    labels: bool = False
    augment: Literal["none", "flip", "turns", "shift"] = "none"
    level_mean: float | None = None
    level_std: float = 1.2
    ema: int = 10_000
    more_ema: list[int] = field(default_factory=list)
    power_ema: list[float] = field(default_factory=list)
    checkpoint_every: int = 25_000
    keep: int = 2
    keep_every: int = 0
    held_out: str | None = None
    watch_every: int | None = None
    tensorboard: bool = False
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    channels_last: bool = False
    device: Literal["auto", "cpu"] = "auto"
    resume: Literal["auto", "never"] = "auto"

    def __post_init__(self) -> None:
        for name in ("n_images", "batch", "accumulate", "ema", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: must be at least 1")
        if self.n_images < self.batch:
            raise UserError(f"--n_images {self.n_images}: is less than one batch of {self.batch}")
        for name in ("lr", "clip", "level_std", "views"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"--{name} {getattr(self, name)}: must be a finite number above 0")
        if self.level_mean is not None and not math.isfinite(self.level_mean):
            raise UserError(f"--level_mean {self.level_mean}: must be finite")
        for name in ("keep_every", "watch_every"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"--{name} {getattr(self, name)}: must be 0 or more")
        if (
            any(half_life < 1 for half_life in self.more_ema)
            or self.ema in self.more_ema
            or len(set(self.more_ema)) < len(self.more_ema)
        ):
            raise UserError(f"--more_ema {self.more_ema}: half-lives of at least 1 image, each different, and not that of --ema")
        if any(not 1e-3 <= width <= 12**-0.5 for width in self.power_ema) or len(set(self.power_ema)) < len(self.power_ema):
            raise UserError(f"--power_ema {self.power_ema}: different relative widths from 0.001 to {12**-0.5:.3f}")
        if self.warmup < 0 or not 0 <= self.seed < 2**63:
            raise UserError(f"--warmup {self.warmup} --seed {self.seed}: must be 0 or more")

    @property
    def levels(self) -> tuple[float, float]:
        """Mean and standard deviation of ln sigma over the training levels."""
        default = -1.2 if self.objective == "published" else -1.6
        return default if self.level_mean is None else self.level_mean, self.level_std

    @property
    def look_every(self) -> int:
        """Images between looks at how training goes; 0: none."""
        return max(_LOOK_EVERY, self.n_images // 4) if self.watch_every is None else self.watch_every

    @property
    def steps(self) -> int:
        """Optimiser steps: `n_images` rounded up to whole batches."""
        return math.ceil(self.n_images / self.batch)

    def learning_rate(self, n_images: int) -> float:
        """The learning rate when `n_images` have been seen."""
        rise = min(1.0, (n_images + self.batch) / self.warmup) if self.warmup else 1.0
        if self.decay == "none":
            return self.lr * rise
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * n_images / (self.steps * self.batch)))
