"""The page of restored images: before, after, how sure each pixel is, and what was taken off."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.image_grid import as_colours
from noiseworth.records import RestoreRecord
from noiseworth.report.html import data_uri, write_page

_SIDE = 240  # pixels of a picture on the page, at least


@dataclass(frozen=True)
class Shown:
    """One image on the page, in model units (C, H, W): `before`, its noise `sigma`, `after`, `maps` ("std", "share") and `draws`."""

    name: str
    sigma: float
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    maps: dict[str, NDArray[np.float32]]
    draws: list[NDArray[np.float32]]


def write_restore_page(record: RestoreRecord, out: Path, shown: list[Shown], *, name: str) -> Path:
    """Write the page, and return its path.

    Args:
        record: of the command.
        out: the HTML file; an existing file is replaced.
        shown: some of the images.
        name: of what was restored.
    """
    rows = []
    for image in shown:
        scale = 3 * image.sigma
        pictures = [
            ("noisy", _grey(image.before)),
            ("restored", _grey(image.after)),
        ]
        if "std" in image.maps:
            pictures.append(
                (
                    "standard deviation: dark 0, bright that of the noise",
                    _coloured(image.maps["std"], 0, image.sigma, "magma"),
                )
            )
        if "share" in image.maps:
            pictures.append(
                (
                    "share of the data: blue in the data, red made up",
                    _coloured(image.maps["share"], 0, 1, "RdYlBu"),
                )
            )
        pictures += [(f"draw {i + 1}", _grey(draw)) for i, draw in enumerate(image.draws)]
        pictures.append(("what was taken off", _coloured(image.before - image.after, -scale, scale, "gray")))
        rows.append((image.name, image.sigma, [(words, data_uri(png)) for words, png in pictures]))
    return write_page("restore.html.j2", out, record=record, rows=rows, name=name)


def _grey(image: NDArray[np.float32]) -> bytes:
    """In its own colours, from -1 (black) to 1 (white)."""
    return _png(as_colours(image[None])[0])


def _coloured(values: NDArray[np.float32], low: float, high: float, colours: str) -> bytes:
    """The mean over channels in false colours; what is no number is grey."""
    from matplotlib import colormaps

    mean = values.mean(axis=0)
    scaled = np.clip((np.nan_to_num(mean) - low) / max(high - low, 1e-12), 0, 1)
    pixels = (colormaps[colours](scaled)[..., :3] * 255).astype(np.uint8)
    pixels[~np.isfinite(mean)] = 128
    return _png(pixels)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    factor = max(1, math.ceil(_SIDE / max(pixels.shape[:2])))
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
