"""Tables of trained models: CSV files with one model a row, written by `noiseworth sweep` or by hand."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from noiseworth.errors import UserError, first_line

PUBLISHED = "published:"  # as in published:cifar10, a data set of arXiv 2411.02780
TABLE = "observations.csv"  # in the directory of a sweep
COLUMNS = ("n_clean", "n_noisy", "sigma")
_SETTING = "train."
_LARGEST_FILE = 100_000_000  # bytes
_LEAST, _MOST = (
    1e-30,
    1e15,
)  # numbers apart from 0; a law's sums of squares stay far from the ends of floating point


def read_table(source: str, where: str) -> tuple[str, list[tuple[int, dict[str, str]]]]:
    """The path of the file, and its rows that satisfy `where`, each with its line number.

    Raises:
        UserError: no such file, a missing column, no such rows, or models of several settings.
    """
    path = Path(source)
    if path.is_dir():
        if not (path / TABLE).is_file():
            raise UserError(
                f"{path}: no {TABLE} there; `noiseworth sweep run {path}` or `noiseworth sweep collect`"
                " writes it"
            )
        path = path / TABLE
    rows = _read_rows(path, source)
    for condition in filter(None, where.split(",")):
        rows = _kept(rows, condition, path)
    _require_one_setting(rows, path)
    return str(path), rows


def _read_rows(path: Path, source: str) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        wrong = "is no ordinary file" if path.exists() else "no such file"
        raise UserError(f"{source}: {wrong}; give a CSV file, the directory of a sweep, or {PUBLISHED}NAME")
    if path.stat().st_size > _LARGEST_FILE:
        raise UserError(
            f"{path}: is larger than {_LARGEST_FILE:,} bytes; give one row for each trained model"
        )
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        if missing := [c for c in COLUMNS if c not in (reader.fieldnames or [])]:
            needed = f"{', '.join(COLUMNS)} and a quality"
            raise UserError(f"{path}: column {missing[0]!r} is missing; needed are {needed}")
        rows = [
            (number, {k: v or "" for k, v in line.items() if k is not None})
            for number, line in enumerate(reader, 2)
        ]
    except UnicodeDecodeError:
        raise UserError(f"{source}: not a text file; give a CSV file in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV file ({first_line(error)})") from None
    if not rows:
        raise UserError(f"{path}: no rows; give one row for each trained model")
    return rows


def _kept(
    rows: list[tuple[int, dict[str, str]]], condition: str, path: Path
) -> list[tuple[int, dict[str, str]]]:
    """The rows that satisfy a condition, COLUMN=VALUE."""
    key, equals, value = (part.strip() for part in condition.partition("="))
    column = key if key in rows[0][1] else _SETTING + key
    if not equals or column not in rows[0][1]:
        raise UserError(
            f"--where {condition}: must be COLUMN=VALUE; {path} has the columns {', '.join(rows[0][1])}"
        )
    kept = [row for row in rows if _same(row[1][column], value)]
    if not kept:
        has = ", ".join(sorted({line[column] for _, line in rows}))
        raise UserError(f"--where {condition}: no such model in {path}; {column} is {has}")
    return kept


def _require_one_setting(rows: list[tuple[int, dict[str, str]]], path: Path) -> None:
    for column in rows[0][1]:
        values = sorted({line[column] for _, line in rows}) if column.startswith(_SETTING) else []
        if len(values) > 1:
            short = column.removeprefix(_SETTING)
            raise UserError(
                f"{path}: its models differ in {short} ({', '.join(values)}); choose with --where"
                f" {short}={values[0]}"
            )


def _same(text: str, value: str) -> bool:
    try:
        return float(text) == float(value)
    except ValueError:
        return text == value


def model_of(line: dict[str, str], quality: str, where: str) -> tuple[float, dict[float, float], float]:
    """(clean images, numbers of noisy images by sigma, quality) of a row.

    Args:
        quality: the column.
        where: named in the message: file and line.

    Raises:
        UserError: a number is missing or makes no sense.
    """
    n_clean, value = (number_of(line, column, where) for column in ("n_clean", quality))
    counts, sigmas = (line[column] or "" for column in ("n_noisy", "sigma"))
    if ";" in counts or ";" in sigmas:
        each = [_numbers_of(text, name, where) for text, name in ((counts, "n_noisy"), (sigmas, "sigma"))]
        if len(each[0]) != len(each[1]):
            raise UserError(
                f"{where}: n_noisy has {len(each[0])} numbers and sigma {len(each[1])}; they must be as many"
            )
        noisy = dict(zip(each[1], each[0], strict=True))
        if len(noisy) < len(each[1]):
            raise UserError(f"{where}: sigma names a noise level twice; add up its images")
    else:
        count = number_of(line, "n_noisy", where)
        noisy = {number_of(line, "sigma", where, empty=0.0): count} if count else {}
    if value == 0 or n_clean + sum(noisy.values()) == 0 or 0.0 in noisy:
        raise UserError(
            f"{where}: {quality} and the number of images must be above 0; noisy images need a sigma above 0"
        )
    return n_clean, noisy, value


def _numbers_of(text: str, column: str, where: str) -> list[float]:
    return [number_of({column: piece}, column, where) for piece in text.split(";")]


def number_of(line: Mapping[str, str], column: str, where: str, empty: float | None = None) -> float:
    """The number in a column of a row; `empty` if there is none.

    Raises:
        UserError: it is no number, negative, not finite, or beyond all measure.
    """
    text = (line[column] or "").strip()
    if not text and empty is not None:
        return empty
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}: {column} is {text!r}, not a number") from None
    if not math.isfinite(value) or value < 0:
        raise UserError(f"{where}: {column} is {text}; must be finite and 0 or more")
    if value and not _LEAST <= value <= _MOST:
        raise UserError(f"{where}: {column} is {text}; must be 0, or from {_LEAST:g} to {_MOST:g}")
    return value
