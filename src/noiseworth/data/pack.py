"""Packing images, with the noise level of each, into the data-set format: ingest, resolve, write."""

import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.config import PackConfig
from noiseworth.data.damage import read_noise_model
from noiseworth.data.duplicates import held_out_rows
from noiseworth.data.ingest import Ingested, ingest, public_name
from noiseworth.data.labels import resolve_labels
from noiseworth.data.made_by import Making
from noiseworth.data.noise_levels import check_early, folders_of_rules, resolve_sigma
from noiseworth.data.pack_noise import check_noise, check_units, own_noise
from noiseworth.data.resize import Fit, parse_fit, picture_of
from noiseworth.data.tables import Table
from noiseworth.data.value_range import narrower_range
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.options import with_options
from noiseworth.records import DatasetRecord

_RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}
_CHUNK = 1024
_MOST_LINES = 20  # of warnings
_log = logging.getLogger("noiseworth")


@with_options(PackConfig)
def pack(config: PackConfig) -> list[DatasetRecord]:
    """Pack images into `out`, or, with `held_out` or `splits`, into a data set for each split under it.

    Returns:
        One record for each data set in `out`, which the same command may have written before.

    Raises:
        UserError: a source or an option is not valid; `out` is not made then.
    """
    making = Making("pack", config)
    if (earlier := making.found(list[DatasetRecord])) is not None:
        return earlier
    return pack_named(config, making)[0]


def pack_named(config: PackConfig, making: Making | None = None) -> tuple[list[DatasetRecord], list[str]]:
    """As `pack`; and the name of each image, by its number."""
    sources = [config.sources] if isinstance(config.sources, str | Path) else config.sources
    paths = [str(source) for source in sources]
    rule = parse_fit(config.fit)
    check_early(config.sigma)
    with new_directory(Path(config.out)) as folder:
        ingested = ingest(config, paths, rule, folder)
        records = _write(config, paths, _resolve(config, paths, ingested, rule), ingested, folder)
        ingested.path.unlink(missing_ok=True)
        if making is not None:
            making.note(folder, records)
    for line in ingested.skipped[:_MOST_LINES]:
        _log.warning("skipped: %s", line)
    if len(ingested.skipped) > _MOST_LINES:
        _log.warning("skipped: %s more", f"{len(ingested.skipped) - _MOST_LINES:,}")
    return records, ingested.names


@dataclass(frozen=True)
class _Resolved:
    """What was decided about the ingested images: raw range, columns, class names, rows of each split."""

    low: float
    high: float
    columns: Columns
    classes: list[str]
    splits: dict[str, NDArray[np.int64]]
    noise: NoiseModel | None  # of sigma 1, of the images that are not clean; None: white

    @property
    def scale(self) -> float:
        """Raw units per model unit."""
        return (self.high - self.low) / 2


def _resolve(config: PackConfig, sources: list[str], ingested: Ingested, rule: Fit | None) -> _Resolved:
    """Range, noise levels, labels and splits of the images.

    Raises:
        UserError: options, source and images contradict each other.
    """
    low, high = _range(config, ingested, sources[0])
    count = len(ingested.names)
    sigma = resolve_sigma(config.sigma, ingested.names, ingested.sigma, config.by_row)
    if rule is not None:
        sigma *= rule.noise_factor
    if config.sigma_units == "raw":
        sigma /= (high - low) / 2
    noise = own_noise(config, sigma, rule, ingested.writer.shape)
    check_units(config, sigma, (low, high))
    check_noise(ingested, sigma, rule, sources[0], config.noise is not None)
    splits, inner = _splits(ingested, config.splits)
    names = ingested.names if config.labels else inner
    of_noise = folders_of_rules(config.sigma)
    labels, classes = resolve_labels(
        config.labels, names, ingested.labels, ingested.folders, config.by_row, of_noise
    )
    if not 0 <= config.held_out < count:
        raise UserError(
            f"--held-out {config.held_out}: {sources[0]} has {count} images; hold out between 0 and"
            f" {count - 1}"
        )
    if config.held_out:
        images = np.load(ingested.path, mmap_mode="r")
        is_held_out = held_out_rows(images, config.held_out, config.seed, _groups(config, ingested))
        splits = {"held-out": np.flatnonzero(is_held_out), "train": np.flatnonzero(~is_held_out)}
    columns = Columns(sigma.astype(np.float32), np.array(ingested.ids, dtype=np.int64), labels)
    classes = classes if config.labels else classes or ingested.classes
    return _Resolved(low, high, columns, classes, splits, noise)


def _write(
    config: PackConfig, sources: list[str], resolved: _Resolved, ingested: Ingested, folder: Path
) -> list[DatasetRecord]:
    """A data set for each split, in `folder`."""
    source = "+".join(public_name(s) for s in sources)
    provenance: dict[str, Any] = {"command": "pack", "source": source, "range": [resolved.low, resolved.high]}
    if resolved.classes and resolved.columns.labels is not None:
        provenance["classes"] = resolved.classes
    if config.fit:
        provenance["fit"] = config.fit
    if config.noise:
        provenance["noise"] = read_noise_model(config.noise).describe()
    if ingested.skipped:
        provenance["skipped"] = len(ingested.skipped)
    if ingested.left_out:
        provenance["left_out"] = ingested.left_out
    if units := sorted(ingested.units - {""}):
        provenance["units"] = units
    if ingested.rounding:
        provenance["rounding"] = ingested.rounding
    stored = np.load(ingested.path, mmap_mode="r")
    records = []
    for split, rows in resolved.splits.items():
        of_split: dict[str, Any] = {"split": split} if split else {}
        if config.held_out:
            of_split["seed"] = config.seed
        (folder / split).mkdir(exist_ok=True)
        parts = _parts(folder / split, ingested, stored, resolved, rows, config.part_images)
        records.append(
            write_dataset(
                folder / split,
                parts,
                name="-".join(filter(None, (config.name or source, split))),
                offset=(resolved.low + resolved.high) / 2,
                scale=resolved.scale,
                units="raw",
                provenance=[provenance | of_split],
            )
        )
    return records


