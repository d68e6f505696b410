"""Settings of sweeps. No torch here, so that `--help` is quick."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from noiseworth.errors import UserError
from noiseworth.options import (
    LARGEST,
    POSITIONAL,
    StrPath,
    check,
    flag_of,
    require,
    require_at_least,
    require_new_name,
)

T = TypeVar("T")
_GRIDS = Path(__file__).parent / "grids"
_MOST_TRIALS = 100_000


@dataclass(frozen=True)
class SweepConfig:
    """Plan a sweep: write OUT/sweep.yaml, to be read and edited before it is run.

    It lists every combination of the given numbers of images, noise levels, settings and seeds. Separate
    values by commas.
    """

    RENAMED: ClassVar[dict[str, str]] = {"recipe": "grid"}

    out: str
    """Directory of the sweep."""
    data: str
    """Packed data set. Each training uses some of its images: of clean ones, noise is added to a part; where it
    has noisy images of its own, these are taken as they are, and --sigma chooses among their levels."""
    held_out: str
    """Packed data set of other clean images, to measure with."""
    total: str = ""
    """Total numbers of images, of which `--share` are clean."""
    share: str = "1,0.5,0.2,0.1"
    """Shares of clean images, 0 to 1; with --total."""
    clean: str = ""
    """Numbers of clean images, instead of --total and --share, or in addition."""
    noisy: str = "0"
    """Numbers of noisy images; each is combined with every number of clean ones."""
    sigma: str = "0.2"
    """Noise levels of the noisy images; 0.2+0.5 is a mixture of both in equal parts."""
    seeds: int = 1
    """Number of trainings of each combination, each with its own choice of images and noise."""
    seed: int = 0
    """The first seed."""
    choose: int = 0
    """Number of combinations to train, drawn at random; 0: all."""
    n_images: str = "100000"
    """Lengths of the training, in images seen."""
    preset: str | None = None
    """Sizes of the network, such as light,medium; by default the one that `noiseworth train` takes for these images."""
    objective: str = "worth"
    """Objectives: worth, published, or both."""
    train: dict[str, Any] = field(default_factory=dict)
    """Other settings of `noiseworth train` for all trainings, such as {lr: 0.004}."""
    n_generated: int = 0
    """Images that each model generates for its Frechet distance; 0: measure only the denoising risk."""
    steps: int = 18
    """Steps of the sampler."""
    threads: int = 1
    """Processor threads for each training."""
    gpus: float = 0.0
    """GPUs for each training; may be a fraction of one."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        if not (self.total or self.clean):
            raise UserError(
                "give --total (with --share), or --clean (with --noisy), or both: they say how many images"
            )
        require_at_least(self, 1, "seeds", "threads", most=_MOST_TRIALS)
        require_at_least(self, 0, "choose", "n_generated")
        require_at_least(self, 2, "steps", most=_MOST_TRIALS)
        require(self.seed <= LARGEST - self.seeds, "seed", self.seed, f"at most {LARGEST - self.seeds}")
        require(self.gpus >= 0, "gpus", self.gpus, "0 or more")
        grid = ("total", "share", "clean", "noisy", "sigma", "n_images", "preset", "objective")
        combinations = math.prod((getattr(self, name) or "").count(",") + 1 for name in grid) * self.seeds
        if combinations > _MOST_TRIALS:
            raise UserError(
                f"the grid has {combinations:,} combinations, {_MOST_TRIALS:,} are the most; give fewer values"
            )
        list(self.mixes())
        _ = self.train_axes

    def mixes(self) -> Iterator[tuple[int, int, tuple[float, ...]]]:
        """(clean images, noisy images, noise levels) of every mix in the grid."""
        levels = [
            tuple(sorted(set(_numbers("sigma", text, float, 0.0, "+"))))
            for text in _words("sigma", self.sigma)
        ]
        counts = []
        if self.total:
            shares = _numbers("share", self.share, float, -1e-9, most=1.0)
            counts += [
                (round(n * share), n - round(n * share))
                for n in _numbers("total", self.total, int, 0)
                for share in shares
            ]
        if self.clean:
            clean, noisy = (_numbers(name, getattr(self, name), int, -1) for name in ("clean", "noisy"))
            counts += [(c, n) for c in clean for n in noisy if c + n]
        return ((c, n, s) for c, n in counts for s in levels)

    @property
    def settings(self) -> dict[str, list[Any]]:
        """Settings of a training that a sweep may vary, and the values given for each."""
        return {
            "n_images": _numbers("n_images", self.n_images, int, 0),
            **({} if self.preset is None else {"preset": _words("preset", self.preset)}),
            "objective": _words("objective", self.objective),
        }

    @property
    def train_axes(self) -> dict[str, list[Any]]:
        """Those of `settings` with several values."""
        return {name: values for name, values in self.settings.items() if len(values) > 1}


@dataclass(frozen=True)
class SweepRunConfig:
    """Train what is not trained yet. Ctrl-C stops and saves; the same command continues.

    The exit code is 1 if a training failed.
    """

    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the sweep."""
    on: Literal["local", "ray"] = "local"
    """"local": workers on this machine; "ray": a Ray cluster, whose machines must all see the directory and
    the data. The records are the same."""
    jobs: int = 0
    """Trainings at a time on this machine; 0: as many as its cores, or GPUs, allow. Ray decides this itself,
    by what each training needs."""
    address: str | None = None
    """Address of a Ray cluster ("auto": the one of this machine); by default Ray is started for the sweep."""

    def __post_init__(self) -> None:
        check(self)
        require(self.jobs >= 0, "jobs", self.jobs, "at least 1, or 0 for as many as there is room for")


@dataclass(frozen=True)
class SweepStatusConfig:
    """Show the progress of a sweep, also while it runs in another process."""

    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the sweep."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SweepCollectConfig:
    """Write the results of the finished trainings into one table, OUT/observations.csv."""

    out: StrPath = field(metadata=POSITIONAL)
    """Directory of the sweep."""

    def __post_init__(self) -> None:
        check(self)


def _words(name: str, text: str, between: str = ",") -> list[str]:
    words = [word.strip() for word in str(text).split(between) if word.strip()]
    if not words:
        raise UserError(f"{flag_of(name)} {text!r}: holds no value")
    return words


def _numbers(
    name: str, text: str, kind: Callable[[str], T], above: float, between: str = ",", most: float = math.inf
) -> list[T]:
    """Numbers greater than `above`, and at most `most`."""
    values = []
    wanted = "an integer" if kind is int else "a number"
    for word in _words(name, text, between):
        try:
            if not word.isascii():
                raise ValueError("digits of another script")
            number = kind(word.replace("_", ""))
            in_range = above < float(word) <= min(most, LARGEST)
        except ValueError:
            raise UserError(f"{flag_of(name)} {text}: {word!r} is not {wanted}") from None
        if not in_range:
            raise UserError(f"{flag_of(name)} {text}: {word} is out of range")
        values.append(number)
    return values


def grids() -> dict[str, Path]:
    """Name -> file of the grids that come with noiseworth: settings of `SweepConfig` for standard sweeps."""
    return {file.stem: file for file in sorted(_GRIDS.glob("*.yaml"))}
