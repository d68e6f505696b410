"""Data sets made of others without copying a pixel: joined, split, or a part of one.

A view has its own columns, and for each image the place of its pixels in another data set. If that data set
is moved, the view stops working; if it is packed again, the view is refused.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.config import JoinConfig, SplitConfig, SubsetConfig
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.duplicates import held_out_rows
from noiseworth.data.made_by import Making
from noiseworth.data.resize import picture_of
from noiseworth.data.storage import is_address
from noiseworth.data.tables import Table
from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.records import DatasetRecord, PartRecord
from noiseworth.rng import Stream, permutation


@with_options(JoinConfig)
def join(config: JoinConfig) -> list[DatasetRecord]:
    """One data set of the images of several, in their order.

    Each image gets a new id, as two data sets may use the same ids. Labels are kept if all have
    them.

    Returns:
        The record of the new data set, alone in a list.

    Raises:
        UserError: they have images of different shapes, or `out` holds something else.
    """
    making = Making("join", config)
    if (earlier := making.found(list[DatasetRecord])) is not None:
        return earlier
    sources, out = list(config.sources), Path(config.out)
    sets = [open_dataset(source) for source in sources]
    if len({str(Path(s.path).resolve()) if not is_address(s.path) else s.path for s in sets}) < len(sets):
        raise UserError(f"{sources[0]}: a data set is joined with itself; give each data set once")
    for other in sets[1:]:
        if other.shape != sets[0].shape:
            raise UserError(
                f"{other.path}: images of shape {other.shape} cannot be joined with {sets[0].shape} in"
                f" {sets[0].path}"
            )
        if other.record.stabilised != sets[0].record.stabilised:
            raise UserError(
                f"{other.path}: cannot be joined with {sets[0].path}: the noise of only one was stabilised, or by another model;"
                " join first, then stabilise"
            )
    labelled = all(s.labels is not None for s in sets)
    with new_directory(out) as folder:
        parts: list[Part] = []
        count = 0
        base = sets[0].record
        for dataset in sets:
            r = dataset.record
            units = None if (r.offset, r.scale) == (base.offset, base.scale) else (r.offset, r.scale)
            parts += _views(dataset, out, len(parts), units, labelled, first_id=count)
            count += len(dataset)
        name = config.name or "+".join(s.record.name for s in sets)
        provenance = {"command": "join", "sources": [s.record.fingerprint for s in sets]}
        record = write_dataset(
            folder, parts, name=name, offset=base.offset, scale=base.scale, units=base.units, shape=base.shape, provenance=[provenance],
            stabilised=base.stabilised,
        )  # fmt: skip
        making.note(folder, [record])
    return [record]


@with_options(SplitConfig)
def split(config: SplitConfig) -> list[DatasetRecord]:
    """Make `out/train` and `out/held-out`, which share no image, nor images with the same pixels.

    Returns:
        Their records, held-out first.

    Raises:
        UserError: a number that does not fit, or `out` holds something else.
    """
    making = Making("split", config)
    if (earlier := making.found(list[DatasetRecord])) is not None:
        return earlier
    out, seed = Path(config.out), config.seed
    dataset = open_dataset(config.source)
    count = _count("--held-out", config.held_out, len(dataset), config.source)
    groups = _of_pictures(dataset) if config.groups is None else _groups(Path(config.groups), dataset)
    strata = np.nan_to_num(dataset.sigma, nan=-1.0) if config.by_noise else None
    is_held_out = held_out_rows(_Images(dataset), count, seed, groups, strata)
    count = int(is_held_out.sum())
    provenance = {"command": "split", "held_out": count, "seed": seed}
    records = []
    with new_directory(out) as folder:
        for name, rows in (
            ("held-out", np.flatnonzero(is_held_out)),
            ("train", np.flatnonzero(~is_held_out)),
        ):
            records.append(
                select_view(
                    dataset.select(rows), folder / name, out / name, name, provenance | {"split": name}
                )
            )
        making.note(folder, records)
    return records


@with_options(SubsetConfig)
def subset(config: SubsetConfig) -> list[DatasetRecord]:
    """Some images, chosen at random: with the same seed, a larger subset contains every smaller one.

    Returns:
        The record of the new data set, alone in a list.

    Raises:
        UserError: a number that does not fit, or `out` holds something else.
    """
    making = Making("subset", config)
    if (earlier := making.found(list[DatasetRecord])) is not None:
        return earlier
    out = Path(config.out)
    dataset = open_dataset(config.source).use(config.use)
    count = len(dataset)
    if config.take is not None:
        count = _count("--take", config.take, len(dataset) + 1, config.source)
    rows = np.sort(permutation(config.seed, Stream.SUBSET, len(dataset)).numpy()[:count])
    provenance = {"command": "subset", "take": count, "seed": config.seed}
    with new_directory(out) as folder:
        record = select_view(dataset.select(rows), folder, out, f"{count}", provenance)
        making.note(folder, [record])
    return [record]


def _of_pictures(dataset: Dataset) -> list[str] | None:
    """The picture that each image is a tile of, where images are tiles."""
    if not any(str(step.get("fit", "")).startswith("tiles:") for step in dataset.record.provenance):
        return None
    return [str(picture) for picture in picture_of(dataset.ids)]


def _groups(path: Path, dataset: Dataset) -> list[str]:
    """The group of each image, by its id.

    Raises:
        UserError: the table has no such columns, or no group for some image.
    """
    table = Table(path, "group", "--groups")
    if "id" not in table.columns:
        raise UserError(f"--groups {path}: needs the columns id and group")
    group_by_id = dict(zip(table.columns["id"], table.values, strict=True))
    missing = [i for i in dataset.ids.tolist() if str(i) not in group_by_id]
    if missing:
        raise UserError(f"--groups {path}: has no group for the image of id {missing[0]}; list all images")
    return [group_by_id[str(i)] for i in dataset.ids.tolist()]


def _count(option: str, value: float, beyond: int, source: Path | str) -> int:
    """A number of images, given as such or as a share; it must be less than `beyond`."""
    count = round(value * (beyond - (option == "--take"))) if 0 < value < 1 else value
    if count != int(count) or not 1 <= count < beyond:
        raise UserError(
            f"{option} {value:g}: a share below 1, or a number from 1 to {beyond - 1:,}, the images that"
            f" {source} has for it"
        )
    return int(count)


class _Images:
    """A data set's images as an array, in model units: parts of a joined one can differ in raw units."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self._dataset.read(np.arange(len(self._dataset))[rows])


