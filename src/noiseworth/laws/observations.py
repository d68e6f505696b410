"""Observations for laws: the quality of models trained on known numbers of clean and noisy images.

They come from a CSV file, from a sweep (its `observations.csv`), or from the tables of arXiv 2411.02780. One
row is one model:

    n_clean, n_noisy, sigma     numbers of images, and noise; several noise levels as 300;200 and 0.2;0.5
    quality                     lower is better; or another column, such as "risk" or "frechet_distance"
    train.*                     settings of the training; a law holds for one value of each
    predicted_worth             worth of one noisy image of each level, as the run predicts it
    predicted_price_low, _high  prices if imputed images are worth clean ones, or nothing (empty: unknown, or never)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.laws.tables import COLUMNS, PUBLISHED, model_of, number_of, read_table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Observations:
    """N trained models.

    Attributes:
        n_clean: (N,) numbers of clean images.
        n_noisy: (N, S) numbers of noisy images of each noise level.
        sigmas: (S,) noise levels, rising.
        quality: (N,) positive, lower is better (a Frechet distance, a risk).
        left_out: number of models that were left out because they had no clean images. Such models follow
            another law (arXiv 2411.02780, table 3).

    Raises:
        ValueError: shapes that do not match.
    """

    n_clean: Array
    n_noisy: Array
    sigmas: tuple[float, ...]
    quality: Array
    left_out: int = 0

    def __post_init__(self) -> None:
        if not len(self.n_clean) == len(self.n_noisy) == len(self.quality) or self.n_noisy.shape[1:] != (
            len(self.sigmas),
        ):
            raise ValueError(
                "n_clean (N,), n_noisy (N, S), sigmas (S,) and quality (N,) must agree in N and S"
            )

    def __len__(self) -> int:
        return len(self.quality)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Observations":
        """The models of these rows, as indices or as a mask (N,)."""
        return replace(
            self, n_clean=self.n_clean[rows], n_noisy=self.n_noisy[rows], quality=self.quality[rows]
        )

    def mixes(self) -> NDArray[np.int64]:
        """Index of the mix of each model, (N,). Models with the same numbers of images have the same mix."""
        table = np.column_stack([self.n_clean, self.n_noisy])
        numbers: NDArray[np.int64] = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
        return numbers

    def averaged(self) -> tuple["Observations", float]:
        """One row for each mix, with the geometric mean of its quality; and the relative error of that mean.

        It is the standard error, pooled over all mixes; 0 without repeats.
        """
        number = self.mixes()
        firsts = np.array([int(np.flatnonzero(number == k)[0]) for k in range(number.max() + 1)])
        logs = [np.log(self.quality[number == k]) for k in range(number.max() + 1)]
        freedom = sum(len(values) - 1 for values in logs)
        squares = float(sum(((values - values.mean()) ** 2).sum() for values in logs))
        scatter = (squares / freedom / (len(self) / len(logs))) ** 0.5 if freedom else 0.0
        return replace(self.take(firsts), quality=np.exp([values.mean() for values in logs])), scatter


def from_rows(rows: Sequence[tuple[float, float, float, float]]) -> Observations:
    """Observations from rows of (n_clean, n_noisy, sigma, quality); sigma is not used where n_noisy is 0."""
    return _assemble(
        [(clean, {sigma: noisy} if noisy > 0 else {}, quality) for clean, noisy, sigma, quality in rows]
    )


def _assemble(rows: Sequence[tuple[float, Mapping[float, float], float]]) -> Observations:
    """Observations from rows of (n_clean, numbers of noisy images by sigma, quality)."""
    sigmas = sorted({float(s) for _, noisy, _ in rows for s in noisy})
    counts = np.array(
        [[noisy.get(s, 0.0) for s in sigmas] for _, noisy, _ in rows], dtype=np.float64
    ).reshape(len(rows), len(sigmas))
    clean, quality = (np.array([row[k] for row in rows], dtype=np.float64) for k in (0, 2))
    return Observations(clean, counts, tuple(sigmas), quality)


def published(name: str) -> Observations:
    """Table 3 of "How much is a noisy image worth?" (arXiv 2411.02780) for one data set.

    Entries without clean images are left out. The quality is the FID.

    Raises:
        UserError: the table has no such data set.
    """
    facts = json.loads(
        resources.files("noiseworth.laws").joinpath("published.json").read_text(encoding="utf-8")
    )
    if name not in facts["images"]:
        raise UserError(f"{PUBLISHED}{name}: no such data set; there are {', '.join(facts['images'])}")
    images = facts["images"][name]
    rows = [
        (images * p / 100, 0.0, 0.0, q)
        for p, q in zip(facts["clean_only"]["percent_clean"], facts["clean_only"][name], strict=True)
    ]
    for sigma, values in facts["mixed"][name].items():
        for p, q in zip(facts["mixed"]["percent_clean"], values, strict=True):
            if p > 0:
                rows.append((images * p / 100, images * (100 - p) / 100, float(sigma), q))
    return from_rows(rows)


def read_observations(
    source: str, *, quality: str | None = None, where: str = "", all_noisy: bool = False
) -> Observations:
    """Read observations of trained models.

    Args:
        source: a CSV file, the directory of a sweep, or `published:NAME`.
        quality: column of the quality; by default "quality" or, of a sweep, "risk".
        where: models to keep, such as "train.n_images=20000,seed=0"; the prefix "train." may be left out.
        all_noisy: keep models without clean images, too (but for published ones).

    Raises:
        UserError: no such file, a missing column, models of several settings, or an invalid number (the
            message names the line).
    """
    if source.startswith(PUBLISHED):
        if where or quality:
            raise UserError(
                f"{source}: the published table has one quality (FID) and no settings; leave out --quality"
                " and --where"
            )
        return published(source.removeprefix(PUBLISHED))
    name, rows = read_table(source, where)
    column = quality or ("quality" if "quality" in rows[0][1] else "risk")
    needed = (*COLUMNS, column)
    for missing in needed:
        if missing not in rows[0][1]:
            raise UserError(f"{name}: column {missing!r} is missing; needed are {', '.join(needed)}")
    models = [model_of(line, column, f"{name}: line {number}") for number, line in rows]
    mixed = [model for model in models if model[0] > 0 or all_noisy]
    if not mixed:
        raise UserError(f"{name}: no model had clean images: add models with clean images, which a law needs")
    return replace(_assemble(mixed), left_out=len(models) - len(mixed))


class RunWorth(NamedTuple):
    """Worth of one noisy image in clean images, as one run of a sweep with one noise level predicts it."""

    trial: str
    n_clean: float
    n_noisy: float
    sigma: float
    worth: float
    price_low: float | None = None
    price_high: float | None = None


def predicted_worth(source: str, *, where: str = "") -> list[RunWorth]:
    """Predicted worth by each run of a sweep with one noise level; empty for other tables.

    Args:
        source, where: as for `read_observations`.

    Raises:
        UserError: as for `read_observations`.
    """
    if source.startswith(PUBLISHED):
        return []
    name, rows = read_table(source, where)
    candidates = []
    for number, line in rows:
        text = line.get("predicted_worth") or ""
        if text and ";" not in text:
            position = f"{name}: line {number}"
            clean, noisy, sigma, worth = (
                number_of(line, c, position) for c in ("n_clean", "n_noisy", "sigma", "predicted_worth")
            )
            ends = (
                number_of(line, c, position) if line.get(c) else None
                for c in ("predicted_price_low", "predicted_price_high")
            )
            candidates.append(RunWorth(line.get("trial") or position, clean, noisy, sigma, worth, *ends))
    return candidates
