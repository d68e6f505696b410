"""`noise hide`: noise added to damaged images, each at the least level that hides its damage, so that training can use them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.damage import copy_images
from noiseworth.data.dataset import open_dataset
from noiseworth.data.made_by import Making
from noiseworth.data.measured import FEWEST_CLEAN, VALUES, evenly, read_finite, require_white
from noiseworth.data.noise_config import HideConfig
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.noise.telling import LEVELS, judge, least_levels, level_that_hides_all
from noiseworth.options import with_options
from noiseworth.progress import progress_bar
from noiseworth.records import HideRecord
from noiseworth.rng import Stream, normal

_LOWEST, _HIGHEST = 0.02, 4.0  # levels over the standard deviation of the clean pixels
_HIDDEN = 0.45  # probability of being clean, from which on damage is hidden (arXiv 2506.10038)
_CHANCE = (
    0.55  # share of right answers that is as good as chance: what the probability above is for one image
)
_CHUNK = 512


@with_options(HideConfig)
def hide_damage(config: HideConfig) -> HideRecord:
    """Find for each image of unknown quality the level at which it cannot be told from clean ones, and add noise of that level.

    Raises:
        UserError: there are too few clean or damaged images, an image has NaN, no level hides the damage, or `out` holds
            something else.
    """
    making = Making("noise hide", config)
    if (earlier := making.found(HideRecord)) is not None:
        return earlier
    dataset = open_dataset(config.data)
    require_white(dataset)
    clean, damaged = np.flatnonzero(dataset.is_clean), np.flatnonzero(np.isnan(dataset.sigma))
    if len(clean) < FEWEST_CLEAN or len(damaged) < FEWEST_CLEAN:
        raise UserError(
            f"{config.data}: has {len(clean):,} clean images and {len(damaged):,} of unknown noise; {FEWEST_CLEAN} of each are needed"
            " to tell them apart (clean ones are packed with --sigma 0, damaged ones with none)"
        )
    if any(part.scale is not None for part in dataset.record.parts):
        raise UserError(
            f"{config.data}: its parts have different raw units; hide the damage first, then join them"
        )
    most = max(VALUES // int(np.prod(dataset.shape)), FEWEST_CLEAN)
    if len(damaged) > most:
        raise UserError(
            f"{config.data}: {len(damaged):,} damaged images are more than can be judged at once ({most:,}); split them first"
        )
    teachers = read_finite(dataset, evenly(clean, most))
    images = read_finite(dataset, damaged)
    levels = np.geomspace(_LOWEST, _HIGHEST, LEVELS) * float(teachers.std())
    with progress_bar(total=1.0, desc="telling apart", unit_scale=True) as bar:
        of_clean, of_damaged = judge(teachers, images, levels, config.seed, bar.update)
    hides_all = level_that_hides_all(of_clean, of_damaged, levels, _CHANCE)
    own = np.minimum(least_levels(of_damaged, levels, _HIDDEN), hides_all)
    is_hidden = np.isfinite(own)
    if is_hidden.mean() < 0.5:
        raise UserError(
            f"{config.data}: no level up to {levels[-1]:.3g} hides the damage of {(~is_hidden).sum():,} of {len(damaged):,} images:"
            " they are of another kind than the clean ones (other objects, another background)"
        )
    told = [
        np.mean(np.concatenate([c >= 0.5, d < 0.5])) for c, d in zip(of_clean.T, of_damaged.T, strict=True)
    ]
    record = HideRecord(
        path=str(config.out),
        damaged=len(damaged),
        left_out=int((~is_hidden).sum()),
        quantiles=[float(q) for q in np.quantile(own[is_hidden], [0, 0.25, 0.5, 0.75, 1])],
        levels=levels.tolist(),
        told_apart=[float(t) for t in told],
    )
    _write(config, making, record, damaged[is_hidden], own[is_hidden])
    return record


def _write(
    config: HideConfig,
    making: Making,
    record: HideRecord,
    damaged: NDArray[np.int64],
    own: NDArray[np.float64],
) -> None:
    dataset = open_dataset(config.data)
    r = dataset.record
    kept = np.flatnonzero(~np.isnan(dataset.sigma))
    with new_directory(Path(config.out)) as folder:
        parts: list[Part] = []
        for rows in (kept, damaged):
            directory = part_folder(folder, len(parts))
            directory.mkdir()
            labels = None if dataset.labels is None else dataset.labels[rows]
            if rows is kept:
                copy_images(dataset, rows, directory / "images.npy")
                parts.append(Part(Columns(dataset.sigma[rows], dataset.ids[rows], labels)))
                continue
            writer = ImageWriter(directory / "images.npy", dataset.shape, "float32")
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                noise = normal(
                    config.seed, Stream.HIDE, torch.from_numpy(dataset.ids[chunk]), dataset.shape
                ).numpy()
                raw_sigma = own[start : start + _CHUNK, None, None, None] * r.scale
                writer.add((dataset.read_raw(chunk, "float64") + raw_sigma * noise).astype(np.float32))
            writer.close()
            parts.append(Part(Columns(own.astype(np.float32), dataset.ids[rows], labels)))
        provenance = {
            "command": "noise hide",
            "left_out": record.left_out,
            "seed": config.seed,
            "source_fingerprint": r.fingerprint,
        }
        write_dataset(
            folder, parts, name=f"{r.name}-hidden", offset=r.offset, scale=r.scale, units=r.units,
            provenance=[*r.provenance, provenance], stabilised=r.stabilised,
        )  # fmt: skip
        making.note(folder, record)