def select_view(
    dataset: Dataset, folder: Path, out: Path, name: str, provenance: dict[str, Any]
) -> DatasetRecord:
    """Write a selection of images as a view, in `folder`, which will be called `out`."""
    folder.mkdir(exist_ok=True)
    r = dataset.record
    parts = _views(dataset, out, 0, None, dataset.labels is not None)
    return write_dataset(
        folder, parts, name=f"{r.name}-{name}", offset=r.offset, scale=r.scale, units=r.units, shape=r.shape,
        provenance=[*r.provenance, provenance | {"source_fingerprint": r.fingerprint}], stabilised=r.stabilised,
    )  # fmt: skip


def _views(
    dataset: Dataset,
    out: Path,
    number: int,
    units: tuple[float, float] | None,
    labelled: bool,
    first_id: int | None = None,
) -> list[Part]:
    """Parts that refer to the images; paths are relative to `out`, the final directory of the view."""
    parts: list[Part] = []
    kind = dataset.kind
    for positions, part, images, rows in dataset.views():
        ids = dataset.ids[positions] if first_id is None else first_id + positions
        labels = dataset.labels[positions] if labelled and dataset.labels is not None else None
        own: tuple[float | None, float | None] = (
            (part.offset, part.scale) if part.scale is not None else units or (None, None)
        )
        interval = dataset.interval[positions]
        is_known = np.array_equal(interval, np.stack([dataset.sigma[positions]] * 2, 1), equal_nan=True)
        location = images if is_address(images) else os.path.relpath(images, out.resolve())
        record = PartRecord(
            f"part-{number + len(parts):05d}",
            part.dtype,
            len(positions),
            labels is not None,
            location,
            # A view of a view refers to the data set that has the pixels.
            dataset.record.fingerprint if part.images is None else part.fingerprint,
            *own,
            interval=not is_known,
            noise=part.noise,
            missing=part.missing,
        )
        columns = Columns(dataset.sigma[positions], ids, labels, None if is_known else interval)
        model = dataset.noise_models[kind[positions[0]]]
        parts.append(Part(columns, view=record, rows=rows, noise=model))
    return parts
