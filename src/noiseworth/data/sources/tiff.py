"""TIFF by tifffile (extra `formats`): pages and stacks, with the axes, bits, orientation and gaps that the file states.

tifffile fills what is missing with zeros: planes that the metadata of an OME-TIFF names and that are not
there, segments beyond the end of the file. All of these are looked for, and refused.
"""

import io
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.finishing import oriented, without_alpha
from noiseworth.data.sources.source import Picture, Reading, check_size, check_unpacked, stored
from noiseworth.errors import UserError, first_line

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_KINDS = ("MINISBLACK", "RGB")
_LARGEST_VALUE, _ORIENTATION, _EXTRA_SAMPLES = 281, 274, 338


def is_tiff(content: bytes) -> bool:
    """By its first bytes."""
    return content.startswith(_MAGIC)


def decode(content: bytes, where: str, reading: Reading) -> list[Picture] | None:
    """The pictures of a TIFF: its pages, and of several series those of all, if they are of one shape; None if tifffile is not installed.

    Of a set of files that OME metadata tie together, those of this file alone.

    Raises:
        UserError: damaged, with gaps, too large, of a kind that cannot be read without loss, or of several series
            of different shapes and none was named by `--key`.
    """
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with tifffile.TiffFile(io.BytesIO(content), _multifile=False) as file:
            series = _chosen(file, where, reading)
            return [picture for one in series for picture in _pictures(one, content, where, reading)]
    except UserError:
        raise
    except Exception as error:  # a damaged TIFF raises whatever it runs into
        raise UserError(f"{where}: damaged or unreadable TIFF ({first_line(error)})") from None


def siblings(content: bytes) -> list[str]:
    """The names of the files that OME metadata tie together with this one, in their order; empty if it is by itself."""
    start = content.find(b"<OME")
    end = content.find(b"</OME>", start)
    if start < 0 or end < 0:
        return []
    try:
        root = ElementTree.fromstring(content[start : end + 6])
    except ElementTree.ParseError:
        return []
    names = [e.attrib.get("FileName", "") for e in root.iter() if e.tag.endswith("UUID")]
    distinct = list(dict.fromkeys(name for name in names if name))
    return distinct if len(distinct) > 1 else []


def _chosen(file: Any, where: str, reading: Reading) -> list[Any]:
    """The series that are read."""
    series = list(file.series)
    if not series:
        raise UserError(f"{where}: a TIFF without pictures")
    if reading.key is not None:
        named = [s for i, s in enumerate(series) if reading.key in (str(i), s.name)]
        if not named:
            raise UserError(f"--key {reading.key}: {where} has the series {_names(series)}")
        return named
    if len({(s.shape[-3:], str(s.dtype), s.axes) for s in series}) > 1:
        raise UserError(
            f"{where}: holds pictures of different kinds or sizes; name one with --key: {_names(series)}"
        )
    return series


def _names(series: list[Any]) -> str:
    return ", ".join(f"{i} ({'x'.join(map(str, s.shape))} {s.dtype})" for i, s in enumerate(series[:20]))


def _pictures(series: Any, content: bytes, where: str, reading: Reading) -> list[Picture]:
    page = series.keyframe
    kind = str(getattr(page.photometric, "name", "?"))
    if kind not in _KINDS and not (
        kind == "YCBCR" and getattr(page.compression, "name", "") in ("JPEG", "OJPEG")
    ):
        raise UserError(
            f"{where}: a TIFF with pixels of the kind {kind}; convert it to grey (MINISBLACK) or RGB first"
        )
    _refuse_gaps(series, len(content), where)
    check_unpacked(series.nbytes, len(content), where, reading)
    own = series.axes if "Y" in series.axes and "X" in series.axes else None
    axes = layout(series.shape, where, reading.axes, own)
    check_size(Stack(np.broadcast_to(np.uint8(0), series.shape), axes).shape[1:], where, reading)
    stack = Stack(series.asarray(), axes)
    alpha = _has_alpha(page) and stack.shape[1] in (2, 4)
    orientation = _tag(page, _ORIENTATION, 1)
    value_range = _value_range(page)
    return [_picture(stack[i], alpha, orientation, value_range, where, reading) for i in range(len(stack))]


def _picture(
    pixels: NDArray[Any],
    alpha: bool,
    orientation: int,
    value_range: tuple[float, float] | None,
    where: str,
    reading: Reading,
) -> Picture:
    if alpha:
        pixels = without_alpha(pixels, where, reading)
    kept, rounding = stored(oriented(pixels, orientation), where, reading)
    return Picture(kept, value_range, "", rounding)


def _refuse_gaps(series: Any, size: int, where: str) -> None:
    """Raises UserError: planes or segments that the file names are not in it."""
    pages = list(series.pages)
    missing = sum(page is None for page in pages)
    if missing:
        raise UserError(
            f"{where}: {missing} of the {len(pages)} planes that its metadata names are not in the file; they would"
            " come out black: save the whole stack again, or the planes that there are as a plain TIFF"
        )
    for number, page in enumerate(pages):
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        if any(offset + count > size for offset, count in segments):
            raise UserError(f"{where}: damaged or unreadable TIFF (it is cut short, in page {number})")
        if any(count == 0 for count in page.databytecounts):
            raise UserError(
                f"{where}: parts of page {number} are not in the file (a sparse TIFF); they would come out black:"
                " write them first"
            )


def _has_alpha(page: Any) -> bool:
    extra = _tag(page, _EXTRA_SAMPLES, ())
    values = tuple(extra) if isinstance(extra, tuple | list) else (extra,)
    return len(values) == 1 and int(values[0]) in (1, 2)  # associated or not


def _value_range(page: Any) -> tuple[float, float] | None:
    """Black and white, where a tag says that fewer bits are used than the type has."""
    bits = int(page.bitspersample or 0)
    largest = _tag(page, _LARGEST_VALUE, None)
    kind = page.dtype.kind if page.dtype is not None else ""
    if kind != "u":
        return None
    if 1 < bits < 8 * page.dtype.itemsize:
        return 0.0, float(2**bits - 1)
    values = largest if isinstance(largest, tuple) else (largest,)
    if values[0] is not None and re.fullmatch(r"\d+", str(values[0])):
        whole = int(values[0])
        if whole + 1 in {2**k for k in range(2, 16)} and whole < 2 ** (8 * page.dtype.itemsize) - 1:
            return 0.0, float(whole)
    return None


def _tag(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code) if hasattr(page, "tags") else None
    return default if tag is None else tag.value
