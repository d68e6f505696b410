"""PGM and PPM (P2, P3, P5, P6): values as they are stored.

Pillow stretches those whose white is not 255 to 255 or 65535, and halves the bits
of colour. Format: the manual pages pgm(5) and ppm(5) of Netpbm.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.source import Picture, Reading, check_size
from noiseworth.errors import UserError

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([2356])" + (_GAP + rb"(\d{1,9})") * 3 + rb"\s")
_PLAIN, _COLOUR = (b"2", b"3"), (b"3", b"6")


def decode(content: bytes, where: str, reading: Reading) -> Picture | None:
    """The picture of a PGM or PPM file; None for other files.

    Raises:
        UserError: damaged, cut short, too large, or with further pictures behind the first.
    """
    header = _HEADER.match(content)
    if header is None:
        return None
    width, height, white = (int(header[i]) for i in (2, 3, 4))
    if not (0 < white < 65536 and width and height):
        raise UserError(f"{where}: damaged PNM file (its header says {width}x{height}, white is {white})")
    shape = (height, width, 3 if header[1] in _COLOUR else 1)
    check_size(shape[:2], where, reading)
    size = shape[0] * shape[1] * shape[2]
    kind = np.dtype("uint8") if white < 256 else np.dtype(">u2")
    body = memoryview(content)[header.end() :]
    values = _plain(bytes(body), size, where) if header[1] in _PLAIN else _raw(body, size, kind, where)
    if values.max() > white:
        raise UserError(f"{where}: damaged PNM file (values up to {values.max()}, where white is {white})")
    pixels = values.reshape(shape).transpose(2, 0, 1).astype(kind.newbyteorder("="))
    return Picture(np.ascontiguousarray(pixels), None if white in (255, 65535) else (0.0, float(white)))


def _raw(body: memoryview, size: int, kind: np.dtype[Any], where: str) -> NDArray[Any]:
    expected = size * kind.itemsize
    if len(body) < expected:
        raise UserError(f"{where}: damaged or unreadable image (it is cut short)")
    if bytes(body[expected : expected + 16]).strip():
        raise UserError(f"{where}: {len(body) - expected:,} bytes follow its picture; save each as a file")
    return np.frombuffer(body, kind, size)


def _plain(text: bytes, size: int, where: str) -> NDArray[Any]:
    words = re.sub(rb"#[^\r\n]*", b"", text).split()
    if len(words) != size or not all(word.isdigit() and len(word) < 9 for word in words):
        raise UserError(f"{where}: damaged PNM file ({len(words)} values instead of {size}, or no numbers)")
    return np.array([int(word) for word in words], np.int64)
