"""What a law is fitted to: the quality of models trained on known numbers of clean and noisy images."""

import csv
import json
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError

Array = NDArray[np.float64]

PUBLISHED = "published:"  # published:cifar10 names a data set of the paper
_COLUMNS = ("n_clean", "n_noisy", "sigma", "quality")


@dataclass(frozen=True)
class Observations:
    """One row a trained model.

    `n_clean` (N,) clean images; `n_noisy` (N, S) images of each noise in `sigmas` (S,), rising; `quality` (N,), positive, lower is
    better (a Frechet distance, a risk).
    """

    n_clean: Array
    n_noisy: Array
    sigmas: tuple[float, ...]
    quality: Array

    def __post_init__(self) -> None:
        if not len(self.n_clean) == len(self.n_noisy) == len(self.quality) or self.n_noisy.shape[1:] != (len(self.sigmas),):
            raise ValueError("n_clean (N,), n_noisy (N, S), sigmas (S,) and quality (N,) must agree")

    def __len__(self) -> int:
        return len(self.quality)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Observations":
        """Some of the rows."""
        return Observations(self.n_clean[rows], self.n_noisy[rows], self.sigmas, self.quality[rows])


def from_rows(rows: list[tuple[float, float, float, float]]) -> Observations:
    """Rows of (n_clean, n_noisy, sigma, quality); sigma is of no account where n_noisy is 0."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    sigmas = sorted({float(s) for _, n, s, _ in table if n > 0})
    noisy = np.where(table[:, 2:3] == np.array(sigmas)[None], table[:, 1:2], 0.0)
    return Observations(table[:, 0], noisy, tuple(sigmas), table[:, 3])


def published(name: str) -> Observations:
    """Table 3 of "How much is a noisy image worth?" (arXiv 2411.02780) for one of its data sets, entries with some clean data.

    Raises:
        UserError: there is no such data set.
    """
    facts = json.loads(resources.files("noiseworth.laws").joinpath("published.json").read_text(encoding="utf-8"))
    if name not in facts["images"]:
        raise UserError(f"{PUBLISHED}{name}: there is no such data set; there are {', '.join(facts['images'])}")
    images = facts["images"][name]
    rows = [
        (images * p / 100, 0.0, 0.0, q) for p, q in zip(facts["clean_only"]["percent_clean"], facts["clean_only"][name], strict=True)
    ]
    for sigma, values in facts["mixed"][name].items():
        for p, q in zip(facts["mixed"]["percent_clean"], values, strict=True):
            if p > 0:
                rows.append((images * p / 100, images * (100 - p) / 100, float(sigma), q))
    return from_rows(rows)


def read_observations(source: str) -> Observations:
    """Read a CSV file with the columns n_clean, n_noisy, sigma, quality, or `published:NAME`.

    Raises:
        UserError: no such file, a missing column, or a number that makes no sense; the row is named.
    """
    if source.startswith(PUBLISHED):
        return published(source.removeprefix(PUBLISHED))
    try:
        with Path(source).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{source}: column {missing[0]!r} is missing; the columns are {', '.join(_COLUMNS)}")
            rows = [_row(line, f"{source}: line {number}") for number, line in enumerate(reader, 2)]
    except FileNotFoundError:
        raise UserError(f"{source}: no such file; give a CSV file or {PUBLISHED}NAME") from None
    except UnicodeDecodeError:
        raise UserError(f"{source}: not a text file") from None
    if not rows:
        raise UserError(f"{source}: no rows")
    return from_rows(rows)


def _row(line: dict[str, str], where: str) -> tuple[float, float, float, float]:
    values = []
    for column in _COLUMNS:
        text = (line[column] or "").strip()
        try:
            value = float(text or "0") if column == "sigma" else float(text)
        except ValueError:
            raise UserError(f"{where}: {column} is {text!r}, not a number") from None
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{where}: {column} is {text}; it must be finite and 0 or more")
        values.append(value)
    n_clean, n_noisy, sigma, quality = values
    if quality == 0 or n_clean + n_noisy == 0 or (n_noisy > 0 and sigma == 0):
        raise UserError(f"{where}: quality and the number of images must be above 0, and noisy images need a sigma above 0")
    return n_clean, n_noisy, sigma, quality
