"""Files that are restored, each a piece of the work."""

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.noise_levels import resolve_sigma
from noiseworth.data.sources.scientific import library
from noiseworth.errors import UserError
from noiseworth.process import directory_beside
from noiseworth.progress import notice
from noiseworth.restore.config import RestoreConfig
from noiseworth.restore.file import TIFF, File, Planes
from noiseworth.restore.files import can_be_written, open_file
from noiseworth.restore.inputs import Array, Inputs, Noisy, Result, require_shape, save
from noiseworth.restore.restorer import Restorer
from noiseworth.runs.model import RunModel

_PLANES = 4096  # of a file, that are numbered apart
_PIXELS = 1 << 22  # in the images of one part of a file
_WIDEST = 2.0  # ratio of the ends of a measured level's interval


class FileInputs(Inputs):
    """The files of a folder, or one file.

    Raises:
        UserError: there are none, or the run's noise was stabilised.
    """

    def __init__(self, path: Path, model: RunModel, config: RestoreConfig, restorer: Restorer) -> None:
        self._folder = path if path.is_dir() else path.parent
        names = [path.name]
        if path.is_dir():
            own = Path(config.out).resolve()  # OUT may lie in the folder
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            files = [p for p in files if own not in p.resolve().parents]
            names = [p.relative_to(path).as_posix() for p in files if can_be_written(p)]
            if others := len(files) - len(names):
                notice(f"{path}: {others:,} other file{'s' * (others > 1)} left out")
        super().__init__(names, model, skips=config.on_error == "skip")
        if not names:
            raise UserError(
                f"{path}: holds no files of a kind that is restored (TIFF, PNG, FITS, MRC, NIfTI, .npy)"
            )
        if model.stabilised is not None:
            raise UserError(
                f"{path}: the run was trained on stabilised noise; pack these images, stabilise them likewise (`noiseworth noise"
                " stabilise`), and restore the data set"
            )
        self._config, self._restorer = config, restorer
        self._opened: tuple[str, File] | None = None  # the last one

    def digest(self) -> str:
        """As `Inputs.digest`: of names, sizes and times."""
        whole = hashlib.sha256()
        for name in self.names:
            status = (self._folder / name).stat()
            whole.update(f"{status.st_size} {status.st_mtime_ns} {name}\0".encode(errors="surrogateescape"))
        return whole.hexdigest()

    def _file(self, name: str) -> File:
        if self._opened is None or self._opened[0] != name:
            self._opened = name, open_file(self._folder / name)
        return self._opened[1]

    def parts(self, name: str) -> int:
        """As `Inputs.parts`."""
        count = self._unless_refused(name, lambda: len(self._checked_planes(name)))
        return 0 if count is None else -(-count // self._at_once(name))

    def _at_once(self, name: str) -> int:
        """Images in one part of a file."""
        return max(_PIXELS // self._file(name).planes[0].size, 1)

    def _rows(self, name: str, part: int) -> slice:
        count = self._at_once(name)
        return slice(part * count, (part + 1) * count)

    def _checked_planes(self, name: str) -> Planes:
        planes, where = self._file(name).planes, str(self._folder / name)
        if self._config.maps and self._file(name).map_suffix == TIFF:
            library("tifffile", where)  # asked for before the work, and not after it
        require_shape(planes[0].shape, self.model, where)
        if len({plane.shape for plane in planes}) > 1:
            raise UserError(f"{where}: holds images of several sizes; restore each as a file of its own")
        return planes

    def load(self, name: str, part: int) -> Noisy:
        """As `Inputs.load`."""
        rows = self._rows(name, part)
        planes = np.stack(self._checked_planes(name)[rows])
        images = ((planes - self.model.offset) / self.model.scale).astype(np.float32)
        numbers = np.arange(rows.start, rows.start + len(images))
        return Noisy(images, self._sigma(name, images, numbers), self.number[name] * _PLANES + numbers)

    def _sigma(self, name: str, images: Array, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        where = str(self._folder / name)
        if self._config.sigma is not None:
            called = [name] * len(images)
            s = resolve_sigma(self._config.sigma, called, [None] * len(images))
            if np.isnan(s).any():
                raise UserError(f"{where}: --sigma says nothing of it; without --sigma its noise is measured")
            return s / (self.model.scale if self._config.sigma_units == "raw" else 1)
        levels = [self._restorer.level(image, int(i)) for i, image in zip(numbers, images, strict=True)]
        none = [level.sigma == 0 for level in levels]
        if any(none) and self.model.trained_from > 0:
            raise UserError(
                f"{where}: has less noise than any level that the run knows ({self.model.trained_from:.3g} in model units), as it"
                " saw no clean images; train with some clean images, or with less noisy ones"
            )
        if any(none):
            notice(f"{where}: no noise was found in it; it stays as it is (--sigma says what there is)")
        if any(level.high > _WIDEST * level.low for level in levels):
            raise UserError(f"{where}: cannot say what its noise is to within a factor of 2; give --sigma")
        return np.array([level.sigma for level in levels])

    def write(self, name: str, part: int, out: Path, result: Result) -> None:
        """As `Inputs.write`: kept until all parts are there."""
        save(self._kept(name, part, out), result)

    def _kept(self, name: str, part: int, out: Path) -> Path:
        return out / ".pieces" / str(self.number[name]) / f"{part:06d}.npz"

    def is_written(self, name: str, part: int, out: Path) -> bool:
        """As `Inputs.is_written`."""
        return self._kept(name, part, out).is_file()

    def put_together(self, name: str, out: Path) -> None:
        """As `Inputs.put_together`: one file after another, so that no more than one of them is in memory."""
        file, kept = self._file(name), [self._kept(name, part, out) for part in range(self.parts(name))]
        with np.load(kept[0]) as first:
            draws = first["samples"].shape[1] if "samples" in first.files else 0
            maps = [kind for kind in first.files if kind not in ("restored", "samples")]
        for kind in maps:
            place = out / kind / file.named(name, file.map_suffix)
            _write_whole(place, partial(file.write_map, planes=_planes(kept, kind)))
        for draw in range(draws):
            place = out / f"sample-{draw + 1}" / file.named(name, file.map_suffix)
            _write_whole(place, partial(file.write_map, planes=_planes(kept, "samples", draw)))
        _write_whole(
            out / file.named(name, file.suffix), partial(file.write, planes=_planes(kept, "restored"))
        )
        shutil.rmtree(kept[0].parent)

    def finish(self, out: Path) -> None:
        """As `Inputs.finish`: nothing is left to be done."""


def _planes(kept: list[Path], kind: str, draw: int | None = None) -> Planes:
    """The images of all parts, of one kind."""
    planes: Planes = []
    for path in kept:
        with np.load(path) as arrays:
            planes += list(arrays[kind] if draw is None else arrays[kind][:, draw])
    return planes


def _write_whole(place: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a name beside its own, whose ending libraries go by, and rename it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with directory_beside(place) as beside:
        write(beside / place.name)
        (beside / place.name).replace(place)
