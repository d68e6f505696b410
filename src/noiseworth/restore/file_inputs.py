"""Files that are restored, each a piece of the work."""

import hashlib
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
from noiseworth.restore.file import TIFF, File
from noiseworth.restore.files import can_be_written, open_file
from noiseworth.restore.inputs import Array, Inputs, Noisy, Result, require_shape
from noiseworth.restore.restorer import Restorer
from noiseworth.runs.model import RunModel

_PLANES = 4096  # of a file, that are numbered apart
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

    def load(self, name: str) -> Noisy:
        """As `Inputs.load`."""
        planes, where = self._file(name).planes, str(self._folder / name)
        if self._config.maps and self._file(name).map_suffix == TIFF:
            library("tifffile", where)  # asked for before the work, and not after it
        require_shape(planes[0].shape, self.model, where)
        if len({plane.shape for plane in planes}) > 1:
            raise UserError(f"{where}: holds images of several sizes; restore each as a file of its own")
        images = ((np.stack(planes) - self.model.offset) / self.model.scale).astype(np.float32)
        ids = self.number[name] * _PLANES + np.arange(len(images))
        return Noisy(images, self._sigma(name, where, images), ids)

    def _sigma(self, name: str, where: str, images: Array) -> NDArray[np.float64]:
        if self._config.sigma is not None:
            called = [name] * len(images)
            s = resolve_sigma(self._config.sigma, called, [None] * len(images))
            if np.isnan(s).any():
                raise UserError(f"{where}: --sigma says nothing of it; without --sigma its noise is measured")
            return s / (self.model.scale if self._config.sigma_units == "raw" else 1)
        levels = [self._restorer.level(image, i) for i, image in enumerate(images)]
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

    def write(self, name: str, out: Path, result: Result) -> None:
        """As `Inputs.write`."""
        file = self._file(name)
        kinds = {**result.maps, **{f"sample-{i + 1}": draw for i, draw in enumerate(result.draws)}}
        for kind, values in kinds.items():
            _write_whole(
                out / kind / file.named(name, file.map_suffix), partial(file.write_map, planes=list(values))
            )
        _write_whole(out / file.named(name, file.suffix), partial(file.write, planes=list(result.restored)))

    def finish(self, out: Path) -> None:
        """As `Inputs.finish`: nothing is left to be done."""


def _write_whole(place: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a name beside its own, whose ending libraries go by, and rename it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with directory_beside(place) as beside:
        write(beside / place.name)
        (beside / place.name).replace(place)
