"""One pass over sources: every image goes into one file, and what is known about each into lists."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.config import PackConfig
from noiseworth.data.resize import Fit, tile_number
from noiseworth.data.sources import DIGITS, Entry, Picture, Reading, Source, open_source
from noiseworth.data.sources.messages import collected_messages
from noiseworth.data.writer import ImageWriter
from noiseworth.errors import UserError
from noiseworth.progress import progress_bar

_MOST_KINDS = 100  # sizes and types of images, each in a file of its own until the most frequent one is known


@dataclass
class Ingested:
    """Images of one size and type, and what one pass over the sources gave; a list has an entry for each image."""

    writer: ImageWriter
    dtype: str  # of the source, before `fit`
    first: str  # the first image, for messages
    names: list[str] = field(default_factory=list)
    # Names without that of their source; the same as `names` where there is one source.
    inner: list[str] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    sigma: list[float | None] = field(default_factory=list)
    # Share of each image's pixels at the ends of its integer type.
    saturated: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    missing: list[bool] = field(default_factory=list)  # whether pixels were not measured
    low: float = math.inf
    high: float = -math.inf
    # What the files say of black and white; of the values' units.
    value_ranges: set[tuple[float, float] | None] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    rounding: float = 0.0
    classes: list[str] = field(default_factory=list)
    folders: bool = True  # whether the names' folders may be classes
    skipped: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file of all images."""
        return self.writer.path

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Black and white as the files say it, if they agree, and no value is beyond."""
        if len(self.value_ranges) != 1:
            return None
        (value_range,) = self.value_ranges
        if value_range is None or self.low < value_range[0] or self.high > value_range[1]:
            return None
        return value_range


def ingest(config: PackConfig, sources: Sequence[str], rule: Fit | None, folder: Path) -> Ingested:
    """Write every image of the sources into one file in `folder`, and record what is known about it.

    With `on_error: skip` the most frequent size and type is kept, and others are skipped.

    Raises:
        UserError: a source cannot be read, images differ in size or type, or all were skipped.
    """
    names = [public_name(source) for source in sources]
    if len(set(names)) < len(names):
        raise UserError(
            f"{sources[0]}: two sources have the same name, so that their images could not be told apart;"
            " rename one"
        )
    a_pass = _Pass(config, rule, folder, len(sources) > 1)
    try:
        for source, name in zip(sources, names, strict=True):
            with collected_messages(), open_source(source, a_pass.reading) as opened:
                a_pass.read(opened, source, name)
    finally:
        for kind in a_pass.kinds.values():
            kind.writer.close()
    return a_pass.result(sources[0])


class _Pass:
    """The state of one pass over all sources."""

    def __init__(self, config: PackConfig, rule: Fit | None, folder: Path, several: bool) -> None:
        self.reading = Reading(
            config.key,
            config.label_key,
            parse_shape(config.shape),
            config.axes,
            config.stored_values,
            config.allow_rounding,
            config.drop_alpha,
            config.trust_sizes,
        )
        self.kinds: dict[tuple[tuple[int, ...], str], Ingested] = {}
        self._skip = config.on_error == "skip"
        self._missing = config.missing
        self._rule, self._folder, self._several = rule, folder, several
        self._is_tiled, self._pictures = rule is not None and rule.how == "tiles", 0
        self._skipped: list[str] = []
        self._classes: list[str] | None = None
        self._folders = True

    def read(self, opened: Source, source: str, name: str) -> None:
        """All images of one source."""
        if self._classes is not None and list(opened.classes) != self._classes:
            raise UserError(
                f"{source}: has other classes than the sources before it; pack them separately and join them"
            )
        self._classes = list(opened.classes)
        self._folders = self._folders and opened.folders
        prefix = f"{name}/" if self._several else ""
        for entry in progress_bar(opened.entries, total=opened.count, unit="img", desc=f"packing {name}"):
            try:
                self._add(entry, opened, prefix)
            except UserError as error:
                if not self._skip:
                    raise
                self._skipped.append(str(error))

    def _add(self, entry: Entry, source: Source, prefix: str) -> None:
        """Write one image, and record what is known about it."""
        where = f"{source.where}/{entry.name}" if source.folders else f"{source.where}: {entry.name}"
        picture = _load(entry, where, self._missing)
        pixels, dtype, share = picture.pixels, str(picture.pixels.dtype), _saturated_share(picture)
        pieces = [((0, 0), pixels)] if self._rule is None else self._rule.pieces(pixels, where)
        for place, piece in pieces:
            kind = self._kind(where, piece.shape, dtype, str(piece.dtype))
            self._add_piece(kind, piece, entry, prefix, picture, share)
            kind.ids.append(tile_number(self._pictures, place) if self._is_tiled else len(kind.ids))
        self._pictures += 1

    def _add_piece(
        self, kind: Ingested, pixels: NDArray[Any], entry: Entry, prefix: str, picture: Picture, share: float
    ) -> None:
        kind.writer.add(pixels[None])
        kind.names.append(prefix + entry.name)
        kind.inner.append(entry.name)
        kind.labels.append(entry.label)
        kind.sigma.append(entry.sigma)
        kind.saturated.append(share)
        kind.missing.append(pixels.dtype.kind == "f" and bool(np.isnan(pixels).any()))
        kind.low, kind.high = (
            min(kind.low, float(np.nanmin(pixels))),
            max(kind.high, float(np.nanmax(pixels))),
        )
        kind.value_ranges.add(picture.value_range)
        kind.units.add(picture.units)
        kind.rounding = max(kind.rounding, picture.rounding)

    def _kind(self, where: str, shape: tuple[int, ...], dtype: str, written: str) -> Ingested:
        """The images of this size and type.

        Raises:
            UserError: there are others already.
        """
        kind = self.kinds.get((shape, dtype))
        if kind is not None:
            return kind
        if self.kinds and (not self._skip or len(self.kinds) >= _MOST_KINDS):
            raise UserError(_differs(where, shape, dtype, next(iter(self.kinds.values()))))
        channels, height, width = shape
        file = self._folder / f".images-{len(self.kinds)}.npy"
        made = Ingested(ImageWriter(file, (channels, height, width), written), dtype, where)
        self.kinds[shape, dtype] = made
        return made

    def result(self, source: str) -> Ingested:
        """The images that are kept, which are those of the most frequent size and type.

        Raises:
            UserError: there are none.
        """
        if not self.kinds:
            first = f" ({self._skipped[0]})" if self._skipped else ""
            raise UserError(f"{source}: every one of its {len(self._skipped):,} images was skipped{first}")
        kept = max(self.kinds.values(), key=lambda kind: len(kind.names))
        for (shape, dtype), kind in self.kinds.items():
            if kind is not kept:
                self._skipped += [_differs(name, shape, dtype, kept) for name in kind.names]
                kind.path.unlink()
        kept.skipped, kept.left_out = self._skipped, dict(sorted(self.reading.left_out.items()))
        kept.classes, kept.folders = self._classes or [], self._folders
        return kept


def _differs(where: str, shape: tuple[int, ...], dtype: str, other: Ingested) -> str:
    """What is wrong with an image of another size or type."""
    first = f"{PurePosixPath(other.first).name} is {_describe(other.writer.shape, other.dtype)}"
    if dtype == other.dtype:
        remedy = "give --fit (crop, pad, shrink, resize), or pack each size separately"
    else:
        remedy = "pack each type separately and join them"
    return (
        f"{where}: is {_describe(shape, dtype)}, {first}; all images of a data set have one size and type:"
        f" {remedy}"
    )


def _load(entry: Entry, where: str, missing: float | str | None) -> Picture:
    picture = entry.load()
    if missing == "keep" and picture.pixels.dtype.kind == "f":
        if not np.isinf(picture.pixels).any() and not np.isnan(picture.pixels).all():
            return picture
        raise UserError(
            f"{where}: has infinite pixels, or none that was measured; skip it with --on-error skip"
        )
    if isinstance(missing, int | float) and picture.pixels.dtype.kind == "f":
        pixels = picture.pixels
        picture = replace(
            picture, pixels=np.where(np.isnan(pixels), np.asarray(missing, pixels.dtype), pixels)
        )
    if picture.pixels.dtype.kind == "f" and not np.isfinite(picture.pixels).all():
        raise UserError(
            f"{where}: has NaN or infinite pixels, or pixels that were not measured; give their value with --missing"
            " (or keep: training fills them), or skip such images with --on-error skip"
        )
    return picture


def _saturated_share(picture: Picture) -> float:
    """Share of the pixels at the ends of an integer type, where noise is clipped."""
    pixels = picture.pixels
    if pixels.dtype.kind != "u":
        return 0.0
    top = picture.value_range[1] if picture.value_range is not None else np.iinfo(pixels.dtype).max
    return float(np.mean((pixels == 0) | (pixels == top)))


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
    if len(numbers) != 3 or not all(n.strip().isascii() and n.strip().isdigit() and int(n) for n in numbers):
        raise UserError(f"--shape {shape}: must be three integers from 1 up, C,H,W")
    channels, height, width = map(int, numbers)
    return channels, height, width