def _range(config: PackConfig, ingested: Ingested, source: str) -> tuple[float, float]:
    """The raw values that become -1 and 1.

    Raises:
        UserError: there is no such range, and none was given.
    """
    if config.measured_range:
        if not ingested.low < ingested.high:
            raise UserError(f"{source}: all pixels are {ingested.low:g}; there is no range to measure")
        return ingested.low, ingested.high
    natural = config.float_range or ingested.value_range
    if ingested.dtype in _RANGES:
        natural = ingested.value_range or _RANGES[ingested.dtype]
    value_range = config.range or natural
    if config.range is None and value_range is not None:
        _warn_of_narrow_values(ingested, value_range, source)
    if value_range is None:
        raise UserError(
            f"{source}: floating-point images have no natural range; give the raw values that become -1 and"
            f" 1, for instance --range {ingested.low:.6g} {ingested.high:.6g} (the smallest and the largest"
            " value in these images)"
        )
    return value_range


def _warn_of_narrow_values(ingested: Ingested, value_range: tuple[float, float], source: str) -> None:
    """Values that fill little of their range, as 12 bits in 16 do, train a model at a fraction of its range."""
    suggested = narrower_range(ingested.low, ingested.high, *value_range)
    if suggested is not None:
        _log.warning(
            "%s: its values reach from %g to %g, a small part of the range %g to %g, which becomes -1 to 1; noise levels and"
            " training are off if black and white are others: give --range %g %g, or --measured-range",
            source, ingested.low, ingested.high, *value_range, *suggested,
        )  # fmt: skip


def _groups(config: PackConfig, ingested: Ingested) -> list[str] | None:
    """The group of each image, of which no two may be on both sides of the split."""
    if config.groups is None:
        is_tiled = config.fit is not None and config.fit.startswith("tiles:")
        return [str(picture) for picture in picture_of(np.array(ingested.ids))] if is_tiled else None
    if config.groups == "folders":
        return [str(PurePosixPath(name).parent) for name in ingested.names]
    path, _, column = config.groups.partition(":")
    values = Table(Path(path), column or "group", "--groups").by_image(ingested.names, config.by_row)
    if None in values:
        raise UserError(f"{path}: has no group for {ingested.names[values.index(None)]}; list all images")
    return [str(value) for value in values]


def _splits(ingested: Ingested, wanted: bool) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """Rows of each split, and the images' names without the folder of their split."""
    names = ingested.inner
    if not wanted:
        return {"": np.arange(len(names))}, names
    tops, inner = [], []
    for whole in names:
        top, _, rest = _split_of(whole)
        tops.append(top)
        inner.append(rest)
    kinds = sorted(set(tops))
    if "" in kinds:
        raise UserError(
            f"--splits: {names[tops.index('')]} is in no folder; put every image into one, such as"
            " train/ or test/"
        )
    return {kind: np.flatnonzero(np.array(tops) == kind) for kind in kinds}, inner


def _split_of(name: str) -> tuple[str, str, str]:
    """Split, separator, inner name, as by `str.partition`; MNIST's and CIFAR-10's files name their split."""
    file = name.rsplit("/", 1)[-1]
    for start, split in (
        ("data_batch", "train"),
        ("test_batch", "test"),
        ("train-images", "train"),
        ("t10k-images", "test"),
    ):
        if file.startswith(start):
            return split, "/", file
    top, slash, rest = name.partition("/")
    return (top, slash, rest) if slash else ("", "", name)


def _parts(
    folder: Path,
    ingested: Ingested,
    stored: NDArray[Any],
    resolved: _Resolved,
    rows: NDArray[np.int64],
    most: int | None,
) -> list[Part]:
    """Write the images at `rows` as parts, of which each has one kind of noise; if one part is the whole file, it is moved, not copied."""
    columns, missing = resolved.columns, np.array(ingested.missing)[rows]
    modelled = (columns.sigma[rows] != 0) & (resolved.noise is not None)
    alike = [rows[(modelled == m) & (missing == k)] for m in (False, True) for k in (False, True)]
    cuts = [piece for group in alike if len(group) for piece in _cut(group, most)]
    parts = []
    for number, piece in enumerate(cuts):
        directory = part_folder(folder, number)
        directory.mkdir()
        if len(piece) == len(stored):
            ingested.path.rename(directory / "images.npy")
        else:
            writer = ImageWriter(directory / "images.npy", stored.shape[1:], str(stored.dtype))
            for i in range(0, len(piece), _CHUNK):
                writer.add(stored[piece[i : i + _CHUNK]])
            writer.close()
        noise = resolved.noise if resolved.noise is not None and columns.sigma[piece[0]] != 0 else None
        parts.append(Part(columns.select(piece), noise=noise, missing=ingested.missing[piece[0]]))
    return parts


def _cut(rows: NDArray[np.int64], most: int | None) -> list[NDArray[np.int64]]:
    return [rows[i : i + most] for i in range(0, len(rows), most)] if most else [rows]
