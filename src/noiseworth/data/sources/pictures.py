"""One picture file (PNG, JPEG, WebP, GIF, BMP, JPEG 2000, AVIF, PNM, TGA), never converted from one type to another.

Pillow reads 16-bit colour as 8-bit colour without a word, and its `convert` destroys 16-bit and float images:
such files are read by `deep_pictures.py`, `netpbm.py` and `tiff.py`, or are refused.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError

from noiseworth.data.sources import deep_pictures, netpbm, tiff
from noiseworth.data.sources.finishing import oriented, without_alpha
from noiseworth.data.sources.messages import library_messages
from noiseworth.data.sources.source import MOST_PIXELS, Picture, Reading, check_size, check_unpacked
from noiseworth.errors import UserError, first_line

# Nothing else is tried, whatever a name says.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
_MODES = {
    "L": "uint8",
    "LA": "uint8",
    "RGB": "uint8",
    "RGBA": "uint8",
    "I;16": "uint16",
    "I;16L": "uint16",
    "I;16B": "uint16",
    "F": "float32",
}
_ALPHA = ("LA", "RGBA")
_ORIENTATION = 274
_PNG_END = b"IEND\xaeB`\x82"


def decode(content: bytes, where: str, reading: Reading) -> list[Picture]:
    """The pictures of a file: one, or the pages of a TIFF, or the frames of an animation.

    Turned as the file's orientation says. An alpha channel that is opaque everywhere is left out.

    Raises:
        UserError: not such a picture, damaged, too large, transparent, or of a kind that cannot be read without loss.
    """
    with library_messages(where):
        if tiff.is_tiff(content):
            pictures = tiff.decode(content, where, reading)
            if pictures is not None:
                return pictures
        if content[:8] == deep_pictures.PNG and _PNG_END not in content[-64:] and _PNG_END not in content:
            # Pillow forgives missing last bytes.
            raise UserError(f"{where}: damaged or unreadable image (it is cut short)")
        plain = netpbm.decode(content, where, reading)
        if plain is not None:
            return [plain]
        deep = deep_pictures.decode(content, where, reading)
        if deep is not None:
            return deep
        return _by_pillow(content, where, reading)


def _by_pillow(content: bytes, where: str, reading: Reading) -> list[Picture]:
    # Beyond twice this, Pillow raises: also in frames, which it makes before they can be looked at.
    Image.MAX_IMAGE_PIXELS = None if reading.trust_sizes else MOST_PIXELS // 2
    try:
        with Image.open(io.BytesIO(content), formats=_formats(where)) as opened:
            check_size(opened.size, where, reading)
            frames = int(getattr(opened, "n_frames", 1))
            if opened.format == "TIFF":
                _check_tiff(opened, frames, where, reading)
            if opened.format == "MPO" and frames > 1:  # a photo, then views for stereo, or previews
                reading.left_out["further pictures of MPO photos"] += frames - 1
                frames = 1
            check_unpacked(frames * opened.size[0] * opened.size[1] * 4, len(content), where, reading)
            bits = deep_pictures.significant_bits(content)
            if frames == 1:
                depth = content[24] if opened.format == "PNG" else 8
                return [_picture(opened, where, reading, bits, depth)]
            pictures, unpacked = [], 0
            for frame in ImageSequence.Iterator(opened):  # a frame may be larger than the first
                check_size(frame.size, where, reading)
                unpacked += frame.size[0] * frame.size[1] * 4
                check_unpacked(unpacked, len(content), where, reading)
                pictures.append(_picture(frame, where, reading, bits, colour=True))
            return pictures
    except UserError:
        raise
    except UnidentifiedImageError:
        if tiff.is_tiff(content):
            raise UserError(
                f"{where}: a TIFF of a kind that needs tifffile: pip install 'noiseworth[formats]'"
            ) from None
        raise UserError(f"{where}: not an image that can be read, whatever its name says") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{where}: has more than {MOST_PIXELS:,} pixels, as a decompression bomb has; cut it first, or give"
            " --trust-sizes"
        ) from None
    except Exception as error:  # a damaged picture raises whatever it runs into
        raise UserError(f"{where}: damaged or unreadable image ({first_line(error)})") from None


def _formats(where: str) -> list[str]:
    """The formats that are tried: those that this Pillow has; TGA, which nothing in a file tells, only by the file's name."""
    Image.init()
    names = (*_FORMATS, "TGA") if where.lower().endswith(".tga") else _FORMATS
    return [name for name in names if name in Image.OPEN]


