"""One pass over sources: every image into one file, and what is known of each into lists."""

import math
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from noiseworth.data.fit import Fit
from noiseworth.data.sources import DIGITS, Entry, open_source
from noiseworth.data.writer import ImageWriter
from noiseworth.errors import UserError


@dataclass
class Gathered:
    """What one pass over the sources found; a list has an entry for each image."""

    writer: ImageWriter | None = None
    names: list[str] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)  # names without that of their source, where there are several
    labels: list[int | None] = field(default_factory=list)
    sigma: list[float | None] = field(default_factory=list)
    saturated: list[float] = field(default_factory=list)  # share of each image's pixels at the ends of its type
    low: float = math.inf
    high: float = -math.inf
    dtype: str = ""  # of the source, before `fit`
    value_range: tuple[float, float] | None = None
    classes: list[str] = field(default_factory=list)
    folders: bool = True
    skipped: list[str] = field(default_factory=list)


def gather(
    packed: Gathered, folder: Path, sources: list[str], rule: Fit | None, on_error: str, options: dict[str, Any], quiet: bool
) -> None:
    """Write every image of the sources into one file, and note what is known of it."""
    first = ""
    shown = [public_name(source) for source in sources]
    if len(set(shown)) < len(shown):
        raise UserError(f"{sources[0]}: two sources have the same name, so that their images could not be told apart; rename one")
    for source in sources:
        with open_source(source, **options) as found:
            if source != sources[0] and (found.value_range, list(found.classes)) != (packed.value_range, packed.classes):
                raise UserError(
                    f"{source}: has another range of values, or other classes, than {sources[0]}; pack them apart and join them"
                )
            packed.value_range, packed.classes = found.value_range, list(found.classes)
            packed.folders = packed.folders and found.folders
            prefix = f"{public_name(source)}/" if len(sources) > 1 else ""
            bar = tqdm(
                found.entries, total=found.count, unit="img", desc=f"packing {public_name(source)}", disable=quiet or None, leave=False
            )
            for entry in bar:
                where = f"{found.where}/{entry.name}" if found.folders else f"{found.where}: {entry.name}"
                try:
                    pixels = _pixels(entry, where)
                    kind, share = str(pixels.dtype), _at_limits(pixels)
                    pixels = pixels if rule is None else rule(pixels, where)
                    if packed.writer is None:
                        packed.writer = ImageWriter(folder / ".images.npy", pixels.shape, str(pixels.dtype))
                        first = where
                        packed.dtype = kind
                    elif pixels.shape != packed.writer.shape or kind != packed.dtype:
                        told = f"{where}: is {_describe(pixels.shape, kind)}"
                        other = f"{PurePosixPath(first).name} is {_describe(packed.writer.shape, packed.dtype)}"
                        remedy = "give --fit (crop, pad, shrink, resize)" if kind == packed.dtype else "pack them apart and join them"
                        raise UserError(
                            f"{told}, {other}; all images of a data set have one size and type: {remedy}, or sort them first"
                        )
                except UserError as error:
                    if on_error == "stop":
                        raise
                    packed.skipped.append(str(error))
                    continue
                packed.writer.add(pixels[None])
                packed.names.append(prefix + entry.name)
                packed.inner.append(entry.name)
                packed.labels.append(entry.label)
                packed.sigma.append(entry.sigma)
                packed.low, packed.high = min(packed.low, float(pixels.min())), max(packed.high, float(pixels.max()))
                packed.saturated.append(share)


def _pixels(entry: Entry, where: str) -> NDArray[Any]:
    pixels = entry.load()
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise UserError(f"{where}: has NaN or infinite pixels; remove or mend it first, or leave such out with --on-error skip")
    return pixels


def _at_limits(pixels: NDArray[Any]) -> float:
    """Share of the pixels at the ends of a whole-number type, where noise is cut off."""
    if pixels.dtype.kind != "u":
        return 0.0
    return float(np.mean((pixels == 0) | (pixels == np.iinfo(pixels.dtype).max)))


def _describe(shape: tuple[int, ...], dtype: Any) -> str:
    channels, height, width = shape
    return f"{width}x{height}, {channels} channel{'s' * (channels > 1)}, {dtype}"


def public_name(source: str) -> str:
    """The source's name without the folders above it, which say more of the machine than of the data."""
    return source if source == DIGITS or source.startswith("hf:") else Path(source).resolve().name
