"""What lies under results/: measured numbers, what they are held to, and where they come from."""

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

RESULTS_FORMAT = 1


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
