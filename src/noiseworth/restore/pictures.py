"""Pictures, TIFFs and arrays that are written again."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noiseworth.data.sources.axes import layout
from noiseworth.data.sources.scientific import guarded, library
from noiseworth.errors import UserError
from noiseworth.restore.file import ArrayFile, File, Planes, as_type


class NpyFile(ArrayFile):
    map_suffix = ".npy"

    def __init__(self, path: Path, planes: Planes) -> None:
        array = np.load(path, allow_pickle=False)
        super().__init__(path, planes, [(array, layout(array.shape, str(path)), 1.0, 0.0)])

    def write(self, out: Path, planes: Planes) -> None:
        """As `File.write`."""
        np.save(out, self.filled(planes)[0], allow_pickle=False)

    def write_map(self, out: Path, planes: Planes) -> None:
        """As `File.write_map`."""
        np.save(out, np.stack(planes).astype(np.float32), allow_pickle=False)


class TiffFile(ArrayFile):
    """Patched in place where pixels lie in the file as they are in memory, else written anew, page by page, with what pages say."""

    def __init__(self, path: Path, planes: Planes) -> None:
        tifffile = library("tifffile", str(path))
        self._tifffile = tifffile

        def read() -> list[tuple[NDArray[Any], str, float, float]]:
            with tifffile.TiffFile(path, _multifile=False) as file:
                return [
                    (s.asarray(), layout(s.shape, str(path), None, s.axes), 1.0, 0.0) for s in file.series
                ]

        super().__init__(path, planes, guarded(str(path), read))
        self.map_suffix = path.suffix

    def write(self, out: Path, planes: Planes) -> None:
        """As `File.write`."""
        arrays = self.filled(planes)
        with self._tifffile.TiffFile(self.path, _multifile=False) as file:
            if all(series.dataoffset is not None for series in file.series):
                shutil.copyfile(self.path, out)
                for number, array in enumerate(arrays):
                    mapped = self._tifffile.memmap(out, series=number, mode="r+")
                    mapped[...] = array.reshape(mapped.shape)
                    mapped.flush()
                return
            with self._tifffile.TiffWriter(out, bigtiff=file.is_bigtiff, byteorder=file.byteorder) as writer:
                for series, array in zip(file.series, arrays, strict=True):
                    self._write_pages(writer, series, array)

    def _write_pages(self, writer: Any, series: Any, array: NDArray[Any]) -> None:
        pages = list(series.pages)
        shape = series.keyframe.shape
        for page, pixels in zip(pages, array.reshape(len(pages), *shape), strict=True):
            page = page.aspage()
            resolution = tuple(page.tags[code].value for code in (282, 283)) if 282 in page.tags else None
            writer.write(
                pixels,
                photometric=page.photometric,
                planarconfig=page.planarconfig if page.samplesperpixel > 1 else None,
                compression=page.compression,
                predictor=page.predictor if page.predictor != 1 else None,
                tile=page.tile,
                rowsperstrip=None if page.is_tiled else page.rowsperstrip,
                description=page.description or None,
                software=page.software or False,
                resolution=None if resolution is None else tuple(a / b for a, b in resolution),
                resolutionunit=page.resolutionunit if resolution is not None else None,
                metadata=None,
                contiguous=False,
            )


class PictureFile(File):
    """A picture of 8 bits, or a grey one of 16, by Pillow; formats that lose something become PNG."""

    def __init__(self, path: Path, planes: Planes) -> None:
        super().__init__(path, planes)
        if len(planes) != 1 or (planes[0].dtype != np.uint8 and len(planes[0]) > 1):
            raise UserError(
                f"{path}: an animation, or colour of 16 bits, cannot be written again; convert it to TIFF first"
            )
        with Image.open(path) as image:
            self._format, self._info, self._exif = image.format, dict(image.info), image.getexif()
        self.suffix = path.suffix if self._format in ("PNG", "BMP", "PPM") else ".png"
        turned = self._exif.get(274, 1)
        if turned != 1:
            self._exif[274] = 1  # planes are upright

    def write(self, out: Path, planes: Planes) -> None:
        """As `File.write`."""
        from PIL.PngImagePlugin import PngInfo

        pixels = as_type(planes[0], self.planes[0].dtype)
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        kept: dict[str, Any] = {
            name: self._info[name] for name in ("dpi", "icc_profile") if name in self._info
        }
        format_ = self._format if self.suffix == self.path.suffix else "PNG"
        if format_ == "PNG":
            texts = PngInfo()
            for name, value in self._info.items():
                if isinstance(name, str) and isinstance(value, str):
                    texts.add_text(name, value)
            kept |= {"pnginfo": texts}
            if len(self._exif):
                kept["exif"] = self._exif.tobytes()
        buffer = io.BytesIO()
        image.save(buffer, format=format_, **kept)
        out.write_bytes(buffer.getvalue())
