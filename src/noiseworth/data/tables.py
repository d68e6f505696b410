"""Tables (CSV, TSV, Parquet) of what is known about each image."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from noiseworth.errors import UserError, first_line

SUFFIXES = (".csv", ".tsv", ".parquet")


class Table:
    """One column of a CSV, TSV or Parquet file, and the column that says to which image each row belongs.

    Attributes:
        path: the file.
        values: the column, as text.
        keys: the column `key` as text, or None if the table has none: rows are then in the order of the
            images.
    """

    def __init__(self, path: Path, column: str, option: str, key: str = "file") -> None:
        """Read the table.

        Args:
            column: the column that is asked for.
            option: the option that named the table, for messages.
            key: the column that says to which image a row belongs.

        Raises:
            UserError: the file cannot be read, or has no such column.
        """
        self.path = path
        names, rows = _read(path, option)
        if column not in names:
            raise UserError(
                f"{option} {path}: has no column {column!r} (it has {', '.join(names) or 'none'})"
            )
        self.values = [row[column] for row in rows]
        self.keys = [row[key] for row in rows] if key in names else None

    def by_image(self, names: Sequence[str]) -> list[str | None]:
        """The value of each image; None where its file is not in the table.

        Raises:
            UserError: the table names an unknown file, or one file twice; or it names none, and the number of
                rows is not that of the images.
        """
        if self.keys is None:
            if len(self.values) != len(names):
                raise UserError(
                    f"{self.path}: has {len(self.values):,} rows for {len(names):,} images, and no column"
                    " 'file' that says which row belongs to which image"
                )
            return list(self.values)
        # Row of each name; -1 where several images have it.
        row_by_name: dict[str, int] = {}
        for i, name in enumerate(names):
            row_by_name[name] = -1 if name in row_by_name else i
        row_by_base_name: dict[str, int] = {}
        for i, name in enumerate(names):
            base = PurePosixPath(name).name
            row_by_base_name[base] = -1 if base in row_by_base_name else i
        values: list[str | None] = [None] * len(names)
        for file, value in zip(self.keys, self.values, strict=True):
            at = row_by_name.get(file, row_by_base_name.get(file, -2))  # -2: no image has this name
            if at < 0:
                why = (
                    "several images have that name: give it with its folders"
                    if at == -1
                    else "there is no such image"
                )
                raise UserError(f"{self.path}: names {file!r}, and {why}")
            if values[at] is not None:
                raise UserError(f"{self.path}: names {file!r} twice")
            values[at] = value
        return values


def _read(path: Path, option: str) -> tuple[list[str], list[dict[str, str]]]:
    try:
        if path.suffix == ".parquet":
            try:
                import pyarrow.parquet as parquet
            except ImportError:
                raise UserError(f"{option} {path}: needs pyarrow: pip install 'noiseworth[hub]'") from None
            try:
                table = parquet.read_table(path)
            except Exception as error:  # a damaged file can raise an error of any type
                if isinstance(error, FileNotFoundError):
                    raise
                raise UserError(f"{option} {path}: not a table ({first_line(error)})") from None
            return list(table.column_names), [
                {k: str(v) for k, v in row.items()} for row in table.to_pylist()
            ]
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            return list(reader.fieldnames or []), [
                {k: (v or "").strip() for k, v in row.items() if k} for row in reader
            ]
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{option} {path}: no such file") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{option} {path}: not a table ({error})") from None
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read ({error})") from None