def _picture(
    image: Image.Image, where: str, reading: Reading, bits: int, depth: int = 8, colour: bool = False
) -> Picture:
    """One frame; those of an animation in colour, since each frame has a palette of its own.

    Args:
        bits: that are significant; 0 if the file says nothing.
        depth: bits per sample of a PNG, whose transparent grey is in units of its own.
    """
    image.load()
    value_range = (0.0, float(2**bits - 1)) if bits else None
    orientation = image.getexif().get(_ORIENTATION, 1)  # after loading: Pillow turns a TIFF by itself
    clear = image.info.get("transparency")
    is_grey = not colour and image.format == "PNG" and image.mode in ("1", "L", "I;16", "I;16B")
    if is_grey and isinstance(clear, int):
        pixels = without_alpha(_with_clear_grey(image, clear, depth), where, reading)
        return Picture(oriented(pixels, orientation), value_range)
    if clear is not None or image.mode == "PA":
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    elif image.mode == "P" or (colour and image.mode not in _ALPHA):
        image = image.convert("RGB")  # a palette holds 8-bit colours: nothing is lost
    elif image.mode == "1":
        image = image.convert("L")
    if image.mode not in _MODES:
        raise UserError(f"{where}: its pixels are of the kind {image.mode}; convert it to grey or RGB first")
    pixels = np.asarray(image).astype(_MODES[image.mode], copy=False)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if image.mode in _ALPHA:
        pixels = without_alpha(pixels, where, reading)
    return Picture(oriented(pixels, orientation), value_range)


def _with_clear_grey(image: Image.Image, clear: int, depth: int) -> NDArray[Any]:
    """Grey and alpha (2, H, W) of a PNG, one grey value of which means transparent."""
    kind, white = (np.uint16, 65535) if image.mode[0] == "I" else (np.uint8, 255)
    grey = np.asarray(image.convert("L") if image.mode == "1" else image).astype(kind)
    alpha = np.where(grey == clear * (white // (2**depth - 1)), 0, white).astype(kind)
    return np.stack([grey, alpha])


def _check_tiff(image: Image.Image, frames: int, where: str, reading: Reading) -> None:
    """Refuse a TIFF that Pillow would read with loss, or in part.

    Raises:
        UserError: it is of such a kind, or of one that nothing here reads.
    """
    tags: Any = getattr(image, "tag_v2", {})
    compression = "JPEG" if tags.get(259) in (6, 7) else ""
    tiff.refuse_kind(tiff.KINDS.get(tags.get(262, 1), "?"), compression, where)
    if copies := np.size(tags.get(330, ())):
        reading.left_out[tiff.COPIES] += copies
    wide = _wide_tiff(image, where, reading) or (f"a TIFF of {frames} pages" if frames > 1 else "")
    if wide:
        raise UserError(f"{where}: {wide}, which needs tifffile: pip install 'noiseworth[formats]'")


def _wide_tiff(image: Image.Image, where: str, reading: Reading) -> str:
    """Why Pillow cannot read a TIFF without loss; empty if it can."""
    tags: Any = getattr(image, "tag_v2", {})
    bits, samples, kinds = tags.get(258, (1,)), tags.get(277, 1), tags.get(339, (1,))
    bits = max(bits if isinstance(bits, tuple) else (bits,))
    kinds = set(kinds if isinstance(kinds, tuple) else (kinds,))
    if samples > 1 and bits > 8:
        return f"{samples} channels of {bits} bits"
    if not kinds <= {1, 4} and not (kinds == {3} and bits == 32):
        return f"{'floating-point' if kinds == {3} else 'signed'} numbers of {bits} bits"
    if image.mode == "I" or bits not in (1, 8, 16, 32):
        return f"whole numbers of {bits} bits"
    if tiff.NODATA in tags:
        return "a TIFF that says which pixels were not measured"
    if not reading.stored_values and tiff.calibration(str(tags.get(270, "")), where) is not None:
        return "a calibrated TIFF of ImageJ"
    return ""
