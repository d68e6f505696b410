"""What is known of each image beside its pixels: noise levels and labels, from a number, a rule on names, or a table."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

_DIGITS = 7  # a label has fewer; others (dates, serial numbers) are names of classes
_TABLES = (".csv", ".tsv", ".parquet")


class Table:
    """A CSV or Parquet file: one column by the images' names (column "file"), or in their order."""

    def __init__(self, path: Path, column: str, option: str) -> None:
        self.path, self.column, self._option = path, column, option
        names, rows = _read(path, option)
        if column not in names:
            raise UserError(f"{option} {path}: has no column {column!r} (it has {', '.join(names) or 'none'})")
        self.values = [row[column] for row in rows]
        self.files = [row["file"] for row in rows] if "file" in names else None

    def by_image(self, names: Sequence[str]) -> list[str | None]:
        """The value of each image; None where its file is not in the table.

        Raises:
            UserError: the table names a file that is not there or one twice, or without names has another number of rows.
        """
        if self.files is None:
            if len(self.values) != len(names):
                raise UserError(
                    f"{self.path}: has {len(self.values):,} rows for {len(names):,} images, and no column 'file' to tell which"
                )
            return list(self.values)
        place: dict[str, int] = {}
        for i, name in enumerate(names):
            place[name] = -1 if name in place else i
        short: dict[str, int] = {}
        for i, name in enumerate(names):
            base = PurePosixPath(name).name
            short[base] = -1 if base in short else i
        found: list[str | None] = [None] * len(names)
        for file, value in zip(self.files, self.values, strict=True):
            at = place.get(file, short.get(file, -2))
            if at < 0:
                why = "several images have that name: give it with its folders" if at == -1 else "there is no such image"
                raise UserError(f"{self.path}: names {file!r}, and {why}")
            if found[at] is not None:
                raise UserError(f"{self.path}: names {file!r} twice")
            found[at] = value
        return found


def resolve_sigma(spec: str | float | None, names: Sequence[str], told: Sequence[float | None]) -> NDArray[np.float64]:
    """Noise level of each image, NaN where unknown; in the units of `spec`.

    Args:
        spec: a number; rules such as "clean/=0,noisy/=0.2", of which the first whose left side is in the name counts; a table
            ("levels.csv", or "levels.csv:column"); None for what the source tells, else unknown.
        names: of the images.
        told: what the source tells.

    Raises:
        UserError: not a number of 0 or more, a rule that fits no image, a table that does not fit.
    """
    if spec is None:
        values = np.array([math.nan if t is None else t for t in told], dtype=np.float64)
        for i, (value, told_value) in enumerate(zip(values, told, strict=True)):
            if told_value is not None and not _is_level(value):
                raise UserError(f"{names[i]}: its source says sigma {value}; {_LEVEL}")
        return values
    number = _number(spec)
    if number is not None:
        return np.full(len(names), check_sigma(number))
    text = str(spec)
    if "=" in text and not text.split(":")[0].endswith(_TABLES):
        return _by_rules(text, names)
    table = sigma_table(text)
    found = table.by_image(names)
    values = np.full(len(names), math.nan)
    for i, value in enumerate(found):
        if value is not None:
            level = _number(value)
            if level is None or not _is_level(level):
                raise UserError(f"{table.path}: sigma of {names[i]} is {value!r}; {_LEVEL}")
            values[i] = level
    return values


_LEVEL = "a noise level is a finite number, 0 (clean) or more"


def check_sigma(value: float) -> float:
    """A noise level that was given.

    Raises:
        UserError: it is none.
    """
    if not _is_level(value):
        raise UserError(f"--sigma {value}: {_LEVEL}")
    return value


def sigma_table(text: str) -> Table:
    """`FILE` or `FILE:COLUMN`.

    Raises:
        UserError: no such table.
    """
    path, _, column = text.partition(":")
    if not path.endswith(_TABLES):
        raise UserError(f"--sigma {text}: a number, rules such as clean/=0,noisy/=0.2, or a table (CSV, Parquet) with a column 'sigma'")
    return Table(Path(path), column or "sigma", "--sigma")


