"""One pass over sources: every image goes into one file, and what is known about each into lists."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.config import PackConfig
from noiseworth.data.resize import Fit
from noiseworth.data.sources import DIGITS, Entry, Source, open_source
from noiseworth.data.writer import ImageWriter
from noiseworth.errors import UserError
from noiseworth.progress import progress_bar


@dataclass
class Ingested:
    """What one pass over the sources gave; a list has an entry for each image."""

    writer: ImageWriter | None = None
    names: list[str] = field(default_factory=list)
    # Names without that of their source; the same as `names` where there is one source.
    inner: list[str] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    sigma: list[float | None] = field(default_factory=list)
    # Share of each image's pixels at the ends of its integer type.
    saturated: list[float] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf
    dtype: str = ""  # of the source, before `fit`
    value_range: tuple[float, float] | None = None
    classes: list[str] = field(default_factory=list)
    folders: bool = True  # whether the names' folders may be classes
    skipped: list[str] = field(default_factory=list)
    first: str = ""  # the first image, for messages

    @property
    def path(self) -> Path:
        """The file of all images."""
        if self.writer is None:
            raise AssertionError("`ingest` returns only when there are images")
        return self.writer.path


def ingest(config: PackConfig, sources: Sequence[str], rule: Fit | None, folder: Path) -> Ingested:
    """Write every image of the sources into one file in `folder`, and record what is known about it.

    Raises:
        UserError: a source cannot be read, images differ in size or type, or all were skipped.
    """
    names = [public_name(source) for source in sources]
    if len(set(names)) < len(names):
        raise UserError(
            f"{sources[0]}: two sources have the same name, so that their images could not be told apart;"
            " rename one"
        )
    result = Ingested()
    shape = parse_shape(config.shape)
    try:
        for source, name in zip(sources, names, strict=True):
            with open_source(source, key=config.key, label_key=config.label_key, shape=shape) as opened:
                if source != sources[0] and (opened.value_range, list(opened.classes)) != (
                    result.value_range,
                    result.classes,
                ):
                    raise UserError(
                        f"{source}: has another range of values, or other classes, than {sources[0]}; pack"
                        " them separately and join them"
                    )
                result.value_range, result.classes = opened.value_range, list(opened.classes)
                result.folders = result.folders and opened.folders
                prefix = f"{name}/" if len(sources) > 1 else ""
                for entry in progress_bar(
                    opened.entries, total=opened.count, unit="img", desc=f"packing {name}"
                ):
                    try:
                        _add(result, entry, opened, rule, folder, prefix)
                    except UserError as error:
                        if config.on_error == "stop":
                            raise
                        result.skipped.append(str(error))
    finally:
        if result.writer is not None:
            result.writer.close()
    if result.writer is None:
        raise UserError(
            f"{sources[0]}: every one of its {len(result.skipped):,} images was skipped ({result.skipped[0]})"
        )
    return result


def _add(result: Ingested, entry: Entry, source: Source, rule: Fit | None, folder: Path, prefix: str) -> None:
    """Write one image, and record what is known about it."""
    where = f"{source.where}/{entry.name}" if source.folders else f"{source.where}: {entry.name}"
    pixels = _load(entry, where)
    dtype, share = str(pixels.dtype), _saturated_share(pixels)
    if rule is not None:
        pixels = rule(pixels, where)
    if result.writer is None:
        result.writer = ImageWriter(folder / ".images.npy", pixels.shape, str(pixels.dtype))
        result.first, result.dtype = where, dtype
    elif pixels.shape != result.writer.shape or dtype != result.dtype:
        _refuse(result, where, pixels.shape, dtype)
    result.writer.add(pixels[None])
    result.names.append(prefix + entry.name)
    result.inner.append(entry.name)
    result.labels.append(entry.label)
    result.sigma.append(entry.sigma)
    result.low, result.high = min(result.low, float(pixels.min())), max(result.high, float(pixels.max()))
    result.saturated.append(share)


def _refuse(result: Ingested, where: str, shape: tuple[int, ...], dtype: str) -> None:
    """Raises UserError: an image has another size or type than the first one."""
    if result.writer is None:
        raise AssertionError("there is a first image")
    first = f"{PurePosixPath(result.first).name} is {_describe(result.writer.shape, result.dtype)}"
    if dtype == result.dtype:
        remedy = "give --fit (crop, pad, shrink, resize), or pack each size separately"
    else:
        remedy = "pack each type separately and join them"
    raise UserError(
        f"{where}: is {_describe(shape, dtype)}, {first}; all images of a data set have one size and type:"
        f" {remedy}"
    )


def _load(entry: Entry, where: str) -> NDArray[Any]:
    pixels = entry.load()
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise UserError(
            f"{where}: has NaN or infinite pixels; remove or repair it first, or skip such images with"
            " --on-error skip"
        )
    return pixels


def _saturated_share(pixels: NDArray[Any]) -> float:
    """Share of the pixels at the ends of an integer type, where noise is clipped."""
    if pixels.dtype.kind != "u":
        return 0.0
    return float(np.mean((pixels == 0) | (pixels == np.iinfo(pixels.dtype).max)))


def _describe(shape: tuple[int, ...], dtype: str) -> str:
    channels, height, width = shape
    return f"{width}x{height}, {channels} channel{'s' * (channels > 1)}, {dtype}"


def public_name(source: str) -> str:
    """The source's name without the folders above it, which describe the machine and not the data."""
    return source if source == DIGITS or source.startswith("hf:") else Path(source).resolve().name


def parse_shape(shape: str | Sequence[int] | None) -> tuple[int, int, int] | None:
    """`--shape`: C,H,W.

    Raises:
        UserError: these are not three integers from 1 up.
    """
    if shape is None:
        return None
    numbers = shape.split(",") if isinstance(shape, str) else [str(number) for number in shape]
    if len(numbers) != 3 or not all(number.strip().isdigit() and int(number) for number in numbers):
        raise UserError(f"--shape {shape}: must be three integers from 1 up, C,H,W")
    channels, height, width = map(int, numbers)
    return channels, height, width
