'''Options: the fields of a configuration, which are a command's options and a Python function's arguments alike.

An option is documented once, by the string under its field:

    @dataclass(frozen=True)
    class GreetConfig:
        name: str = field(metadata=POSITIONAL)
        """Whom to greet."""
        times: int = 1
        """How often."""

        def __post_init__(self) -> None:
            check(self)
            require_at_least(self, 1, "times")

    @with_options(GreetConfig)
    def greet(config: GreetConfig) -> str: ...

    greet("Ada", times=2)                     # in Python
    noiseworth greet Ada --times 2            # on the command line, see cli/commands.py
'''

import dataclasses
import inspect
import math
import os
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, update_wrapper
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from noiseworth.errors import UserError

StrPath = str | Path  # a file or a directory

P = ParamSpec("P")
R = TypeVar("R")


# Metadata of a field that the command line takes by its position, not by its name; once, or once and more.
POSITIONAL: Mapping[str, Any] = {"positional": True}
SEVERAL: Mapping[str, Any] = {"positional": True, "nargs": "+"}
# Metadata of an option that may be given several times.
REPEATED: Mapping[str, Any] = {"repeat": True}
# Metadata of an option that names a file which the command writes: endings of files that it may replace.
PAGE: Mapping[str, Any] = {"written": (".html", ".htm")}
PICTURE: Mapping[str, Any] = {"written": (".png",)}
TABLE: Mapping[str, Any] = {"written": (".csv",)}

LARGEST = 2**63 - 1  # of integers: they are stored and hashed in 64 bits
_LONGEST_NAME = 200  # bytes: files are first written under a longer name beside their own
_NOT_IN_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


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
        config = self._config(*arguments, **options)
        check_written(config)
        return self.run(config)


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
        raise UserError(f"{flag_of(name)} {_shown(value)}: must be {must}")


def require_at_least(config: Any, least: int, *names: str, most: int = LARGEST) -> None:
    """Refuse a number of a configuration that is below `least` or above `most`; None passes.

    Raises:
        UserError: there is one.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None:
            require(value >= least, name, value, f"at least {least:,}")
            require(value <= most, name, value, f"at most {most:,}")


def require_new_name(config: Any, name: str = "out") -> None:
    """Refuse a path to be made that ends without a name, such as `.`.

    Raises:
        UserError: it does.
    """
    value = getattr(config, name)
    if Path(value).name in ("", ".."):
        raise UserError(f"{_called(config, name)} {value}: must end with the name of what is to be made")


def check(config: Any) -> None:
    """Refuse values that no command can use; the first line of the `__post_init__` of every configuration.

    A value must be of its field's type. Numbers must be finite and integers fit 64 bits; a `seed` is 0 or
    more. Text must hold no control characters, and may be empty only where this is the default.

    Raises:
        UserError: the first wrong value.
    """
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints_of(config.__class__)[field.name]
        wrong = "" if _fits(value, hint) else f"must be {_type_words(hint)}"
        if not wrong and value == "" and field.default != "":
            wrong = "must not be empty"
        if not wrong and field.name == "seed" and value < 0:
            wrong = "must be 0 or more"
        if wrong := wrong or next(_faults(value), ""):
            raise UserError(f"{_called(config, field.name)} {_shown(value)}: {wrong}")


@cache
def hints_of(config: Any) -> dict[str, Any]:
    """The type of each field of a configuration."""
    return typing.get_type_hints(config)


def _called(config: Any, name: str) -> str:
    """A field as the user of the command line knows it: `--sigma`, or `OUT` where it goes by its position."""
    metadata = next(field.metadata for field in dataclasses.fields(config) if field.name == name)
    return name.upper() if metadata.get("positional") else flag_of(name)


def _shown(value: Any) -> str:
    """A value in a message, cut if it is long."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"{'-' if value < 0 else ''}10^{int(math.log10(abs(value)))}"  # Python may refuse to write it
    text = str(value) or "''"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; integers are numbers, and lists are tuples, as YAML has it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (UnionType, typing.Union):
        return any(_fits(value, kind) for kind in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if origin is tuple:
        pairs = zip(value, arguments, strict=False) if isinstance(value, list | tuple) else ()
        return bool(pairs) and len(value) == len(arguments) and all(_fits(v, kind) for v, kind in pairs)
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    kinds = {int: Integral, float: Real, Path: os.PathLike}
    return isinstance(value, kinds.get(hint, hint)) and (hint is bool or not isinstance(value, bool))


def _type_words(hint: Any) -> str:
    """A type in plain words."""
    arguments = typing.get_args(hint)
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    words[type(None)] = "left out"
    if typing.get_origin(hint) in (UnionType, typing.Union):
        return " or ".join(_type_words(kind) for kind in arguments)
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(arguments)}"
    if typing.get_origin(hint) is tuple:
        return " and ".join(_type_words(kind) for kind in arguments)
    if typing.get_origin(hint) in (list, Sequence):
        return f"a list, each of it {_type_words(arguments[0])}"
    return words.get(hint, "a table of names and values")


def _faults(value: Any) -> Iterator[str]:
    """What is wrong with a value, whatever it is for."""
    if isinstance(value, str | os.PathLike):
        if match := _NOT_IN_TEXT.search(str(value)):
            yield f"must not hold the character {match[0]!a}"
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _faults(item)
            if item == "":
                yield "must not hold an empty text"
    elif isinstance(value, Integral):
        if abs(int(value)) > LARGEST:
            yield f"must be at most {LARGEST}"
    elif isinstance(value, Real) and not math.isfinite(value):
        yield "must be finite"


def check_written(config: Any) -> None:
    """Refuse a file to be written (`PAGE`, `PICTURE`, `TABLE`) that is read or cannot be made, before the work is done.

    Raises:
        UserError: it is one of the inputs, replaces something of another kind, or lies where none can be.
    """
    fields = dataclasses.fields(config)
    read = [
        Path(path)
        for field in fields
        if not field.metadata.get("written")
        for path in _texts(getattr(config, field.name))
    ]
    for field in fields:
        value = getattr(config, field.name)
        if field.metadata.get("written") and value is not None:
            flag = f"{_called(config, field.name)} {value}"
            _check_place(flag, Path(value))
            if Path(value).exists():
                _check_replaced(flag, Path(value), read, field.metadata["written"])
            read.append(Path(value))


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(item) for item in values if isinstance(item, str | Path)]


def _check_place(flag: str, path: Path) -> None:
    if path.name in ("", "..") or path.is_dir():
        raise UserError(f"{flag}: is a directory; name a file")
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UserError(f"{flag}: the name is too long; choose one of at most {_LONGEST_NAME} bytes")
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"{flag}: cannot be written, {folder} is no directory to write in; choose another place"
        )


def _check_replaced(flag: str, path: Path, read: list[Path], endings: tuple[str, ...]) -> None:
    target = Path(os.path.realpath(path))
    for source in read:
        if os.path.exists(source) and os.path.samefile(source, path):  # noqa: PTH110, PTH121 - any text is asked
            raise UserError(f"{flag}: is the same file as {source}; choose another name")
        is_page = target.suffix.lower() in PAGE["written"]
        if not is_page and source.is_dir() and target.is_relative_to(os.path.realpath(source)):
            raise UserError(f"{flag}: would replace a file of {source}; choose another place")
    if not target.is_file() or target.suffix.lower() not in endings:
        raise UserError(f"{flag}: exists and is no {endings[0]} file; remove it, or choose another name")
