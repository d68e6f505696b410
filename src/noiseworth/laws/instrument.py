"""What an exposure costs, and how noisy its image is: a camera, averages of repeats, a dose."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.records import CameraRecord, from_json, load_record
from noiseworth.records.yaml_files import load_yaml

Array = NDArray[np.float64]

_BUDGET = re.compile(r"([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?) *([a-z]*)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True)
class Instrument:
    """How images are taken, by a YAML file with these keys.

    An exposure `t` of a `camera` leaves, at a pixel of mean brightness, a number of electrons of variance
    `t (white mean + dark) + k read_noise^2`, with `k` read-outs (1, or `t / each_read` of a stack); black to white is `white t` electrons,
    and 2 model units. So its noise is `2 sqrt(variance) / (white t)`. `averages` and a `dose` leave `sigma / sqrt(t)`: the noise of
    independent repeats, and of counting.

    Attributes:
        kind: "camera"; "averages" (whole numbers); or "dose".
        least, most: the shortest and the longest exposure, in units.
        unit: of exposures: s, min, h or d, in which budgets may be given, too; or any other word.
        overhead: that each image costs beside its exposure, in units (stage, read-out).
        white: of a camera: electrons a unit at a white pixel.
        mean: mean brightness of the images, as a share of white.
        dark: electrons a unit without light.
        read_noise: electrons, of one read-out.
        each_read: of a camera that stacks: exposure of one read-out.
        sigma: of averages and doses: noise (model units) at an exposure of 1.
        objects: how many there are, each to be exposed once; None: as many as are wanted.

    Raises:
        UserError: a value that no instrument has.
    """

    kind: Literal["camera", "averages", "dose"]
    least: float
    most: float
    unit: str = "s"
    overhead: float = 0.0
    white: float | None = None
    mean: float = 0.5
    dark: float = 0.0
    read_noise: float = 0.0
    each_read: float | None = None
    sigma: float | None = None
    objects: int | None = None

    def __post_init__(self) -> None:
        needed = "white" if self.kind == "camera" else "sigma"
        if getattr(self, needed) is None:
            raise UserError(f"{self.kind}: needs {needed}")
        other = {"camera": ("sigma",)}.get(self.kind, ("white", "each_read"))
        if any(getattr(self, name) is not None for name in other):
            raise UserError(f"{self.kind}: has no {' and no '.join(other)}")
        for name in ("least", "most", "white", "mean", "each_read", "sigma", "objects"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise UserError(f"{name} {value:g}: must be finite and above 0")
        for name in ("overhead", "dark", "read_noise"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"{name} {getattr(self, name):g}: must be finite, 0 or more")
        if self.least > self.most:
            raise UserError(f"least {self.least:g} is above most {self.most:g}")
        if self.mean > 1:
            raise UserError(f"mean {self.mean:g}: is a share of white, at most 1")
        if self.kind == "averages" and (self.least % 1 or self.most % 1):
            raise UserError(f"least {self.least:g}, most {self.most:g}: averages are whole numbers")

    def sigma_of(self, exposure: Array) -> Array:
        """Noise (N,), in model units, of images of these exposures (N,)."""
        t = np.asarray(exposure, np.float64)
        if self.kind != "camera":
            assert self.sigma is not None
            return np.asarray(self.sigma / np.sqrt(t))
        assert self.white is not None
        reads = 1.0 if self.each_read is None else np.maximum(t / self.each_read, 1.0)
        variance = t * (self.white * self.mean + self.dark) + reads * self.read_noise**2
        return np.asarray(2 * np.sqrt(variance) / (self.white * t))

    def cost_of(self, exposure: Array) -> Array:
        """What images of these exposures cost, in units."""
        return np.asarray(exposure, np.float64) + self.overhead

    def exposures(self, count: int) -> Array:
        """Exposures that can be had, from the shortest to the longest: evenly in the logarithm, or whole numbers."""
        some = np.geomspace(self.least, self.most, count)
        return np.unique(np.rint(some)) if self.kind == "averages" else np.unique(some)

    def budget(self, text: str | float) -> float:
        """A budget in units: a number, or a time such as `1h` where the unit is one.

        Raises:
            UserError: it is neither, or not above 0.
        """
        match = _BUDGET.fullmatch(str(text).strip())
        value, suffix = (float(match[1]), match[2]) if match else (np.nan, "")
        if match is None or (suffix and (suffix not in _SECONDS or self.unit not in _SECONDS)):
            times = ", nor a time such as 90min or 1h" if self.unit in _SECONDS else ""
            raise UserError(f"--budget {text}: is no number of {self.unit}{times}")
        if suffix:
            value *= _SECONDS[suffix] / _SECONDS[self.unit]
        if not 0 < value < np.inf:
            raise UserError(f"--budget {text}: must be a number above 0, of {self.unit}")
        return value


def read_instrument(path: Path) -> Instrument:
    """The instrument of a YAML file.

    `calibration: camera.json`, what `noiseworth noise calibrate` wrote (beside the YAML file), gives the read noise; `white` and `dark` are
    then in raw units, above the offset, and become electrons by its gain.

    Raises:
        UserError: there is no such file, a key is unknown or missing, or a value is one that no instrument has.
    """
    settings = load_yaml(path)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: holds no settings; give lines such as `kind: camera`")
    try:
        if "calibration" in settings:
            settings = _calibrated(settings, path.parent)
        return from_json(Instrument, settings, str(path))
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(str(path)) else f"{path}: {message}") from None


def _calibrated(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings with the read noise of a measured camera, and electrons in place of raw units."""
    rest = dict(settings)
    name = str(rest.pop("calibration"))
    camera = load_record(CameraRecord, folder / name)
    if camera.gain is None or camera.read_noise is None:
        raise UserError(
            f"calibration {name}: has no gain, or no read noise; measure the camera with dark frames (noise calibrate --dark)"
        )
    if "read_noise" in rest:
        raise UserError(f"read_noise: is that of the calibration {name}; leave one of the two out")
    gain = camera.gain[0]
    for key in ("white", "dark"):
        if isinstance(rest.get(key), int | float):
            rest[key] = rest[key] / gain
    return rest | {"read_noise": camera.read_noise[0] / gain}
