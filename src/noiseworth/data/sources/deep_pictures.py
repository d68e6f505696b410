"""PNG, JPEG 2000 and AVIF of more bits than Pillow keeps, by imagecodecs (extra `formats`).

Pillow halves 16-bit colour to 8 bits, stretches grey of 12 bits to 16 and adds half of the range to signed
values, all without a word. What a file has is looked up in its header: IHDR (PNG, section 11.2.1), SIZ (JPEG 2000,
ISO/IEC 15444-1 A.5.1), av1C (AV1 in ISOBMFF, section 2.3.3).
"""

import importlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noiseworth.data.sources.finishing import oriented, range_of_bits, without_alpha
from noiseworth.data.sources.source import Picture, Reading, check_size, check_unpacked, stored
from noiseworth.errors import UserError, first_line

PNG = b"\x89PNG\r\n\x1a\n"
_JP2, _SIZ = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_ORIENTATION = 274
_DEEP_PNG = ((16, 2), (16, 4), (16, 6))  # bits and type of colour


def decode(content: bytes, where: str, reading: Reading) -> list[Picture] | None:
    """The pictures of a file that Pillow would change; None for any other.

    Raises:
        UserError: damaged, too large, transparent, or imagecodecs is not installed.
    """
    if content[:8] == PNG:
        return [_png(content, where, reading)] if tuple(content[24:26]) in _DEEP_PNG else None
    if content.startswith((_JP2, _SIZ)):
        return _jpeg2000(content, where, reading)
    if content[4:12] in (b"ftypavif", b"ftypavis") and (bits := _bits_of_avif(content)) > 8:
        return _avif(content, bits, where, reading)
    return None


def significant_bits(content: bytes) -> int:
    """Of each sample, as the chunk sBIT of a PNG of 16 bits says; 0 if it says nothing."""
    if content[:8] != PNG or content[24:25] != b"\x10":
        return 0
    at = content.find(b"sBIT", 8, 4096)
    bits = content[at + 4] if at > 0 else 0
    return bits if 1 <= bits < 16 else 0


def _decoded(codec: str, content: bytes, what: str, where: str) -> NDArray[Any]:
    try:
        imagecodecs = importlib.import_module("imagecodecs")
    except ImportError:
        raise UserError(
            f"{where}: {what}, which needs imagecodecs: pip install 'noiseworth[formats]'"
        ) from None
    try:
        return np.asarray(getattr(imagecodecs, codec)(content))
    except Exception as error:  # its codecs raise errors of their own
        raise UserError(f"{where}: damaged or unreadable image ({first_line(error)})") from None


def _header(content: bytes, where: str) -> tuple[tuple[int, int], int, int]:
    """Size, orientation and number of frames."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "AVIF")) as opened:
            frames = int(getattr(opened, "n_frames", 1))
            return opened.size, opened.getexif().get(_ORIENTATION, 1), frames
    except Exception as error:
        raise UserError(f"{where}: damaged or unreadable image ({first_line(error)})") from None


def _picture(
    pixels: NDArray[Any],
    orientation: int,
    value_range: tuple[float, float] | None,
    opaque: float | None,
    where: str,
    reading: Reading,
) -> Picture:
    """Of pixels (H, W) or (H, W, C)."""
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if len(pixels) in (2, 4):
        pixels = without_alpha(pixels, where, reading, opaque)
    kept, rounding = stored(oriented(pixels, orientation), where, reading)
    return Picture(kept, value_range, "", rounding)


def _png(content: bytes, where: str, reading: Reading) -> Picture:
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    check_size((width, height), where, reading)
    pixels = _decoded("png_decode", content, "a PNG of 16-bit colour", where)
    bits = significant_bits(content)
    value_range = (0.0, float(2**bits - 1)) if bits else None
    return _picture(pixels, _header(content, where)[1], value_range, None, where, reading)


def _jpeg2000(content: bytes, where: str, reading: Reading) -> list[Picture] | None:
    at = content.find(_SIZ)
    count = int.from_bytes(content[at + 40 : at + 42], "big")
    components = content[at + 42 : at + 42 + 3 * count : 3]
    if at < 0 or not count or len(components) < count:
        raise UserError(f"{where}: damaged or unreadable image (a JPEG 2000 file without a header)")
    if set(components) == {7}:  # 8 bits, no sign
        return None
    if len(set(components)) > 1:
        raise UserError(f"{where}: JPEG 2000 whose channels have different bits; convert it to TIFF first")
    colour = content.find(b"colr", 0, at)
    if colour > 0 and content[colour + 4] == 1 and content[colour + 7 : colour + 11] not in (
        b"\0\0\0\x10", b"\0\0\0\x11",
    ):  # fmt: skip
        raise UserError(f"{where}: JPEG 2000 in colours that are neither RGB nor grey; convert it first")
    bits, signed = (components[0] & 127) + 1, components[0] > 127
    corners = [int.from_bytes(content[at + i : at + i + 4], "big") for i in (8, 12, 16, 20)]
    check_size((corners[0] - corners[2], corners[1] - corners[3]), where, reading)
    what = f"JPEG 2000 of {bits} bits{' with a sign' if signed else ''}"
    pixels = _decoded("jpeg2k_decode", content, what, where)
    low_high = range_of_bits(bits, signed)
    opaque = low_high[1] if low_high else None
    return [_picture(pixels, 1, low_high, opaque, where, reading)]


def _bits_of_avif(content: bytes) -> int:
    """Bits of a sample, the most of all pictures in the file; 8 if it does not say."""
    at, bits = 0, 8
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        size = int.from_bytes(content[at + 8 : at + 16], "big") if size == 1 else size or len(content) - at
        if size < 8:
            break
        end = at + size
        if kind in (b"meta", b"moov"):
            start = content.find(b"av1C", at, end)
            while start >= 0:
                flags = content[start + 6] if start + 6 < len(content) else 0
                bits = max(bits, 8 + bool(flags & 0x40) * (4 if flags & 0x20 else 2))
                start = content.find(b"av1C", start + 4, end)
        at = end
    return bits


def _avif(content: bytes, bits: int, where: str, reading: Reading) -> list[Picture]:
    size, orientation, frames = _header(content, where)
    check_size(size, where, reading)
    check_unpacked(frames * size[0] * size[1] * 8, len(content), where, reading)
    pixels = _decoded("avif_decode", content, f"an AVIF of {bits} bits", where)
    low_high = (0.0, 2.0**bits - 1)
    images = pixels if frames > 1 else pixels[None]
    return [_picture(image, orientation, low_high, low_high[1], where, reading) for image in images]
