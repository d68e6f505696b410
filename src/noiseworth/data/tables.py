"""Tables (CSV, TSV, Parquet) of what is known about each image."""

import csv
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from noiseworth.errors import UserError, first_line

SUFFIXES = (".csv", ".tsv", ".parquet")


class Table:
    """A CSV, TSV or Parquet file with one column of values, and maybe one that says to which image each row belongs.

    Attributes:
        path: the file.
        values: the column of values, as text.
        columns: the other columns, as text.
    """

    def __init__(self, path: Path, column: str, option: str) -> None:
        """Read the table.

        Args:
            column: the column that is asked for, in capitals or not.
            option: the option that named the table, for messages.

        Raises:
            UserError: the file cannot be read, or has no such column.
        """
        self.path = path
        names, rows = _read(path, option)
        same = [name for name in names if name == column] or [n for n in names if n.lower() == column.lower()]
        if not same:
            raise UserError(
                f"{option} {path}: has no column {column!r} (it has {', '.join(names)[:500] or 'none'})"
            )
        self.values = [row[same[0]] for row in rows]
        self.columns = {name: [row[name] for row in rows] for name in names if name != same[0]}

    def by_image(self, names: Sequence[str], by_row: bool = False) -> list[str | None]:
        """The value of each image; None where the table does not have it.

        Rows are matched to images by the column whose entries are names of images: with folders or without,
        with suffix or without; of the file, for all pages of a stack.

        Args:
            names: of the images.
            by_row: the first row is that of the first image, and so on, whatever the table says.

        Raises:
            UserError: no column has names of images, and `by_row` was not asked for; or the table names an
                unknown image, or one twice; or by rows, their number is not that of the images.
        """
        if by_row:
            if len(self.values) != len(names):
                raise UserError(
                    f"--by-row: {self.path} has {len(self.values):,} rows for {len(names):,} images"
                )
            return list(self.values)
        index = _NameIndex(names)
        column = self._name_column(index, names)
        values: list[str | None] = [None] * len(names)
        for key, value in zip(self.columns[column], self.values, strict=True):
            rows = index.rows(key)
            if not rows:
                raise UserError(
                    f"{self.path}: names {key[:200]!r} in its column {column!r}, and there is no such image"
                )
            if rows is _AMBIGUOUS:
                raise UserError(
                    f"{self.path}: names {key[:200]!r}, and several images have that name: give it with its folders"
                )
            if any(values[row] is not None for row in rows):
                raise UserError(f"{self.path}: names {key[:200]!r} twice")
            for row in rows:
                values[row] = value
        return values

    def _name_column(self, index: "_NameIndex", names: Sequence[str]) -> str:
        """The column with the names of images: the one of which most entries are."""
        hits = {column: sum(bool(index.rows(key)) for key in keys) for column, keys in self.columns.items()}
        for column, keys in self.columns.items():  # numbers may be anything: an age, a label
            if column.lower() not in _USUAL and all(key.isascii() and key.isdigit() for key in keys):
                hits[column] = 0
        best = max(hits, key=lambda c: (hits[c], c.lower() in _USUAL), default=None)
        if best is None or not hits[best]:
            usual = next((column for column in self.columns if column.lower() in _USUAL[:7]), None)
            if usual is not None:  # the first of its entries will be named
                return usual
            others = f" (it also has {', '.join(self.columns)[:300]})" if self.columns else ""
            raise UserError(
                f"{self.path}: no column has the names of the images, such as {names[0]}{others}; add one, or, if its"
                " rows are in the order of the images, give --by-row"
            )
        return best


_AMBIGUOUS = (-1,)
# Names of columns whose numbers are names of images.
_USUAL = (
    "file", "file_name", "filename", "image", "image_name", "path", "name",
    "id", "image_id", "index", "row", "number", "nr", "no",
)  # fmt: skip
_NUMBERED = re.compile(r"(?:.*: )?(?:image|row|frame|page) (\d+)")


class _NameIndex:
    """The images that a name in a table can mean."""

    def __init__(self, names: Sequence[str]) -> None:
        self._levels: list[dict[str, tuple[int, ...]]] = []
        files = [normal(name).partition(": ")[0] for name in names]
        forms = [_forms(normal(name)) for name in names]
        for level in range(max(map(len, forms), default=0)):
            rows: dict[str, list[int]] = {}
            for i, of_image in enumerate(forms):
                if level < len(of_image):
                    rows.setdefault(of_image[level], []).append(i)
            self._levels.append(
                {
                    form: tuple(r) if len({files[i] for i in r}) == 1 else _AMBIGUOUS
                    for form, r in rows.items()
                }
            )

    def rows(self, key: str) -> tuple[int, ...]:
        """The images of that name; none; or `_AMBIGUOUS`."""
        key = normal(key)
        return next((level[key] for level in self._levels if key in level), ())


def _forms(name: str) -> list[str]:
    """What an image may be called in a table, the most exact first."""
    file = PurePosixPath(name.partition(": ")[0])
    numbered = _NUMBERED.fullmatch(name)
    number = [numbered[1]] if numbered else [name]
    if numbered and str(file) == name:  # of an array, which has no file names
        return [name, *number]
    return [name, str(file), file.name, str(file.with_suffix("")) if file.name else name, file.stem]


def normal(name: str) -> str:
    """A name as it is compared: composed letters (NFC), / between folders, and no ./ before."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")


def _refuse_twice(names: list[str], path: Path, option: str) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{option} {path}: has the column {twice[0]!r} twice; remove one")


def _read(path: Path, option: str) -> tuple[list[str], list[dict[str, str]]]:
    try:
        if path.suffix.lower() == ".parquet":
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
            _refuse_twice(list(table.column_names), path, option)
            return list(table.column_names), [
                {k: "" if v is None else str(v) for k, v in row.items()} for row in table.to_pylist()
            ]
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            comma = max((",", "\t", ";"), key=first.count)  # a spreadsheet may write any of them
            reader = csv.DictReader(file, delimiter=comma if comma in first else ",", restval="")
            names = list(reader.fieldnames or [])
            _refuse_twice(names, path, option)
            rows = []
            for row in reader:
                if None in row:
                    count = len(names) + len(row[None])
                    raise UserError(
                        f"{option} {path}: line {reader.line_num} has {count} fields, the header {len(names)}; write"
                        " numbers with a point, or put semicolons between the columns"
                    )
                rows.append({name: (value or "").strip() for name, value in row.items()})
            return names, rows
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{option} {path}: no such file") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{option} {path}: not a table ({error})") from None
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read ({error})") from None
