"""Files whose images are restored, and written again in the file's own format: a copy of the file, with other pixels in it.

So all else that the file says stays as it was. Every reader here is checked against the one that packs (`data/sources`): where the
two do not see the same images, nothing is written.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.sources.axes import Stack
from noiseworth.data.sources.scientific import library
from noiseworth.errors import UserError

TIFF = ".tif"  # of maps, where a format has none of its own
Planes = list[NDArray[Any]]  # images (C, H, W) of one file, in the units of the values


class File(ABC):
    """A file of images that are restored.

    Attributes:
        path: where it lies.
        planes: its images (C, H, W), in the units of the values, as `noiseworth pack` reads them.
        own_suffix: of its name.
        suffix: of the restored file, `map_suffix` of maps in 32-bit floating point.
    """

    map_suffix = TIFF

    def __init__(self, path: Path, planes: Planes) -> None:
        self.path, self.planes = path, planes
        packed = path.suffix.lower() in (".gz", ".bz2")
        self.own_suffix = self.suffix = "".join(path.suffixes[-2:]) if packed else path.suffix

    def named(self, name: str, suffix: str) -> str:
        """The name of a file that is made of the one of this name: the same, where it is of the same kind; else with a suffix more, so
        that `a.png` and `a.tif` do not meet."""
        return name if suffix == self.own_suffix else name + suffix

    @abstractmethod
    def write(self, out: Path, planes: Planes) -> None:
        """Write the file with other images, rounded and clipped to its own type."""

    def write_map(self, out: Path, planes: Planes) -> None:
        """Write images of as many pixels in 32-bit floating point; by default as a TIFF."""
        tifffile = library("tifffile", str(self.path))
        pages = [p[0] if len(p) == 1 else p for p in planes]
        whole = pages[0] if len(pages) == 1 else np.stack(pages)
        axes = {2: "YX", 3: "ZYX" if len(planes) > 1 else "CYX", 4: "ZCYX"}[whole.ndim]
        tifffile.imwrite(out, whole.astype(np.float32), photometric="minisblack", metadata={"axes": axes})


class ArrayFile(File):
    """A file that holds arrays, in each of which images lie along some axes; values are `offset + slope * stored`."""

    def __init__(
        self, path: Path, planes: Planes, arrays: list[tuple[NDArray[Any], str, float, float]]
    ) -> None:
        super().__init__(path, planes)
        self._arrays = arrays
        read = [(stack, slope, offset) for a, axes, slope, offset in arrays for stack in [Stack(a, axes)]]
        self._places = [(stack, i, slope, offset) for stack, slope, offset in read for i in range(len(stack))]
        same = len(self._places) == len(planes) and all(
            stack[i].shape == plane.shape
            and np.allclose(stack[i] * slope + offset, plane, rtol=1e-5, atol=1e-6 * slope)
            for (stack, i, slope, offset), plane in zip(self._places, planes, strict=True)
        )
        if not same:
            raise UserError(
                f"{path}: holds images in a way that cannot be written again (turned, with an alpha channel, or with pixels that were"
                " not measured); pack it (`noiseworth pack`), and restore the data set"
            )

    def filled(self, planes: Planes) -> list[NDArray[Any]]:
        """The arrays with other images in them."""
        for (stack, i, slope, offset), plane in zip(self._places, planes, strict=True):
            dtype = stack[i].dtype
            stack.put(i, as_type((plane - offset) / slope if (slope, offset) != (1, 0) else plane, dtype))
        return [array for array, *_ in self._arrays]


def as_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values rounded and clipped to a type."""
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # In float64 the largest 64-bit integers are no whole numbers of that type; pictures do not reach them.
    return np.rint(values.astype(np.float64)).clip(limits.min, limits.max).astype(dtype)
