'''Options: the fields of a configuration, which are a command's options and a Python function's arguments alike.

An option is documented once, by the string under its field:

    @dataclass(frozen=True)
    class GreetConfig:
        name: str = field(metadata=POSITIONAL)
        """Whom to greet."""
        times: int = 1
        """How often."""

    @with_options(GreetConfig)
    def greet(config: GreetConfig) -> str: ...

    greet("Ada", times=2)                     # in Python
    noiseworth greet Ada --times 2            # on the command line, see cli/commands.py
'''

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, update_wrapper
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from noiseworth.errors import UserError

StrPath = str | Path  # a file or a directory

P = ParamSpec("P")
R = TypeVar("R")


# Metadata of a field that the command line takes by its position, not by its name; once, or once and more.
POSITIONAL: Mapping[str, Any] = {"positional": True}
SEVERAL: Mapping[str, Any] = {"positional": True, "nargs": "+"}
# Metadata of an option that may be given several times.
REPEATED: Mapping[str, Any] = {"repeat": True}


def flag_of(name: str) -> str:
    """An option as it is written on the command line: `--clean-fraction`."""
    return "--" + name.replace("_", "-")


@lru_cache
def documentation(config: type) -> dict[str, str]:
    """What the string under each field of a configuration says."""
    from docstring_parser import parse_from_object  # comes with jsonargparse[signatures]

    return {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for parameter in parse_from_object(config).params
    }


def renamed(config: type) -> dict[str, str]:
    """Old name -> new name of options that were renamed. Files that hold an old name are still read; options get an answer."""
    names: dict[str, str] = getattr(config, "RENAMED", {})
    return names


class Configurable(Generic[P, R]):
    """A function of one configuration that is called with the configuration's fields; `run` takes the configuration itself."""

    def __init__(self, config: Callable[P, Any], function: Callable[[Any], R]) -> None:
        update_wrapper(self, function)
        self._config, self.run = config, function
        self.__signature__ = inspect.signature(config)

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> R:
        return self.run(self._config(*arguments, **options))


def with_options(config: Callable[P, Any]) -> Callable[[Callable[[Any], R]], Configurable[P, R]]:
    """Let a function of a configuration be called with the configuration's fields as arguments (see the module's docstring)."""

    def decorate(function: Callable[[Any], R]) -> Configurable[P, R]:
        return Configurable(config, function)

    return decorate


def require(condition: bool, name: str, value: Any, must: str) -> None:
    """Refuse the value of an option.

    Raises:
        UserError: the condition does not hold: `--NAME VALUE: must be ...`.
    """
    if not condition:
        raise UserError(f"{flag_of(name)} {value}: must be {must}")
