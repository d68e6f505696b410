"""Dataclass <-> JSON, and files that are written whole or not at all.

`to_json` and `from_json` are exact inverses. NaN and infinity never reach a file, and a file with a missing
or an unknown key is refused by name, so that a record says the same thing to the program that wrote it and to
the one that reads it.
"""

import dataclasses
import hashlib
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from noiseworth.errors import UserError, first_line
from noiseworth.process import file_beside

T = TypeVar("T")

_LARGEST = 2**63 - 1  # of integers: they become 64 bits
_MOST_BYTES = 1 << 30  # of a file that is parsed at once


def plain(value: Any) -> Any:
    """A dataclass, or a list of them, as plain dictionaries and lists; anything else as it is."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return (
        dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
    )


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
        return tuple(
            _build(t, item, f"{where}[{i}]") for i, (t, item) in enumerate(zip(arguments, value, strict=True))
        )
    elif origin is dict and isinstance(value, dict):
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, where)
    elif origin is None and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        if kind is int and abs(value) > _LARGEST:
            raise UserError(f"{where}: is too large a number")
        return value
    raise UserError(f"{where}: expected {kind}, found {value!r:.60}")


def _finite(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise UserError(f"{where}: must be a finite number")
    return number


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected an object for {kind.__name__}, found {value!r:.60}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    new_names = getattr(kind, "RENAMED", {})  # of keys in files that older versions wrote
    value = {new_names.get(key, key): item for key, item in value.items()}
    if unknown := sorted(value.keys() - fields.keys()):
        raise UserError(f"{where}: unknown key {unknown[0]!r}")
    arguments = {}
    for name, f in fields.items():
        if name in value:
            arguments[name] = _build(hints[name], value[name], f"{where}: {name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: key {name!r} is missing")
    try:
        return kind(**arguments)
    except UserError as error:  # of the record's own checks, which know no file
        raise UserError(f"{where}: {error}") from None


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
    return from_json(kind, load_json(path), str(path))


def load_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        UserError: the file is missing, is no ordinary file, or see `parse_json`.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'is no ordinary file' if path.exists() else 'no such file'}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(
                f"{path}: is larger than {_MOST_BYTES >> 20:,} MiB; it is not what noiseworth wrote"
            )
        content = path.read_bytes()
    except FileNotFoundError:  # another process removed it in the meantime
        raise UserError(f"{path}: no such file") from None
    return parse_json(content, str(path))


def parse_record(kind: type[T], content: bytes, where: str) -> T:
    """One record from the bytes of a JSON file.

    Raises:
        UserError: they are not JSON, or not such a record.
    """
    return from_json(kind, parse_json(content, where), where)


def parse_json(content: bytes, where: str) -> Any:
    """The value of JSON in UTF-8.

    Raises:
        UserError: it is not JSON, is nested too deeply, or holds NaN, infinity or thousands of digits.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(content.decode("utf-8"), parse_constant=refuse)
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({first_line(error)})") from None


def load_lines(kind: type[T], path: Path) -> list[T]:
    """Read all records of a JSON Lines file; none if there is no file.

    Raises:
        UserError: a line is not such a record.
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [parse_record(kind, line, f"{path}: line {i}") for i, line in enumerate(lines, 1)]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file (text in UTF-8) beside its place, sync it, and rename it: readers see the old file or the new one, never a half."""
    whole = content.encode() if isinstance(content, str) else content
    with file_beside(path) as file:
        file.write(whole)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
