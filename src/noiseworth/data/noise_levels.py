"""The noise level of each image: from a number, rules on names, a table, or its source; or drawn at random.

A noise distribution, from which levels are drawn, is written as

0.2                    one level for all
choice:0.1,0.2,0.5     one of these
uniform:0.1:0.5        between these
loguniform:0.05:0.8    between these, evenly in the logarithm
levels.csv             a table (CSV, TSV, Parquet) with columns id and sigma; images not in it stay clean
"""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.tables import SUFFIXES, Table, normal
from noiseworth.errors import UserError
from noiseworth.rng import Stream, uniform

_SMALLEST = 1.4e-45  # of float32; a smaller level would be rounded to 0, clean
_LEVEL = "a noise level is 0 (clean), or a number from 1.4e-45 to 1e38"


def resolve_sigma(
    spec: str | float | None, names: Sequence[str], from_source: Sequence[float | None], by_row: bool = False
) -> NDArray[np.float64]:
    """Noise level of each image, NaN where unknown; in the units of `spec`.

    Args:
        spec: a number; rules such as "clean/=0,noisy/=0.2", of which the first whose left side is in the name
            applies; a table ("levels.csv", or "levels.csv:column"), in which nothing stands for unknown; None for
            what the source says.
        names: of the images.
        from_source: the level that the source gives for each image; None where it gives none.

    Raises:
        UserError: not a number of 0 or more, a rule that fits no image, a table that does not fit.
    """
    if spec is None:
        values = np.array([math.nan if t is None else t for t in from_source], dtype=np.float64)
        for i, (value, source_value) in enumerate(zip(values, from_source, strict=True)):
            if source_value is not None and not _is_level(value):
                raise UserError(f"{names[i]}: its source says sigma {value}; {_LEVEL}")
        return values
    number = _number(spec)
    if number is not None:
        return np.full(len(names), check_sigma(number))
    text = str(spec)
    if "=" in text and not is_table(text):
        return _by_rules(text, names)
    table = sigma_table(text)
    column_values = table.by_image(names, by_row)
    values = np.full(len(names), math.nan)
    for i, value in enumerate(column_values):
        if value is not None and value.strip():  # nothing: not known
            level = _number(value)
            if level is None or not _is_level(level):
                raise UserError(f"{table.path}: sigma of {names[i]} is {value!r}; {_LEVEL}")
            values[i] = level
    return values


def check_sigma(value: float) -> float:
    """`value`, if it is a noise level.

    Raises:
        UserError: it is not.
    """
    if not _is_level(value):
        raise UserError(f"--sigma {value}: {_LEVEL}")
    return value


def sigma_table(text: str) -> Table:
    """The table that `FILE` or `FILE:COLUMN` names.

    Raises:
        UserError: there is no such table.
    """
    path, _, column = text.partition(":")
    if not is_table(path):
        raise UserError(
            f"--sigma {text}: a number, rules such as clean/=0,noisy/=0.2, or a table (CSV, Parquet) with a"
            " column 'sigma'"
        )
    return Table(Path(path), column or "sigma", "--sigma")


def check_early(spec: str | float | None) -> None:
    """Check `spec` as far as possible before any image is read. Raises UserError as `resolve_sigma`."""
    if spec is None:
        return
    number = _number(spec)
    if number is not None:
        check_sigma(number)
    elif "=" in str(spec) and not is_table(str(spec)):
        _rules(str(spec))
    else:
        sigma_table(str(spec))


def _rules(text: str) -> list[tuple[str, float]]:
    rules = []
    for rule in text.split(","):
        left, equals, right = rule.rpartition("=")
        value = _number(right)
        if not equals or not left or value is None:
            raise UserError(
                f"--sigma {text}: {rule!r} is no rule; rules are PART-OF-NAME=NUMBER, as clean/=0,noisy/=0.2"
            )
        rules.append((left, check_sigma(value)))
    return rules


def _by_rules(text: str, names: Sequence[str]) -> NDArray[np.float64]:
    rules, values = _rules(text), np.full(len(names), math.nan)
    used = [False] * len(rules)
    for i, name in enumerate(names):
        for k, (part, value) in enumerate(rules):
            if rule_applies(part, name):
                values[i], used[k] = value, True
                break
    if not all(used):
        idle = rules[used.index(False)][0]
        raise UserError(
            f"--sigma {text}: the rule {idle!r} applies to no image: no folder or file is called so, or an earlier"
            f" rule applies to those that are (the first name is {names[0]})"
        )
    return values


