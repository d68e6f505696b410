"""`noise estimate` and `noise clean`: what is said of the noise of a data set's images, as views of it."""

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.config import PackConfig
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.image_grid import grid_png
from noiseworth.data.made_by import Making
from noiseworth.data.measured import FEWEST_CLEAN, Measurement, measure, require_white
from noiseworth.data.noise_config import CleanConfig, EstimateConfig
from noiseworth.data.pack import pack_named
from noiseworth.data.views import select_view
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.noise.sides import part
from noiseworth.options import with_options
from noiseworth.records import CleanRecord, EstimateRecord, LevelRecord, write_atomically

_WIDEST = 2.0  # ratio of an interval's ends, beyond which the level is unknown
_FIRST = 20  # images that the record lists
_SURE = 0.8  # probability, below which an image that seems clean is left out
_FEWEST_PARTED = 40  # images, that are parted further
_SHEET = 96  # images on the picture of those in order


@with_options(EstimateConfig)
def estimate_noise(config: EstimateConfig) -> EstimateRecord:
    """Measure the noise level of each image; with `out`, write a new data set with these levels, without the images of which nothing can be
    said.

    Raises:
        UserError: no image's noise is unknown, an image has NaN, there is too little to say, `out` holds something else, or
            files cannot be read.
    """
    if config.out is None:
        with _looked_at(config.data) as (dataset, names):
            return _say(config, dataset, names, _measure(config, dataset))
    making = Making("noise estimate", config)
    if config.table is None and (earlier := making.found(EstimateRecord)) is not None:
        return earlier
    dataset = open_dataset(config.data)
    found = _measure(config, dataset)
    provenance = {
        "command": "noise estimate",
        "learned_from": found.measured.learned_from,
        "left_out": int(found.is_unclear.sum()),
        "seed": config.seed,
    }
    with new_directory(Path(config.out)) as folder:
        sigma, interval = dataset.sigma.astype(np.float64), dataset.interval.astype(np.float64)
        estimate = found.measured.estimate
        sigma[found.rows], interval[found.rows] = estimate.sigma, np.stack([estimate.low, estimate.high], 1)
        kept = np.setdiff1d(np.arange(len(dataset)), found.rows[found.is_unclear])
        view = dataset.select(kept).with_noise(sigma[kept], interval[kept])
        select_view(view, folder, Path(config.out), "measured", provenance)
        record = _say(config, dataset, None, found)
        making.note(folder, record)
    return record


@dataclass(frozen=True)
class _Found:
    """What was measured of the images at `rows`, and of which of them it says too little."""

    rows: NDArray[np.int64]
    measured: Measurement
    is_like_clean: NDArray[np.bool_]
    is_unclear: NDArray[np.bool_]


def _measure(config: EstimateConfig, dataset: Dataset) -> _Found:
    require_white(dataset)
    is_wanted = np.isnan(dataset.sigma) | (dataset.sigma > 0) & config.again
    if not is_wanted.any():
        noisy = "; --again measures that of the noisy ones" if (dataset.sigma > 0).any() else ""
        raise UserError(f"{config.data}: the noise of all images is known{noisy}")
    rows = np.flatnonzero(is_wanted)
    measured = measure(dataset, rows, np.flatnonzero(dataset.sigma == 0), config.seed)
    estimate = measured.estimate
    is_constant = estimate.high == 0  # it says nothing: neither noise nor picture
    is_like_clean = (estimate.high <= measured.negligible) & ~is_constant
    is_unclear = (estimate.high > _WIDEST * estimate.low) & ~is_like_clean | is_constant
    if is_unclear.mean() > 0.5:
        raise UserError(
            f"{config.data}: cannot say what the noise of {is_unclear.sum():,} of {len(rows):,} images is to within a"
            f" factor of {_WIDEST:g}"
            + (f" ({is_constant.sum():,} are the same everywhere)" if is_constant.any() else "")
            + f"; {_remedy(measured.learned_from)}"
        )
    return _Found(rows, measured, is_like_clean, is_unclear)


def _say(config: EstimateConfig, dataset: Dataset, names: list[str] | None, found: _Found) -> EstimateRecord:
    """The record of what was found, and its table. `names`: of all images; by default their numbers."""
    estimate, ids = found.measured.estimate, dataset.ids[found.rows]
    raw = dataset.raw_scale(found.rows)
    ends = np.stack([estimate.sigma, estimate.low, estimate.high], 1) * raw[:, None]
    called = [str(i) if names is None else names[i] for i in ids.tolist()]
    if config.table is not None:
        _write_table(Path(config.table), called, ends, found.is_unclear)
    levels = estimate.sigma[~found.is_unclear]
    width = (estimate.high - estimate.low)[~found.is_unclear]
    return EstimateRecord(
        path=None if config.out is None else str(config.out),
        count=len(found.rows),
        raw=float(raw[0]) if np.ptp(raw) == 0 else None,
        first=[
            LevelRecord(name, *row) for name, row in zip(called[:_FIRST], ends[:_FIRST].tolist(), strict=True)
        ],
        learned_from=found.measured.learned_from,
        quantiles=[float(q) for q in np.quantile(levels, [0, 0.25, 0.5, 0.75, 1])],
        precision=float(np.median(width / (2 * np.maximum(levels, found.measured.negligible)))),
        unclear=int(found.is_unclear.sum()),
        like_clean=int(found.is_like_clean.sum()),
        clipped=found.measured.clipped,
    )


