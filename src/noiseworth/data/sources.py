"""What can be packed: a folder of image files, a `.npy` or `.npz` array, and the digits that come with scikit-learn.

A reader returns raw values exactly as stored, (N, C, H, W), and never converts one pixel type to another: Pillow's
`convert` destroys 16-bit and float images, so a mode it would need is refused instead.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from noiseworth.errors import UserError

DIGITS = "sklearn:digits"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
_MODES = {"L": "uint8", "RGB": "uint8", "I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16", "F": "float32"}
_STORED = ("uint8", "uint16", "float16", "float32")


@dataclass(frozen=True)
class Source:
    """Raw images (N, C, H, W), labels (N,) or None, the range of raw values if the source fixes it, and its class names."""

    images: NDArray[Any]
    labels: NDArray[np.int64] | None
    value_range: tuple[float, float] | None
    classes: list[str]
    names: list[str]  # one per image, for messages


def read_source(source: str) -> Source:
    """Read `sklearn:digits`, a folder of images, or an array file.

    Raises:
        UserError: nothing is there, a file cannot be read, images differ in size, or a value is not finite.
    """
    path = Path(source)
    if source == DIGITS:
        found = _digits()
    elif path.is_dir():
        found = _folder(path)
    elif path.suffix in (".npy", ".npz"):
        found = _array_file(path)
    elif not path.exists():
        raise UserError(f"{source}: no such file or folder (packed can be a folder of images, .npy, .npz, or {DIGITS})")
    else:
        raise UserError(f"{source}: not a folder of images, .npy or .npz")
    if found.images.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(found.images).all(axis=(1, 2, 3)))
        if len(bad):
            raise UserError(f"{found.names[bad[0]]}: has NaN or infinite pixels ({len(bad)} images do); remove or mend it first")
    return found


def _digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]  # whole numbers 0..16, so exact
    names = [f"digit {i}" for i in range(len(images))]
    return Source(images, digits.target.astype(np.int64), (0.0, 16.0), [str(i) for i in range(10)], names)


def _folder(folder: Path) -> Source:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    if not files:
        raise UserError(f"{folder}: no images in it ({', '.join(sorted(_SUFFIXES))})")
    first = _image(files[0])
    images = np.empty((len(files), *first.shape), first.dtype)
    for i, file in enumerate(files):
        pixels = _image(file)
        if pixels.shape != first.shape or pixels.dtype != first.dtype:
            raise UserError(
                f"{file}: is {_describe(pixels)}, {files[0].name} is {_describe(first)};"
                " all images of a data set have one size and type: resize or sort them first"
            )
        images[i] = pixels
    tops = [file.relative_to(folder).parts[0] if file.parent != folder else "" for file in files]
    classes = sorted(set(tops))
    labels = np.array([classes.index(top) for top in tops]) if "" not in classes and len(classes) > 1 else None
    return Source(images, labels, None, classes if labels is not None else [], [str(f) for f in files])


def _image(file: Path) -> NDArray[Any]:
    try:
        with Image.open(file) as opened:
            if getattr(opened, "n_frames", 1) > 1:
                raise UserError(f"{file}: holds {getattr(opened, 'n_frames', 1)} pictures; save each as a file of its own")
            # A palette holds 8-bit colours: nothing is lost.
            image = opened.convert("RGB") if opened.mode == "P" else opened
            image.load()
            if image.mode not in _MODES:
                raise UserError(f"{file}: pixel mode {image.mode} is not supported ({', '.join(_MODES)} are); convert it first")
            pixels = np.asarray(image).astype(_MODES[image.mode], copy=False)
    except UnidentifiedImageError:
        raise UserError(f"{file}: not an image that can be read, whatever its name says") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: damaged or unreadable image ({error})") from None
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _describe(pixels: NDArray[Any]) -> str:
    channels, height, width = pixels.shape
    return f"{width}x{height}, {channels} channel{'s' * (channels > 1)}, {pixels.dtype}"


def _array_file(path: Path) -> Source:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays: dict[str, NDArray[Any]] = {"images": loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a readable array file ({error}); pickled arrays are never loaded") from None
    if "images" not in arrays:
        raise UserError(f"{path}: has no array named 'images' (it has {', '.join(sorted(arrays)) or 'none'})")
    images = _to_channels_first(arrays["images"], path)
    labels = arrays.get("labels")
    if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu" or (labels < 0).any()):
        raise UserError(f"{path}: 'labels' must be {len(images)} whole numbers from 0 up, it is {labels.dtype} {labels.shape}")
    names = [f"{path}: image {i}" for i in range(len(images))]
    return Source(images, None if labels is None else labels.astype(np.int64), None, [], names)


def _to_channels_first(images: NDArray[Any], path: Path) -> NDArray[Any]:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim != 4:
        raise UserError(f"{path}: images must be (N, H, W), (N, C, H, W) or (N, H, W, 3), not {images.shape}")
    if not images.size:
        raise UserError(f"{path}: holds no pixels, shape {images.shape}")
    if str(images.dtype) not in _STORED:
        raise UserError(
            f"{path}: dtype {images.dtype} is not one of {', '.join(_STORED)}; convert it first (float64: .astype('float32'))"
        )
    return images
