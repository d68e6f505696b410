"""What is written to disk and read back: frozen dataclasses <-> JSON. No torch here, so that readers stay light.

`to_json` and `from_json` are exact inverses. NaN and infinity never reach a file, and a file with a missing or an unknown
key is refused by name, so that a record says the same thing to the program that wrote it and to the one that reads it.
"""

import dataclasses
import hashlib
import json
import os
import platform
import types
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

from noiseworth.errors import UserError

T = TypeVar("T")

DATASET_FORMAT = 1
RESULTS_FORMAT = 1
REGIMES = ("clean", "clean_small", "noisy", "mixed")
Use = Literal["all", "clean", "noisy"]  # which images of a data set


# ---- what a data set says of itself ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartRecord:
    """One folder of a data set: `count` images of one dtype, with or without labels."""

    folder: str
    dtype: str
    count: int
    labels: bool


@dataclass(frozen=True)
class DatasetRecord:
    """`dataset.json`. `model = (raw - offset) / scale`; sigma is always in model units."""

    format: int
    name: str
    shape: tuple[int, int, int]  # C, H, W
    offset: float
    scale: float
    units: str
    parts: list[PartRecord]
    fingerprint: str
    provenance: list[dict[str, Any]]

    @property
    def count(self) -> int:
        """Number of images in all parts."""
        return sum(part.count for part in self.parts)


@dataclass(frozen=True)
class SigmaGroup:
    """`count` images with noise level `sigma` (model units); `snr_db` is null for clean ones."""

    sigma: float
    count: int
    snr_db: float | None


@dataclass(frozen=True)
class Inspection:
    """What `noiseworth inspect` found. Values are in model units."""

    name: str
    shape: tuple[int, int, int]
    count: int
    parts: list[PartRecord]
    noise: list[SigmaGroup]
    unknown: int
    label_counts: list[int] | None
    minimum: float
    maximum: float
    mean: float
    standard_deviation: float
    fingerprint: str


# ---- what a run says of itself -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step. `loss` is the weighted loss per pixel; `seconds` is the time since the process began training."""

    step: int
    n_images: int
    loss: float
    gradient_norm: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class WorthRecord:
    """What the images of a run were worth, by level, when it ended (DESIGN section 1).

    `worth[k][j]` is the worth, at `levels[j]`, of one image whose noise is `sigmas[k]`; there are `counts[k]` of them.
    `n_effective[j]` sums the worth of all images. Of more than 20 distinct noise levels, groups are listed by their median.
    `mean_worth[k]` averages over the training levels p(sigma);
    `price[k] = 1 / mean_worth[k]` noisy images replace one clean image (null: never).
    """

    levels: list[float]
    posterior_variance: list[float]
    sigmas: list[float]
    counts: list[int]
    worth: list[list[float]]
    n_effective: list[float]
    mean_worth: list[float]
    price: list[float | None]


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


# ---- what an evaluation says -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RiskCurve:
    """Mean squared denoising error per pixel on held-out clean images, by level, with standard errors over images."""

    levels: list[float]
    risk: list[float]
    standard_error: list[float]
    n_images: int

    @property
    def relative(self) -> float:
        """Mean over the levels of risk / sigma^2: 1 means no better than leaving the noise where it is."""
        return sum(r / s**2 for r, s in zip(self.risk, self.levels, strict=True)) / len(self.levels)


@dataclass(frozen=True)
class FeatureRecord:
    """Where the features of a Frechet distance come from. `accuracy` is the classifier's on held-out images."""

    name: str
    dimension: int
    sha256: str | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Generated images against a reference. Never called FID: the features are not Inception's.

    `held_out_distance` is that of real held-out images from the same reference. A Frechet distance of few images is biased
    upwards, so a good model that made many may come out below it.
    """

    frechet_distance: float
    held_out_distance: float | None
    features: FeatureRecord
    n_generated: int
    n_reference: int
    steps: int | None  # of the sampler; null for images that were there already
    risk: RiskCurve | None
    seed: int


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


# ---- what a theory study says ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """One measured number of a study: its 95% interval, and what the theory expects, where there is such a thing."""

    key: str
    what: str
    value: float
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Series:
    """Points of one curve; `low` and `high` are 95% intervals. A `guide` is theory, drawn as a thin line without points."""

    label: str
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    guide: bool = False


@dataclass(frozen=True)
class Panel:
    """One figure with logarithmic axes; `caption` tells a newcomer what to see in it."""

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series]


@dataclass(frozen=True)
class TheoryStudy:
    """What one study of `noiseworth theory` found."""

    name: str
    title: str
    lead: str
    numbers: list[Number]
    panels: list[Panel]
    seconds: float
    seed: int
    effort: float

    def number(self, key: str) -> Number:
        """The number of that key.

        Raises:
            KeyError: there is none.
        """
        return {number.key: number for number in self.numbers}[key]


# ---- what a law fit says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PriceRecord:
    """What an image of noise `sigma` is worth, three ways.

    `rate` is its worth in clean images in the one-currency law, with a 95% interval, and `price = 1 / rate`. `least` and `most` bound
    the price by inequalities between pairs of models (null: no bound). `coarse` and `fine` are its worth in each of two currencies.
    """

    sigma: float
    rate: float
    rate_low: float
    rate_high: float
    price: float
    least: float
    most: float | None
    coarse: float | None
    fine: float | None


@dataclass(frozen=True)
class LawRecord:
    """What `noiseworth fit` found. The exponent is that of the one-currency law, with its 95% interval; of the two laws `better` has
    the lower AICc. Held-out errors are relative, over 20 random splits that fit 70%; null where a law could not be fitted."""

    source: str
    n_observations: int
    exponent: float
    exponent_low: float
    exponent_high: float
    floor: float
    typical_residual: float
    prices: list[PriceRecord]
    better: str
    aicc: dict[str, float]
    held_out_median: dict[str, float]
    held_out_p90: dict[str, float]


@dataclass(frozen=True)
class PurchaseRecord:
    """Images to buy, and the predicted quality with the 95% interval of the law's uncertainty."""

    n_clean: int
    n_noisy: int
    quality: float
    low: float
    high: float