def _write_table(
    path: Path, names: list[str], ends: NDArray[np.float64], is_unclear: NDArray[np.bool_]
) -> None:
    """A row for each image; the level of one that is unclear stays empty, which is read as unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "sigma", "low", "high"])
    for name, row, unclear in zip(names, ends.tolist(), is_unclear.tolist(), strict=True):
        writer.writerow([name, *([""] * 3 if unclear else [f"{value:.6g}" for value in row])])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())


@contextmanager
def _looked_at(path: Path | str) -> Iterator[tuple[Dataset, list[str] | None]]:
    """A data set, or one of files that is gone afterwards, with their names."""
    folder = Path(path)
    if not folder.exists() or any(folder.glob("dataset.json")) or any(folder.glob("*/dataset.json")):
        yield open_dataset(path), None
        return
    with tempfile.TemporaryDirectory(prefix="noiseworth-") as place:
        config = PackConfig([path], Path(place) / "files", measured_range=True, labels="none")
        try:
            _, names = pack_named(config)
        except UserError as error:
            if "--" not in str(error):
                raise
            raise UserError(
                f"{error} (options of `noiseworth pack`: pack first, then measure the data set)"
            ) from None
        yield open_dataset(config.out), names


def _remedy(learned_from: int) -> str:
    if learned_from:
        return "the images are too small, or too unlike the clean ones in the data set"
    return (
        f"add {FEWEST_CLEAN} clean images of the same kind or more (pack them with --sigma 0, and `noiseworth join`),"
        " or let `noiseworth noise clean` find those that are clean"
    )


@with_options(CleanConfig)
def find_clean(config: CleanConfig) -> CleanRecord:
    """Say which images of unknown noise are clean, and write a data set in which they are; the noise of the others stays unknown.

    Images are parted by what looks like noise in them, and the lower side again, as long as it has two sides: of the less noisy
    images the components are sharper, and noisy images can be of several levels.

    Raises:
        UserError: no image's noise is unknown, an image has NaN, the images are not of two kinds, or `out` holds
            something else.
    """
    making = Making("noise clean", config)
    if (earlier := making.found(CleanRecord)) is not None:
        return earlier
    dataset = open_dataset(config.data)
    require_white(dataset)
    rows = np.flatnonzero(np.isnan(dataset.sigma))
    if not len(rows):
        raise UserError(f"{config.data}: the noise of all images is known; there is nothing to find out")
    if len(rows) < _FEWEST_PARTED:
        raise UserError(
            f"{config.data}: {len(rows)} images of unknown noise are too few to part; look at them, and say which are clean"
            " with --sigma when they are packed"
        )
    whole, low, sides, levels = rows, rows, None, np.zeros(0)
    blank = rows[:0]  # the same everywhere: neither noise nor picture
    while len(low) >= _FEWEST_PARTED:
        measured = measure(dataset, low, rows[:0], seed=0).estimate.sigma
        if (measured == 0).any():
            blank = np.concatenate([blank, low[measured == 0]])
            whole, low = low[measured > 0], low[measured > 0]
            continue
        halves = part(measured)
        if not halves.are_two:
            break
        whole, low, sides, levels = low, low[halves.is_low], halves, measured
    if sides is None:
        raise UserError(
            f"{config.data}: the images do not part into clean and noisy ones (their levels go from {measured.min():.3g} to"
            f" {measured.max():.3g} without a gap); say which are clean with --sigma when they are packed"
        )
    is_sure = sides.confidence > _SURE
    clean, unsure = whole[sides.is_low & is_sure], whole[sides.is_low & ~is_sure]
    unsure = np.concatenate([unsure, blank])
    sigma, interval = dataset.sigma.copy(), dataset.interval.copy()
    sigma[clean] = interval[clean] = 0.0
    kept = np.setdiff1d(np.arange(len(dataset)), unsure)
    record = CleanRecord(
        path=str(config.out),
        count=len(rows),
        clean=len(clean),
        unsure=len(unsure),
        confidence=float(sides.confidence.mean()),
        clean_level=float(np.median(levels[sides.is_low])),
        noisy_level=float(np.median(levels[~sides.is_low])),
    )
    provenance = {"command": "noise clean", "clean": record.clean, "left_out": record.unsure}
    with new_directory(Path(config.out)) as folder:
        view = dataset.select(kept).with_noise(sigma[kept], interval[kept])
        select_view(view, folder, Path(config.out), "clean-found", provenance)
        making.note(folder, record)
    if config.picture is not None:
        rest = np.setdiff1d(np.setdiff1d(rows, whole), blank)  # of the higher levels, all of them noisy
        order = np.concatenate([whole[np.argsort(levels, kind="stable")], rest])
        shown = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), _SHEET)).astype(int))]
        Path(config.picture).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(config.picture), grid_png(dataset.read(shown)))
    return record
