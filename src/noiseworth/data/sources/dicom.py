"""DICOM by pydicom (extra `formats`): physical values, bits and units as the file states them, one image for each frame."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.scientific import guarded, library, no_names
from noiseworth.data.sources.source import (
    Entry,
    NoPicture,
    Picture,
    Reading,
    Source,
    check_size,
    check_unpacked,
    stored,
)
from noiseworth.errors import UserError, first_line

_GREY, _COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def dicom_source(path: Path, where: str, reading: Reading) -> Source:
    """The frames of a DICOM file, rescaled to physical values unless `--stored-values`.

    Raises:
        NoPicture: it is of a kind without pictures (a report, a plan).
        UserError: no DICOM file, damaged, or packed in a way that needs a package.
    """
    no_names(where, reading)
    pydicom = library("pydicom", where)
    try:
        header = guarded(where, lambda: pydicom.dcmread(path))
    except UserError as error:
        if "prefix" in str(error):
            raise UserError(f"{where}: is no DICOM file (it does not begin as one)") from None
        raise
    made: Source = guarded(where, lambda: _source(pydicom, header, path, where, reading))
    return made


def _source(pydicom: Any, header: Any, path: Path, where: str, reading: Reading) -> Source:
    """The frames, as pydicom reads them; a damaged header may raise anything."""
    if not any(name in header for name in _PIXELS):
        kind = getattr(header.get("SOPClassUID"), "name", "") or "unknown"
        raise NoPicture(
            f"{where}: a DICOM object of the kind {kind}, which holds no pictures",
            "DICOM objects without pictures",
        )
    _check_decoder(header, where)
    kind = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    if kind == "MONOCHROME1":
        raise UserError(
            f"{where}: DICOM whose large values are dark (MONOCHROME1); convert it to MONOCHROME2 first"
        )
    if kind not in (*_GREY, *_COLOUR, "PALETTE COLOR"):
        raise UserError(
            f"{where}: DICOM with pixels of the kind {kind}; convert it to RGB or MONOCHROME2 first"
        )
    frames = _frames(pydicom, header, kind, path, where, reading)
    pictures = [_measured(header, kind, frames[i], i, reading) for i in range(len(frames))]
    units = "" if reading.stored_values or kind not in _GREY else _units(header)
    value_range = _value_range(header, kind, reading)

    def entry(i: int) -> Entry:
        name = f"frame {i}" if len(frames) > 1 else "frame"

        def load() -> Picture:
            pixels, rounding = stored(np.ascontiguousarray(pictures[i]), f"{where}: {name}", reading)
            return Picture(pixels, value_range, units, rounding)

        return Entry(name, load)

    return Source([entry(i) for i in range(len(frames))], where, len(frames))


def _check_decoder(header: Any, where: str) -> None:
    """Raises UserError: what the pixels are compressed by needs a package that is not installed."""
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_compressed:
        return
    from pydicom.pixels.decoders.base import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UserError(
            f"{where}: compressed by {syntax.name}, which pydicom cannot read; convert it first"
        ) from None
    if not decoder.is_available:
        needs = " or ".join(text.partition("requires ")[2] for text in decoder.missing_dependencies)
        needs = needs.replace("numpy and ", "")
        raise UserError(f"{where}: compressed by {syntax.name}; to read it, install {needs}")


def _frames(pydicom: Any, header: Any, kind: str, path: Path, where: str, reading: Reading) -> NDArray[Any]:
    """Stored values (N, C, H, W)."""
    rows, columns, samples = int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel", 1))
    count = int(header.get("NumberOfFrames", 1) or 1)
    check_size((samples, rows, columns), where, reading)
    bits = int(header.get("BitsAllocated", 8))
    check_unpacked(
        math.prod((count, samples, rows, columns)) * bits // 8, path.stat().st_size, where, reading
    )
    shift = _left_shift(header, kind, where)
    try:  # YBR becomes RGB; unless it is told not to, pydicom keeps the lowest bits alone
        options = {"correct_unused_bits": False} if shift else {}
        pixels = np.asarray(pydicom.pixels.pixel_array(header, **options))
    except RuntimeError as error:
        raise UserError(f"{where}: cannot be decoded ({first_line(error)})") from None
    if shift:
        above = 8 * pixels.dtype.itemsize - shift - int(header.BitsStored)
        pixels = (pixels << above) >> (above + shift)  # the sign is the highest of the bits
    if kind == "PALETTE COLOR":
        pixels = np.asarray(pydicom.pixels.apply_color_lut(pixels, header))
        samples = pixels.shape[-1]
    return pixels.reshape(count, rows, columns, samples).transpose(0, 3, 1, 2)


def _left_shift(header: Any, kind: str, where: str) -> int:
    """How many bits of a word lie below the values: by HighBit and BitsStored (DICOM PS3.5, section 8.1.1).

    Raises:
        UserError: no such bits are there, or they are those of a compressed or coloured picture.
    """
    high, bits = header.get("HighBit"), int(header.get("BitsStored", 0) or 0)
    if high is None or not bits or int(high) + 1 == bits or "PixelData" not in header:
        return 0
    shift = int(high) + 1 - bits
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    is_packed = syntax is not None and syntax.is_compressed
    beyond = int(high) >= int(header.get("BitsAllocated", 8))
    if shift < 0 or beyond or is_packed or kind not in (*_GREY, "PALETTE COLOR"):
        raise UserError(
            f"{where}: DICOM with values of {bits} bits whose highest is bit {int(high)}, which cannot be read;"
            f" store them from bit {bits - 1} down"
        )
    return shift


def _measured(header: Any, kind: str, pixels: NDArray[Any], frame: int, reading: Reading) -> NDArray[Any]:
    """Physical values of a frame, NaN where the scanner saw nothing: PixelPaddingValue, or all up to PixelPaddingRangeLimit."""
    values = _rescaled(header, pixels, frame, reading)
    prefix = {"FloatPixelData": "Float", "DoubleFloatPixelData": "DoubleFloat"}
    name = next((word for tag, word in prefix.items() if tag in header), "")
    ends = [header.get(f"{name}PixelPadding{end}") for end in ("Value", "RangeLimit")]
    if ends[0] is None or kind not in _GREY:
        return values
    stated = np.array([end for end in ends if end is not None], np.float64)
    if pixels.dtype.kind == "i":  # some write a negative value as if it had no sign
        stated[stated > np.iinfo(pixels.dtype).max] -= 2.0 ** (8 * pixels.dtype.itemsize)
    if pixels.dtype.kind == "u":
        stated[stated < 0] += 2.0 ** (8 * pixels.dtype.itemsize)
    gone = (pixels >= stated.min()) & (pixels <= stated.max())
    return np.where(gone, np.nan, values.astype(np.float64)) if gone.any() else values


def _rescaled(header: Any, pixels: NDArray[Any], frame: int, reading: Reading) -> NDArray[Any]:
    if reading.stored_values:
        return pixels
    if "ModalityLUTSequence" in header:
        from pydicom.pixels.processing import apply_modality_lut

        table: NDArray[Any] = apply_modality_lut(pixels, header)
        return table
    slope, intercept = _rescaling(header, frame)
    if (slope, intercept) == (1.0, 0.0):
        return pixels
    if slope == 1 and float(intercept).is_integer() and pixels.dtype.kind in "iu":
        return pixels.astype(np.int64).astype(np.float32) + np.float32(intercept)
    return pixels.astype(np.float64) * slope + intercept


def _rescaling(header: Any, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame; those of frames lie in sequences of an enhanced object."""
    holders = [header]
    for name, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        groups = header.get(name)
        if groups and len(groups) > at and groups[at].get("PixelValueTransformationSequence"):
            holders.append(groups[at].PixelValueTransformationSequence[0])
    slope, intercept = 1.0, 0.0
    for holder in holders:
        if holder.get("RescaleSlope") is not None:
            slope, intercept = float(holder.RescaleSlope), float(holder.get("RescaleIntercept") or 0.0)
    return slope, intercept


def _units(header: Any) -> str:
    units = header.get("Units") or header.get("RescaleType")
    if units:
        return str(units)
    return "HU" if header.get("Modality") == "CT" and "RescaleIntercept" in header else ""


def _value_range(header: Any, kind: str, reading: Reading) -> tuple[float, float] | None:
    """The smallest and largest value that the stored bits can hold, where values are the stored ones, or only shifted."""
    bits = int(header.get("BitsStored", 0) or 0)
    slope, shift = (1.0, 0.0) if reading.stored_values or kind not in _GREY else _rescaling(header, 0)
    if not 0 < bits <= 16 or slope != 1 or "ModalityLUTSequence" in header or kind == "PALETTE COLOR":
        return None
    low = -(2 ** (bits - 1)) if int(header.get("PixelRepresentation", 0) or 0) else 0
    return low + shift, low + 2.0**bits - 1 + shift
