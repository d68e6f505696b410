"""Writing the images of a data set as files that other programs open, in the units that they were packed from."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noiseworth.data.config import UnpackConfig
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.made_by import Making
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.progress import progress_bar
from noiseworth.records import UnpackRecord

_CHUNK = 256
_TABLE = "images.csv"
_WHOLE = {(0.0, 255.0): "uint8", (0.0, 65535.0): "uint16"}  # range of the clean values -> type of a picture


@with_options(UnpackConfig)
def unpack(config: UnpackConfig) -> UnpackRecord:
    """Write each image of a data set, or of the samples of a run, as a file, and a table of what is known about each.

    Values are in raw units. Of images that were packed from integers every value is kept; generated ones are
    rounded and clipped to the type of their training data.

    Raises:
        UserError: it is no data set, `out` holds something else, or the format cannot hold its values.
    """
    making = Making("unpack", config)
    if (earlier := making.found(UnpackRecord)) is not None:
        return replace(earlier, path=str(config.out))
    dataset = open_dataset(config.data)
    if dataset.record.stabilised is not None:
        raise UserError(
            f"{config.data}: its values are stabilised, and not in the units of the files; unpack the data set that it was made from"
        )
    kind = config.format or _natural_format(dataset)
    write, dtype = _writer(dataset, kind)
    changed = 0.0
    with new_directory(Path(config.out)) as folder:
        rows = []
        for start in progress_bar(
            range(0, len(dataset), _CHUNK), unit="x256 img", desc=f"unpacking {dataset.record.name}"
        ):
            positions = np.arange(start, min(start + _CHUNK, len(dataset)))
            raw = _raw(dataset, positions)
            pixels, rounded = _as_type(raw, dtype)
            changed = max(changed, rounded)
            for position, image in zip(positions, pixels, strict=True):
                name = f"{position:0{len(str(len(dataset) - 1))}}.{kind}"
                write(folder / name, image)
                rows.append(_row(dataset, int(position), name))
        _write_table(folder / _TABLE, rows)
        record = UnpackRecord(str(config.out), len(dataset), kind, str(dtype), changed)
        making.note(folder, replace(record, path=""))
    return record


def _raw(dataset: Dataset, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Images in raw units of the data set (of one that was joined from several, in those of the first)."""
    record = dataset.record
    if all(part.scale is None for part in record.parts):
        return dataset.read_raw(positions, "float64")
    return dataset.read(positions).astype(np.float64) * record.scale + record.offset


def _natural_format(dataset: Dataset) -> str:
    """PNG for pictures of whole numbers, else TIFF."""
    is_picture = _picture_type(dataset) is not None and dataset.shape[0] in (1, 3)
    return "png" if is_picture and (dataset.shape[0] == 1 or _picture_type(dataset) == "uint8") else "tif"


def _picture_type(dataset: Dataset) -> str | None:
    """The integer type that the values were packed from, or that generated ones would have."""
    if dataset.dtype in (np.uint8, np.uint16):
        return str(dataset.dtype)
    if (dataset.sigma == 0).all():  # generated; noisy values lie beyond the range and are no whole numbers
        record = dataset.record
        return _WHOLE.get((record.offset - record.scale, record.offset + record.scale))
    return None


def _writer(dataset: Dataset, kind: str) -> tuple[Callable[[Path, NDArray[Any]], None], np.dtype[Any]]:
    """What writes one image, and the type of its values."""
    channels, _, _ = dataset.shape
    whole = _picture_type(dataset)
    if kind == "png":
        if whole is None or channels not in (1, 3) or (channels == 3 and whole == "uint16"):
            raise UserError(
                f"--format png: {dataset.path} holds {channels} channels of {whole or dataset.dtype}, and PNG here holds"
                " grey of 8 or 16 bits, or colour of 8; give --format tif, or npy"
            )
        return _write_png, np.dtype(whole)
    dtype = np.dtype(whole or "float32")
    if kind == "npy":
        return lambda path, image: np.save(path, image, allow_pickle=False), dtype
    try:
        import tifffile
    except ImportError:
        raise UserError(
            "--format tif: needs tifffile: pip install 'noiseworth[formats]'; or give --format npy"
        ) from None

    def write_tiff(path: Path, image: NDArray[Any]) -> None:
        colour = channels == 3
        pixels = image.transpose(1, 2, 0) if colour else image[0] if channels == 1 else image
        axes = {"metadata": {"axes": "CYX"}} if channels not in (1, 3) else {}
        tifffile.imwrite(path, pixels, photometric="rgb" if colour else "minisblack", **axes)

    return write_tiff, dtype


def _write_png(path: Path, image: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _as_type(raw: NDArray[np.float64], dtype: np.dtype[Any]) -> tuple[NDArray[Any], float]:
    """Values in a type, and by how much the furthest one was changed, in raw units."""
    if dtype.kind == "u":
        limits = np.iinfo(dtype)
        pixels = np.rint(raw).clip(limits.min, limits.max).astype(dtype)
    else:
        pixels = raw.astype(dtype)
    return pixels, float(np.abs(pixels.astype(np.float64) - raw).max())


def _row(dataset: Dataset, position: int, name: str) -> dict[str, Any]:
    sigma = float(dataset.sigma[position])
    row: dict[str, Any] = {"file": name, "sigma": "" if np.isnan(sigma) else repr(np.float32(sigma).item())}
    if dataset.labels is not None:
        row["label"] = int(dataset.labels[position])
    return row | {"id": int(dataset.ids[position])}


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
