"""YAML that people write, read as plain values: null, truth, numbers, text, lists, tables."""

from pathlib import Path
from typing import Any

from noiseworth.errors import UserError, first_line

_DEEPEST = 50  # levels of lists and tables in each other
_LARGEST = 2_000_000  # bytes of a file


def load_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        UserError: there is no such file, it is no text in UTF-8 or too large, or see `parse_yaml`.
    """
    if not path.is_file():
        wrong = "is no ordinary file; give a YAML file" if path.exists() else "no such file"
        raise UserError(f"{path}: {wrong}")
    if path.stat().st_size > _LARGEST:
        raise UserError(f"{path}: is larger than {_LARGEST:,} bytes; settings are small files")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text in UTF-8; save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Plain values from YAML.

    Args:
        where: named in the message, for instance the file's path.

    Raises:
        UserError: it is not YAML, nested too deeply, or holds an alias, a date, or another such value.
    """
    import yaml

    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            # A few aliases of aliases stand for billions of values.
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{where}: holds the alias *{event.anchor}; write out what it stands for")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise UserError(f"{where}: is nested more than {_DEEPEST} levels deep")
        value = yaml.safe_load(text)
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: not YAML ({first_line(error)})") from None
    _require_plain(value, where)
    return value


def _require_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(f"{where}: the name {key!r:.60} is no text; put it in quotes")
            _require_plain(item, f"{where}: {key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _require_plain(item, f"{where}[{number}]")
    elif not (value is None or isinstance(value, bool | int | float | str)):
        kind = type(value).__name__
        raise UserError(f"{where}: is read as a {kind}; put it in quotes if it is meant as text")
