"""Hugging Face data sets, by name (`hf:NAME`, `hf:NAME:SPLIT`) or as local Parquet files (extra `hub`)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.data.sources.image_files import decode
from noiseworth.data.sources.source import Entry, Source, stored
from noiseworth.errors import UserError, first_line

PREFIX = "hf:"


def hub_source(source: str, key: str | None, label_key: str | None) -> Source:
    """The images of such a data set, decoded as files of a folder are.

    Args:
        source: `hf:NAME`, `hf:NAME:SPLIT`, or the path of a Parquet file.
        key: column of the images; by default the first column that holds images.
        label_key: column of the labels; by default "label" or "labels", if there is one.

    Raises:
        UserError: `datasets` is not installed, there is no such data set, or no such column.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(f"{source}: needs datasets: pip install 'noiseworth[hub]'") from None
    try:
        if source.startswith(PREFIX):
            name, _, split = source.removeprefix(PREFIX).partition(":")
            rows = datasets.load_dataset(name, split=split or "train")
        else:
            if not Path(source).is_file():
                raise UserError(f"{source}: no such file")
            rows = datasets.Dataset.from_parquet(source)
    except UserError:
        raise
    except Exception as error:  # any error of the network, the hub or the file
        words = first_line(error)
        raise UserError(f"{source}: cannot be loaded ({words})") from None
    return _source(datasets, rows, source, key, label_key)


def _source(datasets: Any, rows: Any, where: str, key: str | None, label_key: str | None) -> Source:
    features = rows.features
    column = key or next((n for n in features if _is_image(datasets, features[n])), "")
    if column not in features:
        raise UserError(
            f"{where}: name the column of the images with --key (there are {', '.join(features)})"
        )
    label = label_key or next((n for n in ("label", "labels") if n in features), None)
    if label is not None and label not in features:
        raise UserError(f"{where}: has no column {label!r} (there are {', '.join(features)})")
    if _is_image(datasets, features[column]):
        # We decode ourselves: the library would turn 16 bits into 8.
        rows = rows.cast_column(column, datasets.Image(decode=False))
    classes = getattr(features[label], "names", None) or () if label else ()

    def entries() -> Iterator[Entry]:
        for i, row in enumerate(rows):
            label_value = row[label] if label else None
            if label and not (isinstance(label_value, int) and label_value >= 0):
                raise UserError(
                    f"{where}: row {i} has the label {label_value!r}; labels are whole numbers from 0 up:"
                    " give a table with --labels"
                )
            yield Entry(f"row {i}", partial(_pixels, row[column], f"{where}: row {i}"), label_value)

    return Source(entries(), where, len(rows), classes=classes)


def _is_image(datasets: Any, feature: Any) -> bool:
    struct = getattr(feature, "keys", None)
    return isinstance(feature, datasets.Image) or (struct is not None and set(feature) == {"bytes", "path"})


def _pixels(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        if value.get("bytes") is None:
            if not value.get("path"):
                raise UserError(f"{where}: has no image")
            return decode(Path(value["path"]).read_bytes(), where)
        return decode(value["bytes"], where)
    if isinstance(value, bytes):
        return decode(value, where)
    pixels = np.asarray(value)
    if pixels.ndim not in (2, 3):
        raise UserError(f"{where}: not an image")
    if pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4) and pixels.shape[0] not in (1, 3, 4):
        pixels = pixels.transpose(2, 0, 1)
    return stored(pixels[None] if pixels.ndim == 2 else pixels, where)
