"""Writing the images of a data set as files that other programs open, in the units that they were packed from."""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
    stretch = _stretch(dataset, config.dtype)
    whole = config.dtype if stretch is not None else None if config.dtype else _picture_type(dataset)
    kind = config.format or _natural_format(dataset.shape[0], whole)
    changed = 0.0
    with new_directory(Path(config.out)) as folder:
        write, dtype = _writer(dataset, kind, whole, folder)
        rows = []
        with write as each:
            for start in progress_bar(
                range(0, len(dataset), _CHUNK), unit="x256 img", desc=f"unpacking {dataset.record.name}"
            ):
                positions = np.arange(start, min(start + _CHUNK, len(dataset)))
                pixels, moved = _as_type(_raw(dataset, positions), dtype, stretch)
                changed = max(changed, moved)
                for position, image in zip(positions, pixels, strict=True):
                    name = f"{position:0{len(str(len(dataset) - 1))}}.{kind}"
                    each(name, image)
                    rows.append(_row(dataset, int(position), name))
        if kind != "npz":
            _write_table(folder / _TABLE, rows)
        record = UnpackRecord(str(config.out), len(dataset), kind, str(dtype), changed)
        making.note(folder, replace(record, path=""))
    return record


def _stretch(dataset: Dataset, dtype: str | None) -> tuple[float, float] | None:
    """Raw values of 0 and of one step of a whole type that is asked for."""
    if dtype is None or dtype == "float32":
        return None
    record = dataset.record
    black, white = record.offset - record.scale, record.offset + record.scale
    return black, (white - black) / np.iinfo(dtype).max


def _raw(dataset: Dataset, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Images in raw units of the data set (of one that was joined from several, in those of the first)."""
    record = dataset.record
    if all(part.scale is None for part in record.parts):
        return dataset.read_raw(positions, "float64")
    return dataset.read(positions).astype(np.float64) * record.scale + record.offset


def _natural_format(channels: int, whole: str | None) -> str:
    """PNG for pictures of whole numbers, else TIFF."""
    return "png" if whole is not None and (channels == 1 or (channels == 3 and whole == "uint8")) else "tif"


def _picture_type(dataset: Dataset) -> str | None:
    """The integer type that the values were packed from, or that generated ones would have."""
    if dataset.dtype in (np.uint8, np.uint16):
        return str(dataset.dtype)
    if (dataset.sigma == 0).all():  # generated; noisy values lie beyond the range and are no whole numbers
        record = dataset.record
        return _WHOLE.get((record.offset - record.scale, record.offset + record.scale))
    return None


Each = Callable[[str, NDArray[Any]], None]  # name, (C, H, W)


def _writer(
    dataset: Dataset, kind: str, whole: str | None, folder: Path
) -> tuple[AbstractContextManager[Each], np.dtype[Any]]:
    """What writes one image after another, and the type of their values."""
    channels, _, _ = dataset.shape
    dtype = np.dtype(whole or "float32")
    if kind == "png":
        if _natural_format(channels, whole) != "png":
            remedy = "give --format tif, or npy" + (", or --dtype uint8" if channels in (1, 3) else "")
            raise UserError(
                f"--format png: {dataset.path} holds {channels} channels of {whole or dataset.dtype}, and PNG here holds"
                f" grey of 8 or 16 bits, or colour of 8; {remedy}"
            )
        return nullcontext(lambda name, image: _write_png(folder / name, image)), dtype
    if kind == "npz":
        return _one_file(dataset, folder / "images.npz", dtype), dtype
    if kind == "npy":
        return nullcontext(lambda name, image: np.save(folder / name, image, allow_pickle=False)), dtype
    try:
        import tifffile
    except ImportError:
        raise UserError(
            "--format tif: needs tifffile: pip install 'noiseworth[formats]'; or give --format npy"
        ) from None

    def write_tiff(name: str, image: NDArray[Any]) -> None:
        colour = channels == 3
        pixels = image.transpose(1, 2, 0) if colour else image[0] if channels == 1 else image
        axes = {"metadata": {"axes": "CYX"}} if channels not in (1, 3) else {}
        tifffile.imwrite(folder / name, pixels, photometric="rgb" if colour else "minisblack", **axes)

    return nullcontext(write_tiff), dtype


@contextmanager
def _one_file(dataset: Dataset, path: Path, dtype: np.dtype[Any]) -> Iterator[Each]:
    """An .npz of `images`, `sigma`, `ids` and `labels`, written image by image: grey images as (N, H, W), others as (N, H, W, C)."""
    channels, height, width = dataset.shape
    shape = (len(dataset), height, width, *([channels] if channels > 1 else []))
    with zipfile.ZipFile(path, "w") as archive:
        for name, column in (("sigma", dataset.sigma), ("ids", dataset.ids), ("labels", dataset.labels)):
            if column is not None:
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.asarray(column), allow_pickle=False)
        with archive.open("images.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": dtype.str, "fortran_order": False, "shape": shape}
            )

            def add(_: str, image: NDArray[Any]) -> None:
                file.write(image.transpose(1, 2, 0).tobytes())

            yield add


def _write_png(path: Path, image: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _as_type(
    raw: NDArray[np.float64], dtype: np.dtype[Any], stretch: tuple[float, float] | None
) -> tuple[NDArray[Any], float]:
    """Values in a type, and by how much the furthest one was changed, in raw units."""
    black, step = stretch or (0.0, 1.0)
    if dtype.kind != "u":
        pixels = raw.astype(dtype)
    else:
        limits = np.iinfo(dtype)
        pixels = np.rint((raw - black) / step).clip(limits.min, limits.max).astype(dtype)
    return pixels, float(np.abs(pixels.astype(np.float64) * step + black - raw).max())


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
