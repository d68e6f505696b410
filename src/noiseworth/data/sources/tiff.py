"""TIFF by tifffile (extra `formats`): pages and stacks, with the axes, bits, orientation and gaps that the file states.

tifffile fills what is missing with zeros: planes that the metadata of an OME-TIFF names and that are not
there, segments beyond the end of the file. All of these are looked for, and refused.
"""

import io
import math
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.axes import Stack, layout
from noiseworth.data.sources.finishing import oriented, without_alpha, without_missing
from noiseworth.data.sources.source import Picture, Reading, check_size, check_unpacked, stored
from noiseworth.errors import UserError, first_line

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_READ = ("MINISBLACK", "RGB")
KINDS = {
    0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 3: "PALETTE", 4: "MASK", 5: "SEPARATED", 6: "YCBCR", 8: "CIELAB",
}  # fmt: skip
_LARGEST_VALUE, _ORIENTATION, _EXTRA_SAMPLES = 281, 274, 338
NODATA = 42113  # of GDAL: the value of pixels that were not measured
COPIES = "smaller copies of an image pyramid"


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


def refuse_kind(kind: str, compression: str, where: str) -> None:
    """Raises UserError: the samples of a TIFF are no grey that grows with the light, and no RGB."""
    if kind not in _READ and not (kind == "YCBCR" and compression in ("JPEG", "OJPEG")):
        raise UserError(
            f"{where}: a TIFF with pixels of the kind {kind}; convert it to grey (MINISBLACK) or RGB first"
        )


def calibration(description: str, where: str) -> tuple[float, float, str] | None:
    """Offset, factor and unit by which ImageJ turns stored into physical values; None if it states none.

    It writes the number of a function and its coefficients: `cf=0`, `c0`, `c1` for a straight line (and 16 bits
    with a sign, as an offset of -32768).

    Raises:
        UserError: another function than a straight line.
    """
    if not description.startswith("ImageJ="):
        return None
    stated = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
    if "cf" not in stated or stated["cf"].strip() in (
        "20",
        "21",
    ):  # no function; no function and optical density
        return None
    if stated["cf"].strip() != "0":
        raise UserError(
            f"{where}: calibrated by ImageJ along a curve (cf={stated['cf'].strip()}); give --stored-values to take"
            " the values as they are stored, or convert it"
        )
    offset, factor = float(stated.get("c0", 0)), float(stated.get("c1", 1))
    unit = stated.get("vunit", "").strip()
    return offset, factor, "" if unit.lower() == "gray value" else unit


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
    whole = [s for s in series if not s.keyframe.is_reduced] or series
    if len(whole) < len(series):
        reading.left_out[COPIES] += sum(len(s.pages) for s in series) - sum(len(s.pages) for s in whole)
        series = whole
    if len({(s.shape[-3:], str(s.dtype), s.axes) for s in series}) > 1:
        raise UserError(
            f"{where}: holds pictures of different kinds or sizes; name one with --key: {_names(series)}"
        )
    return series


def _names(series: list[Any]) -> str:
    return ", ".join(f"{i} ({'x'.join(map(str, s.shape))} {s.dtype})" for i, s in enumerate(series[:20]))


def _pictures(series: Any, content: bytes, where: str, reading: Reading) -> list[Picture]:
    page = series.keyframe
    compression = str(getattr(page.compression, "name", ""))
    refuse_kind(str(getattr(page.photometric, "name", "?")), compression, where)
    _refuse_gaps(series, len(content), where)
    copies = len(series.levels) - 1 or sum(len(getattr(one, "subifds", None) or ()) for one in series.pages)
    if copies:
        reading.left_out[COPIES] += copies
    check_unpacked(series.nbytes, len(content), where, reading)
    own = series.axes if "Y" in series.axes and "X" in series.axes else None
    axes = layout(series.shape, where, reading.axes, own)
    check_size(Stack(np.broadcast_to(np.uint8(0), series.shape), axes).shape[1:], where, reading)
    orientations = _orientations(series, axes, where)
    physical = None if reading.stored_values else calibration(str(page.description or ""), where)
    as_stored = _Stored(
        _has_alpha(page), _value_range(page), str(_tag(page, NODATA, "")).strip("\0 "), physical
    )
    stack = Stack(series.asarray(), axes)
    return [_picture(stack[i], as_stored, orientations[i], where, reading) for i in range(len(stack))]


@dataclass(frozen=True)
class _Stored:
    """What the pages of a series say of their values.

    Attributes:
        alpha: whether the last of 2 or 4 channels says how opaque a pixel is.
        missing: the value of pixels that were not measured, as text; empty if none is stated.
        physical: offset, factor and unit.
    """

    alpha: bool
    value_range: tuple[float, float] | None
    missing: str
    physical: tuple[float, float, str] | None


def _picture(
    pixels: NDArray[Any], as_stored: _Stored, orientation: int, where: str, reading: Reading
) -> Picture:
    if as_stored.alpha and len(pixels) in (2, 4):
        pixels = without_alpha(pixels, where, reading)
    values, value_range, unit = pixels, as_stored.value_range, ""
    if as_stored.physical is not None and pixels.dtype.kind == "u":
        offset, factor, unit = as_stored.physical
        low, high = value_range or (0.0, float(np.iinfo(pixels.dtype).max))
        value_range = (low + offset, high + offset) if factor == 1 else None
        values = pixels * np.float64(factor) + offset
    if as_stored.missing:
        values = without_missing(values, pixels, as_stored.missing)
    kept, rounding = stored(oriented(values, orientation), where, reading)
    return Picture(kept, value_range, unit, rounding)


def _orientations(series: Any, axes: str, where: str) -> list[int]:
    """Of each image.

    Raises:
        UserError: the pages of one image are turned in different ways, or it cannot be said which page is whose.
    """
    of_pages = []
    for page in series.pages:
        virtual = getattr(page, "is_virtual", False)  # pages of ImageJ, of which only the first has tags
        of_pages.append(int(_tag(series.keyframe if virtual else page.aspage(), _ORIENTATION, 1)))
    shape = series.shape
    if len(set(of_pages)) == 1:
        turned: NDArray[Any] = np.broadcast_to(of_pages[0], shape)
    else:
        leading = next((n for n in range(len(shape) + 1) if math.prod(shape[:n]) == len(of_pages)), None)
        if leading is None:
            raise UserError(
                f"{where}: its pages are turned in different ways; save them upright, or one by one"
            )
        single = (1,) * (len(shape) - leading)
        turned = np.broadcast_to(np.reshape(of_pages, (*shape[:leading], *single)), shape)
    stack = Stack(turned, axes)
    pages_ways = []
    for i in range(len(stack)):
        ways = np.unique(stack[i][:, 0, 0])
        if len(ways) > 1:
            raise UserError(
                f"{where}: the channels of one image are turned in different ways; save them upright"
            )
        pages_ways.append(int(ways[0]))
    return pages_ways


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
