"""What several commands say or need."""

import dataclasses
import sys
from typing import Any


def say(message: str) -> None:
    print(message, file=sys.stderr)


def first(n: int) -> Any:
    import numpy as np

    return np.arange(n)


def print_settings(config: Any) -> None:
    import yaml

    print(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), end="")