def check_early(spec: str | float | None) -> None:
    """What can be said before any image is read. Raises UserError as `resolve_sigma`."""
    if spec is None:
        return
    number = _number(spec)
    if number is not None:
        check_sigma(number)
    elif "=" in str(spec) and not str(spec).split(":")[0].endswith(_TABLES):
        _rules(str(spec))
    else:
        sigma_table(str(spec))


def resolve_labels(
    spec: str | None, names: Sequence[str], told: Sequence[int | None], folders: bool
) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Class of each image, or None, and the names of classes.

    Args:
        spec: "none"; a table with a column "label"; None for what the source tells, or its folders.
        names: of the images, without the folder of a split.
        told: what the source tells.
        folders: whether folders may be classes.

    Raises:
        UserError: a table that does not fit, or has no label for some image.
    """
    if spec == "none":
        return None, []
    if spec is not None:
        path, _, column = spec.partition(":")
        found = Table(Path(path), column or "label", "--labels").by_image(names)
        missing = [name for name, value in zip(names, found, strict=True) if value is None]
        if missing:
            raise UserError(f"{path}: has no label for {missing[0]} ({len(missing):,} images); list all, or leave out --labels")
        values = [str(value) for value in found]
        if all(value.isdigit() and len(value) < _DIGITS for value in values):
            return np.array([int(value) for value in values], dtype=np.int64), []
        classes = sorted(set(values))
        return np.array([classes.index(value) for value in values], dtype=np.int64), classes
    if told and all(t is not None for t in told):
        return _checked([str(t) for t in told], names, "its source"), []
    if not folders:
        return None, []
    tops = [parts[0] if len(parts) > 1 else "" for parts in (PurePosixPath(name).parts for name in names)]
    classes = sorted(set(tops))
    if "" in classes or len(classes) < 2:
        return None, []
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[top] for top in tops], dtype=np.int64), classes


def _checked(values: Sequence[str], names: Sequence[str], where: str) -> NDArray[np.int64]:
    """Whole numbers from 0 up, and not so large that counting them would fill the memory."""
    for name, value in zip(names, values, strict=True):
        if not value.isdigit() or len(value) >= _DIGITS:
            raise UserError(
                f"{name}: {where} gives it the label {value}; labels are whole numbers from 0 up: give a table with --labels"
            )
    return np.array([int(value) for value in values], dtype=np.int64)


def _rules(text: str) -> list[tuple[str, float]]:
    rules = []
    for rule in text.split(","):
        left, equals, right = rule.rpartition("=")
        value = _number(right)
        if not equals or not left or value is None:
            raise UserError(f"--sigma {text}: {rule!r} is no rule; rules are PART-OF-NAME=NUMBER, as clean/=0,noisy/=0.2")
        rules.append((left, check_sigma(value)))
    return rules


def _by_rules(text: str, names: Sequence[str]) -> NDArray[np.float64]:
    rules, values = _rules(text), np.full(len(names), math.nan)
    used = [False] * len(rules)
    for i, name in enumerate(names):
        for k, (part, value) in enumerate(rules):
            if part in name:
                values[i], used[k] = value, True
                break
    if not all(used):
        idle = rules[used.index(False)][0]
        raise UserError(f"--sigma {text}: {idle!r} is in the name of no image that no earlier rule took (the first is {names[0]})")
    return values


def _is_level(value: float) -> bool:
    return value < 1e38 and value >= 0  # sigma is stored in float32


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _read(path: Path, option: str) -> tuple[list[str], list[dict[str, str]]]:
    try:
        if path.suffix == ".parquet":
            try:
                import pyarrow.parquet as parquet
            except ImportError:
                raise UserError(f"{option} {path}: needs pyarrow: pip install 'noiseworth[hub]'") from None
            try:
                table = parquet.read_table(path)
            except Exception as error:  # whatever a damaged file makes of it
                if isinstance(error, FileNotFoundError):
                    raise
                raise UserError(f"{option} {path}: not a table ({str(error).splitlines()[0]})") from None
            return list(table.column_names), [{k: str(v) for k, v in row.items()} for row in table.to_pylist()]
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            return list(reader.fieldnames or []), [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{option} {path}: no such file") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{option} {path}: not a table ({error})") from None
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read ({error})") from None