@dataclass(frozen=True)
class BudgetRecord:
    """What `noiseworth plan` found. `better_with` is the probability, under the law's uncertainty, that the best mix beats all clean.

    While a clean image costs less than `flip_ratio` noisy ones, clean images alone are best. Purchases keep to at least
    `least_clean_share` of clean images, the least that was observed; `beyond` says that the prediction is for "more" images than any
    observed model had, or for "fewer".
    """

    law: str
    sigma: float
    budget: float
    clean_price: float
    noisy_price: float
    all_clean: PurchaseRecord
    best: PurchaseRecord
    better_with: float
    flip_ratio: float
    least_clean_share: float
    beyond: Literal["more", "fewer"] | None


# ---- what lies under results/ ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One measured number held against one line of an issue's "It must show"."""

    issue: int
    line: int
    what: str
    value: float
    unit: str
    bound: float
    direction: Literal["max", "min"]
    command: str

    @property
    def holds(self) -> bool:
        """Whether the value is on the right side of its bound."""
        return self.value <= self.bound if self.direction == "max" else self.value >= self.bound


@dataclass(frozen=True)
class Results:
    """A file under `results/`: what was run, where, when, with what, and which numbers it is held to."""

    what: str
    command: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    seed: int | list[int] | None
    checks: list[Check]
    data: dict[str, Any] = field(default_factory=dict)
    format: int = RESULTS_FORMAT


# ---- dataclass <-> JSON ------------------------------------------------------------------------------------------------


def to_json(record: Any) -> str:
    """A dataclass as indented JSON. Raises ValueError for NaN or infinity."""
    return json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False)


def to_line(record: Any) -> str:
    """A dataclass as one line of JSON Lines, with its line end."""
    return json.dumps(dataclasses.asdict(record), allow_nan=False) + "\n"


def from_json(kind: type[T], value: Any, where: str) -> T:
    """Build a dataclass of type `kind` from parsed JSON.

    Args:
        where: named in the message, for instance the file's path.

    Raises:
        UserError: a key is missing or unknown, or a value has the wrong type.
    """
    return typing.cast(T, _build(kind, value, where))


def _build(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _build_union(arguments, value, where)
    if origin is Literal:
        if value in arguments:
            return value
    elif origin is list and isinstance(value, list):
        return [_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    elif origin is tuple and isinstance(value, list) and len(value) == len(arguments):
        return tuple(_build(t, item, f"{where}[{i}]") for i, (t, item) in enumerate(zip(arguments, value, strict=True)))
    elif origin is dict and isinstance(value, dict):
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif origin is None and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UserError(f"{where}: expected {kind}, found {value!r:.60}")


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected an object for {kind.__name__}, found {value!r:.60}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(value.keys() - fields.keys()):
        raise UserError(f"{where}: unknown key {unknown[0]!r}")
    arguments = {}
    for name, f in fields.items():
        if name in value:
            arguments[name] = _build(hints[name], value[name], f"{where}: {name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: key {name!r} is missing")
    return kind(**arguments)


def _build_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    for kind in (k for k in kinds if k is not type(None)):
        try:
            return _build(kind, value, where)
        except UserError as error:
            failure = error
    raise failure


def load_record(kind: type[T], path: Path) -> T:
    """Read one record from a JSON file.

    Raises:
        UserError: the file is missing, is not JSON, or is not such a record.
    """
    try:
        return from_json(kind, json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def load_lines(kind: type[T], path: Path) -> list[T]:
    """Read all records of a JSON Lines file; none if there is no file.

    Raises:
        UserError: a line is not such a record.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    try:
        return [from_json(kind, json.loads(line), f"{path}: line {i}") for i, line in enumerate(lines, 1)]
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON Lines ({error})") from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file (text in UTF-8) beside its place, sync it, and rename it: readers see the old file or the new one, never a half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- machine and versions ----------------------------------------------------------------------------------------------

_REPORTED = ("noiseworth", "torch", "diffusers", "accelerate", "numpy", "scipy", "scikit-learn", "POT")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, without importing them."""
    found = {"python": platform.python_version()}
    for name in _REPORTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine. No host name, no paths."""
    facts: dict[str, Any] = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                facts["processor"] = line.split(":", 1)[1].strip()
                break
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError):
        pass  # not Linux: what is known stands
    return facts


def now() -> str:
    """The date and time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
