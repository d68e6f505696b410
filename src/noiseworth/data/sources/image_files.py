"""One picture file (PNG, JPEG, WebP, TIFF, BMP) as raw values (C, H, W), with the type they are stored in.

Pillow silently reads 16-bit colour as 8-bit colour, and its `convert` destroys 16-bit and float images:
such files go to tifffile and imagecodecs (extra `formats`), or are refused.
"""

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from noiseworth.data.sources.source import MOST_PIXELS, check_size, stored
from noiseworth.errors import UserError, first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")  # no other decoder is tried, whatever the name of the file
_MODES = {
    "L": "uint8",
    "RGB": "uint8",
    "I;16": "uint16",
    "I;16L": "uint16",
    "I;16B": "uint16",
    "F": "float32",
}
_BITS_PER_SAMPLE, _SAMPLES = 258, 277
# Pages of more bytes, and of more than so many times the file's size, are taken for a decompression bomb.
_MOST_BYTES, _RATIO = 1 << 27, 20
_PNG_END = b"IEND\xaeB`\x82"


def decode(content: bytes, where: str) -> NDArray[Any]:
    """Pixels (C, H, W) of a picture; of a TIFF with several equal pages (N, C, H, W).

    Raises:
        UserError: it is not a picture, damaged, too large, or of a kind that cannot be read without loss.
    """
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        pixels = _tiff(content, where)
        if pixels is not None:
            return pixels
    if (
        content[:8] == b"\x89PNG\r\n\x1a\n"
        and len(content) > 25
        and content[24] == 16
        and content[25] in (2, 4, 6)
    ):
        return _deep_png(content, where)
    # Pillow accepts a PNG whose last bytes are missing.
    if content[:8] == b"\x89PNG\r\n\x1a\n" and _PNG_END not in content:
        raise UserError(f"{where}: damaged or unreadable image (it is cut short)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
            opened = Image.open(io.BytesIO(content), formats=_FORMATS)
        with opened:
            check_size(opened.size, where)
            if getattr(opened, "n_frames", 1) > 1:
                raise UserError(
                    f"{where}: holds {getattr(opened, 'n_frames', 1)} pictures; save each as a file of its"
                    " own"
                )
            if opened.format == "TIFF" and (wide := _wide_tiff(opened)):
                raise UserError(f"{where}: {wide}, which needs tifffile: pip install 'noiseworth[formats]'")
            image: Image.Image = opened
            if opened.mode == "P":  # a palette holds 8-bit colours: nothing is lost
                image = opened.convert("RGB")
            elif opened.mode == "1":
                image = opened.convert("L")
            image.load()
            if image.mode not in _MODES:
                raise UserError(
                    f"{where}: pixel mode {image.mode} is not supported ({', '.join(_MODES)} are); convert"
                    " it first"
                )
            pixels = np.asarray(image).astype(_MODES[image.mode], copy=False)
    except UnidentifiedImageError:
        raise UserError(f"{where}: not an image that can be read, whatever its name says") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{where}: more than {MOST_PIXELS:,} pixels; taken for a decompression bomb: crop it first"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where}: damaged or unreadable image ({error})") from None
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _wide_tiff(image: Image.Image) -> str:
    """Why Pillow cannot read a TIFF without loss; empty if it can."""
    tags: Any = getattr(image, "tag_v2", {})
    bits, samples = tags.get(_BITS_PER_SAMPLE, (8,)), tags.get(_SAMPLES, 1)
    bits = bits if isinstance(bits, tuple) else (bits,)
    if samples > 1 and max(bits) > 8:
        return f"{samples} channels of {max(bits)} bits"
    return f"whole numbers of {max(bits)} bits" if image.mode == "I" else ""


def _tiff(content: bytes, where: str) -> NDArray[Any] | None:
    """The pixels of a TIFF, read by tifffile; None if that is not installed."""
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            if not file.series:
                raise UserError(f"{where}: a TIFF without pictures")
            series = file.series[0]
            kind = str(getattr(file.pages[0].photometric, "name", "?"))
            if kind not in ("MINISBLACK", "RGB"):
                raise UserError(
                    f"{where}: a TIFF with pixels of the kind {kind}; convert it to grey (MINISBLACK) or"
                    " RGB first"
                )
            if len(file.series) > 1:
                raise UserError(
                    f"{where}: a TIFF with pictures of different kinds or sizes ({len(file.series)}"
                    " series); split it first"
                )
            check_size(series.shape[-2:] if "S" not in series.axes else series.shape[-3:], where)
            if series.nbytes > max(_MOST_BYTES, _RATIO * len(content)):
                raise UserError(
                    f"{where}: {series.nbytes:,} bytes from {len(content):,}; taken for a decompression"
                    " bomb: split it first"
                )
            pixels, axes = series.asarray(), series.axes
    except UserError:
        raise
    except Exception as error:  # a damaged TIFF can raise an error of any type
        raise UserError(f"{where}: damaged or unreadable TIFF ({first_line(error)})") from None
    if pixels.size == 0 or "Y" not in axes or "X" not in axes:
        raise UserError(f"{where}: a TIFF with axes {axes} and shape {pixels.shape} is no stack of pictures")
    channel = next((axis for axis in ("S", "C") if axis in axes), None)
    order = [axes.index(a) for a in axes if a not in ("Y", "X", channel)]
    order += [axes.index(a) for a in (channel, "Y", "X") if a]
    moved = pixels.transpose(order)
    shape = moved.shape if channel else (*moved.shape[:-2], 1, *moved.shape[-2:])
    stack = np.ascontiguousarray(moved.reshape(-1, *shape[-3:]))
    return stored(stack[0] if len(stack) == 1 else stack, where)


def _deep_png(content: bytes, where: str) -> NDArray[Any]:
    """The pixels of a PNG of 16-bit colour, which Pillow would reduce to 8 bits."""
    try:
        import imagecodecs
    except ImportError:
        raise UserError(
            f"{where}: a PNG of 16-bit colour, which needs imagecodecs: pip install 'noiseworth[formats]'"
        ) from None
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    check_size((width, height), where)
    try:
        pixels = np.asarray(imagecodecs.png_decode(content))
    except Exception as error:
        raise UserError(f"{where}: damaged or unreadable PNG ({error})") from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
