"""Hugging Face data sets: by name (`hf:NAME`, `hf:NAME:SPLIT`), as Parquet files, or as `save_to_disk` left them (extra `hub`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.data.sources.arrays import of_array
from noiseworth.data.sources.pictures import decode
from noiseworth.data.sources.source import Entry, Picture, Reading, Source, check_unpacked
from noiseworth.errors import UserError, first_line

PREFIX = "hf:"


def hub_source(source: str, where: str, reading: Reading) -> Source:
    """The images of such a data set, decoded as files of a folder are.

    The column is that of `reading.key`, by default the first one of images; labels are that of
    `reading.label_key`, by default "label" or "labels", if there is one.

    Args:
        source: `hf:NAME`, `hf:NAME:SPLIT`, the path of a Parquet file, or a folder that `save_to_disk` wrote.

    Raises:
        UserError: `datasets` is not installed, there is no such data set, or no such column.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(f"{where}: needs datasets: pip install 'noiseworth[hub]'") from None
    try:
        if source.startswith(PREFIX):
            name, _, split = source.removeprefix(PREFIX).partition(":")
            rows = datasets.load_dataset(name, split=split or "train")
        elif Path(source).is_dir():
            rows = datasets.load_from_disk(source)
        else:
            if not Path(source).is_file():
                raise UserError(f"{where}: no such file")
            _check_parquet(source, where, reading)
            rows = datasets.Dataset.from_parquet(source)
    except UserError:
        raise
    except Exception as error:  # any error of the network, the hub or the file
        raise UserError(f"{where}: cannot be loaded ({first_line(error)})") from None
    if isinstance(rows, datasets.DatasetDict):
        raise UserError(
            f"{where}: holds the splits {', '.join(rows)}; pack one of its folders, such as {where}/{next(iter(rows))}"
        )
    return _source(datasets, rows, where, reading)


def _check_parquet(source: str, where: str, reading: Reading) -> None:
    """Raises UserError: no Parquet file, or one that unpacks to far more than it holds."""
    import pyarrow.parquet as parquet

    metadata = parquet.ParquetFile(source).metadata
    groups = range(metadata.num_row_groups)
    unpacked = sum(metadata.row_group(i).total_byte_size for i in groups)
    check_unpacked(unpacked, Path(source).stat().st_size, where, reading)


def _source(datasets: Any, rows: Any, where: str, reading: Reading) -> Source:
    features = rows.features
    images = [n for n in features if _is_image(datasets, features[n])]
    if reading.key is None and len(images) > 1:
        raise UserError(f"{where}: has the columns of images {', '.join(images)}; name one with --key")
    column = reading.key or next(iter(images), "")
    if column not in features:
        raise UserError(
            f"{where}: name the column of the images with --key (there are {', '.join(features)})"
        )
    label = reading.label_key or next((n for n in ("label", "labels") if n in features), None)
    if label is not None and label not in features:
        raise UserError(f"{where}: has no column {label!r} (there are {', '.join(features)})")
    if isinstance(features[column], datasets.Image):
        # Decoded by `decode`: the library would turn 16 bits into 8.
        rows = rows.cast_column(column, datasets.Image(decode=False))
    has_sigma = getattr(features.get("sigma"), "dtype", "") in ("float32", "float64", "int32", "int64")
    others = len(set(features) - {column, label, "sigma"})
    if others:
        reading.left_out["columns of other names"] += others
    classes = getattr(features[label], "names", None) or () if label else ()

    def entries() -> Iterator[Entry]:
        for i, row in enumerate(rows):
            label_value = row[label] if label else None
            if label and not (isinstance(label_value, int) and label_value >= 0):
                label_value = None  # -1, as test sets have it; whoever wants labels is told
            name, of_row = f"row {i}", f"{where}: row {i}"
            sigma = float(row["sigma"]) if has_sigma and row["sigma"] is not None else None
            try:
                pictures = _pictures(row[column], of_row, reading)
            except UserError as error:  # of this row; it may be left out
                yield failed(name, error, label_value)
                continue
            for number, picture in enumerate(pictures):
                full = name if len(pictures) == 1 else f"{name}: page {number}"
                yield Entry(full, lambda picture=picture: picture, label_value, sigma)  # type: ignore[misc]

    return Source(entries(), where, len(rows), classes)


def failed(name: str, error: UserError, label: int | None = None) -> Entry:
    """An image that cannot be had: `load` raises the error, and whoever asked for it decides what becomes of it."""

    def load() -> Picture:
        raise error

    return Entry(name, load, label)


def _is_image(datasets: Any, feature: Any) -> bool:
    struct = getattr(feature, "keys", None)
    return isinstance(feature, datasets.Image) or (struct is not None and set(feature) == {"bytes", "path"})


def _pictures(value: Any, where: str, reading: Reading) -> list[Picture]:
    if isinstance(value, dict):
        if value.get("bytes") is not None:
            return decode(value["bytes"], where, reading)
        path = Path(value.get("path") or "")
        if not path.is_file():  # neither a device nor a pipe
            raise UserError(f"{where}: has no image")
        return decode(path.read_bytes(), where, reading)
    if isinstance(value, bytes):
        return decode(value, where, reading)
    pixels = np.asarray(value)
    if pixels.ndim == 3 and reading.axes is None:  # one image, and no stack
        first, _, last = pixels.shape
        is_last = last in (1, 3, 4) and first not in (1, 3, 4)
        pixels = pixels.transpose(2, 0, 1)[None] if is_last else pixels[None]
    return [entry.load() for entry in of_array(pixels, where, reading).entries]
