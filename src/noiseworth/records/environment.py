"""Where numbers come from: the machine, and the versions of what they depend on."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

_REPORTED = ("noiseworth", "torch", "diffusers", "accelerate", "numpy", "scipy", "scikit-learn", "POT")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, without importing them."""
    versions_by_name = {"python": platform.python_version()}
    for name in _REPORTED:
        try:
            versions_by_name[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions_by_name[name] = "not installed"
    return versions_by_name


def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine. No host name, no paths."""
    facts: dict[str, Any] = {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                facts["processor"] = line.split(":", 1)[1].strip()
                break
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError):
        pass  # not Linux: what is known stands
    return facts