def rule_applies(part: str, name: str) -> bool:
    """Whether the left side of a rule means an image: `noisy/` the folders of exactly this name, `noisy` every folder or file with this
    word in its name ("noisy_01.png", not "unnoisy.png"), with * and ? any folder or file whose name fits."""
    part, name = normal(part), normal(name)
    if "/" in part:
        wanted, folders = part.strip("/").split("/"), name.split("/")
        if part.endswith("/"):
            folders = folders[:-1]
        return any(
            all(fnmatchcase(folder, w) for folder, w in zip(folders[at:], wanted, strict=False))
            for at in range(len(folders) - len(wanted) + 1)
        )
    if "*" in part or "?" in part:
        return any(fnmatchcase(piece, part) for piece in name.split("/"))
    at = name.find(part)
    while at >= 0:
        if not _joined(name[at - 1 : at], part[:1]) and not _joined(part[-1:], name[at + len(part) :][:1]):
            return True
        at = name.find(part, at + 1)
    return False


def _joined(before: str, after: str) -> bool:
    """Whether two neighbouring characters belong to one word or one number."""
    return (before.isalpha() and after.isalpha()) or (before.isdigit() and after.isdigit())


def folders_of_rules(spec: str | float | None) -> set[str]:
    """The folders that the rules of `--sigma` name, such as {"clean", "noisy"}."""
    if spec is None or _number(spec) is not None or "=" not in str(spec) or is_table(str(spec)):
        return set()
    return {part.strip("/") for part, _ in _rules(str(spec))}


def is_table(text: str) -> bool:
    """Whether `--sigma` names a table: FILE, or FILE:COLUMN."""
    return text.split(":")[0].lower().endswith(SUFFIXES)


def _is_level(value: float) -> bool:
    """Whether float32, in which sigma is stored, holds a value, and does not turn a small one into 0 (clean)."""
    return value == 0 or _SMALLEST <= value < 1e38


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


class NoiseDistribution:
    """How the noise levels of images are drawn; `text` is how it was written (see the module's docstring)."""

    def __init__(
        self, text: float | str, kind: str, numbers: Sequence[float], table: dict[int, float] | None = None
    ) -> None:
        self.text, self._kind, self._table = text, kind, table
        self._numbers = np.asarray(numbers, dtype=np.float64)

    def levels(self, ids: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """The level of each image (N,), by its id.

        Raises:
            UserError: a table names an id that no image has.
        """
        if self._table is not None:
            if unknown := sorted(self._table.keys() - set(ids.tolist())):
                raise UserError(f"--sigma {self.text}: no image has the id {unknown[0]}")
            return np.array([self._table.get(int(i), 0.0) for i in ids], dtype=np.float64)
        u = uniform(seed, Stream.SIGMA, torch.from_numpy(ids), 1)[:, 0].numpy()
        if self._kind == "choice":
            levels: NDArray[np.float64] = self._numbers[(u * len(self._numbers)).astype(np.int64)]
            return levels
        low, high = self._numbers
        if self._kind == "uniform":
            return np.asarray(low + (high - low) * u)
        return np.asarray(low * (high / low) ** u)


def parse_distribution(sigma: float | str) -> NoiseDistribution:
    """The noise distribution that `--sigma` of `corrupt` names.

    Raises:
        UserError: it names none.
    """
    text = str(sigma)
    kind, _, rest = text.partition(":")
    if is_table(kind):
        return NoiseDistribution(Path(text).name, "table", [], _sigma_by_id(Path(kind), rest or "sigma"))
    try:
        if not rest:
            return NoiseDistribution(float(text), "choice", [check_noise(float(text))])
        numbers = [check_noise(float(number)) for number in rest.split("," if kind == "choice" else ":")]
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        numbers = []
    if kind == "choice" and numbers:
        return NoiseDistribution(text, kind, numbers)
    if kind in ("uniform", "loguniform") and len(numbers) == 2 and numbers[0] < numbers[1]:
        return NoiseDistribution(text, kind, numbers)
    raise UserError(
        f"--sigma {text}: a number, choice:A,B,C, uniform:LOW:HIGH, loguniform:LOW:HIGH, or a table (CSV,"
        " TSV, Parquet) with the columns id and sigma"
    )


def check_noise(value: float) -> float:
    """`value`, if it is the level of simulated noise: above 0. Raises UserError otherwise."""
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"--sigma {value:g}: a finite number above 0, in model units")
    return value


def _sigma_by_id(path: Path, column: str) -> dict[int, float]:
    """Id of an image -> its noise level.

    Raises:
        UserError: the table cannot be read, an id is listed twice, or a value is not a number.
    """
    table = Table(path, column, "--sigma")
    if "id" not in table.columns:
        raise UserError(f"--sigma {path}: needs the columns id and {column}")
    sigma_by_id: dict[int, float] = {}
    for key, text in zip(table.columns["id"], table.values, strict=True):
        level = _number(text)
        if not (key.isascii() and key.isdigit() and len(key) < 19) or level is None:
            raise UserError(
                f"--sigma {path}: not a table of integer ids and levels (id {key!r}, {column} {text!r})"
            )
        if int(key) in sigma_by_id:
            raise UserError(f"--sigma {path}: the id {key} is listed twice")
        sigma_by_id[int(key)] = check_sigma(level)
    return sigma_by_id
